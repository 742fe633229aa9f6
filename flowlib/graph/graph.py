"""The closed set of nodes that a run needs, numbered so that dependencies come before dependents."""

from collections.abc import Iterable

from flowlib.graph.node import Node
from flowlib.ids import NodeId


class Graph:
    """Nodes in topological order, with their edges. Append-only: a run may grow it, nothing is ever changed.

    Attributes:
        nodes: One node per id; dependencies have smaller ids.
        dependencies: For each id, the ids it needs, each once.
        dependents: For each id, the ids that need it.

    Cost: O(nodes + edges) time, no recursion; two lists and two list slots a node.
    """

    __slots__ = ("_ids", "dependencies", "dependents", "nodes")

    def __init__(self, targets: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = []
        self.dependencies: list[tuple[NodeId, ...]] = []
        self.dependents: list[list[NodeId]] = []
        self._ids: dict[Node, NodeId] = {}
        self.grow(targets)

    def __len__(self) -> int:
        return len(self.nodes)

    def id_of(self, node: Node) -> NodeId:
        """Return the id of a node of this graph."""
        return self._ids[node]

    def grow(self, targets: Iterable[Node]) -> list[NodeId]:
        """Add what `targets` need and is not here yet; return the new ids in topological order."""
        n_before = len(self.nodes)
        ids = self._ids
        stack = list(targets)
        stack.reverse()
        while stack:
            node = stack[-1]
            if node in ids:
                stack.pop()
                continue
            missing = [dep for dep in node._fl_deps if dep not in ids]
            if missing:
                missing.reverse()
                stack.extend(missing)
            else:
                stack.pop()
                self._add(node)
        return [NodeId(number) for number in range(n_before, len(self.nodes))]

    def _add(self, node: Node) -> None:
        number = NodeId(len(self.nodes))
        self._ids[node] = number
        self.nodes.append(node)
        dependencies = tuple([self._ids[dep] for dep in node._fl_deps])
        self.dependencies.append(dependencies)
        self.dependents.append([])
        for dependency in dependencies:
            self.dependents[dependency].append(number)
