"""Failures: the user's own exception, the call that raised it, and nothing lost."""

from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.sweep.failed import Failed
from flowlib.testing import EventLog


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def broken(x: int) -> int:
    raise ValueError(f"no {x}")


@fl.task
def total(values: list[Any]) -> int:
    return len(values)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def run(target: Any, log: EventLog, cache: Path, **options: Any) -> Any:
    log.clear()
    return fl.run(target, cache=cache, progress=False, observers=[log], **options)


def test_the_users_exception_comes_out_with_a_note(cache: Path, log: EventLog) -> None:
    """One failure raises its own exception; the note names task, arguments and the line of the call."""
    with pytest.raises(ValueError, match="no 3") as caught:
        run(inc(broken(3)), log, cache)

    (note,) = caught.value.__notes__
    assert "broken(x=3)" in note
    assert "test_failures.py:" in note


def test_the_traceback_shows_the_users_code_last_and_one_frame_of_ours(cache: Path, log: EventLog) -> None:
    """flowlib's frames between the call of run and the failing line are folded."""
    with pytest.raises(ValueError) as caught:
        run(broken(3), log, cache)
    names = [frame.frame.f_globals["__name__"] for frame in caught.traceback]
    assert names[-1].endswith("test_failures")
    assert sum(name.startswith("flowlib.execution") for name in names) == 0


def test_what_finished_before_a_failure_is_kept(cache: Path, log: EventLog) -> None:
    """After a failure, finished results hit; the failed call runs again."""
    with pytest.raises(ValueError):
        run([inc(1), broken(inc(2))], log, cache, workers=1)
    with pytest.raises(ValueError):
        run([inc(1), broken(inc(2))], log, cache, workers=1)
    assert log.ran == ["broken"]


def test_several_failures_are_grouped(cache: Path, log: EventLog) -> None:
    """With on_error="continue" every independent branch is tried, and the errors come together."""
    with pytest.raises(fl.SweepFailed) as caught:
        run([broken(1), broken(2), inc(1), inc(broken(1))], log, cache, on_error="continue")
    assert [str(error) for error in caught.value.errors] == ["no 1", "no 2", "no 1"] or len(caught.value.errors) == 2
    assert "inc" in log.finished
    assert "test_failures.py:" in str(caught.value)


def test_stop_starts_nothing_new(cache: Path, log: EventLog) -> None:
    """By default a failure cancels what has not started."""
    with pytest.raises(ValueError):
        run([broken(1), *[inc(i) for i in range(50)]], log, cache, workers=1)
    assert len(log.ran) < 51


def test_kept_failures_are_values(cache: Path, log: EventLog) -> None:
    """on_error="keep" puts a Failed in the place of the value, and consumers run."""
    kept = broken.options(on_error="keep")
    result = run([kept(1), inc(1), total([kept(2), inc(2)])], log, cache)
    assert isinstance(result[0], Failed)
    assert (result[0].error_type, result[0].message) == ("ValueError", "no 1")
    assert result[1:] == [2, 2]


def test_a_fallback_makes_the_value(cache: Path, log: EventLog) -> None:
    """A function as on_error turns the exception into a value; it is not stored."""
    result = run(inc(broken.options(on_error=lambda error: -1)(1)), log, cache)
    assert result == 0
    run(inc(broken.options(on_error=lambda error: -1)(1)), log, cache)
    assert log.ran == ["broken"]


def test_always_runs_after_a_failure(cache: Path, log: EventLog) -> None:
    """always=True runs though a dependency failed, and sees a Failed in its place."""
    seen: list[Any] = []

    @fl.task(always=True, cache=False)
    def clean_up(result: Any) -> None:
        seen.append(result)

    with pytest.raises(ValueError, match="no 1"):
        run(clean_up(broken(1)), log, cache)
    assert isinstance(seen[0], Failed)


def test_generators_are_refused_with_the_fix(cache: Path, log: EventLog) -> None:
    """A generator would be half cached; the error says list(...)."""

    @fl.task
    def numbers() -> Any:
        yield 1

    with pytest.raises(fl.TaskMisused, match="generator") as caught:
        run(numbers(), log, cache)
    assert "list(...)" in str(caught.value)


def test_endless_expansion_is_bounded(cache: Path, log: EventLog) -> None:
    """A task that always returns a new node ends with the path of who returned whom."""

    @fl.task
    def again(n: int) -> int:
        return again(n + 1)

    fl.configure(max_nodes=50)
    with pytest.raises(fl.ExpansionLimit) as caught:
        run(again(0), log, cache)
    assert "returned by again" in str(caught.value)


def test_checks_refuse(cache: Path, log: EventLog) -> None:
    """check_in and check_out stop a call whose arguments or result will not do."""

    @fl.task(check_in=lambda x: x > 0, check_out=lambda value: value < 10)
    def square(x: int) -> int:
        return x * x

    assert run(square(2), log, cache) == 4
    with pytest.raises(fl.TaskMisused, match="check_in"):
        run(square(-1), log, cache)
    with pytest.raises(fl.TaskMisused, match="check_out"):
        run(square(5), log, cache)


def test_undigestible_argument_runs_uncached_and_says_so(cache: Path, log: EventLog) -> None:
    """An argument without a stable digest makes the call uncached, with the path named, once."""
    import threading

    @fl.task
    def use(things: dict[str, Any]) -> int:
        return 1

    with pytest.warns(fl.FlowWarning, match="things") as caught:
        assert fl.run([use({"lock": threading.Lock()}), use({"lock": threading.Lock()})], cache=cache, progress=False)
    assert len(caught) == 1
    assert "lock" in str(caught[0].message)


def test_unpicklable_output_is_returned_and_said_once(cache: Path, log: EventLog) -> None:
    """A result that cannot be stored still reaches the caller."""
    import threading

    @fl.task
    def make(n: int) -> Any:
        return threading.Lock()

    with pytest.warns(fl.FlowWarning, match="not kept"):
        values = fl.run([make(1)], cache=cache, progress=False)
    assert hasattr(values[0], "acquire")
