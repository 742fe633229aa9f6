"""W6: waiting in parallel, beside the critical path, which no scheduler can beat.

The unbalanced graph tells dataflow from level by level: a (0.1 s) -> b (0.3 s) and c (0.3 s) -> d (0.1 s) take 0.4 s when
each task starts as soon as its inputs are there, and 0.6 s when it waits for its level. Goal: within 2 % of the bound.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, timed
from benchmarks.peers import on_flowlib, on_futures

CASES = [
    pytest.param(on_flowlib.unbalanced, on_futures.unbalanced, 5, 0.4, id="unbalanced"),
    pytest.param(on_flowlib.waits, on_futures.waits, 16, 0.2, id="16 waits on 8 threads"),
]


@pytest.mark.benchmark(group="W6 waiting in parallel")
@pytest.mark.parametrize(("ours", "threads", "n", "bound_s"), CASES)
def test_wall_time(
    benchmark: Any, ours: Callable[[int, Path], object], threads: Callable[[int, Path], object], n: int, bound_s: float
) -> None:
    compare(
        benchmark,
        timed(lambda: ours(n, Path()), time.perf_counter),
        {"the bound": lambda: bound_s, "threads by hand": timed(lambda: threads(n, Path()), time.perf_counter)},
        n=1,
        goals={"the bound": 1.02},
    )
