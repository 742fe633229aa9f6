"""What displays say of a run: exact words, honest predictions."""

import pytest

from flowlib.events import (
    Event,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeSkipped,
    NodeStarted,
    RunFinished,
    RunStarted,
    RunStatus,
)
from flowlib.ids import Key, NodeId, RunId
from flowlib.views.snapshot import (
    Row,
    Snapshot,
    failure_lines,
    predict_remaining,
    status_line,
    summary_line,
    take_snapshot,
)
from flowlib.views.tally import Tally


def looked_at(*events: Event, title: str = "digits_sweep", elapsed_s: float = 4.2, max_rows: int = 12) -> Snapshot:
    """Return the snapshot after these events."""
    tally = Tally()
    for event in events:
        tally.add(event)
    return take_snapshot(tally, title=title, totals={}, now=10.0, elapsed_s=elapsed_s, max_rows=max_rows)


def done(n: int, task: str = "fit") -> list[Event]:
    """Return n finished nodes."""
    return [NodeFinished(at=1.0, node=NodeId(i), task=task) for i in range(n)]


def ended(status: RunStatus = "success") -> RunFinished:
    """Return the end of a run of 4.2 seconds."""
    return RunFinished(at=5.0, status=status, duration_s=4.2, counts={})


def start(n: int, **more: object) -> RunStarted:
    """Return the start of a run."""
    return RunStarted(run=RunId("r"), at=0.8, n_nodes=n, **more)  # type: ignore[arg-type]


def test_the_summary_says_what_happened() -> None:
    """Done, cached and failed are always said."""
    assert summary_line(looked_at(start(131), *done(131), ended())) == (
        "digits_sweep: 131 done, 0 cached, 0 failed in 4.2 s"
    )


def test_the_summary_says_what_was_saved_and_what_was_left() -> None:
    """Other states appear when they have nodes, savings when they are worth a word."""
    events = [
        start(3),
        NodeCached(at=1.0, node=NodeId(0), task="load", key=Key("k"), saved_s=90.0),
        NodeFailed(at=1.0, node=NodeId(1), task="fit", error_type="E", message="m"),
        NodeSkipped(at=1.0, node=NodeId(2), task="best", because=NodeId(1)),
        ended("failed"),
    ]

    assert summary_line(looked_at(*events)) == (
        "digits_sweep: 0 done, 1 cached, 1 failed, 1 skipped in 4.2 s (saved 1 min 30 s)"
    )


def test_a_cancelled_run_says_so_first() -> None:
    """Nobody should take a stopped run for a finished one."""
    assert summary_line(looked_at(start(3), *done(1), ended("cancelled"))) == (
        "digits_sweep cancelled: 1 done, 0 cached, 0 failed in 4.2 s"
    )


def test_large_counts_are_readable() -> None:
    """Thousands stand apart."""
    assert summary_line(looked_at(start(1), *done(12_345), ended())).startswith("digits_sweep: 12,345 done")


@pytest.mark.parametrize(
    ("title", "tags", "shown"), [("mine", ("nightly",), "mine"), ("", ("nightly",), "nightly"), ("", (), "flowlib")]
)
def test_a_run_is_called_by_its_title_or_tag(title: str, tags: tuple[str, ...], shown: str) -> None:
    """There is always a name."""
    assert looked_at(start(1, tags=tags), title=title).title == shown


def test_the_status_says_how_far_it_is() -> None:
    """Counts of nothing are left out while the run goes on."""
    events = [start(20), *done(5), NodeStarted(at=1.0, node=NodeId(9), task="fit")]

    assert status_line(looked_at(*events, elapsed_s=10.0)) == (
        "digits_sweep: 5 of 20, 1 running, 10.0 s, about 30 s left"
    )


def row(done: int, total: int, elapsed_s: float) -> Row:
    """Return a total line."""
    return Row(name="total", counts={"done": done}, total=total, elapsed_s=elapsed_s)


def test_without_ground_nothing_is_predicted() -> None:
    """No history and hardly a node ended: no number is better than a wild one."""
    assert predict_remaining(row(2, 100, 1.0), None) is None
    assert predict_remaining(row(100, 100, 9.0), 20.0) is None


def test_history_predicts_first_and_the_own_rate_takes_over() -> None:
    """At the start past runs decide, towards the end this one."""
    assert predict_remaining(row(0, 100, 4.0), 60.0) == 56.0
    assert predict_remaining(row(50, 100, 100.0), 60.0) == 0.5 * 0 + 0.5 * 100
    assert predict_remaining(row(0, 100, 70.0), 60.0) is None


def test_hits_do_not_count_as_speed() -> None:
    """A thousand hits in a second do not promise that the rest takes a second."""
    cached = Row(name="total", counts={"cached": 1000, "done": 5}, total=1010, elapsed_s=10.0)

    assert predict_remaining(cached, None) == 10.0


def test_the_busiest_tasks_are_shown() -> None:
    """With many tasks, those that run and those that moved last stay, in their order."""
    events: list[Event] = [start(30)]
    for i in range(30):
        events.append(NodeStarted(at=float(i), node=NodeId(i), task=f"t{i}"))
        if i not in (3, 7):
            events.append(NodeFinished(at=float(i), node=NodeId(i), task=f"t{i}"))

    snapshot = looked_at(*events, max_rows=4)

    assert [r.name for r in snapshot.rows] == ["t3", "t7", "t28", "t29"]
    assert snapshot.n_hidden_rows == 26
    assert snapshot.all.counts == {"done": 28, "running": 2}


def test_equal_failures_are_one_line() -> None:
    """What failed, why, how often, where first; hostile text is harmless."""
    events = [
        NodeFailed(at=1.0, node=NodeId(i), task="fit", error_type="ValueError", message="bad\x1b[31m lr",
                   label=f"lr={i}", site="sweep.py:12")
        for i in range(3)
    ]  # fmt: skip

    assert failure_lines(looked_at(*events)) == [
        r"fit failed: ValueError: bad\x1b[31m lr (3 times), first at lr=0, sweep.py:12"
    ]
    assert failure_lines(looked_at(events[0])) == [r"fit failed: ValueError: bad\x1b[31m lr, at lr=0, sweep.py:12"]


def test_failures_beyond_the_first_few_are_counted() -> None:
    """Everything failing differently still fits a screen."""
    events = [NodeFailed(at=1.0, node=NodeId(i), task="fit", error_type="E", message=f"{i}") for i in range(8)]

    assert failure_lines(looked_at(*events))[-1] == "and 3 other failures"


def test_a_task_is_timed_until_it_rests() -> None:
    """A line's clock goes on while a node of it runs and stands still afterwards."""
    running = [NodeStarted(at=2.0, node=NodeId(0), task="fit")]
    over = [*running, NodeFinished(at=5.0, node=NodeId(0), task="fit")]

    assert [looked_at(*events).rows[0].elapsed_s for events in (running, over)] == [8.0, 3.0]
