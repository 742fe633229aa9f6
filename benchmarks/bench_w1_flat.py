"""W1: many tasks that do not know each other, then one that needs them all; nothing kept.

Goal: at most 2x a loop over `graphlib`, which orders and calls and does nothing else; a million tasks in at most 11x the time
of a hundred thousand (with BENCHMARKS_LARGE=1). Building the nodes is part of it.
"""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import LARGE, compare, sizes, timed
from benchmarks.peers import on_floor, on_flowlib, on_futures

NOWHERE = Path()
MILLION = 1_000_000


@pytest.mark.benchmark(group="W1 flat, uncached")
@pytest.mark.parametrize("n", sizes(1_000, 10_000, large=(100_000,)))
def test_flat(benchmark: Any, n: int) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.flat(n, NOWHERE)),
        {"graphlib": timed(lambda: on_floor.flat(n, NOWHERE)), "threads": timed(lambda: on_futures.flat(n, NOWHERE))},
        n=n,
        goals={"graphlib": 2.0},
    )


@pytest.mark.skipif(not LARGE, reason="large: BENCHMARKS_LARGE=1")
@pytest.mark.benchmark(group="W1 flat, uncached")
def test_a_million_costs_what_ten_times_a_hundred_thousand_do(benchmark: Any) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.flat(MILLION, NOWHERE)),
        {"100,000": timed(lambda: on_flowlib.flat(MILLION // 10, NOWHERE))},
        n=MILLION,
        goals={"100,000": 11.0},
        rounds=1,
    )
