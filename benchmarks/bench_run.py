"""What a run costs per node beside its tasks: time against a bare loop in topological order, and memory.

Floor: `graphlib.TopologicalSorter` and plain calls, which is what ordering alone costs; it has no cache, threads, events
or errors. Memory is the peak of what Python allocated during a run, the graph included, published per node as
`bytes_per_node`; the times of those benchmarks are several times too long, because every allocation is traced.
Run with `pytest benchmarks/bench_run.py`.
"""

import tracemalloc
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl

N = 1_000
N_MEMORY = 10_000


@fl.task
def inc(x: int) -> int:
    return x + 1


def flat(n: int) -> list[Any]:
    """Return `n` nodes that do not know each other."""
    return [inc(number) for number in range(n)]


def chain(n: int) -> Any:
    """Return the last of `n` nodes, each the input of the next."""
    node: Any = 0
    for _ in range(n):
        node = inc(node)
    return node


def sweep(n: int) -> Any:
    """Return the mean of a fan-out of `n` points."""
    return fl.fan_in(fl.fan_out(inc, over=fl.grid(x=range(n))), fl.mean())


def in_order(graph: dict[int, tuple[int, ...]], first: int) -> dict[int, int]:
    """Do with plain calls what a run of `inc` does: order the graph, call, keep the values."""
    values: dict[int, int] = {}
    for node in TopologicalSorter(graph).static_order():
        before = graph[node]
        values[node] = inc.fn(values[before[0]] if before else node + first)
    return values


def run(target: Any, cache: Path | bool) -> Any:
    """Run without a display."""
    return fl.run(target, cache=cache, progress=False)


@pytest.mark.benchmark(group="run: 1,000 nodes side by side")
def test_floor_flat(benchmark: Any) -> None:
    """A bare loop."""
    graph: dict[int, tuple[int, ...]] = dict.fromkeys(range(N), ())

    assert len(benchmark.pedantic(in_order, args=(graph, 0), rounds=5)) == N


@pytest.mark.benchmark(group="run: 1,000 nodes side by side")
def test_flat_uncached(benchmark: Any) -> None:
    """No cache: build, order, call."""
    assert benchmark.pedantic(lambda: run(flat(N), False), rounds=5)[-1] == N


@pytest.mark.benchmark(group="run: 1,000 nodes side by side")
def test_flat_uncached_inline(benchmark: Any) -> None:
    """No cache and no threads."""
    once = lambda: fl.run(flat(N), cache=False, executor="inline", progress=False)

    assert benchmark.pedantic(once, rounds=5)[-1] == N


@pytest.mark.benchmark(group="run: 1,000 nodes side by side")
def test_flat_cold(benchmark: Any, tmp_path: Path) -> None:
    """Every result is new: keyed, called, digested, stored."""
    caches = (tmp_path / str(number) for number in range(100))

    assert benchmark.pedantic(run, setup=lambda: ((flat(N), next(caches)), {}), rounds=3)[-1] == N


@pytest.mark.benchmark(group="run: 1,000 nodes side by side")
def test_flat_warm(benchmark: Any, tmp_path: Path) -> None:
    """Every result is there: keyed, found, loaded."""
    run(flat(N), tmp_path / "cache")

    assert benchmark.pedantic(lambda: run(flat(N), tmp_path / "cache"), rounds=5)[-1] == N


@pytest.mark.benchmark(group="run: a chain of 1,000 nodes")
def test_floor_chain(benchmark: Any) -> None:
    """A bare loop."""
    graph: dict[int, tuple[int, ...]] = {number: (number - 1,) if number else () for number in range(N)}

    assert benchmark.pedantic(in_order, args=(graph, 0), rounds=5)[N - 1] == N


@pytest.mark.benchmark(group="run: a chain of 1,000 nodes")
def test_chain_uncached(benchmark: Any) -> None:
    """No cache: each node waits for the one before it, so every hand-over between threads is paid for."""
    assert benchmark.pedantic(lambda: run(chain(N), False), rounds=5) == N


@pytest.mark.benchmark(group="run: a chain of 1,000 nodes")
def test_chain_warm(benchmark: Any, tmp_path: Path) -> None:
    """One look-up per node, because a key needs the output before it; only the last value is loaded."""
    run(chain(N), tmp_path / "cache")

    assert benchmark.pedantic(lambda: run(chain(N), tmp_path / "cache"), rounds=5) == N


@pytest.mark.benchmark(group="run: a fan-out of 1,000 points and their mean")
def test_floor_mean(benchmark: Any) -> None:
    """A comprehension and a division."""
    assert benchmark.pedantic(lambda: sum(inc.fn(x) for x in range(N)) / N, rounds=5) == (N + 1) / 2


@pytest.mark.benchmark(group="run: a fan-out of 1,000 points and their mean")
def test_sweep_uncached(benchmark: Any) -> None:
    """No cache: points go into the mean as they come."""
    assert benchmark.pedantic(lambda: run(sweep(N), False), rounds=5).value.mean == (N + 1) / 2


@pytest.mark.benchmark(group="run: a fan-out of 1,000 points and their mean")
def test_sweep_cold(benchmark: Any, tmp_path: Path) -> None:
    """Every point is stored, then read once by the mean."""
    caches = (tmp_path / str(number) for number in range(100))

    assert benchmark.pedantic(run, setup=lambda: ((sweep(N), next(caches)), {}), rounds=3).value.mean == (N + 1) / 2


@pytest.mark.benchmark(group="run: a fan-out of 1,000 points and their mean")
def test_sweep_warm(benchmark: Any, tmp_path: Path) -> None:
    """The mean is there; its points are found, none is loaded."""
    run(sweep(N), tmp_path / "cache")

    assert benchmark.pedantic(lambda: run(sweep(N), tmp_path / "cache"), rounds=5).value.mean == (N + 1) / 2


@pytest.mark.benchmark(group="run: memory of 10,000 nodes")
@pytest.mark.parametrize("build", [flat, sweep])
@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cold"])
def test_memory(benchmark: Any, tmp_path: Path, build: Callable[[int], Any], cached: bool) -> None:
    """Bytes per node at the peak of a run; a sweep holds keys, not values."""
    cache = tmp_path / "cache" if cached else False
    run(build(10), cache)  # what is imported and opened once is not the nodes'
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        benchmark.pedantic(lambda: run(build(N_MEMORY), cache), rounds=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    benchmark.extra_info["bytes_per_node"] = (peak - before) // N_MEMORY
