"""How often a failed call is tried again, after how long, and after which errors."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import FlowError, InputMutated, RunStopped, SweepFailed, TaskMisused, TaskTimedOut
from flowlib.graph.retry import Retry
from flowlib.graph.task import task


def test_delays_grow_up_to_the_cap() -> None:
    """Each is longer than the one before by the factor, and none is longer than the cap."""
    retry = Retry(10, first=1.0, factor=3.0, cap=20.0, jitter=0.0)

    assert [retry.delay_s(n, lambda: 0.5) for n in (1, 2, 3, 4, 5000)] == [1.0, 3.0, 9.0, 20.0, 20.0]


@given(chance=st.floats(0, 1), n=st.integers(1, 10_000), share=st.one_of(st.just("full"), st.floats(0, 1)))
def test_a_delay_stays_within_its_bounds(chance: float, n: int, share: Any) -> None:
    """Whatever chance says, a delay is neither negative nor longer than the cap."""
    assert 0.0 <= Retry(jitter=share, cap=30.0).delay_s(n, lambda: chance) <= 30.0


def test_jitter_is_full_or_a_share() -> None:
    """Full jitter reaches from nothing to the whole delay, a share from that much less to that much more."""
    full, half = Retry(first=8.0), Retry(first=8.0, jitter=0.5)

    assert [full.delay_s(1, lambda: c) for c in (0.0, 0.5, 1.0)] == [0.0, 4.0, 8.0]
    assert [half.delay_s(1, lambda: c) for c in (0.0, 0.5, 1.0)] == [4.0, 8.0, 12.0]


def test_errors_are_chosen_by_class_or_by_a_function() -> None:
    """`on` says which, `never` takes away from it."""
    assert Retry(on=OSError).allows(FileNotFoundError(), 1)
    assert not Retry(on=[OSError, KeyError]).allows(ValueError(), 1)
    assert Retry(on=lambda error: "busy" in str(error)).allows(ValueError("busy"), 1)
    assert not Retry(never=FileNotFoundError).allows(FileNotFoundError(), 1)
    assert not Retry(never=lambda error: True).allows(ValueError(), 1)


def test_there_is_an_end() -> None:
    """After `max` further attempts there is no other."""
    assert [Retry(2).allows(ValueError(), n) for n in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
        TaskMisused("x"),
        RunStopped("x"),
        InputMutated("x"),
        FlowError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_can_only_fail_again_is_not_tried_again(error: BaseException) -> None:
    """An exit, a stop and mistakes in the program stay what they are."""
    assert not Retry(5, on=BaseException).allows(error, 1)


def test_what_may_pass_is_tried_again() -> None:
    """A timeout, and failures of runs inside the task, may go well next time."""
    assert Retry().allows(TaskTimedOut(task="f", limit="run", limit_s=1.0), 1)
    assert Retry().allows(SweepFailed("x", {}, "", [ValueError()]), 1)


def test_a_number_is_enough() -> None:
    """`retries=3` is `Retry(3)`; 0 and None are none."""
    assert task(print, retries=3).policy.retries == Retry(3)
    assert task(print, retries=0).policy.retries is None
    assert task(print, retries=3).options(retries=None).policy.retries is None


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, object()])
def test_anything_else_is_refused(value: Any) -> None:
    """With what to write instead."""
    with pytest.raises(TaskMisused, match="retries=3"):
        task(print, retries=value)


@pytest.mark.parametrize(
    "fields",
    [
        {"max": -1}, {"max": 1.0}, {"max": True}, {"first": -1.0}, {"first": math.nan}, {"first": "1s"}, {"factor": 0.5},
        {"cap": math.inf}, {"jitter": "half"}, {"jitter": 2}, {"jitter": -0.1}, {"on": "ValueError"}, {"on": int},
        {"never": (ValueError, "x")}, {"on": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_retry_is_checked_when_it_is_made(fields: dict[str, Any]) -> None:
    """A field that means nothing is an error that names it."""
    with pytest.raises(TaskMisused, match=next(iter(fields))):
        Retry(**fields)
