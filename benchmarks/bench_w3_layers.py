"""W3: layers of a hundred tasks, each on two or three of the layer above; nothing kept.

Goal: at most 2x a loop over `graphlib`.
"""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, sizes, timed
from benchmarks.peers import on_floor, on_flowlib

NOWHERE = Path()


@pytest.mark.benchmark(group="W3 layers, uncached")
@pytest.mark.parametrize("n", sizes(1_000, 10_000, large=(100_000,)))
def test_layers(benchmark: Any, n: int) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.layers(n, NOWHERE)),
        {"graphlib": timed(lambda: on_floor.layers(n, NOWHERE))},
        n=n,
        goals={"graphlib": 2.0},
    )
