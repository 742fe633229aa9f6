"""Executors: what a task costs in a process, all cores at work, and a large array from one process to the next.

Beside `concurrent.futures` and, where they are installed, loky and pebble (`pip install loky pebble`). Pools are warm.

Goals: a quick task in a process costs less than half of what `ProcessPoolExecutor.map` of one at a time does; work that
needs the processor takes at most 1.05 times the ideal on two processes; of an array of 400 MB less than a megabyte goes
through a socket.
"""

import concurrent.futures
import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flowlib as fl
from benchmarks import busy
from benchmarks.compare import LARGE, compare, timed
from flowlib.execution import workers

N_QUICK = 2_000 if LARGE else 300
N_SPINS, SPIN_S = (16, 0.5) if LARGE else (4, 0.2)
LARGE_MB = 400 if LARGE else 50
N_PROCESSES = 2

nothing = fl.task(busy.nothing)
spin = fl.task(busy.spin)
large = fl.task(busy.large)
first = fl.task(busy.first)


def run(target: Any, **options: Any) -> Any:
    return fl.run(target, **{"executor": "processes", "workers": N_PROCESSES, "cache": False, **options})


def map_with(executor: Any, fn: Callable[..., Any], arguments: range) -> list[Any]:
    return [future.result() for future in [executor.submit(fn, x) for x in arguments]]


@pytest.fixture
def pools() -> Iterator[dict[str, Any]]:
    """Warm pools of others, by name."""
    context = multiprocessing.get_context("forkserver")
    made: dict[str, Any] = {"concurrent.futures": concurrent.futures.ProcessPoolExecutor(N_PROCESSES, context)}
    if importlib.util.find_spec("loky"):
        import loky

        made["loky"] = loky.get_reusable_executor(N_PROCESSES)
    if importlib.util.find_spec("pebble"):
        import pebble

        made["pebble"] = _Pebble(pebble.ProcessPool(N_PROCESSES, context=context))
    for pool in made.values():
        map_with(pool, busy.nothing, range(10))
    yield made
    for pool in made.values():
        pool.shutdown()


class _Pebble:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.schedule(fn, args=args)

    def shutdown(self) -> None:
        self._pool.stop()
        self._pool.join()


@pytest.mark.benchmark(group="a quick task in a process, us")
def test_quick_tasks(benchmark: Any, pools: dict[str, Any]) -> None:
    """What a task costs that does nothing; ours with its graph, scheduling and events."""
    run([nothing(x) for x in range(10)])
    others = {
        name: timed(lambda pool=pool: map_with(pool, busy.nothing, range(N_QUICK))) for name, pool in pools.items()
    }
    ours = timed(lambda: run([nothing(x) for x in range(N_QUICK)]))
    compare(benchmark, ours, others, n=N_QUICK, goals={"concurrent.futures": 0.5})


@pytest.mark.benchmark(group="computing on two processes, us")
def test_computing(benchmark: Any, pools: dict[str, Any]) -> None:
    """Tasks of equal length in pure Python, against the time that two perfect processors would take."""
    run([nothing(x) for x in range(10)])
    ideal_s = N_SPINS * SPIN_S / min(N_PROCESSES, len(os.sched_getaffinity(0)))
    others: dict[str, Any] = {"ideal": lambda: ideal_s}
    for name, pool in pools.items():
        others[name] = timed(
            lambda pool=pool: [f.result() for f in [pool.submit(busy.spin, SPIN_S, x) for x in range(N_SPINS)]]
        )
    ours = timed(lambda: run([spin(SPIN_S, x) for x in range(N_SPINS)]))
    compare(benchmark, ours, others, n=N_SPINS, goals={"ideal": 1.05})


@pytest.mark.benchmark(group="an array from process to process, bytes through sockets")
@pytest.mark.parametrize("cached", [True, False], ids=["stored", "not stored"])
def test_large_array(benchmark: Any, cached: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where the program's side reads and writes: the array itself goes through a file that is mapped."""
    n_bytes = 0
    receive, put = workers.WorkerProcess.receive, workers.WorkerProcess.put

    def counted_receive(self: Any) -> bool:
        nonlocal n_bytes
        before = len(self.incoming)
        found = receive(self)
        n_bytes += len(self.incoming) - before
        return found

    def counted_put(self: Any, body: bytes, mark: int) -> None:
        nonlocal n_bytes
        n_bytes += len(body)
        put(self, body, mark)

    monkeypatch.setattr(workers.WorkerProcess, "receive", counted_receive)
    monkeypatch.setattr(workers.WorkerProcess, "put", counted_put)
    places = iter(tmp_path / str(number) for number in range(1000))

    def work() -> float:
        nonlocal n_bytes
        n_bytes = 0
        assert run(first(large(LARGE_MB)), cache=next(places) if cached else False) == 1.0
        return float(n_bytes)

    compare(
        benchmark,
        work,
        {"the array": lambda: LARGE_MB * 1e6},
        n=1,
        goals={"the array": 1 / 400},
        unit="bytes",
        rounds=3,
    )
