"""What it costs to describe work: a call of a task against a plain call, and a graph against the standard library's.

Floors: the plain function's own call, and appending a tuple of function and arguments, which is the least that any
recording of calls can do; `graphlib.TopologicalSorter` for graphs.
"""

import graphlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from flowlib.graph.graph import Graph
from flowlib.graph.task import task

N_NODES = 10_000


@task
def fit(data: Any, lr: float = 0.1) -> float:
    """Stand for any task."""
    return lr


plain = fit.fn
source: Any = fit(0)
bound = task(lambda self, data: data, name="method").__get__(1, int)

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


def flat() -> list[Any]:
    """Return nodes that do not depend on each other."""
    return [fit(number) for number in range(N_NODES)]


def chain() -> list[Any]:
    """Return the last of nodes that depend on one another."""
    node: Any = 0
    for _ in range(N_NODES):
        node = fit(node)
    return [node]


SHAPES = {"flat": flat, "chain": chain}


def sort_by_graphlib(targets: list[Any]) -> int:
    """Do with the standard library what `Graph` does: close the set of nodes, and order it."""
    sorter = graphlib.TopologicalSorter[Any]()
    stack, seen = list(targets), set(targets)
    while stack:
        node = stack.pop()
        sorter.add(node, *node._fl_deps)
        for dep in node._fl_deps:
            if dep not in seen:
                seen.add(dep)
                stack.append(dep)
    return len(list(sorter.static_order()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("maker", ["graphlib", "Graph"])
def test_ten_thousand_nodes(benchmark: Any, shape: str, maker: str) -> None:
    benchmark.group = f"graph {shape}"
    targets = SHAPES[shape]()
    build: Callable[[], int] = (
        (lambda: len(Graph(targets))) if maker == "Graph" else (lambda: sort_by_graphlib(targets))
    )

    assert benchmark.pedantic(build, rounds=5, warmup_rounds=1) == N_NODES

    benchmark.extra_info["us_per_node"] = round(benchmark.stats.stats.min / N_NODES * 1e6, 2)
    if maker == "Graph":
        graphs: list[Graph] = []
        benchmark.extra_info["bytes_per_node"] = round(_bytes_each(lambda: graphs.append(Graph(targets)), 1) / N_NODES)
