"""What is told of many nodes at once is what would have been told of each."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.announce import LARGEST_BATCH, Announcer
from flowlib.engine.observe import Emitter
from flowlib.events import Event, EventBatch, NodeFinished, NodesRan, Noticed
from flowlib.execution.base import Outcome
from flowlib.graph.graph import Graph
from flowlib.ids import Digest, Key, NodeId
from flowlib.planning.decide import Miss
from flowlib.planning.key import CallKey
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry, Payload
from flowlib.testing import EventLog


@fl.task
def fit(x: int) -> int:
    return x


@fl.task(name="fit")
def fit_too(x: int) -> int:
    return x


CALLS = [fit, fit_too, fit.options(priority=1), fit.options(name="score")]
SHARED = (Reason(kind="first seen"),)
REASONS = st.one_of(
    st.just(SHARED),
    st.builds(lambda: (Reason(kind="first seen"),)),
    st.just((Reason(kind="code changed"), Reason(kind="argument changed", subject="x", old="1", new="2"))),
)
MEMBERS = st.lists(st.tuples(st.sampled_from(CALLS), st.booleans(), REASONS), min_size=1, max_size=9)


class BatchLog(EventLog):
    """Remembers batches beside events."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[EventBatch] = []

    def on_batch(self, batch: EventBatch) -> None:
        self.batches.append(batch)


def announcer(nodes: list[Any], *observers: Any, first_id: int = 0) -> Announcer:
    """Return an announcer of a graph of these nodes, whose clock stands still."""
    return Announcer(Graph(nodes), Emitter(observers), FrozenClock(100.0), first_id)


def made(members: list[tuple[Any, bool, Any]]) -> list[Any]:
    """Return a node for each member, some of them made on another line."""
    return [task(1) if here else task(2) for task, here, _ in members]


def timeless(events: list[Event]) -> list[Event]:
    """Return events without the moment at which each was told."""
    return [attrs.evolve(event, at=0.0) for event in events]


@given(MEMBERS, st.integers(0, 2))
def test_nodes_that_ran_are_told_as_each_would_be(members: list[tuple[Any, bool, Any]], first_id: int) -> None:
    """Tasks, sites, reasons, keys, durations and sizes are those of single events, in a node's own place."""
    nodes = made(members)
    numbers = [NodeId(number) for number in range(len(nodes))]
    misses = [Miss(CallKey(key=None), reasons) for _, _, reasons in members]
    keys = [Key(f"{number:064x}") if here else None for number, (_, here, _) in enumerate(members)]
    durations_s = [number * 0.5 for number in numbers]
    at_once, one_by_one = EventLog(), EventLog()
    announcer(nodes, at_once, first_id=first_id).ran_many(numbers, misses, durations_s, keys, [0] * len(nodes), "main")
    single = announcer(nodes, one_by_one, first_id=first_id)
    for number, miss, duration_s, key in zip(numbers, misses, durations_s, keys, strict=True):
        single.started(number, miss)
        single.finished(number, Outcome(node=number, duration_s=duration_s, worker="main"), key)

    assert timeless(at_once.events) == timeless(one_by_one.events)


@given(MEMBERS)
def test_hits_are_told_as_each_would_be(members: list[tuple[Any, bool, Any]]) -> None:
    """Tasks, keys and saved seconds are those of single events."""
    nodes = made(members)
    payload = Payload(codec="json", content=Digest("sha256-00-0"), inline=b"")
    entries = [
        Entry(key=Key(f"{i:064x}"), task="fit", output=Digest("sha256-00-0"), payload=payload, parts={}, duration_s=i * 0.5)
        for i in range(len(nodes))
    ]  # fmt: skip
    at_once, one_by_one = EventLog(), EventLog()
    announcer(nodes, at_once).cached_many(range(len(nodes)), entries)  # type: ignore[arg-type]
    for number, entry in enumerate(entries):
        announcer(nodes, one_by_one).cached(NodeId(number), entry)

    assert at_once.events == one_by_one.events


def ran(announce: Announcer, n: int) -> None:
    """Tell that n nodes have run, 1 ms each."""
    announce.ran_many(range(n), [Miss(CallKey(key=None), SHARED)] * n, [1e-3] * n, [None] * n, [0] * n, "main")  # type: ignore[arg-type]


def test_times_end_now_and_leave_no_gap() -> None:
    """The last node finished at this moment; each of the others when the next one started, across batches, too."""
    n = LARGEST_BATCH + 3
    log = BatchLog()
    ran(announcer([fit(i) for i in range(n)], log), n)

    assert [len(batch.nodes) for batch in log.batches] == [LARGEST_BATCH, 3]
    assert log.batches[0].ended_at == log.batches[1].at
    assert log.batches[1].ended_at == pytest.approx(100.0, abs=1e-6)


def test_only_observers_that_take_batches_are_given_them() -> None:
    """Others see single events, in order; without any observer nothing is built."""
    log, batch_log = EventLog(), BatchLog()
    nodes = [fit(1), fit(2)]
    ran(announcer(nodes, log, batch_log), 2)
    ran(announcer(nodes), 2)

    assert log.events == list(batch_log.batches[0].events())
    assert batch_log.events == []
    assert isinstance(batch_log.batches[0], NodesRan)


def test_an_instance_attribute_is_no_promise_to_take_batches() -> None:
    """A mock has any attribute one asks for; its class does not."""
    log: Any = EventLog()
    log.on_batch = None
    ran(announcer([fit(1)], log), 1)

    assert log.finished == ["fit"]


def test_an_observer_that_fails_inside_a_batch_is_dropped() -> None:
    """It is told nothing more, is reported once, and the others see every event."""

    class Broken(EventLog):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            if isinstance(event, NodeFinished):
                raise ValueError("full")

    broken, log = Broken(), EventLog()
    announce = announcer([fit(1), fit(2)], broken, log)
    ran(announce, 2)
    ran(announce, 2)

    assert broken.counts() == {"NodeStarted": 1, "NodeFinished": 1}
    assert log.counts() == {"NodeStarted": 4, "NodeFinished": 4, "Noticed": 1}
    assert [notice.kind for notice in log.of(Noticed)] == ["observer-dropped"]


def test_a_run_inside_a_task_tells_the_outer_one_in_batches() -> None:
    """Batches go up whole."""
    log = BatchLog()
    emitter = Emitter([], outer=Emitter([log]))
    ran(Announcer(Graph([fit(1)]), emitter, FrozenClock(100.0)), 1)

    assert [batch.n_events for batch in log.batches] == [2]
