"""Which ready node first: the user's priority, the longest remaining path, the deepest node, construction order.

Starting the critical path first bounds the makespan; going deep first keeps few values alive (Graham 1966; the depth
rule is what dask's ordering is after, too).
"""

from collections.abc import Sequence
from operator import attrgetter, neg

from flowlib.ids import NodeId
from flowlib.scheduling.messages import Traits

_priority_of = attrgetter("priority")
Rank = tuple[float, float, int, NodeId]
"""The sort key of a ready node; the smallest starts first."""


def remaining_paths(
    dependencies: Sequence[tuple[NodeId, ...]], traits: Sequence[Traits], first: int = 0, then_s: float = 0.0
) -> list[float]:
    """Return for each node the seconds of the longest path from its start to the end of the graph.

    Args:
        dependencies: One tuple per node, dependencies before dependents.
        traits: One per node, for its weight.
        first: Id of the first of them; dependencies on older nodes are left out, since those have mostly started.
        then_s: Seconds of what follows when all of them are done.

    Cost: O(nodes + edges).

    >>> remaining_paths([(), (NodeId(0),)], [Traits(weight_s=2.0), Traits(weight_s=3.0)])
    [5.0, 3.0]
    """
    below = [then_s] * len(traits)
    for number in range(len(traits) - 1, -1, -1):
        remaining_s = below[number] = below[number] + traits[number].weight_s
        for dependency in dependencies[number]:
            if dependency >= first and below[dependency - first] < remaining_s:
                below[dependency - first] = remaining_s
    return below


def rank(node: NodeId, traits: Traits, remaining_s: float, depth: int) -> Rank:
    """Return the sort key of a ready node."""
    return (-traits.priority, -remaining_s, -depth, node)


def ranks(
    nodes: Sequence[NodeId], traits: Sequence[Traits], remaining_s: Sequence[float], depths: Sequence[int]
) -> list[Rank]:
    """Return what `rank` returns for each of some nodes, without a call for each.

    Args:
        nodes: Ready nodes.
        traits: Of all nodes, by id; so are the others.
        remaining_s: See `remaining_paths`.
        depths: How many nodes lie on the longest path to each.
    """
    before = map(neg, map(_priority_of, map(traits.__getitem__, nodes)))
    longest = map(neg, map(remaining_s.__getitem__, nodes))
    return [*zip(before, longest, map(neg, map(depths.__getitem__, nodes)), nodes, strict=True)]
