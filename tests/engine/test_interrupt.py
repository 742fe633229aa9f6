"""Stopping is real: at whatever moment, what has finished is kept, nothing hangs, and the log says how it ended."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock, SystemClock
from flowlib.engine.run import execute, options_from
from flowlib.engine.stop import Stop
from flowlib.events import Event, NodeCancelled, NodeFailed, NodeFinished, NodeStarted, RunFinished, RunStarted
from flowlib.history.log import read_log
from flowlib.testing import EventLog
from tests.engine.programs import PATIENCE_S, Program, run_program


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def add(x: int, y: int) -> int:
    return x + y


@fl.task
def nested(x: int) -> int:
    return fl.run(add(inc(x), inc(x + 1)))


@fl.task
def returning(x: int) -> int:
    return add(inc(x), 100)


def target() -> Any:
    return [add(inc(1), add(inc(2), nested(10))), returning(5), *[inc(k) for k in range(20, 23)]]


EXPECTED = [2 + 3 + 11 + 12, 106, 21, 22, 23]


class At:
    """Sends the process a Ctrl-C with its n-th event."""

    def __init__(self, *moments: int) -> None:
        self.moments = moments
        self.n = 0

    def on_event(self, event: Event) -> None:
        self.n += 1
        if self.n in self.moments:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(params=["threads", "inline"])
def executor(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def alarm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn a hang into a failure. These tests make a hundred caches, none of which has to survive a power cut."""
    monkeypatch.setenv("FLOWLIB_FSYNC", "off")

    def ring(number: int, frame: Any) -> None:
        raise AssertionError("the run hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def assert_nothing_runs(before: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def last_event(cache: Path) -> Any:
    (path,) = (cache / "runs").iterdir()
    return list(read_log(path))[-1]


def interrupted(cache: Path, executor: Any, *moments: int) -> EventLog:
    """Run with a Ctrl-C at some events; check everything that must hold whatever the moment."""
    threads, log = set(threading.enumerate()), EventLog()
    with pytest.raises(KeyboardInterrupt):
        fl.run(target(), cache=cache, executor=executor, workers=2, progress=False, observers=[At(*moments), log])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_nothing_runs(threads)
    end = last_event(cache)
    assert isinstance(end, RunFinished)
    assert end == log.events[-1]
    assert end.status == "cancelled" or moments[0] == len(log.events)
    assert not {"running", "waiting", "ready"} & set(end.counts)
    return log


def n_events(cache: Path, executor: Any) -> int:
    log = EventLog()
    assert fl.run(target(), cache=cache, executor=executor, workers=2, progress=False, observers=[log]) == EXPECTED
    return len(log.events)


def assert_kept(cache: Path, log: EventLog) -> None:
    """Run again: what had finished hits, and the values are right."""
    again = EventLog()
    assert fl.run(target(), cache=cache, progress=False, observers=[again]) == EXPECTED
    finished = {event.key for event in log.events if isinstance(event, NodeFinished)}
    ran = {event.key for event in again.events if isinstance(event, NodeFinished)}
    assert None not in finished
    assert not finished & ran


# ---- Ctrl-C


def test_ctrl_c_at_every_event(tmp_path: Path, executor: Any) -> None:
    """Whichever event it comes with, the first and the last included."""
    for moment in range(1, n_events(tmp_path / "all", executor) + 1):
        cache = tmp_path / f"cache{moment}"
        assert_kept(cache, interrupted(cache, executor, moment))


def test_two_ctrl_c_at_every_event(tmp_path: Path, executor: Any) -> None:
    """A second one close behind the first ends the run at once; and two more, by a hand in a hurry, lose nothing either."""
    for moment in range(1, n_events(tmp_path / "all", executor), 2):
        cache = tmp_path / f"cache{moment}"
        assert_kept(cache, interrupted(cache, executor, moment, moment + 1, moment + 2, moment + 3))


def test_ctrl_c_without_a_cache(executor: Any) -> None:
    """There is nothing to keep, but the run ends all the same."""
    for moment in (1, 3, 7, 12):
        with pytest.raises(KeyboardInterrupt):
            fl.run(target(), cache=False, executor=executor, progress=False, observers=[At(moment)])


def test_ctrl_c_inside_a_task_lets_it_finish(tmp_path: Path) -> None:
    """The first Ctrl-C does not tear a task that runs in the main thread: its result is kept."""

    @fl.task
    def interrupted_here(x: int) -> int:
        signal.raise_signal(signal.SIGINT)
        return x + 1

    log = EventLog()
    with pytest.raises(KeyboardInterrupt) as caught:
        fl.run(inc(interrupted_here(1)), cache=tmp_path / "c", executor="inline", progress=False, observers=[log])
    assert log.finished == ["interrupted_here"]
    assert "run again" in caught.value.__notes__[0]
    log.clear()
    assert fl.run(inc(interrupted_here(1)), cache=tmp_path / "c", progress=False, observers=[log]) == 3
    assert log.ran == ["inc"]


def test_a_second_ctrl_c_inside_a_task_ends_it(tmp_path: Path) -> None:
    """The second one is raised in the task, and ends as the run's KeyboardInterrupt."""

    @fl.task
    def twice(x: int) -> int:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return x + 1

    log = EventLog()
    with pytest.raises(KeyboardInterrupt):
        fl.run([inc(5), inc(twice(1))], cache=tmp_path / "c", executor="inline", progress=False, observers=[log])
    assert "twice" not in log.finished
    assert log.events[-1].status == "cancelled"


def test_a_second_ctrl_c_does_not_wait_for_jobs(tmp_path: Path) -> None:
    """The first waits for what runs; the second raises at once, though a thread is still busy."""
    started, go_on, drained = threading.Event(), threading.Event(), threading.Event()

    class Watcher:
        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeCancelled):
                drained.set()

    @fl.task(cache=False)
    def stubborn() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        assert drained.wait(PATIENCE_S)  # the first one has been heard
        os.kill(os.getpid(), signal.SIGINT)
        started.set()
        assert go_on.wait(PATIENCE_S)
        return 1

    threads = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        fl.run(inc(stubborn()), cache=tmp_path / "c", progress=False, observers=[Watcher()])
    assert not go_on.is_set()
    end = last_event(tmp_path / "c")
    assert (end.status, end.counts) == ("cancelled", {"cancelled": 2})
    assert started.wait(PATIENCE_S)
    go_on.set()
    assert_nothing_runs(threads)


def test_an_interrupt_outranks_failures(tmp_path: Path, executor: Any) -> None:
    """When a task fails because of the Ctrl-C, as a child process would, the run is still interrupted, not failed."""

    @fl.task
    def fails(x: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("the child was interrupted")

    with pytest.raises(KeyboardInterrupt) as caught:
        fl.run(fails(1), cache=tmp_path / "c", executor=executor, progress=False)
    assert isinstance(caught.value.__cause__, OSError)
    assert last_event(tmp_path / "c").status == "cancelled"


def test_a_task_that_raises_keyboard_interrupt_interrupts(tmp_path: Path, executor: Any) -> None:
    """It is not a failure of the task, whoever raised it."""

    @fl.task
    def raises(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fl.run([raises(1), inc(1)], cache=tmp_path / "c", executor=executor, progress=False)
    assert last_event(tmp_path / "c").status == "cancelled"


def test_a_handler_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    """Whoever handles SIGINT differently goes on doing so."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        assert fl.run(inc(1), cache=tmp_path / "c", progress=False, observers=[At(2)]) == 2
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def run_with_signals(cache: Path, executor: Any, moments: tuple[int, ...], places: tuple[str, ...]) -> tuple[int, str]:
    """Run with a Ctrl-C at the n-th lines executed in some files by the main thread; return how many there were."""
    count = 0

    def trace(frame: Any, what: str, arg: Any) -> Any:
        nonlocal count
        if not any(place in frame.f_code.co_filename for place in places):
            return None
        if what == "line":
            count += 1
            if count in moments:
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        fl.run(target(), cache=cache, executor=executor, workers=2, progress=False)
    except KeyboardInterrupt:
        return count, "interrupted"
    finally:
        sys.settrace(None)
    return count, "done"


PLACES = ("flowlib/engine/", "flowlib/execution/", "flowlib/scheduling/", "threading.py", "queue.py", "flowlib/store/")


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0, 1, 40])
def test_ctrl_c_at_any_line(tmp_path: Path, executor: Any, apart: int) -> None:
    """At any line of the engine, the executor or the store: no hang, no lost lease, right values in the same process."""
    total, _ = run_with_signals(tmp_path / "all", executor, (), PLACES)
    for moment in range(1, total, max(1, total // 150)):
        cache = tmp_path / f"cache{moment}"
        moments = (moment, moment + apart) if apart else (moment,)
        run_with_signals(cache, executor, moments, PLACES)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert fl.run(target(), cache=cache, progress=False) == EXPECTED


def test_ctrl_c_at_any_line_of_the_wait(tmp_path: Path) -> None:
    """The handler wakes the very wait it interrupts; that must not need a lock which the wait holds."""
    places = ("flowlib/execution/threads.py", "threading.py", "queue.py")
    total, _ = run_with_signals(tmp_path / "all", "threads", (), places)
    for moment in range(1, total, max(1, total // 15)):
        run_with_signals(tmp_path / f"cache{moment}", "threads", (moment,), places)
        assert fl.run(target(), cache=tmp_path / f"cache{moment}", progress=False) == EXPECTED


PROGRAM = """
import sys
import flowlib as fl

@fl.task
def first(x):
    return x + 1

@fl.task(cache=False)
def gate(x):
    print("started", flush=True)
    sys.stdin.readline()
    return x

@fl.task
def last(x):
    print("last", flush=True)
    return x

print(fl.run(last(gate(first(1))), cache=sys.argv[1], executor=sys.argv[2], progress=False))
"""


def test_a_program_ends_by_the_signal(tmp_path: Path, executor: Any) -> None:
    """Ctrl-C from outside: the running task finishes, nothing new starts, the shell sees an interrupted program."""
    cache = tmp_path / "cache"
    with Program(tmp_path / "program.py", PROGRAM, cache, executor) as program:
        program.expect("started")
        program.process.send_signal(signal.SIGINT)
        program.say()
        lines, errors = program.finish(-signal.SIGINT)
    assert "last" not in lines
    assert errors.rstrip().splitlines()[-2:] == [
        "KeyboardInterrupt",
        "flowlib: finished results are kept; run again to go on from here",
    ]
    assert last_event(cache).status == "cancelled"
    with Program(tmp_path / "program.py", PROGRAM, cache, executor) as program:
        program.expect("started")
        program.say()
        assert program.finish()[0] == ["started", "last", "2"]


def test_a_killed_program_leaves_a_usable_cache(tmp_path: Path, executor: Any) -> None:
    """After SIGKILL in the middle, the next run goes on and computes the same."""
    cache = tmp_path / "cache"
    with Program(tmp_path / "program.py", PROGRAM, cache, executor) as program:
        program.expect("started")
        program.kill()
    with Program(tmp_path / "program.py", PROGRAM, cache, executor) as program:
        program.expect("started")
        program.say()
        assert program.finish()[0][-1] == "2"


EXITING = """
import sys
import flowlib as fl

@fl.task
def leave(x):
    sys.exit(7)

fl.run(leave(1), cache=sys.argv[1], progress=False)
"""


def test_a_task_that_exits_ends_the_program_with_its_code(tmp_path: Path) -> None:
    """`sys.exit(7)` in a task, also in a thread, is the program's exit code; the run is logged as failed."""
    run_program(tmp_path / "program.py", EXITING, tmp_path / "cache", code=7)
    assert last_event(tmp_path / "cache").status == "failed"


# ---- deadline, cancel, pause


def run_with(clock: FrozenClock, target: Any, cache: Any, executor: Any, **options: Any) -> Any:
    """Run with a clock that a task can move."""
    settings = {"executor": executor, "workers": 2}
    return execute(target, options_from(settings, cache=cache, clock=clock, **options))


def test_a_deadline_starts_nothing_new(tmp_path: Path, executor: Any) -> None:
    """What runs at the deadline finishes and is kept; what is missing is named."""
    clock = FrozenClock(SystemClock.now())

    @fl.task(ignore=["advance"])
    def slow(x: int, advance: Callable[[float], None]) -> int:
        advance(100.0)
        return x

    def chain() -> Any:
        return inc(slow(1, lambda seconds: clock.advance(seconds)))

    with pytest.raises(fl.RunStopped) as caught:
        run_with(clock, chain(), tmp_path / "c", executor, deadline_s=50.0)
    assert "deadline" in str(caught.value)
    assert "<node inc(...)" in str(caught.value)
    assert last_event(tmp_path / "c").status == "cancelled"
    log = EventLog()
    assert run_with(clock, chain(), tmp_path / "c", executor, observers=[log]) == 2
    assert log.ran == ["inc"]


def test_a_deadline_in_the_past_starts_nothing_at_all() -> None:
    """With no time left, no task is started."""
    log = EventLog()
    with pytest.raises(fl.RunStopped):
        fl.run(target(), cache=False, deadline=0.0, progress=False, observers=[log])
    assert log.ran == []
    assert log.events[-1].status == "cancelled"


def test_the_deadline_of_a_run_inside_a_task_stops_only_that(tmp_path: Path, executor: Any) -> None:
    """The task sees RunStopped; the outer run goes on."""
    clock = FrozenClock(SystemClock.now())

    @fl.task(cache=False)
    def slow(x: int) -> int:
        clock.advance(100.0)
        return x

    @fl.task(cache=False)
    def outer(x: int) -> str:
        try:
            fl.run(inc(slow(x)), deadline=50.0)
        except fl.RunStopped:
            return "stopped"
        return "done"

    # Not inc(1): that is the very call inside, and a stored result is used whatever the deadline.
    assert run_with(clock, [outer(1), inc(5)], tmp_path / "c", executor) == ["stopped", 6]


def test_a_failure_outside_does_not_turn_runs_inside_tasks_into_failures(tmp_path: Path) -> None:
    """When the run stops for an error, runs inside its tasks stop too; the error that counts is the first."""
    inside, failed = threading.Event(), threading.Event()

    class Watcher:
        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeFailed):
                failed.set()

    @fl.task(cache=False)
    def fails() -> int:
        assert inside.wait(PATIENCE_S)
        raise ValueError("the one")

    @fl.task(cache=False)
    def wait() -> int:
        inside.set()
        assert failed.wait(PATIENCE_S)
        return 1

    @fl.task(cache=False)
    def outer() -> int:
        return fl.run(inc(wait()))

    with pytest.raises(ValueError, match="the one"):
        fl.run([fails(), outer()], cache=tmp_path / "c", workers=2, progress=False, observers=[Watcher()])


def test_a_deadline_that_is_met_changes_nothing() -> None:
    """A run that is done in time returns its value and is logged as done."""
    log = EventLog()
    assert fl.run(inc(1), cache=False, deadline=3600.0, progress=False, observers=[log]) == 2
    assert log.events[-1].status == "success"


def test_cancel_before_anything_started(tmp_path: Path) -> None:
    """A run cancelled at its first event starts nothing."""
    log = EventLog()

    class Canceller:
        handle: Any = None
        there = threading.Event()

        def on_event(self, event: Event) -> None:
            if isinstance(event, RunStarted):
                assert self.there.wait(PATIENCE_S)
                self.handle.cancel()

    canceller = Canceller()
    canceller.handle = fl.start(target(), cache=tmp_path / "c", observers=[canceller, log])
    canceller.there.set()
    with pytest.raises(fl.RunStopped):
        canceller.handle.result(PATIENCE_S)
    assert canceller.handle.status == "cancelled"
    assert log.events[-1].status == "cancelled"


def test_cancelling_the_waiter_cancels_the_run(tmp_path: Path) -> None:
    """Cancelling the asyncio task that awaits a run stops the run; its status says so once it has ended."""
    import asyncio

    started, go_on = threading.Event(), threading.Event()
    ends: list[str] = []

    class Watcher:
        def on_event(self, event: Event) -> None:
            if isinstance(event, RunFinished):
                ends.append(event.status)
                over.set()

    @fl.task(cache=False)
    def gate() -> int:
        started.set()
        assert go_on.wait(PATIENCE_S)
        return 1

    over = threading.Event()

    async def main() -> None:
        waiter = asyncio.ensure_future(fl.arun(inc(gate()), cache=tmp_path / "c", observers=[Watcher()]))
        await asyncio.to_thread(started.wait, PATIENCE_S)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        go_on.set()
        assert await asyncio.to_thread(over.wait, PATIENCE_S)

    asyncio.run(main())
    assert ends == ["cancelled"]


def test_a_paused_run_starts_nothing(tmp_path: Path, executor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause holds back what is ready; resume starts it."""
    held = threading.Event()
    is_paused = Stop.is_paused.fget
    assert is_paused is not None

    def watched(stop: Stop) -> bool:
        paused: bool = is_paused(stop)
        if paused:
            held.set()
        return paused

    monkeypatch.setattr(Stop, "is_paused", property(watched))
    log = EventLog()

    class Pauser:
        handle: Any = None
        there = threading.Event()

        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeFinished) and event.task == "inc":
                assert self.there.wait(PATIENCE_S)
                self.handle.pause()

    pauser = Pauser()
    pauser.handle = fl.start(add(inc(1), 5), cache=tmp_path / "c", executor=executor, observers=[pauser, log])
    pauser.there.set()
    assert held.wait(PATIENCE_S)
    assert log.ran == ["inc"]
    assert pauser.handle.status in ("running", "paused")
    pauser.handle.resume()
    assert pauser.handle.result(PATIENCE_S) == 7
    assert log.ran == ["inc", "add"]


def test_a_paused_run_can_be_cancelled(tmp_path: Path, executor: Any) -> None:
    """What a pause held back is cancelled, and its lease is free for the next run."""
    log = EventLog()

    class Pauser:
        handle: Any = None
        there = threading.Event()

        def on_event(self, event: Event) -> None:
            if isinstance(event, RunStarted):
                assert self.there.wait(PATIENCE_S)
                self.handle.pause()

    pauser = Pauser()
    pauser.handle = fl.start(target(), cache=tmp_path / "c", executor=executor, observers=[pauser, log])
    pauser.there.set()
    pauser.handle.cancel()
    with pytest.raises(fl.RunStopped):
        pauser.handle.result(PATIENCE_S)
    assert not log.of(NodeStarted)
    assert fl.run(target(), cache=tmp_path / "c", progress=False) == EXPECTED


def test_every_node_has_an_end(tmp_path: Path, executor: Any) -> None:
    """However a run ends, each node that was started has an event that ends it."""
    for moment in range(1, 12):
        log, cache = EventLog(), tmp_path / str(moment)
        with pytest.raises(KeyboardInterrupt):
            fl.run(target(), cache=cache, executor=executor, progress=False, observers=[At(moment), log])
        started = {event.node for event in log.of(NodeStarted)}
        ended = {event.node for event in log.events if hasattr(event, "node") and not isinstance(event, NodeStarted)}
        assert started <= ended
