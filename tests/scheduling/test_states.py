"""Every pair of a node's situation and a fact: legal as the table says, or an error that changes nothing."""

import pickle
from collections.abc import Callable

import pytest

from flowlib.errors import InternalError
from flowlib.events import NODE_STATES
from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler
from flowlib.scheduling.states import FINAL_STATES, TRANSITIONS, VALUE_STATES, next_state
from tests.scheduling.plans import Plan, grown

PRODUCER, NODE, OTHER = NodeId(0), NodeId(1), NodeId(2)
FREE = Plan(dependencies=())
CAUSES = sorted({cause for _, cause in TRANSITIONS})


def node_that(*facts: m.Fact, slots: int = 2) -> Scheduler:
    """Return a scheduler that was told about a producer, its consumer NODE and an OTHER node, then `facts`, singly."""
    scheduler = Scheduler(slots)
    plans = (FREE, Plan(dependencies=(PRODUCER,)), Plan(dependencies=(), priority=1.0))
    scheduler.handle([grown(plans, targets=(PRODUCER, NODE))])
    for fact in (m.Missed((OTHER,)), *facts):
        scheduler.handle([fact])
    return scheduler


READY = (m.Hit((PRODUCER,)),)
RUNNING = (*READY, m.Missed((NODE,)))
EXPANDED = (*RUNNING, grown((FREE,)), m.Expanded(NODE, (NodeId(3),)))


def _queued_assembly() -> Scheduler:
    """Return a scheduler whose NODE has its children, while a third node has taken its slot."""
    scheduler = node_that(*EXPANDED, grown((FREE,)), m.Missed((NodeId(4),)))
    scheduler.handle([m.Hit((NodeId(3),))])
    return scheduler


SITUATIONS: dict[str, Callable[[], Scheduler]] = {
    "waiting for an input": lambda: node_that(),
    "waiting for the same key": lambda: node_that(*READY, m.Deferred(NODE, OTHER)),
    "waiting for a lease": lambda: node_that(*RUNNING, m.Blocked(NODE)),
    "waiting for its next attempt": lambda: node_that(*RUNNING, m.Retried(NODE)),
    "waiting for its children": lambda: node_that(*EXPANDED),
    "ready, being decided": lambda: node_that(*READY),
    "ready, in the queue": lambda: node_that(*RUNNING, slots=1),
    "ready to be put together": lambda: _queued_assembly(),
    "running": lambda: node_that(*RUNNING),
    "being put together": lambda: node_that(*EXPANDED, m.Hit((NodeId(3),))),
    "done": lambda: node_that(*RUNNING, m.Ended(NODE, "done", has_value=True)),
    "cached": lambda: node_that(*READY, m.Hit((NODE,))),
    "failed": lambda: node_that(*RUNNING, m.Ended(NODE, "failed", has_value=False)),
    "failed and kept": lambda: node_that(*RUNNING, m.Ended(NODE, "failed", has_value=True)),
    "timed out": lambda: node_that(*RUNNING, m.Ended(NODE, "timed_out", has_value=False)),
    "timed out and kept": lambda: node_that(*RUNNING, m.Ended(NODE, "timed_out", has_value=True)),
    "timed out and still running": lambda: node_that(*RUNNING, m.Ended(NODE, "timed_out", False, keeps_slot=True)),
    "skipped": lambda: node_that(m.Missed((PRODUCER,)), m.Ended(PRODUCER, "failed", has_value=False)),
    "cancelled": lambda: node_that(m.Stopping()),
}

FACTS: dict[str, tuple[m.Fact, str]] = {
    "Hit": (m.Hit((NODE,)), "hit"),
    "Missed": (m.Missed((NODE,)), "missed"),
    "Deferred": (m.Deferred(NODE, OTHER), "deferred"),
    "Blocked": (m.Blocked(NODE), "blocked"),
    "Unblocked": (m.Unblocked(NODE), "inputs-there"),
    "Ended done": (m.Ended(NODE, "done", has_value=True), "done"),
    "Ended cached": (m.Ended(NODE, "cached", has_value=True), "cached"),
    "Ended failed": (m.Ended(NODE, "failed", has_value=False), "failed"),
    "Ended failed and kept": (m.Ended(NODE, "failed", has_value=True), "failed"),
    "Ended timed out": (m.Ended(NODE, "timed_out", has_value=False), "timed_out"),
    "Ended timed out and kept": (m.Ended(NODE, "timed_out", has_value=True), "timed_out"),
    "Retried": (m.Retried(NODE), "attempt-failed"),
    "Due": (m.Due(NODE), "inputs-there"),
    "Ended cancelled": (m.Ended(NODE, "cancelled", has_value=False), "cancelled"),
    "Ended skipped": (m.Ended(NODE, "skipped", has_value=False), "skipped"),
    "Expanded": (m.Expanded(NODE, (OTHER,)), "expanded"),
    "Lost": (m.Lost(NODE, PRODUCER), "input-lost"),
    "ValueLost": (m.ValueLost(NODE), "value-lost"),
}
WAITS = {"waiting for a lease", "waiting for its next attempt"}
QUEUED = {"ready, in the queue", "ready to be put together"}
ONLY_IN = {  # facts that need more than the state: the situations in which they are the answer to a question
    "Hit": {"ready, being decided"},
    "Missed": {"ready, being decided"},
    "Deferred": {"ready, being decided"},
    "Unblocked": {"waiting for a lease"},
    "Due": {"waiting for its next attempt"},
    "ValueLost": {"done", "cached", "failed and kept", "timed out and kept"},
    "Ended failed": {"running", "being put together", *WAITS},
    "Ended failed and kept": {"running", "being put together", *WAITS},
    "Ended timed out": {"running", "being put together", *WAITS, *QUEUED},
    "Ended timed out and kept": {"running", "being put together", *WAITS, *QUEUED},
    "Expanded": {"running", "being put together", *WAITS, *QUEUED},
}


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_fact_is_taken_where_the_table_has_it_and_refused_elsewhere(situation: str, name: str) -> None:
    """A refused fact raises InternalError and leaves the scheduler as it was, to the last byte."""
    scheduler = SITUATIONS[situation]()
    fact, cause = FACTS[name]
    before, state = pickle.dumps(scheduler), scheduler.states[NODE]
    is_legal = (state, cause) in TRANSITIONS and situation in ONLY_IN.get(name, SITUATIONS)

    if is_legal:
        scheduler.handle([fact])
        assert scheduler.states[NODE] != state or name == "Missed" or TRANSITIONS[state, cause] == state
    else:
        with pytest.raises(InternalError, match="report"):
            scheduler.handle([fact])
        assert pickle.dumps(scheduler) == before


def test_the_situations_cover_every_state_that_a_node_can_reach() -> None:
    """The enumeration above has no silent hole."""
    reached = {make().states[NODE] for make in SITUATIONS.values()}

    assert reached == {"waiting", "ready", "running"} | set(TRANSITIONS.values())


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("state", NODE_STATES)
def test_the_table_is_the_law(state: str, cause: str) -> None:
    """`next_state` knows exactly the pairs of the table; its error names node, state and fact."""
    if (state, cause) in TRANSITIONS:
        assert next_state(state, cause, NODE) == TRANSITIONS[state, cause]
    else:
        with pytest.raises(InternalError, match=rf"node +1\n +state +{state}\n +fact +{cause}"):
            next_state(state, cause, NODE)


def test_final_states_are_left_only_when_a_value_is_lost() -> None:
    """An end is an end."""
    left = {(state, cause) for state, cause in TRANSITIONS if state in FINAL_STATES}

    assert left == {(state, "value-lost") for state in VALUE_STATES | {"failed", "timed_out"}}
    assert FINAL_STATES | {"waiting", "ready", "running"} == set(NODE_STATES)


@pytest.mark.parametrize(
    "fact",
    [
        m.Hit((NodeId(7),)),
        m.Ended(NodeId(-1), "done", has_value=True),
        m.Deferred(NODE, NodeId(7)),
        m.Deferred(NODE, NODE),
        m.Lost(NODE, NodeId(7)),
        m.ValueLost(NodeId(7)),
        m.Unblocked(NodeId(7)),
        m.Retried(NodeId(7)),
        m.Due(NodeId(7)),
        m.SlotFreed(NodeId(7)),
        m.SlotFreed(NODE),
        m.Expanded(NODE, (NodeId(7),)),
        m.Expanded(NODE, (NODE,)),
        m.Ended(NODE, "done", has_value=False),
        m.Ended(NODE, "skipped", has_value=True),
        grown((Plan(dependencies=(NodeId(3),)),)),
        grown((Plan(dependencies=(NodeId(-1),)),)),
        grown((Plan(dependencies=(), pool="unheard of"),)),
        grown((FREE,), targets=(NodeId(4),)),
        grown((FREE,), parent=NodeId(3)),
    ],
    ids=str,
)
def test_a_fact_that_makes_no_sense_changes_nothing(fact: m.Fact) -> None:
    """Unknown nodes and pools, circles, and ends that contradict themselves are refused whatever the state."""
    for facts in (READY, RUNNING):
        scheduler = node_that(*facts)
        before = pickle.dumps(scheduler)

        with pytest.raises(InternalError):
            scheduler.handle([fact])

        assert pickle.dumps(scheduler) == before
