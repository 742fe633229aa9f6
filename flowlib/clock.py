"""The only reader of time. Everything else is handed a `Clock`, so that tests can hold one still."""

import resource
import sys
import time
from typing import Protocol


class Clock(Protocol):
    """Three readings: `now` for people, `monotonic` for durations, `cpu` for work."""

    def now(self) -> float:
        """Return the wall clock, in seconds since 1970 (UTC). It may jump."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards. Only differences mean anything."""

    def cpu(self) -> float:
        """Return the processor seconds that the calling thread has used. Cost: 0.3 us."""


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.perf_counter)
    cpu = staticmethod(time.thread_time)


def n_times_given_up() -> int:
    """Return how often the calling thread has given up the processor by itself; 0 where the system does not count it."""
    if sys.platform != "linux":
        return 0
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class FrozenClock:
    """A clock that moves only when told to.

    >>> clock = FrozenClock(100.0)
    >>> clock.advance(2.5)
    >>> clock.now(), clock.monotonic()
    (102.5, 102.5)
    """

    def __init__(self, at: float = 0.0) -> None:
        self._at = at

    def now(self) -> float:
        """Return the held time."""
        return self._at

    def monotonic(self) -> float:
        """Return the held time."""
        return self._at

    def cpu(self) -> float:
        """Return the held time: nothing computes while it stands still."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Move both readings forward."""
        self._at += seconds
