"""Fault programmes: worker processes die and are ended at random, and what is promised holds every time.

A few of each by default; hundreds with `pytest -m slow tests/execution/test_faults.py`.
"""

import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import SystemClock
from flowlib.engine.away import place_here
from flowlib.errors import MemoryExceeded, WorkerDied
from flowlib.execution import errands
from flowlib.execution.base import Job
from flowlib.execution.processes import ProcessExecutor
from flowlib.execution.proctree import family, processes
from flowlib.execution.warm import shared_pool
from flowlib.execution.wire import Terms
from flowlib.execution.worker import Worker
from flowlib.hashing.identity import Identity
from flowlib.history.query import list_runs, summarize_run
from flowlib.ids import NodeId
from tests.execution.hazards import HOSTILE, be_hostile, die

PATIENCE_S = 60.0
CAP_BYTES = 250_000_000
WAYS = ("SIGKILL", "SIGSEGV", "exit", "memory")
FEW_OR_MANY = [12, pytest.param(500, marks=pytest.mark.slow)]


@pytest.fixture
def cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the tasks of this file a limit of memory."""
    monkeypatch.setattr(errands, "cap_of", lambda call: CAP_BYTES if call.task.name == "hazard" else None)


@pytest.mark.parametrize("n_deaths", FEW_OR_MANY)
def test_random_deaths(n_deaths: int, tmp_path: Path, cap: None) -> None:
    """However workers die: the culprits are named, the others have their values, and nothing finished is made again."""
    chooser = random.Random(n_deaths)
    made = tmp_path / "made"

    @fl.task
    def hazard(x: int, how: str) -> int:
        if how:
            die(how)
        with made.open("a") as file:
            file.write(f"{x}\n")
        return x

    fates = ["", "", *WAYS]
    plan, n_left = [], n_deaths
    while n_left:
        plan.append(chooser.choice(fates))
        n_left -= bool(plan[-1])
    nodes = [hazard(x, how) for x, how in enumerate(plan)]
    values = fl.run(nodes, executor="processes", workers=2, cache="store", on_error="keep")

    assert [x for x, value in enumerate(values) if value != x] == [x for x, how in enumerate(plan) if how]
    for value, how in zip(values, plan, strict=True):
        if how:
            expected = MemoryExceeded if how == "memory" else WorkerDied
            assert value.error_type == expected.__name__, (how, value)
    survivors = [x for x, how in enumerate(plan) if not how]
    assert sorted(map(int, made.read_text().split())) == survivors
    assert fl.run([nodes[x] for x in survivors], executor="processes", cache="store") == survivors
    assert sorted(map(int, made.read_text().split())) == survivors


@pytest.mark.parametrize("n_ends", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_hostile_tasks_are_ended(n_ends: int, tmp_path: Path) -> None:
    """A task that does not want to end is ended with all its children, and its outcome is the error it was ended with."""
    worker = Worker(
        store=None,
        identity=Identity(),
        clock=SystemClock(),
        call_in_run=lambda call: call(),
        call_quick=lambda call: call(),
    )
    executor = ProcessExecutor(worker, Terms(run="faults", place=place_here()), 2)
    task = fl.task(be_hostile)
    waiting = threading.Event()
    for number in range(n_ends):
        note = tmp_path / str(number)
        node: Any = task(HOSTILE[number % len(HOSTILE)], str(note))
        executor.submit(
            Job(
                node=NodeId(number),
                task=node._fl_task,
                policy=node._fl_policy,
                args=node._fl_args,
                inputs={},
                keep=False,
                wants_digest=False,
            )
        )
        while not (note.exists() and note.read_text().endswith("\n")):
            waiting.wait(0.005)
        reason = TimeoutError(str(number))
        assert executor.kill(NodeId(number), reason)
        (outcome,) = executor.collect(PATIENCE_S)
        assert (outcome.node, outcome.error) == (number, reason)
        for pid in map(int, note.read_text().split()):
            while any(process.pid == pid and process.state != "Z" for process in family(pid)):
                waiting.wait(0.005)
    executor.close()
    assert len(shared_pool().pids) <= 4


PROGRAM = """
    import os, subprocess, sys, time
    import flowlib as fl

    @fl.task
    def step(x, folder):
        child = subprocess.Popen(["sleep", "1000"]) if x % 4 == 0 else None
        with open(os.path.join(folder, "pids"), "a") as file:
            file.write(f"{os.getpid()} {child.pid if child else os.getpid()}\\n")
        time.sleep(0.02)
        if child:
            child.kill()
            child.wait()
        return x * x

    values = fl.run([step(x, sys.argv[1]) for x in range(40)], executor="processes", cache="store", workers=2)
    assert values == [x * x for x in range(40)]
    print("whole", flush=True)
"""


@pytest.mark.parametrize("n_signals", [4, pytest.param(500, marks=pytest.mark.slow)])
def test_random_signals(n_signals: int, tmp_path: Path, isolated: Path) -> None:
    """Interrupted, terminated or killed at any moment: soon over, nobody left behind, and the next run is right."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    chooser = random.Random(n_signals)
    waiting = threading.Event()
    for number in range(n_signals):
        command = [sys.executable, str(script), str(tmp_path)]
        program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        waiting.wait(chooser.uniform(0.1, 1.5))
        sent = chooser.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        program.send_signal(sent)
        program.wait(PATIENCE_S)
        notes = tmp_path / "pids"
        pids = {int(pid) for pid in notes.read_text().split()} if notes.exists() else set()
        while any(process.pid in pids and process.state != "Z" for process in processes().values()):
            waiting.wait(0.01)
        notes.unlink(missing_ok=True)
        assert "running" not in [summarize_run(log).status for log in list_runs(isolated / "store" / "runs")], number
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "whole\n", done.stderr
