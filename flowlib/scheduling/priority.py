"""Which ready node first: the user's priority, the longest remaining path, the deepest node, construction order.

Starting the critical path first bounds the makespan; going deep first keeps few values alive (Graham 1966; the depth
rule is what dask's ordering is after, too).
"""

from collections.abc import Sequence

from flowlib.ids import NodeId
from flowlib.scheduling.messages import NodePlan

Rank = tuple[float, float, int, NodeId]
"""The sort key of a ready node; the smallest starts first."""


def remaining_paths(plans: Sequence[NodePlan], first: int = 0, then_s: float = 0.0) -> list[float]:
    """Return for each node the seconds of the longest path from its start to the end of the graph.

    Args:
        plans: One per node, dependencies before dependents.
        first: Id of the first of them; dependencies on older nodes are left out, since those have mostly started.
        then_s: Seconds of what follows when all of them are done.

    Cost: O(nodes + edges).

    >>> a, b = NodePlan(dependencies=(), weight_s=2.0), NodePlan(dependencies=(NodeId(0),), weight_s=3.0)
    >>> remaining_paths([a, b])
    [5.0, 3.0]
    """
    below = [then_s] * len(plans)
    for number in range(len(plans) - 1, -1, -1):
        plan = plans[number]
        remaining_s = below[number] = below[number] + plan.weight_s
        for dependency in plan.dependencies:
            if dependency >= first and below[dependency - first] < remaining_s:
                below[dependency - first] = remaining_s
    return below


def rank(node: NodeId, plan: NodePlan, remaining_s: float, depth: int) -> Rank:
    """Return the sort key of a ready node."""
    return (-plan.priority, -remaining_s, -depth, node)
