"""Runs as text and as HTML: one run with its tasks and failures, and the list of past runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

from flowlib.events import NODE_STATES
from flowlib.history.query import RunSummary
from flowlib.history.record import RunRecord
from flowlib.text import format_bytes, format_count, format_seconds, one_line
from flowlib.views import html
from flowlib.views.palette import paint
from flowlib.views.snapshot import failure_line
from flowlib.views.table import Column, render_table
from flowlib.views.tally import FailureTally

MAX_FAILURES = 10
_RUN_LOOKS = {
    "success": "done",
    "partial": "timed_out",
    "running": "running",
    "failed": "failed",
    "cancelled": "cancelled",
    "crashed": "failed",
}


def run_text(record: RunRecord, *, width: int = 100, color: bool = False, zone: tzinfo | None = UTC) -> str:
    """Return one run as text: what it was, a line for each task, distinct failures, notices.

    Args:
        record: the run.
        width: columns at most.
        color: use escape codes for colours.
        zone: time zone of the start; None is the machine's.
    """
    status = paint(record.status, _RUN_LOOKS[record.status]) if color else record.status
    lines = [
        f"{record.run or 'run'}  {status}  {_moment(record.started_at, zone)}  {format_seconds(record.duration_s)}",
        _counts_words(record.counts),
    ]
    if record.saved_s >= 0.1:
        lines.append(f"saved {format_seconds(record.saved_s)}")
    if record.tasks:
        columns = [Column("task", shrinks=True), *(Column(title, "right") for title in _TASK_TITLES[1:])]
        lines += ["", render_table(columns, _task_rows(record), width=width, color=color, max_rows=60)]
    failures = [one_line(line, max(width, 40)) for line in _failure_lines(record)]
    notices = [one_line(f"note: {notice.message}", max(width, 40)) for notice in record.notices[:MAX_FAILURES]]
    return "\n".join([*lines, *([""] if failures or notices else []), *failures, *notices])


def runs_text(runs: Sequence[RunSummary], *, width: int = 100, color: bool = False) -> str:
    """Return a list of runs as a table, one line each, in the order given. An id begins with when its run did (UTC)."""
    if not runs:
        return "There are no runs yet."
    columns = [Column("run"), Column("status"), Column("nodes", "right"), *_count_columns(),
               Column("time", "right"), Column("tags", shrinks=True)]  # fmt: skip
    rows = [
        [
            run.run,
            run.status,
            f"{run.n_nodes:,}",
            *_count_cells(run.counts),
            format_seconds(run.duration_s),
            ", ".join(run.tags),
        ]
        for run in runs
    ]
    return render_table(columns, rows, width=width, color=color)


def run_html(record: RunRecord, *, zone: tzinfo | None = UTC) -> html.Html:
    """Return one run as a self-contained piece of HTML; the same facts as `run_text`."""
    head = html.tag(
        "div",
        html.tag("span", record.run or "run", class_="title mono"),
        html.SPACE,
        html.badge(_RUN_LOOKS[record.status]) if record.status == _RUN_LOOKS[record.status] else record.status,
        html.SPACE,
        html.tag("span", f"{_moment(record.started_at, zone)}, {format_seconds(record.duration_s)}", class_="muted"),
    )
    saved = f", saved {format_seconds(record.saved_s)}" if record.saved_s >= 0.1 else ""
    tasks = html.table(_TASK_TITLES, _task_rows(record), numbers=range(1, len(_TASK_TITLES))) if record.tasks else ""
    failures = [html.tag("div", line, class_="badge badge-failed") for line in _failure_lines(record)]
    notices = [html.tag("div", f"note: {notice.message}", class_="muted") for notice in record.notices[:MAX_FAILURES]]
    return html.fragment(head, html.tag("div", _counts_words(record.counts) + saved), tasks, *failures, *notices)


_TASK_TITLES = ("task", "done", "cached", "failed", "other", "mean", "longest", "work", "saved", "size")


def _task_rows(record: RunRecord) -> list[list[object]]:
    return [
        [
            task.task,
            *_count_cells(task.counts),
            format_seconds(task.mean_s) if task.n_timed else None,
            format_seconds(task.longest_s) if task.n_timed else None,
            format_seconds(task.duration_s) if task.n_timed else None,
            format_seconds(task.saved_s) if task.saved_s else None,
            format_bytes(task.size_bytes) if task.size_bytes else None,
        ]
        for task in record.tasks
    ]


def _count_columns() -> list[Column]:
    return [Column(title, "right") for title in ("done", "cached", "failed", "other")]


def _count_cells(counts: Mapping[str, int]) -> list[str | None]:
    known = dict(counts)
    cells = [known.pop(state, 0) for state in ("done", "cached", "failed")]
    return [f"{n:,}" if n else None for n in (*cells, sum(known.values()))]


def _counts_words(counts: Mapping[str, int]) -> str:
    known = dict(counts)
    said = [f"{known[state]:,} {state.replace('_', ' ')}" for state in NODE_STATES if known.get(state)]
    return f"{format_count(sum(known.values()), 'node')}: {', '.join(said)}" if said else "no nodes"


def _failure_lines(record: RunRecord) -> list[str]:
    groups: dict[tuple[str, str, str], FailureTally] = {}
    for node in record.failures:
        key = (node.task, node.error_type, node.message)
        if key in groups:
            groups[key].n += 1
        else:
            groups[key] = FailureTally(*key, first_label=node.label, site=node.site)
    lines = [failure_line(failure) for failure in list(groups.values())[:MAX_FAILURES]]
    if len(groups) > MAX_FAILURES:
        lines.append(f"and {format_count(len(groups) - MAX_FAILURES, 'other error')}")
    return lines


def _moment(at: float | None, zone: tzinfo | None) -> str:
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):  # a log that was edited by hand may hold any number
        return "?"
