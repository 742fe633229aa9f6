"""W7: what it costs to be there: `import flowlib`, and memory per node, per point, and of a large fan-out.

Goals: the import takes at most 3x a bare interpreter; at most 600 bytes a node at the peak of a run, graph included; at most
200 bytes a point of a fan-out that has not started; a fan-out over 100,000 results of 10 kB grows the process by at most
256 MB (10,000 of them by default, a gigabyte's tenth). Times of the memory benchmarks are not shown: allocations are traced.
"""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import LARGE, compare, in_new_process, run_python, sizes
from benchmarks.peers import on_floor, on_flowlib

N_RESULTS = 100_000 if LARGE else 10_000
NOWHERE = Path()


@pytest.mark.benchmark(group="W7 import, whole process")
@pytest.mark.parametrize("used", ["", "; flowlib.task, flowlib.run"], ids=["import", "import and use"])
def test_import(benchmark: Any, used: str, tmp_path: Path) -> None:
    """Names are loaded when they are first used, so the import alone says little about a program."""
    root = Path(__file__).parents[1]
    compare(
        benchmark,
        lambda: run_python(f"import sys; sys.path.insert(0, {str(root)!r}); import flowlib{used}", tmp_path),
        {"bare interpreter": lambda: run_python("pass", tmp_path)},
        n=1,
        goals={"bare interpreter": 3.0},
        rounds=9,
    )


@pytest.mark.benchmark(group="W7 memory of a node at the peak")
@pytest.mark.parametrize("n", sizes(10_000, large=(100_000,)))
def test_memory_of_nodes(benchmark: Any, n: int) -> None:
    compare(
        benchmark,
        lambda: on_flowlib.memory(n, NOWHERE) * n,
        {"graphlib": lambda: on_floor.memory(n, NOWHERE) * n},
        n=n,
        goals={"": 600.0},
        unit="bytes",
        rounds=1,
    )


@pytest.mark.benchmark(group="W7 memory of a point that has not started")
@pytest.mark.parametrize("n", sizes(10_000, large=(100_000,)))
def test_memory_of_points(benchmark: Any, n: int) -> None:
    compare(
        benchmark,
        lambda: on_flowlib.memory_of_points(n, NOWHERE) * n,
        {},
        n=n,
        goals={"": 200.0},
        unit="bytes",
        rounds=1,
    )


@pytest.mark.benchmark(group="W7 growth of the process in a fan-out")
def test_growth(benchmark: Any, tmp_path: Path) -> None:
    compare(
        benchmark,
        lambda: in_new_process("growth", N_RESULTS, tmp_path, "value") / 1e6,
        {},
        n=1,
        goals={"": 256.0},
        unit="MB",
        rounds=1,
    )
