"""Progress: the right display for the place, few drawings, exact last words, escape codes only where wanted."""

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import flowlib.views.progress
from flowlib.clock import FrozenClock
from flowlib.errors import ConfigError
from flowlib.events import (
    Call,
    Event,
    NodeFailed,
    NodeFinished,
    NodesRan,
    NodeStarted,
    Noticed,
    RunFinished,
    RunStarted,
)
from flowlib.ids import NodeId, RunId
from flowlib.views.progress import choose_progress, in_notebook
from flowlib.views.progress_notebook import NotebookScreen
from flowlib.views.progress_observer import ProgressObserver
from flowlib.views.progress_plain import PlainScreen
from flowlib.views.progress_terminal import TerminalScreen, bar_parts, render_snapshot
from flowlib.views.snapshot import ENDED, Row, Snapshot


class RecordingScreen:
    """A screen that remembers what it was asked, and when."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.calls: list[str] = []
        self.drawn_at: list[float] = []
        self.look: Callable[[], Snapshot] | None = None

    def begin(self, look: Callable[[], Snapshot]) -> None:
        self.calls.append("begin")
        self.look = look

    def draw(self) -> None:
        self.calls.append("draw")
        self.drawn_at.append(self.clock.monotonic())

    def notice(self, text: str) -> None:
        self.calls.append(text)

    def end(self) -> None:
        self.calls.append("end")


class TerminalStream(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def sweep(clock: FrozenClock, n: int, step_s: float, n_failed: int = 0) -> Iterator[Event]:
    """Yield a run of n nodes, moving the clock by `step_s` for each."""
    began = clock.now()
    yield RunStarted(run=RunId("r"), at=clock.now(), n_nodes=n)
    for i in map(NodeId, range(n)):
        yield NodeStarted(at=clock.now(), node=i, task="fit")
        clock.advance(step_s)
        if i < n_failed:
            yield NodeFailed(at=clock.now(), node=i, task="fit", error_type="ValueError", message="bad lr")
        else:
            yield NodeFinished(at=clock.now(), node=i, task="fit", duration_s=step_s)
    yield RunFinished(at=clock.now(), status="success", duration_s=clock.now() - began, counts={"done": n})


def feed(observer: object, events: Iterator[Event]) -> None:
    """Hand all events to an observer."""
    for event in events:
        observer.on_event(event)  # type: ignore[attr-defined]


def test_drawings_keep_their_distance() -> None:
    """However many events arrive, the screen is asked at most once per period."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)

    feed(ProgressObserver(screen, clock=clock, every_s=0.1), sweep(clock, 10_000, 0.001))

    gaps = [later - earlier for earlier, later in zip(screen.drawn_at, screen.drawn_at[1:], strict=False)]
    assert 90 <= len(screen.drawn_at) <= 101
    assert min(gaps) >= 0.0999
    assert (screen.calls[0], screen.calls[-1]) == ("begin", "end")


def test_the_first_node_that_runs_is_shown_at_once() -> None:
    """A long first node does not leave the screen empty."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=0.1)
    events = sweep(clock, 1, 60.0)

    observer.on_event(next(events))
    observer.on_event(next(events))

    assert screen.calls == ["begin", "draw"]


def batch(at: float, n: int) -> NodesRan:
    """Return n nodes that ran within a microsecond."""
    return NodesRan(
        at=at,
        calls=[Call("fit")],
        call_of=[0] * n,
        nodes=list(map(NodeId, range(n))),
        labels=[""] * n,
        keys=[None] * n,
        durations_ns=[1] * n,
        sizes=[0] * n,
        worker="main",
    )


def test_a_batch_is_one_step() -> None:
    """Thousands of nodes at once are counted, and drawn at most once."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=0.1)

    observer.on_event(RunStarted(run=RunId("r"), at=0.0, n_nodes=1000))
    observer.on_batch(batch(0.0, 1000))
    observer.on_batch(batch(0.0, 10))

    assert screen.calls == ["begin", "draw"]
    assert observer.look().all.counts == {"done": 1000}


def test_nothing_happens_after_the_end() -> None:
    """A late event, or closing again, does not draw over the summary."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=0.1)
    feed(observer, sweep(clock, 1, 1.0))
    before = list(screen.calls)

    observer.on_event(Noticed(at=9.0, kind="odd", message="late"))
    observer.close()

    assert screen.calls == before


def test_a_run_that_never_ends_is_closed() -> None:
    """Whoever gives up on a run can still let go of the screen, with a summary of what was seen."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=0.1)
    observer.close()
    observer.on_event(next(sweep(clock, 1, 1.0)))

    observer.close()
    observer.close()

    assert screen.calls == ["begin", "end"]


def test_notices_are_few() -> None:
    """The first few are said; a flood is not."""
    clock = FrozenClock()
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=10.0)
    for i in range(100):
        observer.on_event(Noticed(at=0.0, kind="odd", message=f"thing {i}\x1b[2J"))

    assert screen.calls == ["begin", *(rf"note: thing {i}\x1b[2J" for i in range(5))]


def test_counts_and_time_come_from_events_and_clock() -> None:
    """What the screen sees at any moment is what has happened by then."""
    clock = FrozenClock(50.0)
    screen = RecordingScreen(clock)
    observer = ProgressObserver(screen, clock=clock, every_s=0.1, totals={"fit": 10})
    events = sweep(clock, 10, 2.0, n_failed=1)
    for _ in range(6):  # the start, two whole nodes, one that runs
        observer.on_event(next(events))
    clock.advance(1.0)

    assert screen.look is not None
    snapshot = screen.look()
    assert snapshot.rows == (Row(name="fit", counts={"failed": 1, "done": 1, "running": 1}, total=10, elapsed_s=5.0),)
    assert (snapshot.all.total, snapshot.all.elapsed_s) == (10, 5.0)


# ----------------------------------------------------------------------------------------------------------------------
# Choosing


@pytest.mark.parametrize(
    ("mode", "is_tty", "notebook", "screen"),
    [
        ("auto", True, True, NotebookScreen),
        ("auto", True, False, TerminalScreen),
        (True, False, False, PlainScreen),
        ("plain", True, True, PlainScreen),
        ("terminal", False, False, TerminalScreen),
        ("notebook", False, False, NotebookScreen),
    ],
)
def test_the_display_fits_the_place(mode: str | bool, is_tty: bool, notebook: bool, screen: type) -> None:
    """The notebook first, then the terminal, then plain lines; a mode that was named wins."""
    observer = choose_progress(mode, is_tty=is_tty, in_notebook=notebook, no_color=True, stream=io.StringIO())

    assert isinstance(observer, ProgressObserver)
    assert isinstance(observer._screen, screen)


@pytest.mark.parametrize("mode", [False, None, "off"])
def test_progress_can_be_off(mode: str | bool | None) -> None:
    """No observer at all, so a run without a log makes no events."""
    assert choose_progress(mode, is_tty=True, in_notebook=False, no_color=False, stream=io.StringIO()) is None


def test_an_unknown_mode_is_refused() -> None:
    """With the nearest word that exists."""
    with pytest.raises(ConfigError, match="Did you mean 'plain'"):
        choose_progress("plane", is_tty=True, in_notebook=False, no_color=False, stream=io.StringIO())


def test_a_test_is_no_notebook() -> None:
    """Without a kernel the answer is no, also when IPython happens to be imported."""
    assert in_notebook() is False


def test_rich_and_ipython_are_imported_only_for_their_screens() -> None:
    """Plain progress, and choosing none, load neither."""
    code = (
        "import io, sys; from flowlib.views.progress import choose_progress as choose\n"
        "where = dict(in_notebook=False, no_color=True, stream=io.StringIO())\n"
        "choose('plain', is_tty=False, **where); choose(False, is_tty=True, **where)\n"
        "before = {'rich', 'IPython'} & set(sys.modules)\n"
        "choose('auto', is_tty=True, **where)\n"
        "print(sorted(before), 'rich' in sys.modules, 'IPython' in sys.modules)"
    )
    root = Path(flowlib.views.progress.__file__).parents[2]

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)

    assert done.stdout.strip() == "[] True False"


# ----------------------------------------------------------------------------------------------------------------------
# Plain lines


def test_plain_progress_is_lines() -> None:
    """A start line, one every five seconds, distinct failures, the summary."""
    clock, stream = FrozenClock(), io.StringIO()
    observer = choose_progress(
        "plain", is_tty=False, in_notebook=False, no_color=False, stream=stream, title="digits_sweep", clock=clock
    )

    feed(observer, sweep(clock, 8, 1.5, n_failed=2))

    assert stream.getvalue().splitlines() == [
        "digits_sweep: 8 nodes",
        "digits_sweep: 4 of 8, 2 failed, 6.0 s, about 6 s left",
        "digits_sweep: 8 of 8, 2 failed, 12.0 s",
        "fit failed: ValueError: bad lr (2 times)",
        "digits_sweep: 6 done, 0 cached, 2 failed in 12.0 s",
    ]


def test_a_short_run_is_two_plain_lines() -> None:
    """Logs of CI stay short."""
    clock, stream = FrozenClock(), io.StringIO()
    observer = choose_progress("plain", is_tty=False, in_notebook=False, no_color=False, stream=stream, clock=clock)

    feed(observer, sweep(clock, 3, 0.5))

    assert stream.getvalue() == "flowlib: 3 nodes\nflowlib: 3 done, 0 cached, 0 failed in 1.5 s\n"


def test_a_stream_that_knows_only_ascii_is_no_trouble() -> None:
    """A log in a narrow encoding shows a question mark, not an error."""
    raw = io.BytesIO()
    observer = choose_progress(
        "plain", is_tty=False, in_notebook=False, no_color=False, title="模型",
        stream=io.TextIOWrapper(raw, encoding="ascii"), clock=FrozenClock(),
    )  # fmt: skip

    feed(observer, sweep(FrozenClock(), 1, 0.0))

    assert raw.getvalue().startswith(b"??: 1 node\n")


# ----------------------------------------------------------------------------------------------------------------------
# Terminal


def on_terminal(*, no_color: bool, n_failed: int = 0) -> str:
    """Return everything a terminal was sent during a sweep."""
    clock, stream = FrozenClock(), TerminalStream()
    observer = choose_progress(
        "terminal", is_tty=True, in_notebook=False, no_color=no_color, stream=stream, title="digits_sweep",
        totals={"fit": 131}, clock=clock,
    )  # fmt: skip
    feed(observer, sweep(clock, 131, 0.032, n_failed))
    return stream.getvalue()


def test_a_terminal_is_left_with_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is taken away, the cursor comes back, and the last line is the summary."""
    monkeypatch.setenv("TERM", "xterm-256color")

    sent = on_terminal(no_color=True)

    assert "━" in sent
    assert sent.splitlines()[-1].rpartition("\x1b[2K")[2] == "digits_sweep: 131 done, 0 cached, 0 failed in 4.2 s"
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1


def test_no_color_sends_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR only the cursor moves; without it states are coloured."""
    monkeypatch.setenv("TERM", "xterm-256color")
    style = re.compile(r"\x1b\[[\d;]*m")

    assert not style.search(on_terminal(no_color=True, n_failed=1))
    assert style.search(on_terminal(no_color=False, n_failed=1))


def test_a_run_of_hits_shows_only_its_summary() -> None:
    """Nothing flashes when nothing runs."""
    clock, stream = FrozenClock(), TerminalStream()
    observer = choose_progress("terminal", is_tty=True, in_notebook=False, no_color=True, stream=stream, clock=clock)

    feed(observer, sweep(clock, 0, 0.0))

    assert stream.getvalue() == "flowlib: 0 done, 0 cached, 0 failed in 0 s\n"


def a_snapshot(n_rows: int = 2) -> Snapshot:
    """Return a run half way."""
    rows = [
        Row(name="load_digits", counts={"cached": 1}, total=1, elapsed_s=0.1),
        Row(name="fit", counts={"done": 40, "failed": 2, "running": 2}, total=128, elapsed_s=4.0),
        Row(name="report[bold]", counts={"running": 1}, total=None, elapsed_s=0.5),
    ]
    everything = Row(
        name="total", counts={"done": 40, "cached": 1, "failed": 2, "running": 2}, total=129, elapsed_s=4.2
    )
    return Snapshot(
        title="digits_sweep", status="running", rows=tuple(rows[:n_rows]), n_hidden_rows=0, all=everything,
        remaining_s=8.4, saved_s=0.0, failures=(), n_other_failures=0,
    )  # fmt: skip


def drawn(snapshot: Snapshot, width: int) -> list[str]:
    """Return the lines of a snapshot on a terminal of some width."""
    console = Console(
        width=width, file=io.StringIO(), record=True, color_system=None, force_terminal=True, markup=False
    )
    console.print(render_snapshot(snapshot, width))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_table_reads_without_colour() -> None:
    """One line per task: bar, ended of total, counts by state, elapsed; a total line and what is left."""
    assert drawn(a_snapshot(3), 90) == [
        "digits_sweep  about 8 s left                         done  cached  failed  running",
        "load_digits   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━     1/1     -       1       -        -  100 ms",
        "fit           ━━━━━━━━━━───────────────────  42/128    40       -       2        2   4.0 s",
        "report[bold]                                      0     -       -       -        1  500 ms",
        "total         ━━━━━━━━━━───────────────────  43/129    40       1       2        2   4.2 s",
    ]


@pytest.mark.parametrize("width", [20, 40, 55, 60, 72, 80, 100, 200])
def test_the_table_fits_any_width(width: int) -> None:
    """With less room the bars go first, then the tasks' lines."""
    lines = drawn(a_snapshot(), width)

    assert max(map(len, lines)) <= width
    assert any("━" in line for line in lines) == (width >= 72)
    assert "about 8 s left" in " ".join(lines)


def test_a_bar_is_full_only_at_the_end() -> None:
    """A state with nodes is seen, and one missing node keeps the bar open."""
    assert bar_parts(Row(name="x", counts={"done": 999}, total=1000, elapsed_s=1.0), 10) == [
        ("done", 9),
        ("waiting", 1),
    ]
    assert bar_parts(Row(name="x", counts={"done": 1000}, total=1000, elapsed_s=1.0), 10) == [("done", 10)]
    assert bar_parts(Row(name="x", counts={"failed": 1}, total=1000, elapsed_s=1.0), 10) == [
        ("failed", 1),
        ("waiting", 9),
    ]


@given(
    st.dictionaries(st.sampled_from([*ENDED, "running"]), st.integers(0, 10**6)),
    st.integers(0, 10),
    st.integers(10, 60),
)
def test_a_bar_always_has_its_width(counts: dict[str, int], n_waiting: int, width: int) -> None:
    """The parts fill the bar exactly, every state with nodes has a part, and only an ended run has no thin end."""
    total = sum(counts.values()) + n_waiting
    parts = bar_parts(Row(name="x", counts=counts, total=total, elapsed_s=1.0), width)

    assert sum(cells for _, cells in parts) == width
    assert all(cells > 0 for _, cells in parts)
    seen = {state for state, n in counts.items() if n}
    assert seen <= {state for state, _ in parts}
    assert ("waiting" in dict(parts)) == (n_waiting > 0 or total == 0 or len(seen) == 0)


# ----------------------------------------------------------------------------------------------------------------------
# Notebook


def in_cell(n: int, step_s: float, n_failed: int = 0, task_title: str = "digits_sweep") -> list[Mapping[str, str]]:
    """Return every bundle a notebook was shown during a sweep."""
    clock = FrozenClock()
    shown: list[Mapping[str, str]] = []
    screen = NotebookScreen(shown.append)
    observer = ProgressObserver(screen, clock=clock, every_s=0.25, title=task_title, totals={"fit": n})
    feed(observer, sweep(clock, n, step_s, n_failed))
    return shown


def test_a_notebook_is_updated_four_times_a_second() -> None:
    """Each update is a message to the browser; the last one is the summary."""
    shown = in_cell(1000, 0.01)

    assert 35 <= len(shown) <= 42
    assert shown[-1]["text/plain"] == "digits_sweep: 1,000 done, 0 cached, 0 failed in 10.0 s"
    assert shown[-1]["text/plain"] in shown[-1]["text/html"]


def test_a_notebook_shows_tasks_while_they_run() -> None:
    """Counts as text, bars as decoration, no script."""
    markup = in_cell(1000, 0.01)[5]["text/html"]

    assert "<td>fit</td>" in markup
    assert "of 1,000</td>" in markup
    assert 'class="fill-done"' in markup
    assert "<script" not in markup


def test_a_notebook_escapes_what_it_shows() -> None:
    """A hostile title is text."""
    shown = in_cell(3, 1.0, task_title="<script>alert(1)</script>")

    assert all("<script" not in bundle["text/html"] for bundle in shown)
    assert "&lt;script&gt;" in shown[-1]["text/html"]


def test_a_notebook_keeps_failures_below_the_summary() -> None:
    """A notebook that is opened next week still says what failed."""
    last = in_cell(4, 1.0, n_failed=2)[-1]

    assert last["text/plain"].splitlines() == [
        "fit failed: ValueError: bad lr (2 times)",
        "digits_sweep: 2 done, 0 cached, 2 failed in 4.0 s",
    ]
    assert "bad lr (2 times)" in last["text/html"]
