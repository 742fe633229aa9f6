"""W9: a sweep that is cached, then grown by one point in a hundred, and reduced.

Goals: the grown sweep costs at most 1.3x of finding all of its points, plus its new points computed; `best`, `mean` and `top`
add at most 3 us a point to finding the points. 10,000 points; 100,000 with BENCHMARKS_LARGE=1. New processes throughout.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, in_new_process, sizes

SIZES = sizes(10_000, large=(100_000,))
ROUNDS = 3


@pytest.mark.benchmark(group="W9 sweep grown by 1 %")
@pytest.mark.parametrize("n", SIZES)
def test_grown(benchmark: Any, n: int, tmp_path: Path) -> None:
    cold_s = in_new_process("sweep", n, tmp_path / "cache")

    def grown() -> float:
        copy = tmp_path / "grown"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "cache", copy, symlinks=True)
        return in_new_process("sweep_grown", n, copy)

    compare(
        benchmark,
        grown,
        {"warm and the new points": lambda: in_new_process("sweep", n, tmp_path / "cache") + cold_s / 100},
        n=n,
        goals={"warm and the new points": 1.3},
        rounds=ROUNDS,
    )


@pytest.mark.benchmark(group="W9 what a reducer adds to a point")
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("reducer", ["best", "mean", "top"])
def test_reducers(benchmark: Any, n: int, reducer: str, tmp_path: Path) -> None:
    """Points are there, the reduction is not."""
    in_new_process("sweep", n, tmp_path / "cache")

    def added() -> float:
        copy = tmp_path / "reduced"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "cache", copy, symlinks=True)
        found_s = in_new_process("sweep", n, copy)
        return max(in_new_process(f"sweep_{reducer}", n, copy) - found_s, 1e-9)

    compare(benchmark, added, {}, n=n, goals={"": 3.0}, rounds=ROUNDS)
