"""Threads that took turns computing are noticed, and nothing else is."""

import pytest

from flowlib.engine.cpu_bound import CpuBound
from flowlib.execution.base import Outcome
from flowlib.ids import NodeId


def load_of(*tasks: tuple[float, float]) -> CpuBound:
    """Return the sums of tasks with so many wall and processor seconds each."""
    load = CpuBound()
    for wall_s, cpu_s in tasks:
        outcome = Outcome(NodeId(0), duration_s=wall_s)
        outcome.cpu_s = cpu_s
        load.add(outcome)
    return load


def test_python_on_threads_is_noticed() -> None:
    """Eight tasks of one processor second, four at a time, in eight seconds: two processes would have taken four."""
    text = load_of(*[(4.0, 1.0)] * 8).notice(8.2, 2)
    assert "8.0 s in Python code" in text
    assert "about 4.0 s of the 8.2 s" in text
    assert "executor='processes'" in text


def test_the_longest_task_bounds_what_processes_would_give() -> None:
    """No number of processes makes one task shorter."""
    assert "about 6.0 s" in load_of((9.0, 6.0), (3.0, 1.0), (3.0, 1.0)).notice(8.0, 8)


@pytest.mark.parametrize(
    ("tasks", "run_s", "n_cpus"),
    [
        ([(4.0, 0.1)] * 8, 8.0, 2),  # they waited for something else
        ([(1.0, 1.0)] * 8, 4.0, 2),  # compiled code: both processors were at work
        ([(1.0, 1.0)] * 8, 8.2, 2),  # one after the other: nobody was kept waiting
        ([(4.0, 1.0)] * 8, 8.2, 1),  # nothing else to compute with
        ([(0.4, 0.1)] * 8, 0.82, 2),  # too short to be worth a word
        ([], 8.0, 2),
    ],
)
def test_others_are_left_alone(tasks: list[tuple[float, float]], run_s: float, n_cpus: int) -> None:
    """Tasks that wait, that use compiled code, that run alone, or that took no time."""
    assert load_of(*tasks).notice(run_s, n_cpus) == ""


def test_tasks_in_processes_do_not_count() -> None:
    """What had a process of its own took no turns."""
    load = CpuBound()
    outcome = Outcome(NodeId(0), duration_s=5.0)
    outcome.cpu_s, outcome.peak_bytes = 5.0, 10_000_000
    load.add(outcome)
    assert load.cpu_s == 0.0
