"""What it costs to describe work: each kind of call beside the plain call, and a graph beside the standard library's.

Floors: the plain function's own call, and appending a tuple of function and arguments, which is the least that any
recording of calls can do; for graphs, telling `graphlib.TopologicalSorter` of the same nodes and edges.
"""

import graphlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

import flowlib as fl
from benchmarks.compare import compare, timed

N_NODES = 10_000


@fl.task
def fit(data: Any, lr: float = 0.1) -> float:
    """Stand for any task."""
    return lr


plain = fit.fn
source: Any = fit(0)

CALLS: dict[str, Callable[[], object]] = {
    "plain call": lambda: plain(1, 0.2),
    "append a tuple": lambda recorded=[]: recorded.append((plain, (1, 0.2))),  # type: ignore[misc]
    "node of two numbers": lambda: fit(1, 0.2),
    "node with a default": lambda: fit(1),
    "node with a keyword": lambda: fit(1, lr=0.2),
    "node of a node": lambda: fit(source, 0.2),
    "node of a list": lambda: fit([1, 2, 3], 0.2),
    "node of nested containers": lambda: fit({"a": [1, 2], "b": (source,)}, 0.2),
    "item": lambda: source["k"],
    "operator": lambda: source + 1,
    "method": lambda: source.head(1),
}


@pytest.mark.benchmark(group="call", min_rounds=20, max_time=0.2, calibration_precision=100)
@pytest.mark.parametrize("name", CALLS)
def test_one_call(benchmark: Any, name: str) -> None:
    benchmark(CALLS[name])
    benchmark.extra_info["bytes"] = round(_bytes_each(CALLS[name]))


def _bytes_each(make: Callable[[], object], n: int = 2_000) -> float:
    """Return the memory that each of many results holds on to."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [make() for _ in range(n)]
        used = tracemalloc.get_traced_memory()[0] - before
        return (used - kept.__sizeof__()) / n
    finally:
        tracemalloc.stop()


def flat() -> Any:
    """Describe nodes that do not depend on each other."""
    return [fit(number) for number in range(N_NODES)]


def chain() -> Any:
    """Describe nodes of which each needs the one before it."""
    node: Any = 0
    for _ in range(N_NODES):
        node = fit(node)
    return node


def sorter(*, is_chain: bool) -> graphlib.TopologicalSorter[int]:
    """Tell the standard library of the same nodes."""
    made: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
    for number in range(N_NODES):
        made.add(number, *((number - 1,) if is_chain and number else ()))
    return made


@pytest.mark.benchmark(group="describing a graph of 10,000 nodes")
@pytest.mark.parametrize("make", [flat, chain])
def test_describing_a_graph(benchmark: Any, make: Callable[[], Any]) -> None:
    floor = timed(lambda: sorter(is_chain=make is chain))
    compare(benchmark, timed(make), {"graphlib": floor}, n=N_NODES, goals={})
