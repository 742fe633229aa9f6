"""When a call that failed is tried again, and after how long.

Invariant: what can only fail again is never tried again: a stopped run, an exit, and errors of flowlib's own that tell of a
mistake in the program.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import attrs

from flowlib.errors import FlowError, TaskMisused

Which = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], object]
"""Exceptions: a class, several of them, or a function that tells."""


def _a_number(least: float) -> Callable[[Any, Any, Any], None]:
    def check(retry: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
            raise TaskMisused(f"Retry has {attribute.name}={value!r}.", {}, f"Give a number, at least {least:g}.")

    return check


def _check_max(retry: Any, attribute: Any, value: Any) -> None:
    if type(value) is not int or value < 0:
        raise TaskMisused(f"Retry has max={value!r}.", {}, "Give how often a call is tried again: Retry(max=3).")


def _check_jitter(retry: Any, attribute: Any, value: Any) -> None:
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if value != "full" and not is_share:
        hint = 'Write "full", or the share of a delay by which it may vary: 0 for none, 0.5 for up to half of it.'
        raise TaskMisused(f"Retry has jitter={value!r}.", {}, hint)


def _as_which(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set | frozenset) else value


def _check_which(retry: Any, attribute: Any, value: Any) -> None:
    kinds = value if isinstance(value, tuple) else (value,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        return
    if isinstance(value, tuple | type) or not callable(value):
        hint = "Give exception classes, or a function of the error that tells."
        raise TaskMisused(f"Retry has {attribute.name}={value!r}.", {}, hint)


@attrs.frozen
class Retry:
    """How often a failed call is tried again, after how long, and after which errors.

    The delay grows from `first` by `factor` up to `cap`, and varies by chance so that many calls that failed together do
    not come back together. While it lasts, the call holds no slot.

    >>> Retry(3, first=0.5, jitter=0.0).delay_s(3, lambda: 0.0)
    2.0
    >>> Retry(2, on=(ConnectionError, TimeoutError)).allows(ValueError("no"), 1)
    False
    """

    max: int = attrs.field(default=3, validator=_check_max)
    """How often it is tried again after its first attempt."""
    first: float = attrs.field(default=1.0, validator=_a_number(0.0))
    """Seconds before the second attempt."""
    factor: float = attrs.field(default=2.0, validator=_a_number(1.0))
    """By how much each delay is longer than the one before."""
    cap: float = attrs.field(default=60.0, validator=_a_number(0.0))
    """Seconds that no delay is longer than."""
    jitter: Literal["full"] | float = attrs.field(default="full", validator=_check_jitter)
    """`"full"` for anything between nothing and the delay; a number for that share of it more or less; 0 for none."""
    on: Which = attrs.field(default=Exception, validator=_check_which, converter=_as_which)
    """After which errors."""
    never: Which = attrs.field(default=(), validator=_check_which, converter=_as_which)
    """After which errors not, whatever `on` says."""

    def allows(self, error: BaseException, n_attempts: int) -> bool:
        """Whether a call that failed is tried again.

        Args:
            error: What its last attempt raised.
            n_attempts: How many attempts it has had.

        Raises:
            Exception: What a function given as `on` or `never` raises.
        """
        if n_attempts > self.max or not isinstance(error, Exception):
            return False
        if isinstance(error, FlowError) and not error.may_pass:
            return False
        return _is_one_of(error, self.on) and not _is_one_of(error, self.never)

    def delay_s(self, n_attempts: int, chance: Callable[[], float]) -> float:
        """Return the seconds before the next attempt.

        Args:
            n_attempts: How many attempts there were.
            chance: Gives a number from 0 to 1, by which the delay varies.
        """
        try:
            longest_s = min(self.cap, self.first * self.factor ** (n_attempts - 1))
        except OverflowError:
            longest_s = self.cap
        if self.jitter == "full":
            return longest_s * chance()
        return min(self.cap, longest_s * (1 + self.jitter * (2 * chance() - 1)))


def retry_from(value: Any, task: str) -> Retry | None:
    """Return what `retries=` means: a number of further attempts, a `Retry`, or None.

    Raises:
        TaskMisused: It is neither.
    """
    if value is None or isinstance(value, Retry):
        return value
    if type(value) is int and value >= 0:
        return Retry(value) if value else None
    hint = "Give how often it is tried again, such as retries=3, or retries=fl.Retry(5, first=0.5, on=OSError)."
    raise TaskMisused(f"Task {task!r} has retries={value!r}.", {}, hint)


def _is_one_of(error: Exception, which: Which) -> bool:
    if isinstance(which, tuple | type):
        return isinstance(error, which)
    return bool(which(error))
