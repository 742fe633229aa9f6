"""What the scheduler knows about each node: parallel lists by node id, append-only.

Lists of plain values rather than one object a node: a node costs a few machine words, and a hundred thousand of them do
not slow the garbage collector.
"""

from collections.abc import Sequence

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId, ids_from
from flowlib.scheduling.messages import Grown, Traits
from flowlib.scheduling.priority import Rank, rank, ranks, remaining_paths


class NodeTable:
    """The nodes of a run.

    Attributes:
        states: Where each node is; changed only by the scheduler, through the table in `states`.
        dependencies: The nodes that each node needs.
        traits: What each node was announced with.
        dependents: The nodes that need each node; an empty tuple until there is one.
        n_missing: How many other nodes, or leases, each node still waits for.
        n_consumers: How many nodes and targets may still ask for each node's value.
        has_value: Whether each node has ended with a value.
        is_dropped: Whether the engine has been told to let go of the value.
        has_special: Whether any node needs more than its rank and a slot; set by the scheduler.
        has_told: Whether its dependents have been told of its first end. A later end, after it was made again, is told
            only to those who wait for it explicitly.
    """

    __slots__ = (
        *("_depths", "_remaining_s", "dependencies", "dependents", "has_told", "has_value"),
        *("is_dropped", "n_consumers", "n_missing", "has_special", "states", "traits"),
    )

    def __init__(self) -> None:
        self.states: list[NodeState] = []
        self.dependencies: list[tuple[NodeId, ...]] = []
        self.traits: list[Traits] = []
        self.dependents: list[list[NodeId] | tuple[NodeId, ...]] = []
        self.n_missing: list[int] = []
        self.n_consumers: list[int] = []
        self.has_value = bytearray()
        self.is_dropped = bytearray()
        self.has_told = bytearray()
        self.has_special = False
        self._remaining_s: list[float] = []
        self._depths: list[int] = []

    def add(self, fact: Grown) -> range:
        """Append nodes, all `waiting`, and count their edges; return their ids. O(new nodes + their edges).

        Raises:
            InternalError: The fact names a node that does not exist; nothing has been changed.
        """
        first, n_new = len(self.states), len(fact.dependencies)
        self._check(fact, first)
        parent = fact.parent
        then_s = 0.0 if parent is None else self._remaining_s[parent]
        self._remaining_s += remaining_paths(fact.dependencies, fact.traits, first, then_s)
        self.states += ["waiting"] * n_new
        self.dependencies += fact.dependencies
        self.traits += fact.traits
        self.dependents += [()] * n_new
        self.n_missing += [0] * n_new
        self.n_consumers += [0] * n_new
        self.has_value += bytes(n_new)
        self.is_dropped += bytes(n_new)
        self.has_told += bytes(n_new)
        self._add_edges(fact.dependencies, first, 0 if parent is None else self._depths[parent] + 1)
        for target in fact.targets:
            self.n_consumers[target] += 1
        return range(first, first + n_new)

    def _add_edges(self, dependencies: Sequence[tuple[NodeId, ...]], first: int, least_depth: int) -> None:
        depths, dependents, n_consumers = self._depths, self.dependents, self.n_consumers
        for node, needed in zip(ids_from(first), dependencies, strict=False):
            depth = least_depth
            only = (node,) if needed else ()  # one tuple for all on which nothing else depends
            for dependency in needed:
                if depths[dependency] >= depth:
                    depth = depths[dependency] + 1
                others = dependents[dependency]
                if not others:
                    dependents[dependency] = only
                elif type(others) is list:
                    others.append(node)
                else:
                    dependents[dependency] = [*others, node]
                n_consumers[dependency] += 1
            depths.append(depth)

    def ranks(self, nodes: Sequence[NodeId]) -> list[Rank]:
        """Return the sort keys of ready nodes."""
        return ranks(nodes, self.traits, self._remaining_s, self._depths)

    def rank(self, node: NodeId) -> Rank:
        """Return the sort key of a ready node; the smallest starts first."""
        return rank(node, self.traits[node], self._remaining_s[node], self._depths[node])

    def _check(self, fact: Grown, first: int) -> None:
        if len(fact.dependencies) != len(fact.traits):
            raise _unknown(NodeId(first + len(fact.traits)), "a node without traits")
        for node, needed in enumerate(fact.dependencies, first):
            if needed and not (min(needed) >= 0 and max(needed) < node):
                raise _unknown(max(needed), f"a dependency of node {node}")
        for target in fact.targets:
            if not 0 <= target < first + len(fact.dependencies):
                raise _unknown(target, "a target")
        if fact.parent is not None and not 0 <= fact.parent < first:
            raise _unknown(fact.parent, "a parent")


def _unknown(node: NodeId, use: str) -> InternalError:
    return InternalError(
        "The scheduler was told of a node that it does not know.",
        {"node": node, "as": use},
        "This is a bug in flowlib; please report it with this text.",
    )
