"""The closed set of nodes that a run needs, numbered so that dependencies come before dependents."""

from collections.abc import Iterable, Iterator
from typing import Any

from flowlib.graph.node import Node
from flowlib.ids import NodeId, ids_from


class Graph:
    """Nodes in topological order, with their edges. Append-only: a run may grow it, nothing is ever changed.

    Attributes:
        nodes: One node per id; dependencies have smaller ids.
        dependencies: For each id, the ids it needs, each once.

    Order: depth first, dependencies in the order of the arguments; equal programs get equal ids.

    Cost: O(nodes + edges) time, no recursion. About 100 bytes a node, and a tuple for each different set of edges.
    """

    __slots__ = ("_ids", "dependencies", "nodes")

    def __init__(self, targets: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = []
        self.dependencies: list[tuple[NodeId, ...]] = []
        self._ids: dict[Node, NodeId] = {}
        self.grow(targets)

    def __len__(self) -> int:
        return len(self.nodes)

    def id_of(self, node: Node) -> NodeId:
        """Return the id of a node of this graph."""
        return self._ids[node]

    def ids_of(self, nodes: Iterable[Node]) -> Iterator[NodeId]:
        """Return what `id_of` returns for each node, without a call for each."""
        return map(self._ids.__getitem__, nodes)

    @property
    def ids(self) -> list[NodeId]:
        """The ids of all nodes, in topological order: the very objects that `id_of` returns, so each is kept once."""
        return list(self._ids.values())

    def grow(self, targets: Iterable[Node]) -> list[NodeId]:
        """Add what `targets` need and is not here yet; return the new ids in topological order."""
        ids, nodes, dependencies = self._ids, self.nodes, self.dependencies
        n_before = len(nodes)
        new_ids = ids_from(n_before)
        last_deps: tuple[Node, ...] = ()
        needed: Any = ()
        stack = [*targets]
        stack.reverse()
        while stack:
            node = stack.pop()
            if node in ids:
                continue
            deps = node._fl_deps
            if deps is not last_deps:  # points of a fan-out share a tuple of dependencies, and so of ids
                if (deps and deps[0] not in ids) or None in (needed := tuple(map(ids.get, deps))):
                    stack.append(node)  # comes back when its dependencies are there
                    stack.extend(reversed(deps))
                    last_deps = needed = ()
                    continue
                last_deps = deps
            ids[node] = next(new_ids)
            nodes.append(node)
            dependencies.append(needed)
        return [*map(ids.__getitem__, nodes[n_before:])]
