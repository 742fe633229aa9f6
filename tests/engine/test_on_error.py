"""What a failure does to a run: stop, go on, keep it, or something in its place; and what the run is called in the end."""

from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.events import NodeFailed, NodeSkipped, RunFinished
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
    return sum(values)


@pytest.fixture
def log() -> EventLog:
    return EventLog()


@pytest.fixture(params=[True, False])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "cache" if request.param else False


def run(target: Any, log: EventLog, cache: Any = False, **options: Any) -> Any:
    log.clear()
    return fl.run(target, cache=cache, progress=False, observers=[log], **options)


def status(log: EventLog) -> str:
    return str(log.of(RunFinished)[0].status)


# ---- a node in the place of the value


def test_a_node_takes_the_place_of_a_missing_value(log: EventLog, cache: Any) -> None:
    """It runs only then, with everything it needs, and consumers get its value."""
    spare = inc(inc(10))
    assert run(inc(broken.options(on_error=spare)(1)), log, cache) == 13
    assert status(log) == "partial"
    assert log.of(RunFinished)[0].counts == {"failed": 1, "done": 3}
    assert [event.kept for event in log.of(NodeFailed)] == [True]


def test_a_node_in_waiting_does_not_run(log: EventLog, cache: Any) -> None:
    """Where nothing fails, nobody needs it."""
    assert run(inc.options(on_error=broken(5))(1), log, cache) == 2
    assert log.ran == ["inc"]


def test_what_takes_the_place_is_not_the_calls_result(log: EventLog, cache: Any) -> None:
    """It is stored under its own key only: the failed call is tried again by the next run."""
    target = inc(broken.options(on_error=inc(10))(1))
    run(target, log, cache)
    assert run(target, log, cache) == 12
    assert log.ran == (["broken"] if cache else ["broken", "inc", "inc"])


def test_a_function_may_return_a_node(log: EventLog, cache: Any) -> None:
    """What the error says decides what runs in its place."""
    fallback = broken.options(on_error=lambda error: inc(len(str(error))))
    assert run(total([fallback(1), fallback(22)]), log, cache) == 5 + 6


def test_a_node_may_take_the_place_of_a_point(log: EventLog, cache: Any) -> None:
    """Sweeps know fallbacks, too."""

    def point(x: int) -> int:
        return 10 // x

    result = run(fl.fan_out(point, over=fl.grid(x=[0, 1, 2]), on_error=inc(98)), log, cache)
    assert list(result.values) == [99, 10, 5]


def test_when_both_fail_both_are_told(log: EventLog, cache: Any) -> None:
    """The failed node stays failed, with a note; what is below it is skipped because of it."""
    with pytest.raises(fl.SweepFailed) as caught:
        run(inc(broken.options(on_error=broken(2))(1)), log, cache, on_error="continue")
    errors = {str(error): getattr(error, "__notes__", []) for error in caught.value.errors}
    assert errors.keys() == {"no 1", "no 2"}
    assert any("gave no value either" in note for note in errors["no 1"])
    assert log.of(RunFinished)[0].counts == {"failed": 2, "skipped": 1}


def test_a_fallback_has_a_fallback_of_its_own(log: EventLog, cache: Any) -> None:
    """One after the other, until one gives a value."""
    third = inc(0)
    second = broken.options(on_error=third)(2)
    assert run(broken.options(on_error=second)(1), log, cache) == 1


# ---- a function that chooses


def test_a_function_of_error_and_attempts_chooses(log: EventLog, cache: Any) -> None:
    """It returns a word, a function, a node or a value."""

    def choose(error: BaseException, n_attempts: int) -> Any:
        return {"no 1": "keep", "no 2": lambda error: 22, "no 3": inc(32), "no 4": 44}[str(error)]

    values = run([broken.options(on_error=choose)(x) for x in (1, 2, 3, 4)], log, cache)
    assert isinstance(values[0], Failed)
    assert values[1:] == [22, 33, 44]


def test_it_is_told_how_many_attempts_there_were(log: EventLog) -> None:
    """After the last one."""
    seen: list[int] = []

    def choose(error: BaseException, n_attempts: int) -> Any:
        seen.append(n_attempts)
        return 0

    assert run(broken.options(on_error=choose, retries=fl.Retry(2, first=0.0))(1), log) == 0
    assert seen == [3]


@pytest.mark.parametrize("answer", ["contineu", "retry", ""])
def test_a_word_that_means_nothing_leaves_the_failure(log: EventLog, answer: str) -> None:
    """And is told in a note; nobody takes it for a value."""
    with pytest.raises(ValueError, match="no 1") as caught:
        run(broken.options(on_error=lambda error, n_attempts: answer)(1), log)
    assert any("none of stop, continue, keep" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("word", ["stop", "continue"])
def test_it_may_stop_the_run_or_let_it_go_on(log: EventLog, word: str) -> None:
    """As the words do that stand alone."""
    with pytest.raises(ValueError):
        run(
            [broken.options(on_error=lambda error, n: word, priority=1)(1), *[inc(x) for x in range(9)]],
            log,
            executor="inline",
        )
    assert log.of(RunFinished)[0].counts.get("done", 0) == (9 if word == "continue" else 0)


# ---- skipped, cleaned up, called


def test_what_is_skipped_names_where_it_began(log: EventLog, cache: Any) -> None:
    """However far below, it is the failed node that is named."""
    bad = broken(1)
    with pytest.raises(ValueError):
        run(inc(inc(inc(bad))), log, cache, on_error="continue")
    (failed,) = log.of(NodeFailed)
    assert {event.because for event in log.of(NodeSkipped)} == {failed.node}
    assert len(log.of(NodeSkipped)) == 3


def test_what_a_task_returned_names_where_it_began(log: EventLog, cache: Any) -> None:
    """Also when the failure is among nodes that joined later."""

    @fl.task
    def returning(x: int) -> int:
        return inc(inc(broken(x)))

    with pytest.raises(ValueError):
        run(inc(returning(1)), log, cache, on_error="continue")
    (failed,) = log.of(NodeFailed)
    assert {event.because for event in log.of(NodeSkipped)} == {failed.node}


@pytest.mark.parametrize(
    ("options", "word"),
    [({"on_error": "keep"}, "partial"), ({"on_error": "continue"}, "failed"), ({}, "failed"), ({"deadline": 0.0}, "cancelled")],
    ids=str,
)  # fmt: skip
def test_a_run_is_called_what_it_was(log: EventLog, options: dict[str, Any], word: str) -> None:
    """partial: every value is there, some of them stand-ins; failed: some value is missing."""
    try:
        run([broken(1), inc(1)], log, **options)
    except (ValueError, fl.RunStopped):
        assert word != "partial"
    assert status(log) == word


def test_a_run_without_failures_is_a_success(log: EventLog) -> None:
    """Hits included."""
    assert run([inc(1), inc(2)], log) == [2, 3]
    assert status(log) == "success"


def test_cleaning_up_happens_after_timeouts_and_fallbacks(log: EventLog, cache: Any) -> None:
    """`always=True` runs whatever became of what it waits for."""
    seen: list[str] = []

    @fl.task(always=True, cache=False)
    def clean_up(result: Any) -> None:
        seen.append(type(result).__name__)

    @fl.task(timeout=1e-9, on_error="continue", executor="inline")
    def late() -> int:
        return 1

    with pytest.raises(fl.TaskTimedOut):
        run([clean_up(late()), clean_up(broken.options(on_error=inc(1))(1))], log, cache)
    assert sorted(seen) == ["Failed", "int"]
