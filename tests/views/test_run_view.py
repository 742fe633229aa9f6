"""Past runs as text and as HTML."""

from pathlib import Path

from flowlib.events import Event, NodeCached, NodeFailed, NodeFinished, NodeStarted, Noticed, RunFinished, RunStarted
from flowlib.history.query import RunSummary
from flowlib.history.record import RunRecord, fold
from flowlib.ids import Key, NodeId, RunId
from flowlib.views.run_view import run_html, run_text, runs_text

NOON = 1767268800.0  # 2026-01-01 12:00:00 UTC


def a_record(task: str = "fit") -> RunRecord:
    """Return a run with a hit, three results, two equal failures and a notice."""
    events: list[Event] = [
        RunStarted(run=RunId("20260101-120000-1f2e3d4c"), at=NOON, n_nodes=6),
        NodeCached(at=NOON, node=NodeId(0), task="load", key=Key("k"), saved_s=12.0),
    ]
    for i in map(NodeId, range(1, 6)):
        events.append(NodeStarted(at=NOON + i, node=i, task=task, label=f"C={i}", site="a.py:3"))
        if i % 2:
            events.append(NodeFinished(at=NOON + i + 1, node=i, task=task, duration_s=1.2, size_bytes=5000))
        else:
            events.append(NodeFailed(at=NOON + i + 1, node=i, task=task, error_type="ValueError", message="no fit"))
    events.append(Noticed(at=NOON, kind="not-kept", message="The disk is full."))
    events.append(RunFinished(at=NOON + 10, status="failed", duration_s=10.0, counts={}))
    return fold(events)


def test_a_run_is_shown_as_text() -> None:
    """What it was, a line per task, what failed, what should be known."""
    assert run_text(a_record()).splitlines() == [
        "20260101-120000-1f2e3d4c  failed  2026-01-01 12:00:00  10.0 s",
        "6 nodes: 3 done, 1 cached, 2 failed",
        "saved 12.0 s",
        "",
        "task  done  cached  failed  other    mean  longest   work   saved   size",
        "load             1                                         12.0 s",
        "fit      3               2         720 ms    1.2 s  3.6 s          15 kB",
        "",
        "fit failed: ValueError: no fit (2 times), first at C=2, a.py:3",
        "note: The disk is full.",
    ]


def test_colour_is_asked_for() -> None:
    """Without it there is no escape code, whatever the task is called."""
    hostile = a_record("\x1b[31mfit")

    assert "\x1b" not in run_text(hostile)
    assert "\x1b[31mfailed\x1b[0m" in run_text(hostile, color=True)


def test_an_empty_run_has_a_text() -> None:
    """A log that holds nothing yet is no error."""
    assert run_text(fold([])).splitlines() == ["run  running    0 s", "no nodes"]


def test_runs_are_listed() -> None:
    """One line each; only the tags give way to a narrow terminal."""
    run = RunSummary(
        run=RunId("20260101-120000-1f2e3d4c"), path=Path("x"), status="crashed", started_at=NOON, duration_s=75.0,
        n_nodes=1200, counts={"done": 1100, "failed": 20, "waiting": 80}, tags=("nightly", "x" * 50),
    )  # fmt: skip

    assert runs_text([run], width=100).splitlines() == [
        "run                       status   nodes   done  cached  failed  other        time  tags",
        "20260101-120000-1f2e3d4c  crashed  1,200  1,100              20     80  1 min 15 s  nightly, xxxxxx…",
    ]


def test_no_runs_are_said_in_words() -> None:
    """An empty table would be a puzzle."""
    assert runs_text([]) == "There are no runs yet."


def test_an_impossible_time_is_a_question_mark() -> None:
    """A log that was edited by hand may hold any number."""
    assert "?" in run_text(fold([RunStarted(run=RunId("r"), at=float("inf"), n_nodes=0)]))


def test_a_run_is_shown_as_html() -> None:
    """The same facts, escaped, in one small fragment."""
    markup = run_html(a_record("fit<script>"))

    assert "fit&lt;script&gt;" in markup
    assert "<script" not in markup
    assert "6 nodes: 3 done, 1 cached, 2 failed, saved 12.0 s" in markup
    assert "None" not in markup
    assert len(markup) < 10_000
