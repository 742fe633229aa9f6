"""Rich displays in notebooks: what a node, a sweep, a plan or an explanation looks like as the last line of a cell.

The types know nothing of this: displays are registered with IPython from outside, because a node's attributes belong to
its value and the layers that define the types lie below the views. `%load_ext flowlib` registers them; so does importing
flowlib inside IPython.

Invariant: a display computes nothing, opens no blob, and is at most `html.LARGEST_FRAGMENT` bytes. It has no script and
takes its colours from the notebook's theme.
"""

import inspect
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowlib.engine.handle import Run
from flowlib.errors import FlowError
from flowlib.graph.node import Node, site_of
from flowlib.graph.task import Task
from flowlib.planning.decide import Miss
from flowlib.planning.explain import Explanation
from flowlib.planning.key import preview
from flowlib.planning.preview import Plan, PlanRow
from flowlib.sweep.failed import Failed
from flowlib.sweep.group import FanOut
from flowlib.sweep.point import Point
from flowlib.sweep.rank import Best, Top
from flowlib.sweep.result import SweepResult
from flowlib.sweep.space import Space
from flowlib.text import format_bytes, format_count, format_seconds, one_line, short_repr
from flowlib.views import html
from flowlib.views.html import SPACE, Html, tag

MAX_POINTS = 20
"""Points of a sweep or a space that are shown; the others are counted."""
MAX_ARGUMENTS = 30
_MAX_REASONS = 3
_MAX_LINES = 200
_WORDS = {"cached": "cached", "run": "to run", "undecided": "undecided"}


def load_ipython_extension(ipython: Any) -> None:
    """Register the displays; what `%load_ext` calls."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for kind, display in displays().items():
        formatter.for_type(kind, display)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the displays back; what `%unload_ext` calls."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for kind in displays():
        formatter.pop(kind, None)


def register_if_running() -> bool:
    """Register the displays if IPython runs this program, and say whether it does. Never imports IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None or getattr(shell, "display_formatter", None) is None:
        return False
    load_ipython_extension(shell)
    return True


def displays() -> Mapping[type, Callable[[Any], str]]:
    """Return what shows each type."""
    return {
        Node: node_html,
        Task: task_html,
        FanOut: fan_out_html,
        Space: space_html,
        Plan: plan_html,
        Explanation: explanation_html,
        SweepResult: sweep_html,
        Best: best_html,
        Top: top_html,
        Failed: failed_html,
        Run: run_handle_html,
    }


def node_html(node: Node) -> Html:
    """Return a node: which call it stands for and where that was written. It is not computed."""
    task = node._fl_task
    pairs = list(zip(task.signature.names, node._fl_args, strict=True))
    rows = [[_code(name), _code(preview(value, 120))] for name, value in pairs[:MAX_ARGUMENTS]]
    label = tag("span", f"[{node._fl_label}]", class_="mono") if node._fl_label else ""
    return html.fragment(
        tag("div", _title(task.name), SPACE, label, SPACE, _muted(f"a node made at {site_of(node)}")),
        html.table([], rows) if rows else "",
        _more(len(pairs) - MAX_ARGUMENTS, "argument"),
        _muted_line("Not computed yet: pass it to a task, or flowlib.run(node)."),
    )


def task_html(task: Task[..., Any]) -> Html:
    """Return a task: its signature, the first paragraph of its docstring, its options."""
    policy = task.policy
    default = type(policy)()
    names = [name for name in _slots(policy) if getattr(policy, name) != getattr(default, name)]
    rows = [[_code(name), _code(short_repr(getattr(policy, name), 120))] for name in names]
    doc = (inspect.getdoc(task.fn) or "").partition("\n\n")[0]
    return html.fragment(
        tag("div", _title(task.name), tag("span", one_line(task.signature.signature, 300), class_="mono")),
        tag("div", doc) if doc else "",
        html.table(["option", ""], rows) if rows else "",
        _muted_line("A task: calling it makes a node, nothing runs."),
    )


def fan_out_html(jobs: FanOut[Any]) -> Html:
    """Return a fan-out: its task and its first points."""
    try:
        n, points, labels = len(jobs), jobs.points[:MAX_POINTS], jobs.labels[:MAX_POINTS]
    except FlowError:  # an axis is a node: its points are not known before the run
        return html.fragment(tag("div", _title(one_line(repr(jobs)))), _muted_line("Its points are known at run time."))
    return html.fragment(
        tag("div", _title(jobs.task), SPACE, _muted(f"fan-out over {format_count(n, 'point')}")),
        _points_table(points, labels),
        _more(n - len(points), "point"),
    )


def space_html(space: Space) -> Html:
    """Return a space: how many points, and the first of them."""
    try:
        n = len(space)
        points = list(itertools.islice(space, MAX_POINTS))
    except FlowError:  # an axis is a node, or there are too many points to count
        return html.fragment(tag("div", _title("Space")), tag("div", one_line(repr(space)), class_="mono"))
    return html.fragment(
        tag("div", _title("Space"), SPACE, _muted(format_count(n, "point"))),
        _points_table(tuple(points), ()),
        _more(n - len(points), "point"),
    )


def plan_html(plan: Plan) -> Html:
    """Return a plan: a line for each task with what is cached, what would run, and why."""
    parts = [f"{plan.n_cached:,} cached", f"{plan.n_to_run:,} to run"]
    parts += [f"{plan.n_undecided:,} undecided"] if plan.n_undecided else []
    if plan.expected_s is not None and plan.n_to_run + plan.n_undecided:
        parts.append(f"about {format_seconds(plan.expected_s)} on {plan.workers} workers")
    if plan.stored_bytes:
        parts.append(f"{format_bytes(plan.stored_bytes)} stored")
    rows = [_plan_row(task, rows) for task, rows in plan.by_task()]
    return html.fragment(
        tag("div", _title("Plan"), SPACE, ", ".join(parts)),
        html.table(["task", "cached", "to run", "undecided", "expected", "why"], rows, numbers=range(1, 5)),
    )


def explanation_html(explanation: Explanation) -> Html:
    """Return an explanation, with the changed lines folded away."""
    head = str(explanation).splitlines()
    n_shown = next((i for i, line in enumerate(head) if line.strip().startswith("changed: ")), len(head))
    changes = [
        tag("details", tag("summary", _code(change.name)), _lines(change.diff.splitlines()))
        for change in explanation.changes
    ]
    state = {"cached": "cached", "run": "running"}.get(explanation.word, "waiting")
    rest = head[1:n_shown] if explanation.changes else head[1:]
    return html.fragment(tag("div", head[0], class_=f"badge badge-{state}"), _lines(rest) if rest else "", *changes)


def sweep_html(result: SweepResult[Any]) -> Html:
    """Return the result of a sweep: a line for each point with its parameters, its metrics and its failure."""
    shown = result[:MAX_POINTS]
    rows = shown.rows()
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("status", "error")))
    has_failures = any(row["status"] == "failed" for row in rows)
    header = ["", *names, *(["error"] if has_failures else [])]
    body = [
        [_label(label, row["status"] == "failed"), *(_cell(row, name) for name in names)]
        + ([row["error"] or ""] if has_failures else [])
        for label, row in zip(shown.labels, rows, strict=True)
    ]
    n_failed = len(result.failed)
    failed = f", {n_failed:,} failed" if n_failed else ""
    return html.fragment(
        tag("div", _title(result.task), SPACE, _muted(f"{format_count(len(result), 'point')}{failed}")),
        html.table(header, body),
        _more(len(result) - len(shown), "point"),
    )


def best_html(best: Best[Any]) -> Html:
    """Return the best point: its score, parameters and value, and what it was chosen from."""
    rows: list[list[object]] = [["score", _code(f"{best.score:.6g}")]]
    rows += [[_code(name), _code(short_repr(value, 120))] for name, value in list(best.params.items())[:MAX_ARGUMENTS]]
    rows.append(["value", _code(short_repr(best.value))])
    chosen = [f"best of {best.n:,}"]
    chosen += [f"{format_count(best.n_ties, 'tie')}: {', '.join(best.ties[:5])}"] if best.n_ties else []
    chosen += [f"{best.n_nan:,} NaN"] if best.n_nan else []
    chosen += [f"{len(best.failed):,} failed"] if best.failed else []
    return html.fragment(
        tag("div", _title(best.label or "Best"), SPACE, _muted("; ".join(chosen))), html.table([], rows)
    )


def top_html(top: Top[Any]) -> Html:
    """Return the best points, the best first."""
    rows = [
        [f"{place}", _code(point.label), _code(f"{point.score:.6g}"), _code(short_repr(point.value, 120))]
        for place, point in enumerate(top.ranked[:MAX_POINTS], 1)
    ]
    return html.fragment(
        tag("div", _title("Top"), SPACE, _muted(f"{len(top.ranked):,} of {format_count(top.n, 'point')}")),
        html.table(["", "point", "score", "value"], rows),
        _more(len(top.ranked) - MAX_POINTS, "point"),
    )


def failed_html(failed: Failed) -> Html:
    """Return a failure: what was raised and where, with the traceback folded away."""
    where = f"{failed.task} {failed.label}".strip()
    return html.fragment(
        tag("div", f"{where} failed: {failed.error_type}: {failed.message}", class_="badge badge-failed"),
        _muted_line(failed.where) if failed.where else "",
        tag("details", tag("summary", "traceback", class_="muted"), _lines(failed.traceback.splitlines()))
        if failed.traceback
        else "",
    )


def run_handle_html(run: Run[Any]) -> Html:
    """Return a run in the background as it is now."""
    state = {"crashed": "failed"}.get(run.status, run.status)
    return html.fragment(tag("div", html.badge(state), SPACE, _muted(format_count(len(run.events), "event"))))


# ---- pieces


def _plan_row(task: str, rows: list[PlanRow]) -> list[object]:
    counts = {word: sum(row.word == word for row in rows) for word in _WORDS}
    reasons: dict[str, int] = {}
    for row in rows:
        if isinstance(row.decision, Miss):
            text = ", ".join(str(reason) for reason in row.decision.reasons)
            reasons[text] = reasons.get(text, 0) + 1
    shown = sorted(reasons.items(), key=lambda pair: -pair[1])[:_MAX_REASONS]
    why = "; ".join(text if len(rows) == 1 else f"{n:,} x {text}" for text, n in shown)
    more = f"; and {len(reasons) - _MAX_REASONS} other reasons" if len(reasons) > _MAX_REASONS else ""
    expected = sum(row.expected_s or 0.0 for row in rows if row.word == "run")
    cells: list[object] = [f"{counts[word]:,}" if counts[word] else None for word in _WORDS]
    return [_code(task), *cells, format_seconds(expected) if expected else None, why + more]


def _points_table(points: Sequence[Point], labels: tuple[str, ...]) -> Html:
    names = list(dict.fromkeys(name for point in points for name in point.params))
    header = [*([""] if labels else []), *names]
    rows = []
    for position, point in enumerate(points):
        label = [_muted(labels[position])] if labels else []
        rows.append([*label, *(_cell(point.params, name) for name in names)])
    return html.table(header, rows)


def _cell(row: Mapping[str, Any], name: str) -> object:
    """Return one value; empty for a parameter that this point does not set."""
    if name not in row:
        return None
    value = row[name]
    return _code(f"{value:.6g}" if type(value) is float else preview(value, 60))


def _label(label: str, failed: bool) -> Html:
    return tag("span", label, class_="badge badge-failed") if failed else _muted(label)


def _lines(lines: list[str]) -> Html:
    shown = [html.escape(_kept_indent(line)) for line in lines[:_MAX_LINES]]
    if len(lines) > _MAX_LINES:
        shown.append(html.escape(f"... and {format_count(len(lines) - _MAX_LINES, 'more line')}"))
    return tag("pre", Html("\n".join(shown)), class_="mono")


def _kept_indent(line: str) -> Html:
    body = line.lstrip(" ")
    return Html(" " * min(len(line) - len(body), 80) + html.escape(body))


def _slots(policy: object) -> list[str]:
    return [name for name in getattr(type(policy), "__slots__", ()) if not name.startswith("__")]


def _title(text: str) -> Html:
    return tag("span", text, class_="title")


def _code(text: object) -> Html:
    return tag("span", text, class_="mono")


def _muted(text: str) -> Html:
    return tag("span", text, class_="muted")


def _muted_line(text: str) -> Html:
    return tag("div", text, class_="muted")


def _more(n: int, noun: str) -> object:
    return _muted_line(f"and {format_count(n, f'more {noun}')}") if n > 0 else ""
