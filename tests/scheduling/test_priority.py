"""Which ready node first."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from flowlib.ids import NodeId
from flowlib.scheduling.priority import rank, ranks, remaining_paths
from tests.scheduling.plans import Plan


def plan(*dependencies: int, weight_s: float = 1.0, priority: float = 0.0) -> Plan:
    """Return a node's plan, dependencies first."""
    return Plan(dependencies=tuple(NodeId(d) for d in dependencies), weight_s=weight_s, priority=priority)


def paths(plans: list[Plan], **options: float) -> list[float]:
    """Return the remaining seconds of each plan."""
    return remaining_paths([one.dependencies for one in plans], [one.traits() for one in plans], **options)  # type: ignore[arg-type]


def test_remaining_path_is_the_longest_one_below() -> None:
    """In a diamond, what is above carries the longer of the two sides."""
    top, short, long, bottom = plan(), plan(0, weight_s=1), plan(0, weight_s=5), plan(1, 2, weight_s=2)

    assert paths([top, short, long, bottom]) == [8.0, 3.0, 7.0, 2.0]


def test_new_nodes_are_ranked_among_themselves_and_before_what_follows() -> None:
    """Nodes that join a run do not look at older ones; what waits for them all is added to each."""
    first, second = plan(0, 3, weight_s=2), plan(4, weight_s=3)

    assert paths([first, second], first=4, then_s=10.0) == [15.0, 13.0]


@given(st.lists(st.tuples(st.floats(0, 100), st.lists(st.integers(0, 30), max_size=3)), max_size=30))
def test_remaining_path_is_own_time_and_the_longest_of_the_dependents(shape: list[tuple[float, list[int]]]) -> None:
    """The definition, on any graph."""
    plans = [plan(*{d for d in deps if d < n}, weight_s=weight) for n, (weight, deps) in enumerate(shape)]

    remaining = paths(plans)

    for number, one in enumerate(plans):
        below = [remaining[other] for other, their in enumerate(plans) if number in their.dependencies]
        assert remaining[number] == max(below, default=0.0) + one.weight_s


def test_rank_is_priority_then_path_then_depth_then_construction() -> None:
    """Each rule decides only what the one before it leaves equal."""
    best_first = [
        rank(NodeId(9), plan(priority=1.0).traits(), remaining_s=0.0, depth=0),
        rank(NodeId(8), plan().traits(), remaining_s=5.0, depth=0),
        rank(NodeId(7), plan().traits(), remaining_s=4.0, depth=3),
        rank(NodeId(5), plan().traits(), remaining_s=4.0, depth=2),
        rank(NodeId(6), plan().traits(), remaining_s=4.0, depth=2),
    ]

    assert all(one < other for one, other in pairwise(best_first))


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 100), st.integers(0, 9)), max_size=20), st.randoms())
def test_many_ranks_at_once_are_those_of_each(rows: list[tuple[int, float, int]], order: Random) -> None:
    """For any of the nodes, in any order."""
    traits = [plan(priority=priority).traits() for priority, _, _ in rows]
    remaining, depths = [seconds for _, seconds, _ in rows], [depth for _, _, depth in rows]
    nodes = [NodeId(number) for number in range(len(rows))]
    order.shuffle(nodes)

    assert ranks(nodes, traits, remaining, depths) == [
        rank(node, traits[node], remaining[node], depths[node]) for node in nodes
    ]
