"""Clusters: what a task costs on Dask and on Ray, beside those two doing the same work without us.

Where they are installed (`pip install "flowlib[dask,ray]"`). Clusters of two processes on this machine, warm. Others submit one
call at a time, as their documents show it; ours has its graph, scheduling and events, and sends quick calls in batches, each of
which runs in a child process that can be ended.

Goals: a quick task costs less than half of what it costs on the bare cluster; work that needs the processor takes at most 1.1
times as long as there.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flowlib as fl
from benchmarks import busy
from benchmarks.compare import LARGE, compare, timed

N_QUICK = 2_000 if LARGE else 200
N_SPINS, SPIN_S = (16, 0.5) if LARGE else (4, 0.2)
NAMES = [name for name, package in (("dask", "distributed"), ("ray", "ray")) if importlib.util.find_spec(package)]

nothing = fl.task(busy.nothing)
spin = fl.task(busy.spin)

Bare = Callable[[Callable[..., Any], list[tuple[Any, ...]]], list[Any]]


@pytest.fixture(params=NAMES or [pytest.param("", marks=pytest.mark.skip(reason="no cluster is installed"))])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, Bare]]:
    """Yield the name of a cluster, what `executor=` takes, and how it calls functions by itself."""
    if request.param == "dask":
        import distributed

        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
            distributed.Client(local) as client,
        ):
            yield (
                "dask",
                client,
                lambda fn, calls: client.gather([client.submit(fn, *args, pure=False) for args in calls]),
            )
    else:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        remote = {fn: ray.remote(fn) for fn in (busy.nothing, busy.spin)}
        yield "ray", "ray", lambda fn, calls: ray.get([remote[fn].remote(*args) for args in calls])
        ray.shutdown()


def run(target: Any, executor: Any) -> Any:
    return fl.run(target, executor=executor, cache=False)


@pytest.mark.benchmark(group="a quick task on a cluster, us")
def test_quick_tasks(benchmark: Any, cluster: tuple[str, Any, Bare]) -> None:
    """What a task costs that does nothing."""
    name, executor, bare = cluster
    run([nothing(x) for x in range(50)], executor)
    calls = [(x,) for x in range(N_QUICK)]
    bare(busy.nothing, calls[:50])
    others = {name: timed(lambda: bare(busy.nothing, calls))}
    ours = timed(lambda: run([nothing(x) for x in range(N_QUICK)], executor))
    compare(benchmark, ours, others, n=N_QUICK, goals={name: 0.5})


@pytest.mark.benchmark(group="computing on a cluster of two, us")
def test_computing(benchmark: Any, cluster: tuple[str, Any, Bare]) -> None:
    """Tasks of equal length in pure Python."""
    name, executor, bare = cluster
    run([nothing(x) for x in range(50)], executor)
    calls = [(SPIN_S, x) for x in range(N_SPINS)]
    others = {name: timed(lambda: bare(busy.spin, calls))}
    ours = timed(lambda: run([spin(SPIN_S, x) for x in range(N_SPINS)], executor))
    compare(benchmark, ours, others, n=N_SPINS, goals={name: 1.1})
