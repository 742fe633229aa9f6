"""A call that takes too long: ended where that is possible, left behind honestly where it is not."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.run import execute, options_from
from flowlib.events import Event, NodeFailed, NodeFinished, NodeRetried, NodeStarted, NodeTimedOut, Noticed, RunFinished
from flowlib.graph.retry import Retry
from flowlib.graph.timeout import Timeout
from flowlib.testing import EventLog

pytestmark = pytest.mark.filterwarnings("ignore::flowlib.errors.FlowWarning")

PATIENCE_S = 30.0
SOON_S = 0.02


@pytest.fixture
def log() -> EventLog:
    return EventLog()


class Gate:
    """What hanging calls wait for; opened at the end of a test so that no thread stays."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.entered = threading.Semaphore(0)

    def wait(self) -> None:
        self.entered.release()
        assert self.is_open.wait(PATIENCE_S)

    def __flowlib_digest__(self) -> str:
        return "gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.is_open.set()


def run(target: Any, log: EventLog, **options: Any) -> Any:
    return fl.run(target, **{"cache": False, "progress": False, "observers": [log], **options})


def hanging(gate: Gate, **options: Any) -> Any:
    @fl.task(**options)
    def hang(x: int) -> int:
        gate.wait()
        return x

    return hang


def test_a_thread_is_left_behind_and_that_is_said(gate: Gate, log: EventLog) -> None:
    """The run ends with a TimeoutError though the call still runs; a notice says that nothing can stop it."""
    with pytest.raises(TimeoutError, match="longer than") as caught, pytest.warns(fl.FlowWarning, match="still runs"):
        run(hanging(gate, timeout=SOON_S)(1), log)
    assert isinstance(caught.value, fl.TaskTimedOut)
    assert (caught.value.limit, caught.value.limit_s) == ("run", SOON_S)
    (event,) = log.of(NodeTimedOut)
    assert (event.limit, event.kept) == ("run", False)
    assert log.of(RunFinished)[0].counts == {"timed_out": 1}


def test_inline_a_call_is_late_when_it_comes_back(log: EventLog) -> None:
    """Nothing can end it, and its result is dropped all the same: the state is honest, and the run goes on."""
    clock = FrozenClock()

    @fl.task(timeout=5)
    def slow(x: int) -> int:
        clock.advance(6.0)
        return x

    options = options_from({"executor": "inline", "on_error": "keep"}, cache=False, observers=(log,), clock=clock)
    (late,) = execute([slow(1)], options)
    assert late.error_type == "TaskTimedOut"
    assert log.of(NodeTimedOut)[0].duration_s == 6.0
    assert log.of(Noticed) == []


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_call_that_keeps_its_time_is_left_alone(log: EventLog, tmp_path: Path, executor: Any) -> None:
    """A timeout that is met changes nothing."""

    @fl.task(timeout=fl.Timeout(PATIENCE_S, queue=PATIENCE_S, total=PATIENCE_S))
    def quick(x: int) -> int:
        return x

    assert run([quick(x) for x in range(30)], log, executor=executor, cache=tmp_path / "c") == list(range(30))
    assert log.of(RunFinished)[0].counts == {"done": 30}


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_coroutine_is_cancelled(log: EventLog, executor: Any) -> None:
    """Its `finally` blocks run, and no thread is left behind."""
    cleaned = threading.Event()

    @fl.task(timeout=SOON_S)
    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    with pytest.raises(fl.TaskTimedOut):
        run(forever(), log, executor=executor)
    assert cleaned.wait(PATIENCE_S)
    assert log.of(NodeTimedOut)[0].worker
    assert log.of(Noticed) == []


def test_a_timeout_of_the_users_own_is_a_failure(log: EventLog) -> None:
    """Only our own limit makes a node `timed_out`."""

    @fl.task(timeout=PATIENCE_S)
    async def own() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(own(), log)
    assert log.of(RunFinished)[0].counts == {"failed": 1}


def test_all_attempts_together_have_a_limit(log: EventLog) -> None:
    """`total` counts the attempts and what lies between them."""
    clock = FrozenClock()

    class Jumping:
        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeRetried):
                clock.advance(40.0)

    @fl.task(retries=Retry(9, first=30.0, factor=1.0, jitter=0.0), timeout=Timeout(total=100))
    def failing() -> None:
        raise ConnectionError("busy")

    with pytest.raises(fl.TaskTimedOut) as caught:
        execute(failing(), options_from({}, cache=False, observers=(log, Jumping()), clock=clock))
    assert caught.value.limit == "total"
    assert len(log.of(NodeRetried)) == 3
    assert log.of(NodeFailed)[0].limit == "total"


def test_a_call_may_wait_only_so_long_for_a_slot(gate: Gate, log: EventLog) -> None:
    """`queue` ends what nobody has begun; the call before it is not disturbed."""

    @fl.task(timeout=Timeout(queue=SOON_S), on_error="keep")
    def later(x: int) -> int:
        return x

    class Opening:
        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeTimedOut):
                gate.is_open.set()

    targets = [hanging(gate, priority=1)(1), later(2)]
    first, second = run(targets, log, workers=1, observers=[log, Opening()])
    assert (first, second.error_type) == (1, "TaskTimedOut")
    assert log.of(NodeTimedOut)[0].limit == "queue"
    assert "later" not in log.ran


def test_a_timeout_may_be_tried_again(gate: Gate, log: EventLog) -> None:
    """If the retry allows it; the attempt left behind does not disturb the next one, and its late result is dropped."""
    attempts: list[int] = []

    @fl.task(timeout=SOON_S, retries=Retry(1, first=0.0))
    def slow_at_first(x: int) -> int:
        attempts.append(x)
        if len(attempts) == 1:
            gate.wait()
            return -1
        return x

    class Opening:
        """Lets the first attempt end when the second one is under way."""

        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeStarted) and event.attempt == 2:
                gate.is_open.set()

    value = run(slow_at_first(7), log, workers=2, observers=[log, Opening()])
    assert value == 7
    assert [event.timed_out for event in log.of(NodeRetried)] == [True]
    assert len(log.of(NodeFinished)) == 1


def test_what_comes_late_is_not_used(gate: Gate, log: EventLog, tmp_path: Path) -> None:
    """The late result of a call goes nowhere, not even into the cache."""
    hang = hanging(gate, timeout=SOON_S)
    ended = threading.Event()

    @fl.task
    def waits_for_it(x: int) -> int:
        assert ended.wait(PATIENCE_S)
        gate.is_open.set()
        return x

    class Watcher:
        def on_event(self, event: Event) -> None:
            if isinstance(event, NodeTimedOut):
                ended.set()

    targets = [hang(1), waits_for_it(2)]
    with pytest.raises(fl.TaskTimedOut):
        run(targets, log, cache=tmp_path / "c", on_error="continue", observers=[log, Watcher()], workers=2)
    assert log.finished in ([], ["waits_for_it"])
    log.clear()
    assert run(hanging(gate)(1), log, cache=tmp_path / "c") == 1
    assert log.ran == ["hang"]


def test_hanging_calls_never_hang_a_run(gate: Gate, log: EventLog) -> None:
    """When calls that cannot be stopped keep every slot, the run takes one slot after the other from them."""
    hang = hanging(gate, timeout=SOON_S, on_error="keep")
    values = run([hang(x) for x in range(7)], log, workers=2)
    assert [value.error_type for value in values] == ["TaskTimedOut"] * 7
    assert log.of(RunFinished)[0].status == "partial"
    assert {notice.kind for notice in log.of(Noticed)} == {"still-running", "slots-kept"}


def test_a_slot_is_kept_until_the_call_comes_back(gate: Gate, log: EventLog) -> None:
    """With two workers and one of them hanging, nothing runs beside the third call."""
    hang = hanging(gate, timeout=SOON_S, on_error="keep", priority=9)
    n_at_once, most, lock = 0, 0, threading.Lock()

    @fl.task(check_in=lambda *args: True)
    def counted(x: int, before: Any) -> int:
        nonlocal n_at_once, most
        with lock:
            n_at_once += 1
            most = max(most, n_at_once)
        with lock:
            n_at_once -= 1
        return x

    first = hang(0)
    run([counted(x, first) for x in range(20)], log, workers=2)
    assert most == 1


def test_hits_know_no_timeout(gate: Gate, log: EventLog, tmp_path: Path) -> None:
    """A stored result is used whatever the limit."""
    gate.is_open.set()
    assert run(hanging(gate)(1), log, cache=tmp_path / "c") == 1
    assert run(hanging(gate, timeout=Timeout(queue=1e-9, total=1e-9))(1), log, cache=tmp_path / "c") == 1
    assert log.ran == ["hang"]
