"""Graphs that grow at run time: a task returned nodes, and they take its place.

The outer call is stored under its own key with the value that its nodes made, but only if that key *covers* them: every
inner node must have a key of its own, and its task must be among the tasks that the outer code reaches. Files that inner
calls declare are kept as a watch list and digested again before each hit. What is not covered is not stored, and the
outer task simply runs again, while its inner nodes hit one by one.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flowlib.engine.results import NO_FLAGS
from flowlib.errors import ExpansionLimit, FlowError, TaskMisused
from flowlib.graph.args import ATOMS, children, targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node, site_of
from flowlib.hashing.file import Dir, File
from flowlib.ids import Digest, NodeId
from flowlib.planning.key import KeyMaker

_MAX_DEPTH = 10_000
"""Tasks returning nodes that return nodes ...: deeper than this is taken for an endless recursion."""

_EXPANDED = frozenset({"expanded"})
Watch = tuple[tuple[str, Digest], ...]


class Expansions:
    """The nodes that joined one run's graph while it went on.

    Attributes:
        returned: What each expanded node returned, nodes in it.
        children: The nodes in what it returned.
    """

    def __init__(self, graph: Graph, max_nodes: int) -> None:
        self.returned: dict[NodeId, Any] = {}
        self.children: dict[NodeId, tuple[NodeId, ...]] = {}
        self._graph = graph
        self._max_nodes = max_nodes
        self._parent: dict[NodeId, NodeId] = {}
        self._depth: dict[NodeId, int] = {}
        self._inner: dict[NodeId, list[NodeId]] = {}
        self._watch: dict[NodeId, Watch] = {}

    def add(self, number: NodeId, returned: Any) -> tuple[list[NodeId], tuple[NodeId, ...]]:
        """Grow the graph by what a task returned; return the new ids and the ids of the returned nodes.

        Raises:
            ExpansionLimit: The graph or the depth of expansions grew beyond the limit.
        """
        depth = self._depth.get(number, 0) + 1
        nodes = targets_of(returned)
        own = self._graph.nodes[number]
        if any(node is own for node in nodes):
            raise TaskMisused(
                f"Task {own._fl_task.name!r} returned the node of its own call, which would wait for itself.",
                {"node made at": site_of(own)},
                "Return a value, or a node of another call.",
            )
        new = self._graph.grow(nodes)
        if len(self._graph) > self._max_nodes or depth > _MAX_DEPTH:
            raise self._limit(number, depth)
        for inner in new:
            self._parent[inner] = number
            self._depth[inner] = depth
        self.returned[number] = returned
        self.children[number] = tuple(self._graph.id_of(node) for node in nodes)
        self._inner[number] = new
        return new, self.children[number]

    def flags(self, number: NodeId) -> frozenset[str]:
        """Return the entry flags of an expanded node."""
        return _EXPANDED if number in self.returned else NO_FLAGS

    def watch(self, number: NodeId) -> Watch:
        """Return the files an expanded node's value depends on beyond its key."""
        return self._watch.get(number, ())

    def remember_watch(self, number: NodeId, watch: Watch) -> None:
        """Take over the watch list of a stored result, so that an outer result can inherit it."""
        if watch:
            self._watch[number] = watch

    def is_covered(
        self, number: NodeId, keys: KeyMaker, has_key: Callable[[NodeId], bool], digest: Callable[[Any], Digest]
    ) -> bool:
        """Whether the outer key and a watch list account for everything below; fills the watch list."""
        version = keys.code_version(self._graph.nodes[number])
        reached = version.tasks if version is not None else None
        watch: dict[str, Digest] = {}
        for inner in self._inner_nodes(number):
            node = self._graph.nodes[inner]
            task, policy = node._fl_task, node._fl_policy
            is_known = reached is None or bool(task.own_code) or task.name in reached
            if not is_known or policy.ttl is not None or policy.env or not has_key(inner):
                return False
            watch.update(self._watch.get(inner, ()))
            try:
                watch.update({str(file.path): digest(file) for file in _files_in(node._fl_args)})
            except FlowError:
                return False
        self._watch[number] = tuple(sorted(watch.items()))
        return True

    def _inner_nodes(self, number: NodeId) -> Iterable[NodeId]:
        stack = [*self._inner[number], *self.children[number]]
        seen: set[NodeId] = set()
        while stack:
            inner = stack.pop()
            if inner in seen:
                continue
            seen.add(inner)
            yield inner
            stack.extend(self._inner.get(inner, ()))

    def _limit(self, number: NodeId, depth: int) -> ExpansionLimit:
        path: list[str] = []
        at: NodeId | None = number
        while at is not None and len(path) < 6:
            path.append(f"{self._graph.nodes[at]._fl_task.name} ({site_of(self._graph.nodes[at])})")
            at = self._parent.get(at)
        first = self._graph.nodes[number]._fl_task.name
        return ExpansionLimit(
            f"Task {first!r} keeps returning new nodes: {len(self._graph)} nodes, {depth} levels deep.",
            {"limit": f"max_nodes={self._max_nodes}, {_MAX_DEPTH} levels", "path": "\nreturned by ".join(path)},
            "Give the recursion an end, or raise the limit: flowlib.configure(max_nodes=...).",
        )


def _files_in(args: tuple[Any, ...]) -> Iterable[File | Dir]:
    stack = list(args)
    while stack:
        item = stack.pop()
        if isinstance(item, (File, Dir)):
            yield item
        elif type(item) not in ATOMS and type(item) is not Node:
            stack.extend(children(item) or ())
