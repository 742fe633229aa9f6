"""Which ready node first: the longest remaining path, then the deepest node, then construction order.

Starting the critical path first bounds the makespan; going deep first keeps few values alive (Graham 1966; the depth
rule is what dask's ordering is after, too).
"""

from collections.abc import Sequence

from flowlib.ids import NodeId
from flowlib.scheduling.messages import NodePlan

Rank = tuple[float, float, int, int]


def remaining_paths(plans: Sequence[NodePlan]) -> list[float]:
    """Return for each node the seconds of the longest path from its start to the end of the graph.

    Args:
        plans: One per node, dependencies before dependents.

    Cost: O(nodes + edges).

    >>> a, b = NodePlan(dependencies=(), weight_s=2.0), NodePlan(dependencies=(NodeId(0),), weight_s=3.0)
    >>> remaining_paths([a, b])
    [5.0, 3.0]
    """
    below = [0.0] * len(plans)
    for number in range(len(plans) - 1, -1, -1):
        plan = plans[number]
        below[number] += plan.weight_s
        for dependency in plan.dependencies:
            if below[dependency] < below[number]:
                below[dependency] = below[number]
    return below


def rank(node: NodeId, plan: NodePlan, remaining_s: float, depth: int) -> Rank:
    """Return the sort key of a ready node; the smallest starts first."""
    return (-plan.priority, -remaining_s, -depth, node)
