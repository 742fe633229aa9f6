"""Another attempt: after the right errors, with inputs as they were, without a slot while it waits, and on record."""

import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.run import execute, options_from
from flowlib.events import Event, NodeFailed, NodeRetried, NodeStarted, RunFinished
from flowlib.graph.retry import Retry
from flowlib.history.query import list_runs, load_record
from flowlib.testing import EventLog

PATIENCE_S = 30.0


class Jumping:
    """Moves the clock over each delay the moment it begins, so that no test waits."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock

    def on_event(self, event: Event) -> None:
        if isinstance(event, NodeRetried):
            self.clock.advance(event.delay_s)


@pytest.fixture(params=["threads", "inline"])
def executor(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def run(target: Any, log: EventLog, *, cache: Any = False, chance: float = 0.5, **settings: Any) -> Any:
    """Run with a clock that jumps over delays."""
    clock = FrozenClock(1000.0)
    options = options_from(
        settings, cache=cache, observers=(log, Jumping(clock)), clock=clock, chance=lambda: chance
    )  # fmt: skip
    return execute(target, options)


class Flaky:
    """A function that fails some times before it goes well; counts its calls."""

    def __init__(self, n_failures: int, error: BaseException | None = None) -> None:
        self.n_failures, self.n_calls = n_failures, 0
        self.error = error or ConnectionError("busy")

    def __call__(self) -> int:
        self.n_calls += 1
        if self.n_calls <= self.n_failures:
            raise self.error
        return self.n_calls

    def __flowlib_digest__(self) -> str:
        return "flaky"


def calling(flaky: Flaky, **options: Any) -> Any:
    @fl.task(**options)
    def fetch(x: int) -> int:
        return flaky() * x

    return fetch


def test_a_call_is_tried_again_until_it_goes_well(log: EventLog, executor: Any) -> None:
    """Its value is that of the attempt that went well, and nobody downstream knows of the others."""
    assert run(calling(Flaky(2), retries=3)(10) + 1, log, executor=executor) == 31
    assert [(event.attempt, event.error_type) for event in log.of(NodeRetried)] == [
        (1, "ConnectionError"), (2, "ConnectionError"),
    ]  # fmt: skip
    assert [event.attempt for event in log.of(NodeStarted) if event.task == "fetch"] == [1, 2, 3]
    assert log.of(RunFinished)[0].status == "success"


def test_the_delays_are_what_the_retry_says(log: EventLog) -> None:
    """They grow, and vary by what chance says."""
    with pytest.raises(ConnectionError):
        run(calling(Flaky(9), retries=Retry(4, first=2.0, factor=3.0, cap=20.0))(1), log, chance=0.5)
    assert [event.delay_s for event in log.of(NodeRetried)] == [1.0, 3.0, 9.0, 10.0]


def test_the_last_error_comes_out_with_the_number_of_attempts(log: EventLog, executor: Any) -> None:
    """After the last attempt the user's own exception is raised, once."""
    with pytest.raises(ConnectionError, match="busy") as caught:
        run(calling(Flaky(9), retries=2)(1), log, executor=executor)
    assert "attempt 3, the last one" in caught.value.__notes__[0]
    (failed,) = log.of(NodeFailed)
    assert failed.attempt == 3


def test_other_errors_are_not_tried_again(log: EventLog) -> None:
    """Only what `on` says."""
    flaky = Flaky(1, ValueError("no"))
    with pytest.raises(ValueError):
        run(calling(flaky, retries=Retry(3, on=OSError))(1), log)
    assert flaky.n_calls == 1


def test_a_predicate_that_fails_is_told_and_changes_nothing(log: EventLog) -> None:
    """The task's own error comes out, with a note about the other one."""
    with pytest.raises(ConnectionError) as caught:
        run(calling(Flaky(1), retries=Retry(on=lambda error: error.missing))(1), log)
    assert any("AttributeError" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_exits_and_interrupts_are_not_tried_again(log: EventLog, error: BaseException) -> None:
    """Whatever `on` says."""
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        run(calling(flaky, retries=Retry(3, on=BaseException))(1), log)
    assert flaky.n_calls == 1


def test_mistakes_of_the_program_are_not_tried_again(log: EventLog) -> None:
    """A generator as a result will be one again."""
    calls = []

    @fl.task(retries=3)
    def numbers() -> Any:
        calls.append(1)
        return iter([1])

    with pytest.raises(fl.TaskMisused):
        run(numbers(), log)
    assert len(calls) == 1


@pytest.mark.parametrize("cached", [True, False])
def test_each_attempt_finds_its_inputs_as_they_were(tmp_path: Path, log: EventLog, executor: Any, cached: bool) -> None:
    """What a failed attempt did to its arguments, the next one does not see: values, literals, parts, of any size."""
    np = pytest.importorskip("numpy")
    seen: list[Any] = []
    large = np.zeros(1 << 20)

    @fl.task
    def made() -> Any:
        return [1, 2], np.zeros(1 << 20)

    @fl.task
    def spoil_later() -> Any:
        return {"a": [0]}

    @fl.task(retries=2)
    def spoil(pair: Any, other: Any, literal: Any, held: Any) -> int:
        seen.append((list(pair[0]), float(pair[1].sum()), len(other["a"]), float(literal.sum()), len(held["x"])))
        pair[0].append(3)
        pair[1][:] = 1
        other["a"].append(1)
        literal[:] = 1
        held["x"].append(1)
        if len(seen) < 3:
            raise ConnectionError("busy")
        return 1

    cache = tmp_path / "cache" if cached else False
    made_there = made()
    assert run([spoil(made_there, spoil_later(), large, {"x": [1]}), made_there], log, cache=cache, executor=executor)
    assert seen == [([1, 2], 0.0, 1, 0.0, 1)] * 3
    assert log.finished.count("made") == 1
    assert float(large.sum()) == 0.0


def test_the_producer_of_an_input_does_not_run_again(log: EventLog, executor: Any) -> None:
    """A value with one consumer stays until that has gone well, also when nothing is stored."""
    flaky = Flaky(2)

    @fl.task
    def produce() -> list[int]:
        return [1]

    @fl.task(retries=3)
    def consume(items: list[int]) -> int:
        items.append(flaky())
        return len(items)

    assert run(consume(produce()), log, executor=executor) == 2
    assert log.ran == ["produce", "consume", "consume", "consume"]


def test_a_delay_holds_no_slot() -> None:
    """With one worker, everything else runs while a call waits for its next attempt."""
    clock, n_ended = FrozenClock(), []

    class Late:
        """Lets the delay pass only when all the others have run."""

        def on_event(self, event: Event) -> None:
            if type(event).__name__ == "NodeFinished":
                n_ended.append(event)
            if len(n_ended) == 20:
                clock.advance(1000.0)

    @fl.task(check_in=lambda i: True)
    def other(i: int) -> int:
        return i

    flaky = Flaky(1)
    first = calling(flaky, retries=Retry(1, first=100.0, jitter=0.0), priority=9)(1)
    options = options_from({"workers": 1}, cache=False, observers=(Late(),), clock=clock)
    assert execute([first, *[other(i) for i in range(20)]], options) == [2, *range(20)]


def test_the_attempts_are_in_the_history(tmp_path: Path, log: EventLog) -> None:
    """What failed first is on record beside what came of it in the end."""
    run(calling(Flaky(1), retries=1)(1), log, cache=tmp_path / "cache")
    (path,) = list_runs(tmp_path / "cache" / "runs")
    (node,) = load_record(path).nodes.values()
    (attempt,) = node.attempts
    assert (node.state, attempt.error_type, attempt.attempt) == ("done", "ConnectionError", 1)


def test_a_result_after_retries_is_stored_like_any_other(tmp_path: Path, log: EventLog) -> None:
    """And a failure never is."""
    fetch = calling(Flaky(1), retries=1)
    assert run(fetch(3), log, cache=tmp_path / "cache") == 6
    log.clear()
    assert run(fetch(3), log, cache=tmp_path / "cache") == 6
    assert log.ran == []


def test_two_calls_with_one_key_are_one_call_with_its_attempts(tmp_path: Path, log: EventLog) -> None:
    """The second waits for the first, however often that is tried."""
    flaky = Flaky(2)
    fetch = calling(flaky, retries=2)
    assert run([fetch(1), fetch(1)], log, cache=tmp_path / "cache") == [3, 3]
    assert flaky.n_calls == 3


def test_a_run_inside_a_task_may_want_what_waits_for_its_next_attempt(tmp_path: Path, log: EventLog) -> None:
    """It computes that itself, so the one worker is never waited for by itself."""
    flaky = Flaky(1)
    fetch = calling(flaky, retries=Retry(1, first=1e9, jitter=0.0), priority=1)

    @fl.task
    def outer() -> int:
        return fl.run(fetch(5)) + 1

    clock = FrozenClock()

    class Late:
        def on_event(self, event: Event) -> None:
            if type(event).__name__ == "NodeFinished" and event.task == "outer":
                clock.advance(2e9)

    options = options_from({"workers": 1}, cache=tmp_path / "cache", observers=(Late(), log), clock=clock)
    assert execute([fetch(5), outer()], options) == [10, 11]
    assert flaky.n_calls == 2


def test_a_run_that_stops_tries_nothing_again(log: EventLog) -> None:
    """What waited for its next attempt failed; its error is not lost."""
    flaky = Flaky(9, OSError("gone"))

    @fl.task
    def broken() -> int:
        raise ValueError("stop")

    clock = FrozenClock()
    options = options_from({"workers": 1}, cache=False, observers=(log,), clock=clock)
    fetch = calling(flaky, retries=Retry(3, first=1e6, jitter=0.0), priority=5)
    with pytest.raises(fl.SweepFailed) as caught:
        execute([fetch(1), broken()], options)
    assert sorted(type(error).__name__ for error in caught.value.errors) == ["OSError", "ValueError"]
    assert flaky.n_calls == 1
    assert log.of(RunFinished)[0].counts == {"failed": 2}


def test_every_point_of_a_sweep_has_its_own_attempts(log: EventLog) -> None:
    """`retries=` of a fan-out holds for each point alone."""
    lock, n_calls = threading.Lock(), dict.fromkeys(range(40), 0)

    def point(x: int) -> int:
        with lock:
            n_calls[x] += 1
        if n_calls[x] <= x % 3:
            raise ConnectionError(x)
        return x

    result = run(fl.fan_out(point, over=fl.grid(x=list(range(40))), retries=2), log)
    assert list(result.values) == list(range(40))
    assert n_calls == {x: x % 3 + 1 for x in range(40)}
