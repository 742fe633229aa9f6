"""One call is computed once, however many threads, runs and processes ask for it at the same time."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.errors import ExpansionLimit
from flowlib.events import NodeCached, NodeFinished, NodeStarted
from flowlib.testing import EventLog
from tests.engine.programs import PATIENCE_S, Program, first_to_say

CALLERS = """
import os, sys, threading
import flowlib as fl
cache, notes, n_threads, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
speak = threading.Lock()

def say(text):
    with speak:
        print(text, flush=True)

@fl.task(ignore=["notes"])
def slow(x, notes):
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b"computed\\n")
    os.close(file)
    say("started")
    sys.stdin.readline()
    return [x] * 3

@fl.task
def quick(x):
    return x

class Speaker:
    def on_event(self, event):
        if type(event).__name__ == "RunStarted":
            say("begun")
        if type(event).__name__ == "NodeFinished":
            say(f"finished {event.task}")

def one_run(which):
    target = [slow(1, notes), quick(os.getpid() * 10 + which)]
    value = fl.run(target, cache=cache, progress=False, workers=workers, observers=[Speaker()])
    say(f"value {value[0]}")

threads = [threading.Thread(target=one_run, args=(which,)) for which in range(n_threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def n_computed(notes: Path) -> int:
    return len(notes.read_text().splitlines())


def callers(tmp_path: Path, notes: Path, name: str, n_threads: int, workers: int = 4) -> Program:
    return Program(tmp_path / f"{name}.py", CALLERS, tmp_path / "cache", notes, n_threads, workers)


def test_two_processes_with_four_threads_compute_one_call_once(tmp_path: Path, notes: Path) -> None:
    """Eight runs in two processes ask for the same call; one computes, all get the value."""
    path = tmp_path / "program"
    path.mkdir()
    with callers(path, notes, "same", 4) as first, callers(path, notes, "same", 4) as second:
        for program in (first, second):
            for _ in range(4):
                program.expect("begun")
        holder = first_to_say("started", first, second)
        holder.say()
        for program in (first, second):
            lines, _ = program.finish()
            assert lines.count("value [1, 1, 1]") == 4
    assert n_computed(notes) == 1


def test_a_killed_holder_is_replaced(tmp_path: Path, notes: Path) -> None:
    """When the process that computes dies, another one that waits takes over."""
    with callers(tmp_path, notes, "first", 1) as first:
        first.expect("started")
        with callers(tmp_path, notes, "first", 1) as second:
            second.expect("finished quick")
            assert n_computed(notes) == 1
            first.kill()
            second.expect("started")
            second.say()
            lines, _ = second.finish()
            assert "value [1, 1, 1]" in lines
    assert n_computed(notes) == 2


def test_waiting_takes_no_slot(tmp_path: Path, notes: Path) -> None:
    """A run with one worker goes on with other work while somebody else computes what it needs."""
    with callers(tmp_path, notes, "same", 1, 1) as holder:
        holder.expect("started")
        with callers(tmp_path, notes, "same", 1, 1) as waiting:
            waiting.expect("finished quick")  # would never come if the wait held the only slot
            holder.say()
            holder.finish()
            lines, _ = waiting.finish()
            assert "value [1, 1, 1]" in lines
    assert n_computed(notes) == 1


# ---- in one process


class Gate:
    """Lets a task wait until the test says so. Known by name only, so that its state is no part of a key."""

    started = threading.Event()
    go_on = threading.Event()


@pytest.fixture(autouse=True)
def fresh_gate() -> None:
    Gate.started.clear()
    Gate.go_on.clear()


@fl.task(ignore=["notes"])
def gated(x: int, notes: str) -> int:
    with open(notes, "a") as file:
        file.write("computed\n")
    Gate.started.set()
    assert Gate.go_on.wait(PATIENCE_S)
    return x


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_two_runs_in_two_threads_share(tmp_path: Path, notes: Path, executor: Any) -> None:
    """The second run waits for the first and uses its result; its events say so."""
    cache, log = tmp_path / "cache", EventLog()
    first = fl.start(gated(1, str(notes)), cache=cache, executor=executor)
    assert Gate.started.wait(PATIENCE_S)
    second = fl.start(gated(1, str(notes)), cache=cache, executor=executor, observers=[log])
    Gate.go_on.set()
    assert (first.result(PATIENCE_S), second.result(PATIENCE_S)) == (1, 1)
    assert n_computed(notes) == 1
    assert second.status == "success"
    ends = [event for event in log.events if isinstance(event, (NodeCached, NodeFinished, NodeStarted))]
    assert [type(event) for event in ends] == [NodeCached]


def test_files_of_a_result_that_came_meanwhile_are_put_back(tmp_path: Path) -> None:
    """What another run computed while this one waited is treated like any other hit, files included."""
    out = tmp_path / "out.txt"

    @fl.task
    def write(path: str) -> fl.File:
        Path(path).write_text("content")
        Gate.started.set()
        assert Gate.go_on.wait(PATIENCE_S)
        return fl.File(path)

    first = fl.start(write(str(out)), cache=tmp_path / "cache")
    assert Gate.started.wait(PATIENCE_S)
    second = fl.start(write(str(out)), cache=tmp_path / "cache")
    Gate.go_on.set()
    first.result(PATIENCE_S)
    assert second.result(PATIENCE_S).read_text() == "content"
    out.unlink()
    assert fl.run(write(str(out)), cache=tmp_path / "cache", progress=False).read_text() == "content"


def test_a_run_that_waits_can_be_cancelled(tmp_path: Path, notes: Path) -> None:
    """Cancelling does not wait for the other run."""
    first = fl.start(gated(1, str(notes)), cache=tmp_path / "cache")
    assert Gate.started.wait(PATIENCE_S)
    second = fl.start([gated(1, str(notes))], cache=tmp_path / "cache")
    second.cancel()
    with pytest.raises(fl.RunStopped):
        second.result(PATIENCE_S)
    assert second.status == "cancelled"
    Gate.go_on.set()
    assert first.result(PATIENCE_S) == 1


def test_a_failed_holder_is_replaced(tmp_path: Path, notes: Path) -> None:
    """If the computation fails, whoever waited computes."""

    @fl.task(ignore=["notes"])
    def fails_once(notes: str) -> int:
        with open(notes, "a") as file:
            file.write("computed\n")
        if n_computed(Path(notes)) == 1:
            Gate.started.set()
            assert Gate.go_on.wait(PATIENCE_S)
            raise ValueError("first")
        return 5

    first = fl.start(fails_once(str(notes)), cache=tmp_path / "cache")
    assert Gate.started.wait(PATIENCE_S)
    second = fl.start(fails_once(str(notes)), cache=tmp_path / "cache")
    Gate.go_on.set()
    with pytest.raises(ValueError, match="first"):
        first.result(PATIENCE_S)
    assert second.result(PATIENCE_S) == 5


# ---- asking for oneself


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_runs_itself_is_told(tmp_path: Path, executor: Any, workers: int) -> None:
    """Waiting for one's own result would be for ever: it is an error that names the call."""

    @fl.task
    def again(n: int) -> int:
        return fl.run(again(n))

    with pytest.raises(ExpansionLimit, match="Task 'again' asks for its own result") as caught:
        fl.run(again(1), cache=tmp_path / "cache", progress=False, executor=executor, workers=workers)
    assert "again(n=1)" in str(caught.value)
    assert "test_single_flight.py:" in str(caught.value)


def test_a_task_that_returns_itself_is_told(tmp_path: Path) -> None:
    """The same for a task that returns a call of itself with the same arguments, however far down."""

    @fl.task
    def one(n: int) -> int:
        return two(n)

    @fl.task
    def two(n: int) -> int:
        return one(n)

    for target in (one(1), [one(1), two(1)]):
        with pytest.raises(ExpansionLimit, match="asks for its own result"):
            fl.run(target, cache=tmp_path / "cache", progress=False)


def test_two_tasks_that_run_each_other_are_told(tmp_path: Path) -> None:
    """Each waits for the other in a thread of its own: the second wait is refused."""
    in_one, in_two = threading.Event(), threading.Event()

    @fl.task
    def one(n: int) -> int:
        in_one.set()
        assert in_two.wait(PATIENCE_S)
        return fl.run(two(n))

    @fl.task
    def two(n: int) -> int:
        in_two.set()
        assert in_one.wait(PATIENCE_S)
        return fl.run(one(n))

    with pytest.raises((ExpansionLimit, fl.SweepFailed)) as caught:
        fl.run([one(1), two(1)], cache=tmp_path / "cache", progress=False, workers=2)
    assert "asks for its own result" in str(caught.value) or "asks for its own result" in str(caught.value.__cause__)


def test_a_started_run_inside_a_task_that_needs_that_task_is_told(tmp_path: Path) -> None:
    """A run in the background of a task is no way around it."""

    @fl.task
    def again(n: int) -> int:
        return fl.start(again(n), cache=tmp_path / "cache").result(PATIENCE_S)

    with pytest.raises(ExpansionLimit, match="asks for its own result"):
        fl.run(again(1), cache=tmp_path / "cache", progress=False)


def test_a_run_inside_a_task_performs_the_queued_job_it_waits_for(tmp_path: Path) -> None:
    """Both threads are inside tasks that need a job which no thread is free to start: one of them performs it."""
    both_busy, wanted_started = threading.Event(), threading.Event()

    class Watcher:
        def on_event(self, event: Any) -> None:
            if isinstance(event, NodeStarted) and event.task == "wanted":
                wanted_started.set()

    @fl.task(cache=False)
    def before() -> int:
        assert both_busy.wait(PATIENCE_S)
        return 1

    @fl.task
    def wanted(x: int) -> int:
        return x + 1

    @fl.task(cache=False)
    def busy() -> int:
        both_busy.set()  # and `held` waits in the queue for the thread that `before` has
        assert wanted_started.wait(PATIENCE_S)
        return 1

    @fl.task(cache=False)
    def held() -> int:
        assert wanted_started.wait(PATIENCE_S)  # the outer run has its lease, and no thread to start it in
        return fl.run(wanted(1))

    @fl.task(cache=False)
    def holder() -> list[int]:
        return fl.run([busy(), held()])

    first = before()
    target = [first, holder(), wanted(first)]
    handle = fl.start(target, cache=tmp_path / "cache", workers=2, observers=[Watcher()])
    assert handle.result(PATIENCE_S) == [1, [1, 2], 2]


def test_a_fork_in_a_task_can_run_a_pipeline(tmp_path: Path, recwarn: Any) -> None:
    """A child made by fork opens the cache afresh; what it stores, the parent finds."""

    @fl.task
    def inc(x: int) -> int:
        return x + 1

    cache = tmp_path / "cache"
    assert fl.run(inc(1), cache=cache, progress=False, executor="inline") == 2
    child = os.fork()
    if child == 0:
        try:
            values = fl.run([inc(1), inc(2)], cache=cache, progress=False, executor="inline")
            os._exit(0 if values == [2, 3] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log = EventLog()
    assert fl.run([inc(1), inc(2), inc(3)], cache=cache, progress=False, observers=[log]) == [2, 3, 4]
    assert log.ran == ["inc"]
