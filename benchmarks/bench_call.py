"""What describing and asking cost a user: a task call, a run of one node, `import flowlib`, and being told of nodes.

Floors: the plain function for a call; `functools.lru_cache` for a warm run, the smallest thing that remembers a result
(it has no store, no code version and forgets at exit). Each is in the same group, so the table shows the ratio. An
import's floor is `python -c pass`; as the machine may change its pace, the two take turns, and the ratio of their medians
is in the results of `--benchmark-json`. Run with `pytest benchmarks/bench_call.py`.
"""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from graphlib import TopologicalSorter
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import flowlib as fl
from flowlib.clock import SystemClock
from flowlib.engine.announce import Announcer
from flowlib.engine.observe import Emitter
from flowlib.events import Observer
from flowlib.execution.base import Outcome
from flowlib.graph.graph import Graph
from flowlib.history.log import RunLog
from flowlib.ids import Key, NodeId, RunId
from flowlib.planning.decide import Miss
from flowlib.planning.key import CallKey
from flowlib.planning.reason import Reason
from flowlib.views.progress_observer import ProgressObserver
from flowlib.views.progress_plain import PlainScreen


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


IMPORTS = {
    "import flowlib": "import flowlib",
    "what a task needs": "import flowlib; flowlib.task",
    "floor of a task: attrs": "import attrs",
    "what a run needs": "import flowlib; flowlib.task; flowlib.run",
    "what a sweep needs": "import flowlib; flowlib.task; flowlib.run; flowlib.fan_out",
    "import asyncio": "import asyncio",
}


@pytest.mark.benchmark(group="process")
@pytest.mark.parametrize("name", IMPORTS)
def test_import(benchmark: BenchmarkFixture, name: str, tmp_path: Path) -> None:
    """Fresh processes, in turn with ones that do nothing; sources are compiled before, as those of an installed package."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PYTHONPATH": str(Path(fl.__file__).parents[1]), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    bare: list[float] = []

    def start(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=environ)

    def start_bare() -> None:
        began = perf_counter()
        start("pass")
        bare.append(perf_counter() - began)

    start(IMPORTS[name])
    benchmark.pedantic(start, args=(IMPORTS[name],), setup=start_bare, rounds=11)
    if benchmark.stats is not None:  # None when benchmarks only have to run through
        benchmark.extra_info["times the bare interpreter"] = benchmark.stats.stats.median / median(bare)


NODES = 10_000


@pytest.mark.benchmark(group="telling of 10,000 nodes that ran")
@pytest.mark.parametrize("name", ["graphlib", "batches to the log", "batches to a display", "single events to the log"])
def test_events(benchmark: BenchmarkFixture, name: str, tmp_path: Path) -> None:
    """Floor: a graphlib loop over as many nodes. A node is a key, a time, and what it shares with the others."""
    graph, numbers = Graph([task(i) for i in range(NODES)]), [NodeId(i) for i in range(NODES)]
    misses = [Miss(CallKey(key=None), (Reason(kind="first seen"),))] * NODES
    keys = [Key(f"{i:064x}") for i in range(NODES)]
    runs = count()

    def announcer(*observers: Observer) -> Announcer:
        return Announcer(graph, Emitter(observers), SystemClock())

    def tell_batches(observer: Observer) -> None:
        announcer(observer).ran_many(numbers, misses, [1e-7] * NODES, keys, [33] * NODES, "main")

    def tell_events(observer: Observer) -> None:
        announce = announcer(observer)
        for number in numbers:
            announce.started(number, misses[number])
            announce.finished(number, Outcome(node=number, duration_s=1e-7, worker="main"), keys[number])

    def log() -> RunLog:
        return RunLog(tmp_path, RunId(f"r{next(runs)}"))

    ways: dict[str, Callable[[], None]] = {
        "graphlib": lambda: sort_topologically(NODES),
        "batches to the log": lambda: tell_batches(log()),
        "batches to a display": lambda: tell_batches(
            ProgressObserver(PlainScreen(io.StringIO()), clock=SystemClock(), every_s=5.0)
        ),
        "single events to the log": lambda: tell_events(log()),
    }
    benchmark.pedantic(ways[name], rounds=7)


def sort_topologically(n: int) -> None:
    """Take n nodes and their sum through the standard library's scheduler."""
    sorter = TopologicalSorter[int]()
    sorter.add(n, *range(n))
    sorter.prepare()
    while sorter.is_active():
        for number in sorter.get_ready():
            sorter.done(number)
