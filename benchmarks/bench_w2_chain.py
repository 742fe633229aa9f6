"""W2: a chain, where each task needs the one before it; nothing kept, and kept.

Goals: without a cache at most 3x a loop over `graphlib`; with one, cold, at most a third of a hop to a thread and back in
`ThreadPoolExecutor`, which keeps nothing. No depth is too deep (100,000 with BENCHMARKS_LARGE=1).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, sizes, timed
from benchmarks.peers import on_floor, on_flowlib, on_futures

NOWHERE = Path()
SIZES = sizes(1_000, 10_000, large=(100_000,))


@pytest.mark.benchmark(group="W2 chain, uncached")
@pytest.mark.parametrize("n", SIZES)
def test_chain(benchmark: Any, n: int) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.chain(n, NOWHERE)),
        {
            "graphlib": timed(lambda: on_floor.chain(n, NOWHERE)),
            "thread hop": timed(lambda: on_futures.chain(n, NOWHERE)),
        },
        n=n,
        goals={"graphlib": 3.0},
    )


@pytest.mark.benchmark(group="W2 chain, cold")
@pytest.mark.parametrize("n", SIZES)
def test_chain_cold(benchmark: Any, n: int, places: Iterator[Path]) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.chain_cached(n, next(places))),
        {"thread hop": timed(lambda: on_futures.chain(n, NOWHERE))},
        n=n,
        goals={"thread hop": 1 / 3},
        rounds=3,
    )


@pytest.mark.benchmark(group="W2 chain, warm")
@pytest.mark.parametrize("n", SIZES)
def test_chain_warm(benchmark: Any, n: int, tmp_path: Path) -> None:
    """The same again, in the same process: one value is loaded."""
    on_flowlib.chain_cached(n, tmp_path / "cache")
    compare(
        benchmark,
        timed(lambda: on_flowlib.chain_cached(n, tmp_path / "cache")),
        {"thread hop": timed(lambda: on_futures.chain(n, NOWHERE))},
        n=n,
        goals={},
    )
