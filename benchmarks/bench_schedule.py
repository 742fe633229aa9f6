"""What it costs to order a run: the scheduler's whole conversation against a bare loop over `graphlib`.

The floor decides nothing, limits nothing and drops nothing: it hands out nodes whose inputs are there. Both answer at
once, so that only ordering is measured.
"""

import graphlib
import tracemalloc
from typing import Any

import pytest

from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler

N_NODES = 10_000
SLOTS = 8
WIDTH = 100

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "flat": [() for _ in range(N_NODES)],
    "chain": [(number - 1,) if number else () for number in range(N_NODES)],
    "layers 100x100": [
        tuple(range((number // WIDTH - 1) * WIDTH, (number // WIDTH) * WIDTH)) if number >= WIDTH else ()
        for number in range(N_NODES)
    ],
}


def graphlib_loop(shape: list[tuple[int, ...]]) -> int:
    """Hand out every node once its dependencies are done."""
    sorter = graphlib.TopologicalSorter(dict(enumerate(shape)))
    sorter.prepare()
    n_done = 0
    while sorter.is_active():
        ready = sorter.get_ready()
        n_done += len(ready)
        sorter.done(*ready)
    return n_done


def scheduler_loop(plans: tuple[m.NodePlan, ...], *, hits: bool, batch: int = SLOTS) -> int:
    """Run all nodes: each is a hit, or a miss whose job ends as soon as it was started."""
    scheduler = Scheduler(SLOTS)
    commands = scheduler.handle([m.Grown(plans, (NodeId(len(plans) - 1),))])
    n_done = 0
    while commands:
        facts: list[m.Fact] = []
        for command in commands:
            if type(command) is m.Decide:
                facts += [m.Hit(node) if hits else m.Missed(node) for node in command.nodes]
                n_done += len(command.nodes)
            elif type(command) is m.Start:
                facts.append(m.Ended(command.node, "done", has_value=True))
        commands = scheduler.handle(facts)
    assert scheduler.is_finished
    return n_done


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loop", ["graphlib", "all misses", "all hits"])
def test_ten_thousand_nodes(benchmark: Any, shape: str, loop: str) -> None:
    benchmark.group = f"schedule {shape}"
    plans = tuple(m.NodePlan(dependencies=tuple(map(NodeId, deps))) for deps in SHAPES[shape])

    def run() -> int:
        return graphlib_loop(SHAPES[shape]) if loop == "graphlib" else scheduler_loop(plans, hits=loop == "all hits")

    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) == N_NODES

    n_edges = sum(map(len, SHAPES[shape]))
    benchmark.extra_info["us_per_node"] = round(benchmark.stats.stats.min / N_NODES * 1e6, 2)
    benchmark.extra_info["ns_per_node_and_edge"] = round(benchmark.stats.stats.min / (N_NODES + n_edges) * 1e9)
    if loop != "graphlib":
        benchmark.extra_info["bytes_per_node"] = round(_bytes_of_scheduler(plans) / N_NODES)


def _bytes_of_scheduler(plans: tuple[m.NodePlan, ...]) -> int:
    """Return what the scheduler keeps beside the plans it was given."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        scheduler = Scheduler(SLOTS)
        scheduler.handle([m.Grown(plans)])
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
