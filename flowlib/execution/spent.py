"""What a call takes of the process it has to itself: processor seconds and memory."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator

import attrs

from flowlib.execution.proctree import forget_peak, peak_bytes


@attrs.define
class Spent:
    """Processor seconds, children included, and the most memory held."""

    cpu_s: float = 0.0
    peak_bytes: int = 0


@contextlib.contextmanager
def measured() -> Iterator[Spent]:
    """Measure what the block takes of this process and of those it waits for."""
    spent = Spent()
    forget_peak()
    before = _cpu_s()
    try:
        yield spent
    finally:
        spent.cpu_s = _cpu_s() - before
        spent.peak_bytes = peak_bytes(os.getpid()) or _peak_ever()


def _peak_ever() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
