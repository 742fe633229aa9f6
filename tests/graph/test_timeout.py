"""How long a call may take."""

import math
from typing import Any

import pytest

from flowlib.errors import TaskMisused
from flowlib.graph.task import task
from flowlib.graph.timeout import Timeout


def test_seconds_are_those_of_one_attempt() -> None:
    """`timeout=60` is `Timeout(run=60)`."""
    assert task(print, timeout=60).policy.timeout == Timeout(run=60)
    assert task(print, timeout=60).options(timeout=None).policy.timeout is None


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "60", True])
def test_seconds_are_a_number(value: Any) -> None:
    """Anything else is refused, with what to write."""
    with pytest.raises(TaskMisused, match="seconds"):
        task(print, timeout=value)
    with pytest.raises(TaskMisused, match="seconds"):
        Timeout(queue=value)


def test_a_timeout_limits_something() -> None:
    """One without any limit would only look like one."""
    with pytest.raises(TaskMisused, match="no limit"):
        Timeout()


def test_some_limits_count_while_a_call_waits() -> None:
    """Those of the queue and of all attempts."""
    assert [Timeout(run=1).limits_waiting, Timeout(queue=1).limits_waiting, Timeout(total=1).limits_waiting] == [
        False, True, True,
    ]  # fmt: skip
