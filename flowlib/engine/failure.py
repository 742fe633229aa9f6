"""Show a failure so that the user sees their own code first: their exception, a note with the call, our frames folded."""

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType

from flowlib.errors import ExpansionLimit, FlowError, InternalError, SweepFailed, error_text
from flowlib.graph.node import Node, site_of
from flowlib.planning.key import preview
from flowlib.scheduling.states import FINAL_STATES

_SHOWN = 8
"""Groups of equal errors listed; more would hide the first."""
_NOTES = 5
"""Runs inside tasks that add a note to an error on its way out; a recursion would add hundreds."""


def describe_call(node: Node, width: int = 60) -> str:
    """Return `fit(data=<load>, lr=0.1)`: a call with short arguments; of a reduction the name alone, as people wrote it."""
    if node._fl_task.own_code and not node._fl_task.is_op:
        return node._fl_task.name
    pairs = zip(node._fl_task.signature.names, node._fl_args, strict=True)
    return f"{node._fl_task.name}({', '.join(f'{name}={preview(value, width)}' for name, value in pairs)})"


def note_on(error: BaseException, note: str) -> None:
    """Add a note to an error if it takes one: a frozen dataclass does not, and its own words matter more than ours."""
    with contextlib.suppress(Exception):
        error.add_note(note)


def annotate(error: BaseException, node: Node, n_attempts: int = 1) -> BaseException:
    """Add the note that says which call failed and where it was written, and fold flowlib's own frames."""
    label = f" [{node._fl_label}]" if node._fl_label else ""
    note = f"in task {describe_call(node)}{label}\n  called at {site_of(node)}"
    if n_attempts > 1:
        note += f"\n  this was attempt {n_attempts}, the last one"
    if not node._fl_task.own_code:
        name = node._fl_task.name
        note += f"\n  run it alone: call {name}.fn(...) with these arguments, or flowlib.run(node, executor='inline')"
    with contextlib.suppress(Exception):  # a frozen dataclass takes no notes; its own words matter more than ours
        notes = getattr(error, "__notes__", ())
        if note not in notes and sum(text.startswith("in task ") for text in notes) < _NOTES:
            error.add_note(note)
    inner = error.__traceback__
    while inner is not None and _is_ours(inner):
        inner = inner.tb_next
    # If no frame is the user's, ours may tell something; but not where a text of our own has said it all, nor of
    # `node["k"]`, where there is nothing to tell but the line in the note.
    says_all = node._fl_task.is_op or (isinstance(error, FlowError) and not isinstance(error, InternalError))
    return error.with_traceback(inner or (None if says_all else error.__traceback__))


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in ("flowlib", "asyncio")


def combined(errors: Mapping[Node, BaseException]) -> BaseException:
    """Return what a run raises: the user's own exception if there is one, else all of them grouped."""
    if len(errors) == 1:
        ((node, error),) = errors.items()
        return annotate(error, node)
    groups: Counter[str] = Counter()
    example: dict[str, Node] = {}
    for node, error in errors.items():
        text = f"{type(error).__name__}: {first_line(error)} ({_raised_at(error)})"
        groups[text] += 1
        example.setdefault(text, node)
    facts = {
        f"{count} x": f"{text}\nfirst: {describe_call(example[text])} called at {site_of(example[text])}"
        for text, count in groups.most_common(_SHOWN)
    }
    if len(facts) < min(len(groups), _SHOWN):  # equal counts would overwrite each other
        facts = {
            f"{count} x ({position})": f"{text}\nfirst: {describe_call(example[text])} called at {site_of(example[text])}"
            for position, (text, count) in enumerate(groups.most_common(_SHOWN), 1)
        }
    failed = SweepFailed(
        f"{len(errors)} nodes failed, with {len(groups)} different {'error' if len(groups) == 1 else 'errors'}.",
        facts,
        "Finished results are kept: mend the cause and run again. `.errors` holds every exception.",
        errors.values(),
    )
    failed.__cause__ = next(iter(errors.values()))
    return failed


def needs_itself(node: Node) -> ExpansionLimit:
    """Return the error of a call that cannot end before it has ended."""
    return ExpansionLimit(
        f"Task {node._fl_task.name!r} asks for its own result while it is being computed.",
        {"called at": site_of(node), "call": describe_call(node)},
        "Give the recursion an end: call it with other arguments, or not at all.",
    )


def stuck(nodes: Sequence[Node], states: Sequence[str], deferred: Collection[int]) -> FlowError:
    """Return the error of a run that has open nodes and nothing to do.

    Args:
        nodes: All nodes of the run.
        states: The state of each.
        deferred: Places of those that wait for another call with the same key.
    """
    open_ones = [number for number, state in enumerate(states) if state not in FINAL_STATES]
    for number in open_ones:
        if number in deferred:  # what it waits for waits for it: a task returned a call of itself
            return needs_itself(nodes[number])
    story = "\n".join(f"{number}: {states[number]} {nodes[number]!r}" for number in open_ones[:5])
    return InternalError("The run cannot go on, though nodes are open.", {"open": story}, "Please report it.")


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the first line of an error's text, cut short."""
    return (error_text(error).splitlines() or [""])[0][:longest]


def _raised_at(error: BaseException) -> str:
    traceback = error.__traceback__
    place = "unknown line"
    while traceback is not None:
        if not _is_ours(traceback):
            name = traceback.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
            place = f"{name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
