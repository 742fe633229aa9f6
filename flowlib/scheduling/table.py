"""What the scheduler knows about each node: parallel lists by node id, append-only.

Lists of plain values rather than one object a node: a node costs a few machine words, and a hundred thousand of them do
not slow the garbage collector.
"""

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId
from flowlib.scheduling.messages import Grown, NodePlan
from flowlib.scheduling.priority import Rank, rank, remaining_paths


class NodeTable:
    """The nodes of a run.

    Attributes:
        states: Where each node is; changed only by the scheduler, through the table in `states`.
        plans: What each node was announced with.
        dependents: The nodes that need each node.
        n_missing: How many other nodes, or leases, each node still waits for.
        n_consumers: How many nodes and targets may still ask for each node's value.
        has_value: Whether each node has ended with a value.
        is_dropped: Whether the engine has been told to let go of the value.
        has_told: Whether its dependents have been told of its first end. A later end, after it was made again, is told
            only to those who wait for it explicitly.
    """

    __slots__ = (
        *("_depths", "_remaining_s", "dependents", "has_told", "has_value"),
        *("is_dropped", "n_consumers", "n_missing", "plans", "states"),
    )

    def __init__(self) -> None:
        self.states: list[NodeState] = []
        self.plans: list[NodePlan] = []
        self.dependents: list[list[NodeId]] = []
        self.n_missing: list[int] = []
        self.n_consumers: list[int] = []
        self.has_value: list[bool] = []
        self.is_dropped: list[bool] = []
        self.has_told: list[bool] = []
        self._remaining_s: list[float] = []
        self._depths: list[int] = []

    def add(self, fact: Grown) -> range:
        """Append nodes, all `waiting`, and count their edges; return their ids. O(new nodes + their edges).

        Raises:
            InternalError: The fact names a node that does not exist; nothing has been changed.
        """
        first, n_new = len(self.states), len(fact.plans)
        self._check(fact, first)
        parent = fact.parent
        self._remaining_s += remaining_paths(fact.plans, first, 0.0 if parent is None else self._remaining_s[parent])
        least_depth = 0 if parent is None else self._depths[parent] + 1
        self.states += ["waiting"] * n_new
        self.plans += fact.plans
        self.dependents += [[] for _ in fact.plans]
        self.n_missing += [0] * n_new
        self.n_consumers += [0] * n_new
        self.has_value += [False] * n_new
        self.is_dropped += [False] * n_new
        self.has_told += [False] * n_new
        depths, dependents, n_consumers = self._depths, self.dependents, self.n_consumers
        for node, plan in enumerate(fact.plans, first):
            depth = least_depth
            for dependency in plan.dependencies:
                if depths[dependency] >= depth:
                    depth = depths[dependency] + 1
                dependents[dependency].append(NodeId(node))
                n_consumers[dependency] += 1
            depths.append(depth)
        for target in fact.targets:
            self.n_consumers[target] += 1
        return range(first, first + n_new)

    def rank(self, node: NodeId) -> Rank:
        """Return the sort key of a ready node; the smallest starts first."""
        return rank(node, self.plans[node], self._remaining_s[node], self._depths[node])

    def _check(self, fact: Grown, first: int) -> None:
        for node, plan in enumerate(fact.plans, first):
            dependencies = plan.dependencies
            if dependencies and not (min(dependencies) >= 0 and max(dependencies) < node):
                raise _unknown(max(dependencies), f"a dependency of node {node}")
        for target in fact.targets:
            if not 0 <= target < first + len(fact.plans):
                raise _unknown(target, "a target")
        if fact.parent is not None and not 0 <= fact.parent < first:
            raise _unknown(fact.parent, "a parent")


def _unknown(node: NodeId, use: str) -> InternalError:
    return InternalError(
        "The scheduler was told of a node that it does not know.",
        {"node": node, "as": use},
        "This is a bug in flowlib; please report it with this text.",
    )
