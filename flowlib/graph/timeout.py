"""How long a call may take."""

import math
from typing import Any

import attrs

from flowlib.errors import TaskMisused


def _check_limit(timeout: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise TaskMisused(f"Timeout has {attribute.name}={value!r}.", {}, "Give seconds, more than 0.")


@attrs.frozen
class Timeout:
    """How many seconds a call may take; None is no limit.

    A call over its time ends as `timed_out` with a `TaskTimedOut`. What runs is ended if its executor can do that: a
    process is killed, a coroutine is cancelled. A thread cannot be stopped: its result is dropped when it comes.

    >>> Timeout(60, total=600)
    Timeout(run=60, queue=None, total=600)
    """

    run: float | None = attrs.field(default=None, validator=_check_limit)
    """One attempt, from when it begins."""
    queue: float | None = attrs.field(default=None, validator=_check_limit)
    """Waiting for a slot, once its inputs are there; each attempt anew."""
    total: float | None = attrs.field(default=None, validator=_check_limit)
    """From when its inputs are there to its end, with all attempts and what lies between them."""

    def __attrs_post_init__(self) -> None:
        if self.run is None and self.queue is None and self.total is None:
            raise TaskMisused("Timeout has no limit.", {}, "Give run=, queue= or total= in seconds.")

    @property
    def limits_waiting(self) -> bool:
        """Whether there is a limit that counts before the call begins."""
        return self.queue is not None or self.total is not None


def timeout_from(value: Any, task: str) -> Timeout | None:
    """Return what `timeout=` means: seconds of one attempt, a `Timeout`, or None.

    Raises:
        TaskMisused: It is neither.
    """
    if value is None or isinstance(value, Timeout):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return Timeout(value)
    hint = "Give seconds, such as timeout=60, or timeout=fl.Timeout(run=60, total=600)."
    raise TaskMisused(f"Task {task!r} has timeout={value!r}.", {}, hint)
