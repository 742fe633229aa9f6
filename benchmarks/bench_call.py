"""What describing and asking cost a user: a task call, a run of one node, and `import flowlib`.

Floors: the plain function for a call; `functools.lru_cache` for a warm run, the smallest thing that remembers a result
(it has no store, no code version and forgets at exit); `python -c pass` for the import. Each is in the same group, so the
table shows the ratio. Run with `pytest benchmarks/bench_call.py`.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import flowlib as fl


def plain(x: int, y: int = 2, *, z: int = 3) -> int:
    return x + y + z


task = fl.task(plain)
remembered = lru_cache(plain)
node = task(1)

CALLS: dict[str, Callable[[], object]] = {
    "plain function": lambda: plain(1, z=5),
    "task": lambda: task(1, z=5),
    "task of a node": lambda: task(node, z=5),
    "task of a list with a node": lambda: task([1, node, 3], z=5),
}


@pytest.mark.benchmark(group="call")
@pytest.mark.parametrize("name", CALLS)
def test_call(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark(CALLS[name])


@pytest.mark.benchmark(group="run of one node, nothing to run")
@pytest.mark.parametrize("name", ["lru_cache", "fl.run", "fl.plan"])
def test_warm(benchmark: BenchmarkFixture, name: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    fl.run(task(1), cache=cache, progress=False)
    remembered(1)
    warm: dict[str, Callable[[], object]] = {
        "lru_cache": lambda: remembered(1),
        "fl.run": lambda: fl.run(task(1), cache=cache, progress=False),
        "fl.plan": lambda: fl.plan(task(1), cache=cache),
    }
    benchmark(warm[name])


@pytest.mark.benchmark(group="run of one node, computed")
@pytest.mark.parametrize("name", ["plain function", "no cache, inline", "no cache", "cache"])
def test_cold(benchmark: BenchmarkFixture, name: str, tmp_path: Path) -> None:
    numbers = count()
    cold: dict[str, Callable[[], object]] = {
        "plain function": lambda: plain(next(numbers)),
        "no cache, inline": lambda: fl.run(task(next(numbers)), cache=False, executor="inline", progress=False),
        "no cache": lambda: fl.run(task(next(numbers)), cache=False, progress=False),
        "cache": lambda: fl.run(task(next(numbers)), cache=str(tmp_path / "cache"), progress=False),
    }
    benchmark(cold[name])


@pytest.mark.benchmark(group="process", min_rounds=3)
@pytest.mark.parametrize("code", ["pass", "import asyncio", "import flowlib"])
def test_import(benchmark: BenchmarkFixture, code: str) -> None:
    benchmark(lambda: subprocess.run([sys.executable, "-c", code], check=True))
