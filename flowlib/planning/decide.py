"""May a stored result be reused? The one place that answers, for the run, for `plan` and for `why`.

Theory of operation: a node is decided once the outputs of its dependencies are known. Keys that depend on results that
do not exist yet are *undecided*, not missed: the upstream node may run and produce the same output, and then everything
below it is still a hit (early cut-off; constructive traces in "Build Systems a la Carte", Mokhov et al., 2018).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import attrs

from flowlib.errors import FlowError
from flowlib.graph.args import ATOMS, nodes_in
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Digest, Key, NodeId
from flowlib.planning.key import CallKey, KeyMaker, previews
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry, Store
from flowlib.text import one_line


@attrs.frozen
class Hit:
    """A stored result is valid."""

    call: CallKey
    entry: Entry


@attrs.frozen
class Miss:
    """The node has to run; `reasons` holds at least one."""

    call: CallKey
    reasons: tuple[Reason, ...]


@attrs.frozen
class Undecided:
    """The key depends on results that do not exist yet."""

    waiting_for: tuple[NodeId, ...]


Decision = Hit | Miss | Undecided


class Planner:
    """Decides the nodes of one graph against one store.

    Args:
        graph: The graph; it may grow.
        store: Where results are kept; None when caching is off.
        keys: Makes keys for this run.
        force: Names of tasks that run whatever is stored.
        digest_file: Digests a watched file; given by the caller so that tests can count.

    Attributes:
        outputs: Digest of each known output, by node id.
    """

    def __init__(
        self,
        graph: Graph,
        store: Store | None,
        keys: KeyMaker,
        *,
        force: Collection[str] = (),
        digest_file: Callable[[str], Digest] | None = None,
    ) -> None:
        self.outputs: dict[NodeId, Digest] = {}
        self.keys = keys
        self._graph = graph
        self._store = store
        self._force = frozenset(force)
        self._digest_file = digest_file
        self._recent: dict[str, list[Entry]] = {}

    def decide(self, nodes: Sequence[NodeId]) -> list[Decision]:
        """Decide nodes, in the order given, with one batch of look-ups.

        Cost: one key per node, one store query for all of them.
        """
        if self._store is None:
            return [CACHE_OFF] * len(nodes)
        calls = [self.call(node) for node in nodes]
        keys = [call.key for call in calls if isinstance(call, CallKey) and call.key is not None]
        entries = self._store.find(keys) if keys else {}
        return [self._judge(node, call, entries) for node, call in zip(nodes, calls, strict=True)]

    def freeze(self, nodes: Iterable[NodeId]) -> None:
        """Take down the code versions of nodes that joined the graph; see `KeyMaker.freeze`."""
        if self._store is not None:
            self.keys.freeze(self._graph.nodes[number] for number in nodes)

    def record(self, node: NodeId, output: Digest | None) -> None:
        """Take note of a node's output, so that its dependents can be decided."""
        if output is None:
            self.outputs.pop(node, None)
        else:
            self.outputs[node] = output

    def recent(self, task: str) -> list[Entry]:
        """Return the latest entries of a task as they were when first asked for."""
        if task not in self._recent:
            self._recent[task] = self._store.recent(task) if self._store is not None else []
        return self._recent[task]

    def previous(self, number: NodeId, call: CallKey) -> Entry | None:
        """Return what this very call gave in the latest run before; None if that cannot be told.

        The same call is one whose own arguments are the same, whatever became of its code and of what it depends on.
        Points of a sweep over nodes differ only in those, so two candidates of one run are none.
        """
        node = self._graph.nodes[number]
        own = [name for name in call.parts if name.startswith("arg:") and name not in _from_nodes(node)]
        same = [entry for entry in self.recent(node._fl_task.name) if _share(entry, call.parts, own)]
        latest = [entry for entry in same if entry.run == same[0].run]
        return latest[0] if len(latest) == 1 else None

    def call(self, number: NodeId) -> CallKey:
        """Return the key of a node whose dependencies have known outputs."""
        ids, outputs = self._graph.id_of, self.outputs
        return self.keys.key_of(self._graph.nodes[number], lambda node: outputs.get(ids(node)))

    def certain(self, number: NodeId) -> Miss | None:
        """Return the decision of a node that runs whatever its inputs turn out to be; None if they matter."""
        if self._store is None:
            return CACHE_OFF
        node = self._graph.nodes[number]
        never = self.keys.why_never(node)
        if never:
            return Miss(CallKey(key=None, uncacheable=never), (Reason(kind="not cached", subject=never),))
        if node._fl_task.name in self._force:
            return Miss(CallKey(key=None), (Reason(kind="forced"),))
        return None

    def _judge(self, number: NodeId, call: CallKey, entries: dict[Key, Entry]) -> Decision:
        node = self._graph.nodes[number]
        if call.missing is not None:
            return Miss(call, (Reason(kind="file missing", subject=call.missing.facts.get("path", "")),))
        if call.key is None:
            return Miss(call, (Reason(kind="not cached", subject=call.uncacheable),))
        if node._fl_task.name in self._force:
            return Miss(call, (Reason(kind="forced"),))
        entry = entries.get(call.key)
        if entry is None:
            return Miss(call, compare(node, call, self.recent(node._fl_task.name)))
        changed = self._changed_file(entry)
        if changed:
            return Miss(call, (Reason(kind="file changed", subject=changed),))
        return Hit(call, entry)

    def _changed_file(self, entry: Entry) -> str:
        for path, digest in entry.watch:
            try:
                now = self._digest_file(path) if self._digest_file is not None else None
            except (FlowError, OSError):
                now = None
            if now != digest:
                return path
        return ""


CACHE_OFF = Miss(CallKey(key=None, uncacheable="the cache is off"), (Reason(kind="cache off"),))


def compare(node: Node, call: CallKey, recent: Sequence[Entry]) -> tuple[Reason, ...]:
    """Return why no stored result fits: the differences to the most similar earlier call of the same task.

    Args:
        node: The call that missed.
        call: Its key and parts.
        recent: Earlier entries of the task, newest first.
    """
    if not recent:
        return (Reason(kind="first seen"),)
    nearest = nearest_entry(call, recent)
    if nearest.key == call.key:  # not valid any more; or another run has stored it since the look-up a moment ago
        return (Reason(kind="expired" if nearest.expires_at is not None else "first seen"),)
    from_nodes = _from_nodes(node)
    changed = _changed_parts(call, nearest)
    varied = [name for name in changed if name not in from_nodes and _varies(name, nearest, recent)]
    others = [name for name in changed if name not in varied]
    if varied and not others and node._fl_label:
        return (Reason(kind="new arguments"),)
    # An argument that differs from call to call says nothing once something else has changed. Equal parts under another
    # key are those of a flowlib that put keys together differently.
    reasons = tuple(_difference(node, name, call, nearest, from_nodes) for name in others or varied)
    return reasons or (Reason(kind="first seen"),)


def nearest_entry(call: CallKey, recent: Sequence[Entry]) -> Entry:
    """Return the entry that shares most parts with a call; the newest among equals."""

    def n_equal(entry: Entry) -> int:
        return sum(entry.parts.get(name) == part for name, part in call.parts.items())

    return max(recent, key=n_equal)


def _changed_parts(call: CallKey, old: Entry) -> list[str]:
    """Return the names of the parts in which a call differs from an earlier one."""
    names = dict.fromkeys([*old.parts, *call.parts])
    return [name for name in names if old.parts.get(name, "") != call.parts.get(name, "")]


def _varies(name: str, one: Entry, recent: Sequence[Entry]) -> bool:
    """Whether a part is an argument that differed from call to call already, as the parameters of a sweep do.

    It did if it differs within the run of one entry, or between that entry and others that are equal but for it.
    """
    if not name.startswith("arg:"):
        return False
    others = [part for part in one.parts if part != name]
    alike = (entry for entry in recent if entry.run == one.run or _share(entry, one.parts, others))
    return any(entry.parts.get(name) != one.parts.get(name) for entry in alike)


def _difference(node: Node, name: str, call: CallKey, old: Entry, from_nodes: Collection[str]) -> Reason:
    """Return the reason that one changed part is."""
    subject = name.partition(":")[2]
    if name == "code":
        return Reason(kind="code changed")
    if name in from_nodes:
        return Reason(kind="upstream changed", subject=subject)
    before, after = old.parts.get(name, ""), call.parts.get(name, "")
    if name == "version":
        return Reason(kind="version changed", old=before, new=after)
    if name.startswith("env:"):
        return Reason(kind="environment changed", subject=subject, old=one_line(before, 80), new=one_line(after, 80))
    texts = previews(node)
    return Reason(kind="argument changed", subject=subject, old=old.previews.get(name, ""), new=texts.get(name, ""))


def _from_nodes(node: Node) -> set[str]:
    """Return the parts of a call's key that come from other nodes, wholly or in part."""
    pairs = zip(node._fl_task.signature.names, node._fl_args, strict=True)
    return {f"arg:{name}" for name, value in pairs if type(value) not in ATOMS and nodes_in([value], str)}


def _share(entry: Entry, parts: Mapping[str, str], names: Sequence[str]) -> bool:
    return all(entry.parts.get(name) == parts[name] for name in names)
