"""Progress in a terminal: one line for each task, redrawn in place, gone at the end but for a summary.

Importing this module imports rich. Drawing is asked for by the observer; between events a slow heartbeat of rich's own
thread keeps the clocks moving, so that a long task does not look like a hung run.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from flowlib.text import format_seconds
from flowlib.views.palette import LOOKS
from flowlib.views.snapshot import (
    ENDED,
    Row,
    Snapshot,
    failure_lines,
    remaining_words,
    status_line,
    summary_line,
)

COUNTED = ("done", "cached", "failed", "running")
HEARTBEAT_HZ = 2
"""Redraws per second without events; with at most 8 Hz of the observer's they stay within 10."""
_GAP = 2
_SHORTEST_NAME, _SHORTEST_BAR, _LONGEST_BAR = 8, 10, 36
"""Columns."""


class TerminalScreen:
    """A live table on a terminal.

    Args:
        stream: the terminal, usually standard error.
        no_color: write no colour or style code at all; the table is still redrawn in place.
    """

    def __init__(self, stream: TextIO, *, no_color: bool = False) -> None:
        self._console = Console(
            file=stream, force_terminal=True, color_system=None if no_color else "auto", no_color=no_color,
            highlight=False, emoji=False, markup=False,
        )  # fmt: skip
        self._look: Callable[[], Snapshot] | None = None
        self._live: Live | None = None

    def begin(self, look: Callable[[], Snapshot]) -> None:
        """Remember how to look. The table appears with the first drawing, so a run of hits leaves only its summary."""
        self._look = look

    def draw(self) -> None:
        """Show the table as it is now."""
        if self._live is None:
            self._live = self._start()
        else:
            self._live.refresh()

    def notice(self, text: str) -> None:
        """Write a sentence above the table."""
        self._console.print(Text(text))

    def end(self) -> None:
        """Take the table away; leave the distinct failures and the summary."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        if self._look is not None:
            snapshot = self._look()
            for line in failure_lines(snapshot):
                self._console.print(Text(line, style=LOOKS["failed"].style), soft_wrap=True)
            self._console.print(_summary(snapshot), soft_wrap=True)

    def _start(self) -> Live:
        live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=HEARTBEAT_HZ,
            transient=True,
            # What tasks print appears above the table, unless it is on its way to a file.
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )
        live.start(refresh=True)
        return live

    def _render(self) -> RenderableType:
        return render_snapshot(self._look(), self._console.width) if self._look is not None else ""


def render_snapshot(snapshot: Snapshot, width: int) -> RenderableType:
    """Return a run at one moment as a rich renderable, at most `width` columns wide.

    With less room the bars go first, then the tasks' lines.
    """
    failed = LOOKS["failed"].style
    failures = [Text(line, style=failed, no_wrap=True, overflow="ellipsis") for line in failure_lines(snapshot)]
    table = _task_table(snapshot, width)
    return Group(Text(status_line(snapshot)) if table is None else table, *failures)


def _task_table(snapshot: Snapshot, width: int) -> RenderableType | None:
    rows = (*snapshot.rows, snapshot.all)
    header = [Text(snapshot.title, style="bold"), Text(), *(Text(state, style="dim") for state in COUNTED), Text()]
    lines = [header, *([*_cells(row)] for row in rows)]
    names, *numbers = (max(line[i].cell_len for line in lines) for i in range(len(header)))
    room = width - sum(numbers) - _GAP * len(numbers)  # for the names and the bars
    name_width = min(names, max(width // 4, _SHORTEST_NAME), room)
    if name_width < _SHORTEST_NAME:
        return None
    bar_width = min(room - name_width - _GAP, _LONGEST_BAR)
    left = Text(remaining_words(snapshot.remaining_s) if snapshot.remaining_s is not None else "", style="dim")
    left_on_top = left.cell_len <= bar_width
    bars = (
        [left if left_on_top else Text(), *(Bar(row) if row.total else "" for row in rows)]
        if bar_width >= _SHORTEST_BAR
        else []
    )

    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, overflow="ellipsis", width=name_width)
    if bars:
        table.add_column(no_wrap=True, overflow="ellipsis", width=bar_width)
    for column in numbers:
        table.add_column(justify="right", no_wrap=True, width=column)
    for i, (name, *counts) in enumerate(lines):
        table.add_row(name, *bars[i : i + 1], *counts, style="bold" if i == len(lines) - 1 else None)
    hidden = f"and {snapshot.n_hidden_rows} more tasks" if snapshot.n_hidden_rows else ""
    below = [Text(hidden, style="dim"), Text() if left_on_top else left]
    return Group(table, *(line for line in below if line))


def _cells(row: Row) -> Iterator[Text]:
    yield Text(row.name)
    yield Text(f"{row.n_ended:,}/{row.total:,}" if row.total is not None else f"{row.n_ended:,}")
    for state in COUNTED:
        n = row.counts.get(state, 0)
        yield Text(f"{n:,}", style=LOOKS[state].style) if n else Text("-", style="dim")
    yield Text(format_seconds(row.elapsed_s))


def _summary(snapshot: Snapshot) -> Text:
    failed = snapshot.all.counts.get("failed", 0) or snapshot.status not in ("success", "running")
    look = LOOKS["failed" if failed else "done"]
    text = Text(summary_line(snapshot))
    text.stylize(look.style, 0, len(snapshot.title))
    return text


class Bar:
    """A bar whose parts are the states a row's nodes are in; what waits is thin, so it reads without colour too."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_SHORTEST_BAR, options.max_width), min(_LONGEST_BAR, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        width = min(options.max_width, _LONGEST_BAR)
        full, thin = ("#", "-") if options.ascii_only else ("━", "─")
        for state, cells in bar_parts(self._row, width):
            style = "dim" if state == "waiting" else LOOKS[state].style
            yield Segment((thin if state == "waiting" else full) * cells, Style.parse(style))


def bar_parts(row: Row, width: int) -> list[tuple[str, int]]:
    """Return (state, cells) from left to right; the cells sum to `width`.

    Every state that has nodes is at least seen as soon as there is room, and the bar is full only when all have ended.

    >>> bar_parts(Row(name="fit", counts={"done": 50, "running": 2}, total=100, elapsed_s=1.0), 20)
    [('done', 9), ('running', 1), ('waiting', 10)]
    """
    counts = [(state, row.counts[state]) for state in (*ENDED, "running") if row.counts.get(state)][:width]
    n_seen = sum(n for _, n in counts)
    total = max(row.total or 0, n_seen, 1)
    cells = {state: max(n * width // total, 1) for state, n in counts}
    filled = max(min(round(n_seen / total * width), width if n_seen == total else width - 1), len(cells))
    while cells and (excess := sum(cells.values()) - filled):
        # What rounding took goes to the largest state, what small states got beyond their share comes from it.
        largest = max(cells, key=lambda state: cells[state])
        cells[largest] -= 1 if excess > 0 else excess
    return [*cells.items(), *([("waiting", width - filled)] if filled < width else [])]


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
