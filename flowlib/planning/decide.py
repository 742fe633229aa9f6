"""May a stored result be reused? The one place that answers, for the run, for `plan` and for `why`.

Theory of operation: a node is decided once the outputs of its dependencies are known. Keys that depend on results that
do not exist yet are *undecided*, not missed: the upstream node may run and produce the same output, and then everything
below it is still a hit (early cut-off; constructive traces in "Build Systems a la Carte", Mokhov et al., 2018).
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import attrs

from flowlib.collector import collector_paused
from flowlib.errors import FlowError
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Digest, NodeId
from flowlib.planning.compare import Recent, from_nodes, share
from flowlib.planning.key import CallKey, KeyMaker
from flowlib.planning.reason import Reason
from flowlib.planning.recognition import Recognition
from flowlib.store.base import Entry, Store


@attrs.define
class Hit:
    """A stored result is valid. Nobody changes one; it is not frozen because one is made for every node."""

    call: CallKey
    entry: Entry


@attrs.define
class Miss:
    """The node has to run; `reasons` holds at least one, in a tuple that many nodes may share. Nobody changes one."""

    call: CallKey
    reasons: tuple[Reason, ...]


@attrs.frozen
class Undecided:
    """The key depends on results that do not exist yet."""

    waiting_for: tuple[NodeId, ...]


@attrs.frozen
class Covered:
    """All targets were recognised by their recipes, which this node is part of: it was not looked at."""


Decision = Hit | Miss | Undecided | Covered

_MANY = 256
"""From as many nodes on the collector of cycles is kept from looking at what is made for them."""


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
        recognition: Knows targets by their recipes; None when caching is off.
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
        self._recent: dict[str, Recent] = {}
        self.recognition = None if store is None else Recognition(graph, store, keys, self._force)

    def recognise(self, targets: Sequence[NodeId]) -> list[Entry] | None:
        """Decide all targets by their recipes, before any node is looked at; None if that is not possible.

        Then each target is a hit, and what is above them is `Covered`. Cost: half a microsecond to one for each node, and
        two look-ups.
        """
        if self.recognition is None:
            return None
        with collector_paused():  # once a run; a few objects for each target, all of which stay
            return self.recognition.entries(targets)

    def decide(self, nodes: Sequence[NodeId]) -> list[Decision]:
        """Decide nodes, in the order given, with one batch of look-ups.

        Cost: one key per node, one store query for all of them. A hit costs half a microsecond beyond these; a miss one to
        four, see `compare`.
        """
        if self._store is None:
            return [CACHE_OFF] * len(nodes)
        if len(nodes) < _MANY:
            return self._decide(nodes, self._store)
        with collector_paused():  # a few objects for each node, all of which stay
            return self._decide(nodes, self._store)

    def _decide(self, nodes: Sequence[NodeId], store: Store) -> list[Decision]:
        found = [*map(self._graph.nodes.__getitem__, nodes)]
        key_of, output_of = self.keys.key_of, self._output_of
        calls = [key_of(node, output_of) for node in found]
        keys = [call.key for call in calls if call.key is not None]
        entries = store.find(keys) if keys else {}
        is_forced, judge, decisions = bool(self._force), self._judge, list[Decision]()
        for node, call in zip(found, calls, strict=True):
            entry = entries.get(call.key) if call.key is not None else None
            if entry is None or entry.watch or is_forced:
                decisions.append(judge(node, call, entry))
            else:
                decisions.append(Hit(call, entry))
        return decisions

    def decide_one(self, number: NodeId) -> Decision:
        """Decide a node by itself, without what a batch of one would cost."""
        if self._store is None:
            return CACHE_OFF
        node = self._graph.nodes[number]
        call = self.keys.key_of(node, self._output_of)
        return self._judge(node, call, None if call.key is None else self._store.find((call.key,)).get(call.key))

    def freeze(self, nodes: Iterable[NodeId]) -> None:
        """Take down the code versions of nodes that joined the graph; see `KeyMaker.freeze`."""
        if self._store is not None:
            self.keys.freeze(map(self._graph.nodes.__getitem__, nodes))

    def record(self, node: NodeId, output: Digest | None) -> None:
        """Take note of a node's output, so that its dependents can be decided."""
        if output is None:
            self.outputs.pop(node, None)
        else:
            self.outputs[node] = output

    def record_many(self, nodes: Iterable[NodeId], outputs: Iterable[Digest]) -> None:
        """Take note of the outputs of many nodes."""
        self.outputs.update(zip(nodes, outputs, strict=True))

    def recent(self, task: str) -> list[Entry]:
        """Return the latest entries of a task as they were when first asked for."""
        return self._compared(task).entries

    def previous(self, number: NodeId, call: CallKey) -> Entry | None:
        """Return what this very call gave in the latest run before; None if that cannot be told.

        The same call is one whose own arguments are the same, whatever became of its code and of what it depends on.
        Points of a sweep over nodes differ only in those, so two candidates of one run are none.
        """
        node = self._graph.nodes[number]
        above = from_nodes(node)
        own = [name for name in call.parts if name.startswith("arg:") and name not in above]
        same = [entry for entry in self.recent(node._fl_task.name) if share(entry, call.parts, own)]
        latest = [entry for entry in same if entry.run == same[0].run]
        return latest[0] if len(latest) == 1 else None

    def call(self, number: NodeId) -> CallKey:
        """Return the key of a node whose dependencies have known outputs."""
        return self.keys.key_of(self._graph.nodes[number], self._output_of)

    def certain(self, number: NodeId) -> Miss | None:
        """Return the decision of a node that runs whatever its inputs turn out to be; None if they matter."""
        if self._store is None:
            return CACHE_OFF
        node = self._graph.nodes[number]
        never = self.keys.why_never(node)
        if never:
            return Miss(CallKey(key=None, uncacheable=never), (Reason(kind="not cached", subject=never),))
        if node._fl_task.name in self._force:
            return Miss(CallKey(key=None), FORCED)
        return None

    def _output_of(self, node: Node) -> Digest | None:
        return self.outputs.get(self._graph.id_of(node))

    def _compared(self, task: str) -> Recent:
        """Return the latest entries of a task, ready to compare calls with."""
        known = self._recent.get(task)
        if known is None:
            known = self._recent[task] = Recent(self._store.recent(task) if self._store is not None else [])
        return known

    def _judge(self, node: Node, call: CallKey, entry: Entry | None) -> Decision:
        """Decide a node whose entry was looked up."""
        task = node._fl_task.name
        if call.key is None:
            return _without_key(call)
        if task in self._force:
            return Miss(call, FORCED)
        if entry is None:
            return Miss(call, self._compared(task).reasons(node, call))
        if entry.watch and (changed := self._changed_file(entry)):
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


def _without_key(call: CallKey) -> Miss:
    if call.missing is not None:
        return Miss(call, (Reason(kind="file missing", subject=call.missing.facts.get("path", "")),))
    return Miss(call, (Reason(kind="not cached", subject=call.uncacheable),))


COVERED = Covered()
FORCED = (Reason(kind="forced"),)
CACHE_OFF = Miss(CallKey(key=None, uncacheable="the cache is off"), (Reason(kind="cache off"),))
