"""Background runs and signals: cancelled, killed, paused, left behind; whatever it is, what has finished is kept."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.history.query import list_runs, load_record
from flowlib.testing import EventLog
from tests.engine.programs import PATIENCE_S, Program, run_program


class Gate:
    """What a call waits at until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.is_open = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.entered.set()
        assert self.is_open.wait(PATIENCE_S)

    def __flowlib_digest__(self) -> str:
        return "gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.is_open.set()


def waiting_at(gate: Gate) -> Any:
    @fl.task(check_in=lambda x: True)
    def wait(x: int) -> int:
        gate.wait()
        return x

    return wait


@fl.task
def inc(x: int) -> int:
    return x + 1


def start(target: Any, **options: Any) -> fl.Run[Any]:
    return fl.start(target, **{"cache": False, "workers": 1, **options})


# ---- cancel


def test_cancel_lets_what_runs_finish(gate: Gate, tmp_path: Path) -> None:
    """Its result is kept; what has not begun is not."""
    wait = waiting_at(gate)
    run = start([wait(1), inc(wait(1))], cache=tmp_path / "c")
    assert gate.entered.wait(PATIENCE_S)
    run.cancel()
    gate.is_open.set()
    with pytest.raises(fl.RunStopped):
        run.result(PATIENCE_S)
    assert run.status == "cancelled"
    assert run.counts["cancelled"] >= 1
    log = EventLog()
    fl.run(wait(1), cache=tmp_path / "c", progress=False, observers=[log])
    assert log.ran == []


def test_cancel_with_kill_waits_for_nothing(gate: Gate) -> None:
    """A thread is left behind; the run has ended all the same, and says so."""
    run = start(inc(waiting_at(gate)(1)))
    assert gate.entered.wait(PATIENCE_S)
    run.cancel(kill=True)
    with pytest.raises(fl.RunStopped, match="ended before"):
        run.result(PATIENCE_S)
    assert (run.status, run.counts) == ("cancelled", {"cancelled": 2})


def test_cancel_with_kill_cancels_coroutines() -> None:
    """Their `finally` blocks run."""
    entered, cleaned = threading.Event(), threading.Event()

    @fl.task
    async def forever() -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    run = start(forever())
    assert entered.wait(PATIENCE_S)
    run.cancel(kill=True)
    assert cleaned.wait(PATIENCE_S)
    with pytest.raises(fl.RunStopped):
        run.result(PATIENCE_S)


def test_a_result_that_is_there_when_a_run_is_killed_is_kept(gate: Gate, tmp_path: Path) -> None:
    """It need not have been looked at yet."""
    wait = waiting_at(gate)
    run = start([wait(1), *[inc(x) for x in range(5)]], cache=tmp_path / "c", workers=2)
    assert gate.entered.wait(PATIENCE_S)
    while run.counts.get("done", 0) < 5:
        assert run.status == "running"
    run.cancel(kill=True)
    with pytest.raises(fl.RunStopped):
        run.result(PATIENCE_S)
    log = EventLog()
    fl.run([inc(x) for x in range(5)], cache=tmp_path / "c", progress=False, observers=[log])
    assert log.ran == []


# ---- pause


def test_a_paused_run_comes_to_rest_and_goes_on(gate: Gate, tmp_path: Path) -> None:
    """`pause(wait=True)` returns when nothing runs and what has finished is kept."""
    wait = waiting_at(gate)
    run = start([wait(1), *[inc(x) for x in range(20)]], cache=tmp_path / "c")
    assert gate.entered.wait(PATIENCE_S)
    with pytest.raises(TimeoutError, match="still runs"):
        run.pause(wait=True, timeout_s=0.01)
    assert run.status == "running"
    gate.is_open.set()
    run.pause(wait=True, timeout_s=PATIENCE_S)
    assert run.status == "paused"
    run.resume()
    assert run.result(PATIENCE_S) == [1, *range(1, 21)]
    assert run.status == "success"


def test_pausing_what_has_ended_waits_for_nothing() -> None:
    """It is at rest."""
    run = start(inc(1))
    assert run.result(PATIENCE_S) == 2
    run.pause(wait=True, timeout_s=PATIENCE_S)
    assert run.status == "success"


PAUSED = """
import sys, threading
import flowlib as fl

entered, go_on = threading.Event(), threading.Event()

def hold(x):
    if x == 2 and len(sys.argv) > 1:
        entered.set()
        go_on.wait()

@fl.task(check_in=hold)
def work(x: int) -> int:
    print("work", x, flush=True)
    return x

run = fl.start([work(x) for x in range(6)], cache="cache", workers=1)
if len(sys.argv) > 1:
    entered.wait()
    run.pause()
    go_on.set()
    run.pause(wait=True)
    print(run.status, flush=True)
else:
    print(run.result(), flush=True)
"""


def test_after_a_pause_the_program_may_end_and_go_on_later(tmp_path: Path) -> None:
    """The second process runs what the first had not begun; the history says how the first run ended."""
    with Program(tmp_path / "p.py", PAUSED, "pause", cwd=tmp_path) as program:
        program.expect("paused")
        program.finish()
    (path,) = list_runs(tmp_path / "cache" / "runs")
    record = load_record(path)
    assert record.status == "cancelled"
    n_done = record.counts["done"]
    assert n_done >= 3
    lines, _ = run_program(tmp_path / "p.py", PAUSED, cwd=tmp_path)
    assert lines[-1] == "[0, 1, 2, 3, 4, 5]"
    assert len(lines) - 1 == 6 - n_done


# ---- signals


SIGNALLED = """
import os, sys, threading
import flowlib as fl

@fl.task(check_in=lambda x: True)
def first(x: int) -> int:
    return x

@fl.task(check_in=lambda x: True)
def slow(x: int) -> int:
    print("slow", flush=True)
    sys.stdin.readline()
    print("finished", flush=True)
    return x

@fl.task(check_in=lambda x: True)
def after(x: int) -> int:
    print("after", flush=True)
    return x

class Watcher:
    def on_event(self, event):
        if type(event).__name__ == "NodeCancelled":
            print("draining", flush=True)

fl.run(after(slow(first(1))), cache="cache", progress=False, workers=2, observers=[Watcher()])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_the_first_signal_drains(tmp_path: Path, number: int, code: int) -> None:
    """What runs finishes and is kept, and the exit code says which signal it was."""
    with Program(tmp_path / "p.py", SIGNALLED, cwd=tmp_path) as program:
        program.expect("slow")
        program.process.send_signal(number)
        program.expect("draining")
        program.say()
        lines, _ = program.finish(code)
    assert "finished" in lines
    assert "after" not in lines
    (path,) = list_runs(tmp_path / "cache" / "runs")
    assert (load_record(path).status, load_record(path).counts) == ("cancelled", {"done": 2, "cancelled": 1})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_the_second_signal_ends_at_once(tmp_path: Path, number: int, code: int) -> None:
    """Though a task is still at work; what had finished is kept."""
    with Program(tmp_path / "p.py", SIGNALLED, cwd=tmp_path) as program:
        program.expect("slow")
        program.process.send_signal(number)
        program.expect("draining")
        program.process.send_signal(number)
        program.process.wait(PATIENCE_S)
        program.finish(code)
    (path,) = list_runs(tmp_path / "cache" / "runs")
    assert (load_record(path).status, load_record(path).counts) == ("cancelled", {"done": 1, "cancelled": 2})


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    """It is called, and the run goes on."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:

        @fl.task
        def ask() -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 1

        assert fl.run(ask(), cache=False, executor="inline", progress=False) == 1
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_taken_back() -> None:
    """After a run, SIGTERM does what it did before."""
    assert fl.run(inc(1), cache=False, progress=False) == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


FORKING = """
import os, signal, time
import flowlib as fl

@fl.task(executor="inline")
def fork() -> int:
    begun, begin = os.pipe()
    child = os.fork()
    if not child:
        os.write(begin, b".")  # Python forgets signals that come before it is done with forking
        while True:
            time.sleep(0.01)
    os.read(begun, 1)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(fl.run(fork(), cache=False, progress=False))
"""


def test_a_process_that_a_task_forks_obeys_signals(tmp_path: Path) -> None:
    """Pools of the user's own end their workers with SIGTERM."""
    lines, _ = run_program(tmp_path / "p.py", FORKING, cwd=tmp_path)
    assert lines == [str(-signal.SIGTERM)]


PIPELINE = """
import sys
import flowlib as fl

@fl.task(check_in=lambda: True)
def slow() -> int:
    print("slow", file=sys.stderr, flush=True)
    sys.stdin.readline()
    return 1

@fl.task(check_in=lambda x: True)
def after(x: int) -> int:
    return x

def pipeline():
    return after(slow())
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "told to end"), (signal.SIGINT, 130, "interrupted")]
)
def test_the_command_exits_with_the_signals_code(tmp_path: Path, number: int, code: int, word: str) -> None:
    """As shells count it, with a sentence."""
    (tmp_path / "pipe.py").write_text(PIPELINE)
    text = "import sys; from flowlib.cli.main import main; sys.exit(main(['run', 'pipe.py', '--no-progress']))"
    with Program(tmp_path / "p.py", "import sys; sys.stderr = sys.stdout\n" + text, cwd=tmp_path) as program:
        program.expect("slow")
        program.process.send_signal(number)
        program.say()
        lines, _ = program.finish(code)
    assert any(line.startswith(word) for line in lines)


def test_the_command_ends_after_its_timeout(tmp_path: Path) -> None:
    """Though a task hangs; what had finished is kept."""
    (tmp_path / "pipe.py").write_text(PIPELINE)
    text = "import sys; from flowlib.cli.main import main; sys.exit(main(['run', 'pipe.py', '--timeout', '0.2']))"
    with Program(tmp_path / "p.py", "import sys; sys.stderr = sys.stdout\n" + text, cwd=tmp_path) as program:
        program.process.wait(PATIENCE_S)
        lines, _ = program.finish(1)
    assert any("deadline" in line for line in lines)
