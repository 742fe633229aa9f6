"""Runs inside the tasks of worker processes join the run: one cache, one history, and what results depend on is known."""

import os
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.testing import EventLog


@fl.task
def read(p: fl.File) -> str:
    return p.read_text()


@fl.task
def by_run(n: int) -> str:
    return str(n) + fl.run(read(fl.File("d.txt")))


@fl.task
def where(x: int) -> int:
    return os.getpid()


@fl.task
def fib(n: int) -> int:
    return n if n < 2 else sum(fl.run([fib(n - 1), fib(n - 2)]))


@fl.task
def one(n: int) -> Any:
    return fl.run(other(n))


@fl.task
def other(n: int) -> Any:
    return fl.run(one(n))


@pytest.fixture
def log() -> EventLog:
    Path("d.txt").write_text("old")
    return EventLog()


def run(target: Any, log: EventLog, **options: Any) -> Any:
    log.events.clear()
    options = {"executor": "processes", "cache": "store", "workers": 2, **options}
    return fl.run(target, observers=[log], **options)


@pytest.mark.parametrize("n", [1, 3, 300])
def test_a_file_of_an_inner_call_is_watched(log: EventLog, n: int) -> None:
    """What a call read inside its process counts for its stored result, alone and among quick calls."""

    @fl.task
    def nth(k: int) -> str:
        return fl.run(by_run(k)) if k == n // 2 else str(k)

    targets = [nth(k) for k in range(n)]
    assert run(targets, log)[n // 2] == f"{n // 2}old"
    assert run(targets, log)[n // 2] == f"{n // 2}old"
    assert log.ran == []
    Path("d.txt").write_text("new")
    assert run(targets, log)[n // 2] == f"{n // 2}new"
    assert log.ran.count("nth") == 1


def test_inner_calls_run_in_the_process_of_their_task(log: EventLog) -> None:
    """They are told of like all others, under numbers of their own, and take no other process."""

    @fl.task
    def outer(x: int) -> list[int]:
        return [os.getpid(), *fl.run([where(x), where(x + 1)])]

    for pids in run([outer(10 * x) for x in range(4)], log):
        assert len(set(pids)) == 1
        assert pids[0] != os.getpid()
    assert log.ran.count("where") == 8
    started = [event.node for event in log.events if type(event).__name__ == "NodeStarted"]
    assert len(set(started)) == len(started) == 12


@pytest.mark.parametrize("workers", [1, 2])
def test_what_one_process_computes_another_waits_for(log: EventLog, workers: int) -> None:
    """Tasks that ask for each other's results in several processes: each is computed once, and nobody waits for ever."""
    expected = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    assert run([fib(n) for n in reversed(range(10))], log, workers=workers) == expected[::-1]
    assert log.ran.count("fib") == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_a_circle_over_processes_is_an_error(log: EventLog, workers: int) -> None:
    """Two tasks that wait for each other in two processes are told so."""
    with pytest.raises((fl.ExpansionLimit, fl.SweepFailed)):
        run([one(1), other(1)], log, workers=workers)


def test_an_inner_run_wants_no_processes_of_its_own(log: EventLog) -> None:
    """Inside a worker there is no other pool: what asks for processes runs in the threads of the worker."""

    @fl.task
    def outer() -> list[int]:
        return [os.getpid(), fl.run(where.options(executor="processes")(1), executor="processes")]

    first, second = run(outer(), log)
    assert first == second


def test_what_is_not_covered_is_not_stored(log: EventLog) -> None:
    """An inner call that is never kept keeps the outer one from being kept."""

    @fl.task(cache=False)
    def never() -> int:
        return 3

    @fl.task
    def outer() -> int:
        return fl.run(never())

    assert run(outer(), log) == 3
    assert run(outer(), log) == 3
    assert log.ran == ["outer", "never"]
