"""One benchmark and its floors, measured in turns, and the ratio beside its goal.

Absolute times belong to a machine and an hour; so each round of a benchmark is preceded by one round of every floor, and
what is published is the ratio of the medians. `extra_info` has it, and the end of the run prints it.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.__main__ import measure
from benchmarks.peers.cells import Cell, Session

ROUNDS = 5
LARGE = bool(os.environ.get("BENCHMARKS_LARGE"))
"""Whether the large sizes are measured as well: 100,000 and, where it says so, a million."""

BY_PROCESSOR = bool(os.environ.get("BENCHMARKS_CPU"))
"""Whether processor seconds count instead of the clock on the wall: for machines that do other work meanwhile."""

Measured = Callable[[], float]
"""Do the work once and return what it took: seconds, or bytes."""


def sizes(*small: int, large: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return the sizes to measure, the large ones only if asked for."""
    return (*small, *large) if LARGE else small


def timed(work: Callable[[], object], clock: Callable[[], float] | None = None) -> Measured:
    """Measure a call in this process, by the clock on the wall unless told otherwise."""
    now = clock or (time.process_time if BY_PROCESSOR else time.perf_counter)

    def once() -> float:
        began = now()
        work()
        return now() - began

    return once


def in_new_process(workload: str, n: int, directory: Path, what: str = "seconds", peer: str = "flowlib") -> float:
    """Measure a workload of `benchmarks.peers.on_<peer>` in a process of its own; its start and imports are not counted."""
    cell = Cell(label=workload, workload=workload, n=n, place="measured")
    session = Session(name=workload, cells=(cell,), warm_up=WARM_UPS.get(workload))
    what = "cpu" if what == "seconds" and BY_PROCESSOR else what
    (found,) = measure(peer, Path(sys.executable), session, directory, limit_s=600, largest=n)
    if what not in found:
        raise RuntimeError(f"{workload} of {peer}: {found}")
    return float(str(found[what]))


WARM_UPS = {
    "cached": ("cached", 10),
    "final": ("cached", 10),
    "arrays": ("arrays", 2),
    "array": ("array", 1),
    "sweep": ("sweep", 10),
    "sweep_grown": ("sweep", 10),
    **{f"sweep_{reducer}": (f"sweep_{reducer}", 10) for reducer in ("best", "mean", "top")},
}


class Clock:
    """A timer that stands still until it is told how long something took, so that tables show what was measured."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def add(self, seconds: float) -> None:
        self._now += seconds


def compare(
    benchmark: Any,
    work: Measured,
    floors: Mapping[str, Measured],
    *,
    n: int,
    goals: Mapping[str, float],
    unit: str = "us",
    rounds: int = ROUNDS,
) -> None:
    """Measure `work` and its floors in turns, and note the ratios of the medians.

    Args:
        benchmark: pytest-benchmark's fixture.
        work: What is measured.
        floors: What it is measured against, by name.
        n: How many tasks, points or bytes it is about; figures are published for one.
        goals: The highest ratio wanted, by the name of the floor; the name "" is for a figure of its own.
        unit: "us" where measured in seconds; else the name of what `work` returns.
        rounds: How often each is measured.
    """
    clock = Clock()
    benchmark._timer = clock
    samples: dict[str, list[float]] = {name: [] for name in floors}
    ours: list[float] = []

    def measure_floors() -> None:
        for name, floor in floors.items():
            samples[name].append(floor())

    def measure_ours() -> None:
        ours.append(work())
        clock.add(ours[-1])

    benchmark.pedantic(measure_ours, setup=measure_floors, rounds=rounds, warmup_rounds=0)
    scale = 1e6 if unit == "us" else 1.0
    ours_each = statistics.median(ours) * scale / n
    info: dict[str, Any] = {"unit": unit, "each": _round(ours_each), "floors": {}, "ratios": {}, "goals": dict(goals)}
    for name, found in samples.items():
        each = statistics.median(found) * scale / n
        info["floors"][name] = _round(each)
        info["ratios"][name] = _round(ours_each / each)
    benchmark.extra_info.update(info)


def _round(number: float) -> float:
    return float(f"{number:.3g}")


def lines_of(name: str, info: Mapping[str, Any]) -> list[str]:
    """Say in a line for each floor what a benchmark noted, and whether the goal is met."""
    said = [f"{name}: {info['each']:g} {info['unit']} each"]
    for floor, ratio in info["ratios"].items():
        goal = info["goals"].get(floor)
        verdict = "" if goal is None else f", goal {goal:g}x: {'met' if ratio <= goal else 'MISSED'}"
        said.append(f"    {ratio:g}x {floor} ({info['floors'][floor]:g}){verdict}")
    if "" in info["goals"]:
        said.append(
            f"    goal {info['goals']['']:g} {info['unit']}: {'met' if info['each'] <= info['goals'][''] else 'MISSED'}"
        )
    return said


def run_python(code: str, directory: Path) -> float:
    """Return the seconds that a new interpreter takes for some code, its start and end included, modules compiled before."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=directory, env=environment)
    return time.perf_counter() - began
