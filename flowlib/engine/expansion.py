"""Graphs that grow at run time: a task returned nodes, and they take its place.

The outer call is stored under its own key with the value that its nodes made, but only if that key covers them (see
`covered`) and every inner node is stored under a key of its own. What is not covered is not stored, and the outer task
simply runs again, while its inner nodes hit one by one.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flowlib.engine.context import RunContext
from flowlib.engine.covered import InnerCalls, Watch
from flowlib.errors import ExpansionLimit, TaskMisused
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import site_of
from flowlib.ids import NodeId
from flowlib.planning.key import KeyMaker
from flowlib.store.base import NO_FLAGS

_MAX_DEPTH = 10_000
"""Tasks returning nodes that return nodes ...: deeper than this is taken for an endless recursion."""

_EXPANDED = frozenset({"expanded"})


class Expansions:
    """The nodes that joined one run's graph while it went on.

    Attributes:
        returned: What each expanded node returned, nodes in it.
        children: The nodes in what it returned.
    """

    def __init__(self, graph: Graph, context: RunContext) -> None:
        self.returned: dict[NodeId, Any] = {}
        self.children: dict[NodeId, tuple[NodeId, ...]] = {}
        self._graph = graph
        self._context = context
        self._max_nodes = context.settings.max_nodes
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
        self._inner[number] = self._needed(self.children[number])
        if self._context.store is not None:
            calls = self._context.inner_calls.setdefault(number, InnerCalls(self._context.around))
            calls.declare(map(self._graph.nodes.__getitem__, self._inner[number]), self._context.identity.digest)
        return new, self.children[number]

    def flags(self, number: NodeId) -> frozenset[str]:
        """Return the entry flags of an expanded node."""
        return _EXPANDED if number in self.returned else NO_FLAGS

    def watch(self, number: NodeId) -> Watch:
        """Return the files a node's value depends on beyond its key."""
        return self._watch.get(number, ())

    def remember_watch(self, number: NodeId, watch: Watch) -> None:
        """Take note of the watch list of a stored result, so that an outer result can inherit it."""
        if watch:
            self._watch[number] = watch

    def is_covered(self, number: NodeId, keys: KeyMaker, has_key: Callable[[NodeId], bool]) -> bool:
        """Whether the outer key and a watch list account for everything below; completes the watch list."""
        calls = self._context.inner_calls.get(number)
        if calls is None:
            return False
        for inner in self._inner_nodes(number):
            if not has_key(inner):
                return False
            calls.add_files(self._watch.get(inner, ()))
        node = self._graph.nodes[number]
        return calls.are_covered(node, keys.code_version(node))

    def _needed(self, children: Iterable[NodeId]) -> list[NodeId]:
        """Return nodes and all that they need, which may have been in the graph before."""
        stack, seen = [*children], set[NodeId]()
        while stack:
            inner = stack.pop()
            if inner not in seen:
                seen.add(inner)
                stack.extend(self._graph.dependencies[inner])
        return sorted(seen)

    def _inner_nodes(self, number: NodeId) -> Iterable[NodeId]:
        stack = [*self._inner[number]]
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
