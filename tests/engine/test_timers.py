"""Moments: the nearest first, the last word counts."""

from hypothesis import given
from hypothesis import strategies as st

from flowlib.engine.timers import Timers
from flowlib.ids import NodeId

moments = st.tuples(st.sampled_from(["run", "queue"]), st.integers(0, 3).map(NodeId), st.integers(0, 9) | st.none())


@given(st.lists(moments, max_size=30), st.integers(0, 9))
def test_timers_are_a_table_sorted_by_time(said: list, now: int) -> None:
    """However moments are set, changed and taken back, what is due is what a plain table says."""
    timers, table = Timers(), {}
    for kind, node, at in said:
        if at is None:
            timers.cancel(kind, node)
            table.pop((kind, node), None)
        else:
            timers.set(kind, node, at)
            table[kind, node] = at

    assert timers.next_at == min(table.values(), default=None)
    taken = list(timers.take(now))
    assert set(taken) == {moment for moment, at in table.items() if at <= now}
    assert [table[moment] for moment in taken] == sorted(table[moment] for moment in taken)
    assert bool(timers) == (len(taken) < len(table))


def test_moments_can_be_put_off() -> None:
    """All of some kinds, by the same time."""
    timers = Timers()
    timers.set("run", NodeId(1), 5.0)
    timers.set("queue", NodeId(1), 5.0)

    timers.put_off(("queue",), 2.0)

    assert list(timers.take(6.0)) == [("run", 1)]
    assert list(timers.take(7.0)) == [("queue", 1)]
