"""Waiting in parallel: wall time beside the critical path, which no scheduler can beat.

The unbalanced graph tells dataflow from level by level: a (0.1 s) -> b (0.3 s) and c (0.3 s) -> d (0.1 s) take 0.4 s when
each task starts as soon as its inputs are there, and 0.6 s when it waits for its level.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

import flowlib as fl


@fl.task(cache=False)
def wait(seconds: float, *after: Any) -> float:
    time.sleep(seconds)
    return seconds


def unbalanced() -> Any:
    return wait(0.0, wait(0.3, wait(0.1)), wait(0.1, wait(0.3)))


def sixteen_waits() -> Any:
    return wait(0.0, *[wait(0.1) for _ in range(16)])


@pytest.mark.parametrize(
    ("make", "bound_s"), [(unbalanced, 0.4), (sixteen_waits, 0.2)], ids=["unbalanced", "16 waits on 8 threads"]
)
def test_wall_time(benchmark: Any, make: Callable[[], Any], bound_s: float) -> None:
    """Wall time over the bound; 1.0 is perfect."""
    benchmark.group = "waiting in parallel"
    benchmark.pedantic(lambda: fl.run(make(), workers=8, cache=False, progress=False), rounds=5, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["over bound"] = round(benchmark.stats.stats.median / bound_s, 3)
        assert benchmark.stats.stats.median < 1.4 * bound_s
