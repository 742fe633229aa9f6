"""The fold over events: defined for every prefix of every stream, and its numbers add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.events import (
    EVENT_TYPES,
    NODE_STATES,
    Event,
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
    RunFinished,
    RunStarted,
)
from flowlib.history.record import NODE_EVENTS, Recorder, fold, state_after
from flowlib.ids import Key, NodeId, RunId

N0, N1, N2, N3 = map(NodeId, range(4))
KEY = Key("0" * 64)

names = st.sampled_from(["load", "fit"])
nodes = st.integers(0, 5).map(NodeId)
times = st.floats(0, 1e9)
any_events = st.one_of(
    st.builds(RunStarted, run=st.just(RunId("r")), at=times, n_nodes=st.integers(0, 9)),
    st.builds(NodesAdded, at=times, parent=nodes, n_nodes=st.integers(0, 3)),
    st.builds(NodeCached, at=times, node=nodes, task=names, key=st.just(KEY), saved_s=times),
    st.builds(NodeStarted, at=times, node=nodes, task=names),
    st.builds(NodeFinished, at=times, node=nodes, task=names, duration_s=times, size_bytes=st.integers(0, 99)),
    st.builds(NodeFailed, at=times, node=nodes, task=names, error_type=names, message=st.text(max_size=3)),
    st.builds(NodeTimedOut, at=times, node=nodes, task=names, error_type=names, message=st.text(max_size=3)),
    st.builds(
        NodeRetried,
        at=times,
        node=nodes,
        task=names,
        attempt=st.integers(1, 9),
        delay_s=times,
        error_type=names,
        message=st.text(max_size=3),
    ),
    st.builds(NodeSkipped, at=times, node=nodes, task=names, because=nodes),
    st.builds(NodeCancelled, at=times, node=nodes, task=names),
    st.builds(Noticed, at=times, kind=names, message=st.text(max_size=3)),
    st.builds(RunFinished, at=times, status=st.just("success"), duration_s=times, counts=st.just({})),
)


def a_run() -> list[Event]:
    """Return a run of every kind of event: one hit, one computed, one failed, one skipped, one cancelled, one grown."""
    return [
        RunStarted(run=RunId("r1"), at=100.0, n_nodes=5, tags=("nightly",), expected_s=9.0),
        NodeCached(at=100.1, node=N0, task="load", key=KEY, saved_s=7.0),
        NodeStarted(at=100.2, node=N1, task="fit", label="lr=0.1", site="a.py:3", reasons=("code",)),
        NodeStarted(at=100.2, node=N2, task="fit", label="lr=0.2", site="a.py:3"),
        NodeFinished(at=101.2, node=N1, task="fit", key=KEY, duration_s=1.0, size_bytes=10, worker="w1"),
        NodesAdded(at=101.2, parent=N1, n_nodes=1),
        NodeRetried(at=101.9, node=N2, task="fit", attempt=1, delay_s=0.1, error_type="OSError", message="x"),
        NodeStarted(at=102.0, node=N2, task="fit", label="lr=0.2", site="a.py:3", attempt=2),
        NodeTimedOut(at=102.1, node=NodeId(5), task="send", error_type="TaskTimedOut", message="late", limit="queue"),
        NodeFailed(at=102.2, node=N2, task="fit", error_type="ValueError", message="bad", duration_s=2.0, worker="w2"),
        NodeSkipped(at=102.2, node=N3, task="best", because=N2),
        Noticed(at=102.3, kind="not-kept", message="disk full"),
        NodeCancelled(at=102.4, node=NodeId(4), task="report"),
        RunFinished(at=102.5, status="failed", duration_s=2.5, counts={"done": 1}),
    ]


def test_the_example_run_has_every_event() -> None:
    """The tests below cover the closed set."""
    assert {type(event) for event in a_run()} == set(EVENT_TYPES)


def test_a_whole_run_is_recorded() -> None:
    """Status, times, counts and savings come from the events alone."""
    record = fold(a_run())

    assert (record.run, record.status, record.tags, record.expected_s) == ("r1", "failed", ("nightly",), 9.0)
    assert (record.started_at, record.ended_at, record.duration_s) == (100.0, 102.5, 2.5)
    ends = {"done": 1, "cached": 1, "failed": 1, "skipped": 1, "timed_out": 1, "cancelled": 1}
    assert record.counts == ends
    assert (record.n_nodes, record.saved_s, record.work_s) == (6, 7.0, 3.0)
    assert [notice.message for notice in record.notices] == ["disk full"]


def test_a_node_is_recorded_with_both_its_ends() -> None:
    """The start gives site and reasons, the end gives the rest; a label may come from either."""
    node = fold(a_run()).nodes[N1]

    assert (node.state, node.started_at, node.ended_at, node.duration_s) == ("done", 100.2, 101.2, 1.0)
    assert (node.label, node.site, node.reasons, node.worker) == ("lr=0.1", "a.py:3", ("code",), "w1")
    assert (node.key, node.size_bytes) == (KEY, 10)


def test_a_failure_keeps_its_error_and_its_place() -> None:
    """What failed can be shown and found."""
    failure, late = fold(a_run()).failures

    assert (failure.node, failure.error_type, failure.message, failure.site) == (N2, "ValueError", "bad", "a.py:3")
    assert (failure.label, failure.worker, failure.duration_s) == ("lr=0.2", "w2", 2.0)
    assert (late.state, late.task) == ("timed_out", "send")


def test_every_attempt_is_on_record() -> None:
    """The attempts before the last one are listed with what went wrong and when the next one was to start."""
    (attempt,) = fold(a_run()).nodes[N2].attempts

    assert (attempt.attempt, attempt.error_type, attempt.message, attempt.delay_s) == (1, "OSError", "x", 0.1)


def test_a_node_between_two_attempts_waits() -> None:
    """It was heard of, and has not ended."""
    record = fold(a_run()[:7])

    assert record.nodes[N2].state == "waiting"
    assert record.nodes[N2].ended_at is None
    assert record.counts["waiting"] == 4


def test_a_skipped_node_names_its_cause() -> None:
    """The node that ended without a value is on record."""
    assert fold(a_run()).nodes[N3].because == N2


def test_tasks_are_summed() -> None:
    """Durations count every node that ran to an end, failed ones too."""
    load, fit, *_ = fold(a_run()).tasks

    assert (load.task, load.counts, load.n_timed, load.mean_s, load.saved_s) == ("load", {"cached": 1}, 0, 0.0, 7.0)
    assert (fit.task, fit.counts) == ("fit", {"done": 1, "failed": 1})
    assert (fit.n_timed, fit.duration_s, fit.longest_s, fit.mean_s, fit.size_bytes) == (2, 3.0, 2.0, 1.5, 10)


def test_a_run_without_its_end_is_running() -> None:
    """A stream cut short lasts up to its last event."""
    record = fold(a_run()[:5])

    assert (record.status, record.ended_at) == ("running", None)
    assert record.duration_s == pytest.approx(1.2)
    assert record.counts == {"waiting": 2, "running": 1, "done": 1, "cached": 1}


def test_a_lost_hit_counts_as_what_became_of_it() -> None:
    """A hit whose blob is gone is computed after all: it saved nothing."""
    hit, start, end = (
        NodeCached(at=1.0, node=N0, task="load", key=KEY, saved_s=5.0),
        NodeStarted(at=2.0, node=N0, task="load"),
        NodeFinished(at=3.0, node=N0, task="load", duration_s=1.0),
    )

    assert fold([hit]).saved_s == 5.0
    assert (fold([hit, start]).counts, fold([hit, start]).saved_s) == ({"running": 1}, 0)
    assert (fold([hit, start, end]).counts, fold([hit, start, end]).saved_s) == ({"done": 1}, 0)


def test_no_events_are_an_empty_run() -> None:
    """The fold has a beginning."""
    record = fold([])

    assert (record.run, record.status, record.n_nodes, record.counts) == ("", "running", 0, {})
    assert (record.started_at, record.duration_s, record.tasks) == (None, 0.0, ())


def test_node_events_are_all_that_name_a_node() -> None:
    """No event that moves a node is forgotten by the folds."""
    assert set(NODE_EVENTS) == {kind for kind in EVENT_TYPES if kind.__name__.startswith("Node")} - {NodesAdded}


@given(st.lists(any_events, max_size=30))
def test_the_numbers_of_every_prefix_add_up(stream: list[Event]) -> None:
    """Any stream, however wrong, folds at every length, and its counts sum to its nodes."""
    recorder = Recorder()
    for n, event in enumerate(stream, start=1):
        recorder.on_event(event)
        record = recorder.record()

        assert record == fold(stream[:n])
        assert sum(record.counts.values()) == record.n_nodes
        assert set(record.counts) <= set(NODE_STATES)
        heard_of = sum(sum(task.counts.values()) for task in record.tasks)
        between_attempts = sum(node.state == "waiting" for node in record.nodes.values())
        assert heard_of == len(record.nodes)
        assert record.counts.get("waiting", 0) == record.n_nodes - heard_of + between_attempts
        assert record.duration_s >= 0


@given(st.lists(any_events, max_size=30))
def test_the_last_event_of_a_node_is_its_state(stream: list[Event]) -> None:
    """The fold is a plain one: nothing but a node's own last event decides where it is."""
    last = {event.node: state_after(event) for event in stream if isinstance(event, NODE_EVENTS)}

    assert {number: node.state for number, node in fold(stream).nodes.items()} == last
