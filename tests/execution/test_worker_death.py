"""A process that ends under its task costs that task and nobody else, whatever way it ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.errors import WorkerDied
from flowlib.execution import pool
from flowlib.execution.proctree import family
from flowlib.execution.warm import shared_pool
from flowlib.history.query import list_runs, summarize_run

PATIENCE_S = 30.0


def run(target: Any, **options: Any) -> Any:
    return fl.run(target, **{"executor": "processes", "cache": False, "workers": 2, **options})


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    return any(process.state != "Z" for process in family(pid) if process.pid == pid)


def wait_for(condition: Any, what: str) -> Any:
    """Return what a condition gives as soon as it is true."""
    ended = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        found = condition()
        if found:
            return found
        ended.wait(0.01)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def pids_in(path: Path) -> list[int]:
    text = path.read_text() if path.exists() else ""
    return [int(word) for word in text.split()] if text.endswith("\n") else []


def is_at_work() -> bool:
    """Whether a worker has been given something."""
    return any(worker.errand is not None for worker in shared_pool()._workers.values())


def die(how: str) -> None:
    """End this process."""
    if how == "exit":
        os._exit(7)
    if how == "crash":
        import ctypes

        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))


@pytest.mark.parametrize(
    ("how", "number", "code", "words"),
    [
        ("SIGKILL", signal.SIGKILL, None, "was killed by SIGKILL"),
        ("crash", signal.SIGSEGV, None, "was killed by SIGSEGV"),
        ("SIGABRT", signal.SIGABRT, None, "was killed by SIGABRT"),
        ("exit", 0, 7, "exited with code 7"),
    ],
)
def test_the_error_says_how_the_process_ended(how: str, number: int, code: int | None, words: str) -> None:
    """Signal or exit code, and the most memory it held, as attributes and in the text."""
    with pytest.raises(WorkerDied) as caught:
        run(fl.task(die)(how))
    assert (caught.value.signal_number, caught.value.exit_code) == (number, code)
    assert caught.value.peak_bytes > 1_000_000
    assert words in str(caught.value)
    assert "'die'" in str(caught.value)


def test_innocents_in_a_batch_are_made_in_another_process(tmp_path: Path) -> None:
    """Of many quick calls one ends the process: only that one fails, and no call that had ended is made again."""
    made = tmp_path / "made"

    @fl.task
    def one(x: int) -> int:
        if x == 150:
            os._exit(1)
        with made.open("a") as file:
            file.write(f"{x}\n")
        return x

    values = run([one(x) for x in range(300)], on_error="keep")

    assert [x for x, value in enumerate(values) if value != x] == [150]
    assert values[150].error_type == "WorkerDied"
    assert sorted(map(int, made.read_text().split())) == [x for x in range(300) if x != 150]


def test_a_worker_that_died_before_it_began_answers_nothing_and_blames_nobody() -> None:
    """Ended with work in its socket that it has not read: that is done by another worker, and nothing older is taken for it."""
    task = fl.task(abs)
    assert run([task(-1), task(-2)], workers=1) == [1, 2]
    pids = shared_pool().pids  # other tests may have left some
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    running = fl.start([task(-3), task(-4)], executor="processes", cache=False, workers=1)
    wait_for(is_at_work, "the run has work for the worker")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert running.result(PATIENCE_S) == [3, 4]


def test_workers_that_always_die_before_they_begin_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried for ever."""
    monkeypatch.setattr(pool, "has_begun", lambda journal: False)
    with pytest.raises(WorkerDied):
        run([fl.task(die)("SIGKILL")])


def test_the_pool_heals() -> None:
    """After deaths the same program goes on with new processes."""
    for _ in range(3):
        with pytest.raises(WorkerDied):
            run(fl.task(die)("SIGKILL"))
        assert run([fl.task(lambda x: x)(x) for x in range(5)]) == list(range(5))


def test_dying_calls_among_good_ones() -> None:
    """Every fifth of many jobs ends its process: the others have their values."""

    @fl.task
    def some(x: int, ways: list[str]) -> int:
        if x % 5 == 0:
            die(ways[x % len(ways)])
        return x

    values = run([some(x, ["SIGKILL", "exit", "SIGABRT"]) for x in range(20)], on_error="keep")
    assert [x for x, value in enumerate(values) if value != x] == [0, 5, 10, 15]


def test_what_a_dead_process_had_started_is_ended(tmp_path: Path) -> None:
    """A child of the task does not outlive the process of the task."""
    noted = tmp_path / "pids"

    @fl.task
    def parent() -> None:
        child = subprocess.Popen(["sleep", "1000"])
        noted.write_text(f"{child.pid}\n")
        os._exit(1)

    with pytest.raises(WorkerDied):
        run(parent())
    (child,) = pids_in(noted)
    wait_for(lambda: not is_alive(child), "the child has ended")


def test_without_the_nursery_the_work_goes_on(tmp_path: Path) -> None:
    """Somebody kills the process that makes workers: its workers end, and what they were at is made by new ones."""
    noted = tmp_path / "pids"

    @fl.task
    def slow(x: int) -> int:
        first = not noted.exists()
        with noted.open("a") as file:
            file.write(f"{os.getppid()}\n")
        if first:
            os.kill(os.getppid(), signal.SIGKILL)
            threading.Event().wait(PATIENCE_S)
        return x

    assert run(slow(3)) == 3
    assert len(set(pids_in(noted))) == 2


# ---- ending jobs on purpose


PROGRAM = """
    import os, signal, subprocess, sys, time
    import flowlib as fl

    @fl.task
    def stubborn(path: str) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.setsid(); time.sleep(1000)"
        child = subprocess.Popen([sys.executable, "-c", code])
        with open(path, "a") as file:
            file.write(f"{os.getpid()} {child.pid}\\n")
        while True:
            time.sleep(1)

    fl.run([stubborn(path) for path in sys.argv[1:]], executor="processes", cache="store", workers=2)
"""


def test_nothing_outlives_a_killed_program(tmp_path: Path, isolated: Path) -> None:
    """After `kill -9` of the program no worker and no child of one is left, and its run is not shown as running."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    notes = [tmp_path / "one", tmp_path / "two"]
    program = subprocess.Popen([sys.executable, str(script), *map(str, notes)])
    pids = wait_for(lambda: all(map(pids_in, notes)) and [p for note in notes for p in pids_in(note)], "both run")
    assert len(pids) == 4
    program.kill()
    program.wait()

    wait_for(lambda: not any(map(is_alive, pids)), "all have ended")
    (log,) = list_runs(isolated / "store" / "runs")
    assert summarize_run(log).status == "crashed"


def test_a_second_interrupt_ends_what_runs(tmp_path: Path) -> None:
    """Ctrl-C reaches the program alone; the second one ends the workers, however stubborn, and all their children."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    note = tmp_path / "one"
    program = subprocess.Popen([sys.executable, str(script), str(note)], stderr=subprocess.DEVNULL)
    pids = wait_for(lambda: pids_in(note), "the task runs")
    program.send_signal(signal.SIGINT)
    program.send_signal(signal.SIGINT)
    for _ in range(100):  # two that come at once may be taken as one
        try:
            program.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGINT)

    assert program.returncode in (-signal.SIGINT, 130)
    wait_for(lambda: not any(map(is_alive, pids)), "all have ended")


def test_workers_are_reused() -> None:
    """A later run finds the workers of an earlier one warm."""

    @fl.task
    def where(x: int) -> int:
        return os.getpid()

    first = set(run([where(x) for x in range(10)]))
    assert set(run([where(x) for x in range(10)])) <= set(shared_pool().pids)
    assert first & set(shared_pool().pids)
    assert os.getpid() not in first
