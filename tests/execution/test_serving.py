"""What a worker process gives back of a batch when one of its calls takes long."""

from collections.abc import Callable
from typing import Any

import pytest

import flowlib as fl
from flowlib.execution import serving
from flowlib.execution.base import Batch, Call, Job
from flowlib.execution.lookout import Lookout
from flowlib.execution.wire import Left
from flowlib.ids import NodeId


@fl.task
def work(x: int) -> int:
    return x


class ByHand(Lookout):
    """Looks when it is told to."""

    made: list[Callable[[], None]]

    def __init__(self, look_after: Callable[[], None]) -> None:
        super().__init__(look_after)
        self.made.append(look_after)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What the lookouts would do."""
    monkeypatch.setattr(ByHand, "made", [], raising=False)
    monkeypatch.setattr(serving, "Lookout", ByHand)
    return ByHand.made


def batch_of(n: int) -> Batch:
    nodes: list[Any] = [work(x) for x in range(n)]
    calls: list[Call | Job] = [
        Call(NodeId(x), node._fl_task, node._fl_policy, node._fl_args) for x, node in enumerate(nodes)
    ]
    return Batch(calls)


@pytest.mark.parametrize("n_behind", [0, 3])
def test_what_is_behind_a_slow_call_is_given_back_once(looks: list[Callable[[], None]], n_behind: int) -> None:
    """When it has not moved for two looks; nothing of it is begun here then."""
    batch, told = batch_of(n_behind + 2), list[Left]()

    with serving._leaving(told.append, batch):
        batch.waiting.popleft()
        looks[0]()
        batch.waiting.popleft()
        looks[0]()
        assert told == []
        looks[0]()
        assert told == [Left(n_behind)]
        looks[0]()
        looks[0]()

    assert told == [Left(n_behind)]
    assert not batch.waiting


def test_nobody_may_listen_any_more(looks: list[Callable[[], None]]) -> None:
    """Then the batch ends early: there is nobody to have its answers."""

    def refuse(_: Left) -> None:
        raise BrokenPipeError

    batch = batch_of(3)
    with serving._leaving(refuse, batch):
        looks[0]()
        looks[0]()

    assert not batch.waiting
