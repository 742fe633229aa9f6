"""Progress in a notebook: one output that is updated in place and ends as a static summary.

Plain HTML, no widgets and no script, so that it works in JupyterLab, VS Code, Colab, nbconvert and papermill, and a
notebook that is opened again still shows how its runs ended.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowlib.text import format_seconds
from flowlib.views import html
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


class Output(Protocol):
    """An output cell that can be shown and changed: MIME type -> content, text and HTML of the same thing."""

    def __call__(self, bundle: Mapping[str, str]) -> None:
        """Show the bundle, in the place of the one before."""


class NotebookScreen:
    """Shows the tasks of a run as a small table in the cell's output.

    Args:
        output: where bundles go; IPython's display of the running cell by default.
    """

    def __init__(self, output: Output | None = None) -> None:
        self._output = output or ipython_output()
        self._look: Callable[[], Snapshot] | None = None
        self._notices: list[str] = []

    def begin(self, look: Callable[[], Snapshot]) -> None:
        """Remember how to look. The output appears with the first drawing."""
        self._look = look

    def draw(self) -> None:
        """Show the run as it is now."""
        if self._look is not None:
            snapshot = self._look()
            self._show(status_line(snapshot), running_html(snapshot, self._notices))

    def notice(self, text: str) -> None:
        """Keep a sentence below the table; it appears with the next drawing."""
        self._notices.append(text)

    def end(self) -> None:
        """Leave the summary, with the table folded away below it."""
        if self._look is not None:
            snapshot = self._look()
            text = "\n".join([*self._notices, *failure_lines(snapshot), summary_line(snapshot)])
            self._show(text, ended_html(snapshot, self._notices))

    def _show(self, text: str, markup: str) -> None:
        self._output({"text/plain": text, "text/html": markup})


def running_html(snapshot: Snapshot, notices: list[str]) -> html.Html:
    """Return a run that goes on: its tasks, what is left, what failed."""
    left = remaining_words(snapshot.remaining_s) if snapshot.remaining_s is not None else ""
    head = html.tag(
        "div", html.tag("span", snapshot.title, class_="title"), html.SPACE, html.tag("span", left, class_="muted")
    )
    return html.fragment(head, _task_table(snapshot), *_sentences(snapshot, notices))


def ended_html(snapshot: Snapshot, notices: list[str]) -> html.Html:
    """Return a run that ended: its summary, what failed, and the tasks folded away."""
    good = snapshot.status == "success"
    dot = html.tag("span", class_=f"badge badge-{'done' if good else 'failed'}")
    details = html.tag("details", html.tag("summary", "tasks", class_="muted"), _task_table(snapshot))
    return html.fragment(
        html.tag("div", dot, summary_line(snapshot)),
        *_sentences(snapshot, notices),
        details if len(snapshot.rows) > 1 else "",
    )


def ipython_output() -> Output:
    """Return an output in the cell that runs now. Imports IPython."""
    from IPython import display as ipython

    display: Callable[..., Any] = ipython.display
    handle: Any = None

    def show(bundle: Mapping[str, str]) -> None:
        nonlocal handle
        if handle is None:
            handle = display(dict(bundle), raw=True, display_id=True)
        else:
            handle.update(dict(bundle), raw=True)

    return show


def _task_table(snapshot: Snapshot) -> html.Html:
    rows = [_cells(row) for row in snapshot.rows]
    if snapshot.n_hidden_rows:
        rows.append([html.tag("span", f"and {snapshot.n_hidden_rows} more tasks", class_="muted")])
    rows.append(_cells(snapshot.all))
    header = ["task", "", "ended", *COUNTED, "time"]
    return html.table(header, rows, numbers=range(2, len(header)), last_is_total=True)


def _cells(row: Row) -> list[object]:
    shares = [(state, row.counts.get(state, 0) / row.total) for state in (*ENDED, "running")] if row.total else None
    ended = f"{row.n_ended:,} of {row.total:,}" if row.total is not None else f"{row.n_ended:,}"
    counts = [f"{row.counts[state]:,}" if row.counts.get(state) else "" for state in COUNTED]
    return [row.name, html.bar(shares) if shares else "", ended, *counts, format_seconds(row.elapsed_s)]


def _sentences(snapshot: Snapshot, notices: list[str]) -> list[html.Html]:
    failures = [html.tag("div", line, class_="badge badge-failed") for line in failure_lines(snapshot)]
    return [*failures, *(html.tag("div", notice, class_="muted") for notice in notices)]
