"""What a failure means to the run: which word applies, and what takes the place of the value."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import attrs

from flowlib.engine.failure import note_on
from flowlib.engine.results import failed_value
from flowlib.graph.node import Node

WORDS = ("stop", "continue", "keep")


@attrs.frozen
class Verdict:
    """What to do about a failure."""

    word: Literal["stop", "continue", "keep"]
    value: Any = None
    """What takes the place of the value, if the word is `keep`; there may be nodes in it, which then run."""


def verdict_of(how: Any, error: BaseException, n_attempts: int, node: Node) -> Verdict:
    """Return what to do about a node that failed for good. Never raises.

    A function of the user's that fails, or gives something that means nothing, leaves the failure what it is; a note on
    the error says so.

    Args:
        how: The node's `on_error`, or the run's.
        error: What its last attempt raised.
        n_attempts: How many attempts there were.
        node: The node.
    """
    if isinstance(how, str):
        return Verdict("keep", failed_value(error, node)) if how == "keep" else Verdict(how)  # type: ignore[arg-type]
    if not isinstance(error, Exception):
        return Verdict("continue")
    if type(how) is Node:
        return Verdict("keep", how)
    try:
        if _takes_two(how):
            return _chosen(how(error, n_attempts), error, n_attempts, node)
        return Verdict("keep", how(error))
    except (Exception, SystemExit) as second:  # the user's function may fail, too: then the first failure stands
        note_on(error, f"the fallback {how!r} failed as well: {type(second).__name__}: {second}")
        return Verdict("continue")


def _chosen(answer: Any, error: Exception, n_attempts: int, node: Node) -> Verdict:
    """Return what the answer of a function of (error, attempts) means."""
    if isinstance(answer, str) and answer not in WORDS:
        raise ValueError(f"it returned {answer!r}, which is none of {', '.join(WORDS)}; for a value, return a function")
    if isinstance(answer, str) or type(answer) is Node or callable(answer):
        return verdict_of(answer, error, n_attempts, node)
    return Verdict("keep", answer)


def _takes_two(fn: Callable[..., Any]) -> bool:
    """Whether a function has to be given two arguments by position."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # a function written in C may not say
        return False
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in by_position and p.default is inspect.Parameter.empty]
    return len(needed) == 2
