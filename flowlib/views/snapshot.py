"""A run at one moment, in the few numbers that every progress display shows, and the sentences made of them.

All displays say the same words, such as `digits_sweep: 131 done, 0 cached, 0 failed in 4.2 s`.
"""

from collections.abc import Mapping

import attrs

from flowlib.text import format_count, format_seconds, one_line
from flowlib.views.tally import FailureTally, Tally, TaskTally

MAX_ROWS = 12
"""Task lines shown at once; a display taller than a terminal cannot be redrawn in place."""
ENDED = ("done", "cached", "failed", "timed_out", "stopped", "skipped", "cancelled")
ALWAYS_SAID = ("done", "cached", "failed")
"""Counts that a summary gives even when they are 0: their absence would be a question."""
_ETA_AFTER = 3
"""Nodes that must have run before a rate is worth a prediction."""


@attrs.frozen(kw_only=True)
class Row:
    """One line of a display: a task, or all of them."""

    name: str
    counts: Mapping[str, int]
    """State -> number of nodes, waiting ones left out."""
    total: int | None
    """Nodes this line will have; None when nobody said."""
    elapsed_s: float

    @property
    def n_ended(self) -> int:
        """Nodes that will not change any more."""
        return sum(self.counts.get(state, 0) for state in ENDED)


@attrs.frozen(kw_only=True)
class Snapshot:
    """A run at one moment."""

    title: str
    status: str
    rows: tuple[Row, ...]
    n_hidden_rows: int
    all: Row
    remaining_s: float | None
    """Predicted seconds; None when there is nothing to predict from."""
    saved_s: float
    failures: tuple[FailureTally, ...]
    n_other_failures: int


def take_snapshot(
    tally: Tally, *, title: str, totals: Mapping[str, int], now: float, elapsed_s: float, max_rows: int = MAX_ROWS
) -> Snapshot:
    """Return what a display shows now.

    Args:
        tally: the counts so far.
        title: what the run is called; empty takes its first tag, or `flowlib`.
        totals: task name -> nodes it will have, as far as known.
        now: wall clock, on the scale of the events' `at`.
        elapsed_s: seconds since the run started, from a clock that cannot jump.
        max_rows: task lines shown at most; the busiest and the latest stay.

    Cost: O(tasks).
    """
    tasks = list(tally.tasks.values())
    shown = _worth_showing(tasks, max_rows)
    finished = tally.finished
    everything = Row(
        name="total",
        counts=_add_counts(tasks),
        total=tally.n_nodes,
        elapsed_s=finished.duration_s if finished else elapsed_s,
    )
    tags = tally.started.tags if tally.started else ()
    expected_s = tally.started.expected_s if tally.started else None
    return Snapshot(
        title=one_line(title or next(iter(tags), "") or "flowlib", 60),
        status=finished.status if finished else "running",
        rows=tuple(_row(task, totals.get(task.task), now) for task in shown),
        n_hidden_rows=len(tasks) - len(shown),
        all=everything,
        remaining_s=predict_remaining(everything, expected_s),
        saved_s=tally.saved_s,
        failures=tuple(tally.failures.values()),
        n_other_failures=tally.n_other_failures,
    )


def predict_remaining(row: Row, expected_s: float | None) -> float | None:
    """Return the predicted seconds to the end of a run, or None when there is no ground for a prediction.

    At the start the past runs' duration decides, towards the end this run's own rate; in between they are mixed by the
    share of nodes that have ended. The rate counts only nodes that ran: hits say nothing about those that will not hit.

    >>> row = Row(name="total", counts={"done": 10}, total=40, elapsed_s=5.0)
    >>> predict_remaining(row, None)
    15.0
    """
    n_left = (row.total or 0) - row.n_ended
    if n_left <= 0:
        return None
    n_ran = sum(row.counts.get(state, 0) for state in ("done", "failed", "timed_out"))
    by_rate = row.elapsed_s / n_ran * n_left if n_ran >= _ETA_AFTER else None
    if expected_s is None:
        return by_rate
    by_history = max(expected_s - row.elapsed_s, 0.0)
    if by_rate is None:
        return by_history or None
    share = row.n_ended / (row.n_ended + n_left)
    return (1 - share) * by_history + share * by_rate


def summary_line(snapshot: Snapshot) -> str:
    """Return how a run ended, on one line.

    Counts of 0 are left out except done, cached and failed. A run that was cancelled or crashed says so first.
    """
    counts = snapshot.all.counts
    said = [f"{counts.get(state, 0):,} {state}" for state in ALWAYS_SAID]
    said += [f"{counts[state]:,} {state.replace('_', ' ')}" for state in ENDED[3:] if counts.get(state)]
    how = f" {snapshot.status}" if snapshot.status in ("cancelled", "crashed") else ""
    saved = f" (saved {format_seconds(snapshot.saved_s)})" if snapshot.saved_s >= 0.1 else ""
    return f"{snapshot.title}{how}: {', '.join(said)} in {format_seconds(snapshot.all.elapsed_s)}{saved}"


def status_line(snapshot: Snapshot) -> str:
    """Return how far a run is, on one line: `fit: 40 of 131, 3 failed, 4 running, 12.0 s, about 28.0 s left`."""
    row = snapshot.all
    said = [f"{row.n_ended:,} of {row.total or 0:,}"]
    shown = ("cached", "failed", "timed_out", "running")
    said += [f"{row.counts[state]:,} {state.replace('_', ' ')}" for state in shown if row.counts.get(state)]
    said.append(format_seconds(row.elapsed_s))
    if snapshot.remaining_s is not None:
        said.append(remaining_words(snapshot.remaining_s))
    return f"{snapshot.title}: {', '.join(said)}"


def remaining_words(seconds: float) -> str:
    """Return a prediction in words that do not pretend to be exact.

    >>> remaining_words(27.6), remaining_words(0.2)
    ('about 28 s left', 'about 1 s left')
    """
    whole = max(round(seconds), 1)
    return f"about {f'{whole} s' if whole < 60 else format_seconds(whole)} left"


def failure_line(failure: FailureTally) -> str:
    """Return what failed, how often, and where first, on one bounded line."""
    times = f" ({failure.n:,} times)" if failure.n > 1 else ""
    where = ", ".join(filter(None, (one_line(failure.first_label, 60), one_line(failure.site, 80))))
    first = "first at " if failure.n > 1 else "at "
    error = one_line(f"{failure.error_type}: {failure.message}".rstrip(": "), 120)
    return f"{one_line(failure.task, 40)} failed: {error}{times}{f', {first}{where}' if where else ''}"


def failure_lines(snapshot: Snapshot) -> list[str]:
    """Return one line for each distinct failure, the first ones first, and one for the rest."""
    lines = [failure_line(failure) for failure in snapshot.failures]
    if snapshot.n_other_failures:
        lines.append(f"and {format_count(snapshot.n_other_failures, 'other failure')}")
    return lines


def _row(task: TaskTally, total: int | None, now: float) -> Row:
    counts = {state: n for state, n in task.counts.copy().items() if n}
    until = now if counts.get("running") else task.last_at
    known = None if total is None else max(total, sum(counts.values()))
    return Row(name=one_line(task.task, 40), counts=counts, total=known, elapsed_s=max(until - task.first_at, 0.0))


def _worth_showing(tasks: list[TaskTally], max_rows: int) -> list[TaskTally]:
    if len(tasks) <= max_rows:
        return tasks
    by_interest = sorted(tasks, key=lambda task: (task.count("running") > 0, task.last_at), reverse=True)
    chosen = {id(task) for task in by_interest[:max_rows]}
    return [task for task in tasks if id(task) in chosen]


def _add_counts(tasks: list[TaskTally]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in tasks:
        for state, n in task.counts.copy().items():
            counts[state] = counts.get(state, 0) + n
    return {state: n for state, n in counts.items() if n}
