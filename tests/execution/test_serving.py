"""What a worker process gives back of a batch when one of its calls takes long."""

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import flowlib as fl
from flowlib.execution import serving
from flowlib.execution.base import Batch, Call, Job
from flowlib.execution.errands import BatchErrand
from flowlib.execution.lookout import Lookout
from flowlib.execution.serving import LENGTH
from flowlib.execution.wire import Left
from flowlib.execution.workers import Death, nameless_file
from flowlib.ids import NodeId


@fl.task
def work(x: int) -> int:
    return x


class Contended(deque[Any]):
    """A queue of which a worker takes the first one just when something is taken out of it for the first time."""

    begun: Any = None

    def pop(self) -> Any:  # type: ignore[override]
        if self.begun is None:
            self.begun = super().popleft()
        return super().pop()

    def popleft(self) -> Any:
        taken = super().popleft()
        if self.begun is None:
            self.begun = super().popleft()
        return taken


class ByHand(Lookout):
    """Looks when it is told to."""

    def look(self) -> None:
        """Do nothing: the test calls what looks after the batch."""

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
        batch.current = batch.waiting.popleft()
        looks[0]()
        batch.current = batch.waiting.popleft()
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
    batch.current = batch.waiting.popleft()
    with serving._leaving(refuse, batch):
        looks[0]()
        looks[0]()

    assert not batch.waiting


def test_the_first_call_is_never_given_back(looks: list[Callable[[], None]]) -> None:
    """However long the worker takes to begin it: the answer is then about at least one call."""
    batch, told = batch_of(3), list[Left]()
    with serving._leaving(told.append, batch):
        for _ in range(3):
            looks[0]()

    assert told == []
    assert len(batch.waiting) == 3


def test_what_is_given_back_is_the_end_of_the_batch() -> None:
    """Whatever the worker takes meanwhile: who hears of it is told how many they are, not which."""
    batch = batch_of(6)
    calls = [*batch.waiting]
    batch.waiting = waiting = Contended(calls)

    taken = batch.take_back()

    assert waiting.begun is calls[0]
    assert taken == calls[1:]


class FakeDoor:
    """The executor of an errand; answers are not unpacked."""

    def __init__(self) -> None:
        self.outbox: Any = SimpleQueue()
        self.slow: list[Call] = []
        self.behind: list[Call] = []
        self.queued: list[BatchErrand] = []

    def note_slow(self, slow: Iterable[Call], behind: Iterable[Call]) -> None:
        self.slow += slow
        self.behind += behind

    def queue(self, errand: BatchErrand) -> None:
        self.queued.append(errand)


@pytest.fixture
def errand(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An errand of six calls that a worker has got, whose answers come out of the outbox as (nodes, answers)."""
    batch = batch_of(6)
    errand: Any = BatchErrand(FakeDoor(), batch)  # type: ignore[arg-type]
    errand._sent = [*batch.waiting]
    monkeypatch.setattr(errand, "_unpack", lambda calls, answers: [([call.node for call in calls], answers)])
    return errand


@pytest.fixture
def journal() -> Iterator[int]:
    """The file in which a worker writes its answers."""
    descriptor = nameless_file()
    os.pwrite(descriptor, b"b", 0)
    yield descriptor
    os.close(descriptor)


def answer(journal: int, *numbers: int) -> None:
    """Write answers as the worker does."""
    for number in numbers:
        data = LENGTH.pack(1) + bytes([number])
        os.pwrite(journal, data, os.fstat(journal).st_size)


def handed_on(errand: Any) -> list[Any]:
    """Return what has come out of the outbox."""
    found: list[Any] = []
    while not errand.executor.outbox.empty():
        ended = errand.executor.outbox.get()
        found += ended.take_done() if hasattr(ended, "take_done") else [ended]
    return found


def leave(errand: Any, journal: int, n_calls: int) -> None:
    assert errand.noted(pickle.dumps(Left(n_calls)), journal) == 0


def nodes(calls: Iterable[Call]) -> list[int]:
    return [call.node for call in calls]


def test_a_note_hands_on_what_has_ended_and_gives_back_the_end(errand: Any, journal: int) -> None:
    """The rest of the answers comes later, each once."""
    answer(journal, 0, 1)

    leave(errand, journal, 3)

    assert handed_on(errand) == [([0, 1], [b"\0", b"\1"])]
    assert nodes(errand.executor.slow) == [2]
    assert nodes(errand.executor.behind) == [3, 4, 5]
    answer(journal, 2)
    errand.answered(b"", journal)
    assert handed_on(errand) == [([2], [b"\2"])]


def test_a_note_that_is_late_tells_of_nothing_slow(errand: Any, journal: int) -> None:
    """The call has ended before anybody read the note."""
    answer(journal, 0, 1, 2)

    leave(errand, journal, 3)

    assert handed_on(errand) == [([0, 1, 2], [b"\0", b"\1", b"\2"])]
    assert errand.executor.slow == []
    errand.answered(b"", journal)
    assert handed_on(errand) == [([], [])]


def test_a_note_about_the_last_call_gives_nothing_back(errand: Any, journal: int) -> None:
    """It only tells that it takes long."""
    answer(journal, 0, 1, 2, 3, 4)

    leave(errand, journal, 0)

    assert nodes(errand.executor.slow) == [5]
    assert errand.executor.behind == []


def test_a_death_after_a_note_costs_the_slow_call_only(errand: Any, journal: int) -> None:
    """What has ended is handed on once, what was given back is the run's."""
    answer(journal, 0)
    leave(errand, journal, 3)
    answer(journal, 1)

    errand.died(Death(signal_number=9, exit_code=None, peak_bytes=0), journal)

    *answers, dead = handed_on(errand)
    assert answers == [([0], [b"\0"]), ([1], [b"\1"])]
    assert (dead.node, type(dead.error)) == (2, fl.WorkerDied)
    assert errand.executor.queued == []


def test_a_limit_of_memory_after_a_note_blames_the_slow_call(errand: Any, journal: int) -> None:
    """It is the one that runs."""
    answer(journal, 0, 1)
    leave(errand, journal, 3)

    errand.exceeded(10, journal)

    assert nodes(errand._sent)[2:] == [*errand._errors] == [2]
