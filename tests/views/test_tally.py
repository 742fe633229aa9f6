"""Counting as it goes on gives what the fold gives afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.events import (
    NODE_STATES,
    Call,
    Event,
    EventBatch,
    NodeCached,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodesAdded,
    NodeSkipped,
    NodeStarted,
    NodeTimedOut,
    Noticed,
    RunStarted,
)
from flowlib.history.record import fold
from flowlib.ids import Key, NodeId, RunId
from flowlib.views.tally import MAX_DISTINCT, Tally
from tests.history.batches import batches

names = st.sampled_from(["load", "fit"])
nodes = st.integers(0, 5).map(NodeId)
savings = st.integers(0, 100).map(float)
any_events = st.one_of(
    st.builds(RunStarted, run=st.just(RunId("r")), at=savings, n_nodes=st.integers(0, 9)),
    st.builds(NodesAdded, at=savings, parent=nodes, n_nodes=st.integers(0, 3)),
    st.builds(NodeCached, at=savings, node=nodes, task=names, key=st.just(Key("0" * 64)), saved_s=savings),
    st.builds(NodeStarted, at=savings, node=nodes, task=names),
    st.builds(NodeFinished, at=savings, node=nodes, task=names),
    st.builds(NodeFailed, at=savings, node=nodes, task=names, error_type=names, message=names),
    st.builds(NodeTimedOut, at=savings, node=nodes, task=names, error_type=names, message=names),
    st.builds(
        NodeRetried,
        at=savings,
        node=nodes,
        task=names,
        attempt=st.just(1),
        delay_s=savings,
        error_type=names,
        message=names,
    ),
    st.builds(NodeSkipped, at=savings, node=nodes, task=names, because=nodes),
    st.builds(NodeCancelled, at=savings, node=nodes, task=names),
    st.builds(Noticed, at=savings, kind=names, message=names),
)


@given(st.lists(any_events, max_size=40))
def test_a_tally_agrees_with_the_fold(stream: list[Event]) -> None:
    """For any stream both know the same nodes, states and savings."""
    tally = Tally()
    for event in stream:
        tally.add(event)
    record = fold(stream)

    counts = {state: tally.count(state) for state in NODE_STATES}

    assert {state: n for state, n in counts.items() if n} == record.counts
    assert (tally.n_nodes, tally.saved_s) == (record.n_nodes, record.saved_s)


@given(st.lists(any_events | batches(tasks=st.builds(Call, names)), max_size=20))
def test_a_batch_counts_as_its_events(stream: list[Event | EventBatch]) -> None:
    """However batches and events mix, the counts of each task and the savings are those of single events."""
    tally, single = Tally(), Tally()
    for said in stream:
        if isinstance(said, EventBatch):
            tally.add_batch(said)
        for event in said.events() if isinstance(said, EventBatch) else [said]:
            single.add(event)
            if not isinstance(said, EventBatch):
                tally.add(event)

    assert tally.n_nodes == single.n_nodes
    assert tally.saved_s == pytest.approx(single.saved_s)
    assert tally.tasks.keys() == single.tasks.keys()
    for name, task in tally.tasks.items():
        assert {s: n for s, n in task.counts.items() if n} == {s: n for s, n in single.tasks[name].counts.items() if n}


def failure(i: int, message: str) -> NodeFailed:
    """Return the failure of one node."""
    return NodeFailed(at=1.0, node=NodeId(i), task="fit", error_type="ValueError", message=message, label=f"i={i}")


def test_equal_failures_are_counted_together() -> None:
    """A hundred points that fail alike are one line with a number."""
    tally = Tally()
    for i in range(100):
        tally.add(failure(i, "bad lr" if i % 2 else "bad depth"))

    assert [(f.message, f.n, f.first_label) for f in tally.failures.values()] == [
        ("bad depth", 50, "i=0"),
        ("bad lr", 50, "i=1"),
    ]


def test_different_failures_and_notices_are_bounded() -> None:
    """A run in which everything fails differently holds a few texts and a number."""
    tally = Tally()
    for i in range(1000):
        tally.add(failure(i, f"{i}-" * 1000))
        tally.add(Noticed(at=1.0, kind="odd", message=f"{i}"))

    assert len(tally.failures) == len(tally.notices) == MAX_DISTINCT
    assert tally.n_other_failures == tally.n_other_notices == 1000 - MAX_DISTINCT
    assert max(len(f.message) for f in tally.failures.values()) <= 200
