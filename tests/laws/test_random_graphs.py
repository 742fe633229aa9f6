"""The oracle over random graphs: cached == uncached == plain Python, on every executor, whatever ran before."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.engine import run as run_module
from flowlib.planning import decide
from flowlib.planning.decide import Hit, Miss, Planner
from flowlib.testing import EventLog, assert_run_correct, plain_value, random_graph


@fl.task
def add(*values: Any) -> Any:
    return sum(_number(value) for value in values) % 1009


@fl.task
def collect(*values: Any) -> list[int]:
    return [_number(value) % 7 for value in values]


@fl.task
def sort_in_place(*values: Any) -> list[int]:
    """Mutates its own inputs: harmless, because every consumer gets its own copy."""
    for value in values:
        if isinstance(value, list):
            value.sort()
            value.append(1)
    return [_number(value) for value in values]


@fl.task
def coarse(*values: Any) -> int:
    """Often equal outputs for different inputs: early cut-off."""
    return sum(_number(value) for value in values) % 2


@fl.task
def grow(*values: Any) -> Any:
    """Returns nodes."""
    n = sum(_number(value) for value in values) % 4
    return add(coarse(n, n + 1), n) if n % 2 else {"nodes": [add(n, i) for i in range(n)], "n": n}


@fl.task(cache=False)
def never_stored(*values: Any) -> int:
    return sum(_number(value) for value in values) % 11


@fl.task
def inner_run(*values: Any) -> int:
    """Runs a pipeline of its own."""
    return int(fl.run(add(*[_number(value) for value in values])))


def _number(value: Any) -> int:
    if isinstance(value, dict):
        return sum(value["nodes"]) + int(value["n"])
    return sum(value) if isinstance(value, list) else int(value)


TASKS: list[Callable[..., Any]] = [add, collect, sort_in_place, coarse, grow, never_stored, inner_run]


def targets(seed: int, n_nodes: int) -> list[Any]:
    nodes = random_graph(seed, TASKS, n_nodes)
    chooser = random.Random(seed)
    return [nodes[-1], *chooser.sample(nodes, min(3, len(nodes)))]


@given(seed=st.integers(0, 10**6), n_nodes=st.integers(1, 25), workers=st.integers(1, 4))
@settings(max_examples=40)
def test_cached_equals_uncached_equals_plain_python(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int
) -> None:
    """Cold, warm, grown and uncached runs, inline, in threads and in processes, all agree with plain evaluation."""
    cache = tmp_path_factory.mktemp("cache") / "c"
    expected = plain_value(targets(seed, n_nodes))

    for executor in (*random.Random(seed).sample(["threads", "inline", "processes"], 3), "threads"):
        target = targets(seed, n_nodes)
        assert fl.run(target, cache=cache, executor=executor, workers=workers, progress=False) == expected
    for executor in ("threads", "processes"):
        target = targets(seed, n_nodes)
        assert fl.run(target, cache=False, executor=executor, workers=workers, progress=False) == expected
    bigger = targets(seed, n_nodes + 5)
    assert_run_correct(bigger, fl.run(bigger, cache=cache, progress=False))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_warm_runs_run_only_what_is_never_stored(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """The second run of a graph runs uncached tasks and, at most, the tasks whose expansions hold such tasks."""
    cache = tmp_path_factory.mktemp("cache") / "c"
    log = EventLog()
    fl.run(targets(seed, 15), cache=cache, progress=False)
    fl.run(targets(seed, 15), cache=cache, progress=False, observers=[log])
    assert set(log.ran) <= {"never_stored"}


class _StalePlanner(Planner):
    """A planner with a bug: it ignores the arguments of `coarse`."""

    def decide(self, nodes: Any) -> Any:
        decisions = super().decide(nodes)
        for position, number in enumerate(nodes):
            if self._graph.nodes[number]._fl_task.name == "coarse":
                recent = self._store.recent("coarse") if self._store is not None else []
                if recent:
                    decisions[position] = Hit(decisions[position].call, recent[0])
        return decisions


def test_the_oracle_catches_a_broken_planner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that serves stale results is found by comparing with plain evaluation."""
    monkeypatch.setattr(run_module, "Planner", _StalePlanner)
    assert issubclass(_StalePlanner, decide.Planner)

    def run_and_check() -> None:
        for number in range(6):
            target = coarse(number)
            assert_run_correct(target, fl.run(target, cache=tmp_path / "c", progress=False))

    with pytest.raises(AssertionError, match="plain evaluation gives"):
        run_and_check()


@fl.task
def link(value: int) -> int:
    return value + 1


class _StaleOnTheWay(Planner):
    """A planner with a bug where nodes are decided one by one: any earlier result of the task will do."""

    def decide_one(self, number: Any) -> Any:
        decision = super().decide_one(number)
        recent = self.recent("link")
        return Hit(decision.call, recent[0]) if recent and isinstance(decision, Miss) else decision


def test_the_oracle_catches_a_planner_that_is_broken_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links of a chain are decided by a way of their own; there, too, a stale result is found."""
    monkeypatch.setattr("flowlib.engine.pace.QUICK_S", 60.0)  # on a busy machine, too

    def run_and_check(start: int) -> None:
        target = link(start)
        for _ in range(300):
            target = link(target)
        assert_run_correct(target, fl.run(target, cache=tmp_path / "c", progress=False))

    run_and_check(0)
    monkeypatch.setattr(run_module, "Planner", _StaleOnTheWay)
    with pytest.raises(AssertionError, match="plain evaluation gives"):
        run_and_check(1000)
