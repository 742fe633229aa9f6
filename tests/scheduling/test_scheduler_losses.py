"""Values that were there and are not any more: who runs again, who waits, who is decided again."""

from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.scheduler import Scheduler
from tests.scheduling.plans import Plan, grown

A, B, C, D = NodeId(0), NodeId(1), NodeId(2), NodeId(3)


def plan(*dependencies: NodeId, always: bool = False, pool: str | None = None) -> Plan:
    """Return a node's plan, dependencies first."""
    return Plan(dependencies=dependencies, always=always, pool=pool)


def told(*facts: m.Fact, plans: tuple[Plan, ...], slots: int = 4, targets: tuple[NodeId, ...] = ()) -> Scheduler:
    """Return a scheduler that was told of plans and then of facts, singly."""
    scheduler = Scheduler(slots, Budgets({"db": 1}))
    for fact in (grown(plans, targets), *facts):
        scheduler.handle([fact])
    return scheduler


def done(node: NodeId) -> m.Ended:
    """Return the fact that a node's job succeeded."""
    return m.Ended(node, "done", has_value=True)


def test_a_lost_input_is_made_again_and_its_consumer_is_decided_again() -> None:
    """The producer runs without being decided, whatever is stored for it; its output may differ, so its consumer asks."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), plans=(plan(), plan(A)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.states == ["running", "waiting"]
    assert scheduler.handle([done(A)]) == [m.Decide((B,))]
    assert scheduler.handle([m.Missed((B,))]) == [m.Start(B)]
    assert scheduler.handle([done(B)]) == [m.Drop((A, B))]


def test_a_consumer_of_a_rerun_that_fails_is_skipped() -> None:
    """It cannot have its input any more."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Lost(B, A), plans=(plan(), plan(A), plan(B)))

    commands = scheduler.handle([m.Ended(A, "failed", has_value=False)])

    assert commands == [m.Skip(B, A), m.Skip(C, A)]
    assert scheduler.is_finished


def test_a_value_lost_twice_is_made_twice() -> None:
    """A second consumer that finds it gone waits for the same rerun; a later loss is a new one."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(A)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([m.Lost(C, A)]) == []
    assert scheduler.handle([done(A)]) == [m.Decide((B, C))]
    assert scheduler.handle([m.Missed((B,)), m.Missed((C,))]) == [m.Start(B), m.Start(C)]
    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([done(C)]) == [m.Drop((C,))]
    assert scheduler.handle([done(A)]) == [m.Decide((B,))]


def test_a_consumer_in_the_queue_waits_for_the_rerun_and_is_decided_again() -> None:
    """Its decision was made for the lost value; with that key it must not compute from another."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(A)), slots=1)
    assert scheduler.states == ["cached", "running", "ready"]

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([done(A)]) == [m.Decide((B, C))]
    assert scheduler.states == ["done", "ready", "ready"]
    assert scheduler.handle([m.Missed((B,)), m.Missed((C,))]) == [m.Start(B)]


def test_a_consumer_in_the_queue_is_decided_again_even_if_the_rerun_was_quicker() -> None:
    """The producer may have run and ended before a slot was free."""
    plans = (plan(), plan(A), plan(A, pool="db"), Plan(dependencies=(), pool="db", priority=1))
    scheduler = told(m.Hit((A,)), m.Missed((D,)), m.Missed((B,)), m.Missed((C,)), plans=plans)
    assert scheduler.states == ["cached", "running", "ready", "running"]

    scheduler.handle([m.Lost(B, A)])
    scheduler.handle([done(A)])
    assert scheduler.handle([done(D)]) == [m.Drop((D,)), m.Decide((C,))]


def test_a_consumer_that_waits_for_other_inputs_finds_the_new_value() -> None:
    """It was not decided yet: it asks once, when everything is there again."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(), plan(A, C)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([done(C)]) == [m.Decide((D,))]
    assert scheduler.handle([m.Missed((D,))]) == []
    assert scheduler.states[D] == "waiting"
    assert scheduler.handle([done(A)]) == [m.Decide((B, D))]


def test_a_consumer_decided_during_the_rerun_may_still_hit() -> None:
    """A stored result needs the digest of the input, not its value."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(), plan(A, C)))
    scheduler.handle([m.Lost(B, A)])
    scheduler.handle([done(C)])

    assert scheduler.handle([m.Hit((D,))]) == [m.Drop((C, D))]


def test_a_consumer_that_was_waiting_is_skipped_when_the_rerun_fails() -> None:
    """It is found out when it would have started."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(), plan(A, C)))
    scheduler.handle([m.Lost(B, A)])
    scheduler.handle([m.Ended(A, "failed", has_value=False)])
    assert scheduler.handle([done(C)]) == [m.Decide((D,))]

    assert scheduler.handle([m.Missed((D,))]) == [m.Skip(D, A), m.Drop((C,))]


def test_always_goes_on_when_the_rerun_fails() -> None:
    """It takes what there is."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Lost(B, A), plans=(plan(), plan(A, always=True)))

    assert scheduler.handle([m.Ended(A, "failed", has_value=False)]) == [m.Decide((B,))]


def test_a_node_that_joins_during_a_rerun_waits_for_it() -> None:
    """The producer has ended once, but its value is not there."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Lost(B, A), plans=(plan(), plan(A)))

    assert scheduler.handle([grown((plan(A),))]) == []
    assert scheduler.handle([done(A)]) == [m.Decide((B, C))]


def test_a_rerun_whose_own_input_is_gone_has_that_made_first() -> None:
    """Losses go up the chain as far as they must."""
    scheduler = told(m.Hit((A,)), m.Hit((B,)), m.Missed((C,)), plans=(plan(), plan(A), plan(B)))

    assert scheduler.handle([m.Lost(C, B)]) == [m.Start(B)]
    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([done(A)]) == [m.Start(B)]
    assert scheduler.handle([done(B)]) == [m.Drop((A,)), m.Decide((C,))]


def test_a_rerun_waits_for_an_input_that_is_being_made_again() -> None:
    """Two losses on one path, the upper first."""
    scheduler = told(m.Hit((A,)), m.Hit((B,)), plans=(plan(), plan(A)), targets=(A, B))

    assert scheduler.handle([m.ValueLost(A), m.ValueLost(B)]) == [m.Start(A)]
    assert scheduler.handle([done(A)]) == [m.Start(B)]


def test_a_rerun_waits_for_an_input_that_is_lost_after_it_was_queued() -> None:
    """Two losses on one path, the lower first."""
    scheduler = told(m.Hit((A,)), m.Hit((B,)), plans=(plan(), plan(A)), targets=(A, B))

    assert scheduler.handle([m.ValueLost(B), m.ValueLost(A)]) == [m.Start(A)]
    assert scheduler.handle([done(A)]) == [m.Start(B)]


def test_a_lost_target_is_made_again_after_everything_had_ended() -> None:
    """The run is open again until it has; consumers that ended are left alone."""
    scheduler = told(m.Hit((A,)), m.Hit((B,)), plans=(plan(), plan(A)), targets=(A, B))
    assert scheduler.is_finished

    assert scheduler.handle([m.ValueLost(A)]) == [m.Start(A)]
    assert not scheduler.is_finished
    assert scheduler.handle([done(A)]) == []
    assert scheduler.states == ["done", "cached"]
    assert scheduler.is_finished


def test_a_kept_failure_can_be_made_again() -> None:
    """It is a value like others, and it may fail to be one this time."""
    scheduler = told(m.Missed((A,)), m.Ended(A, "failed", has_value=True), m.Missed((B,)), plans=(plan(), plan(A)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([m.Ended(A, "failed", has_value=True)]) == [m.Decide((B,))]


def test_a_node_put_together_waits_for_a_lost_child_and_goes_on() -> None:
    """The task is not called again: only the child is missing."""
    facts = (m.Missed((A,)), grown((plan(),)), m.Expanded(A, (B,)), m.Hit((B,)))
    scheduler = told(*facts, plans=(plan(),))

    assert scheduler.handle([m.Lost(A, B)]) == [m.Start(B)]
    assert scheduler.handle([done(B)]) == [m.Assemble(A)]


def test_a_node_queued_to_be_put_together_waits_for_a_child_that_somebody_else_lost() -> None:
    """Values are put together when all of them are there, not when they once were."""
    plans = (plan(), plan(), Plan(dependencies=(B,), priority=1))
    busy = grown((Plan(dependencies=(), priority=5),))
    scheduler = told(m.Missed((A,)), m.Hit((B,)), m.Missed((C,)), busy, m.Missed((D,)), plans=plans, slots=2)
    assert scheduler.handle([m.Expanded(A, (B,))]) == [m.Start(D)]
    assert scheduler.states == ["ready", "cached", "running", "running"]

    assert scheduler.handle([m.Lost(C, B)]) == [m.Start(B)]
    assert scheduler.states == ["ready", "running", "waiting", "running"]
    assert scheduler.handle([done(D)]) == [m.Drop((D,))]
    assert scheduler.states == ["waiting", "running", "waiting", "done"]
    assert scheduler.handle([done(B)]) == [m.Assemble(A), m.Decide((C,))]


def test_after_a_stop_nothing_is_made_again() -> None:
    """The consumer has not really started, so it is cancelled; the producer's end stands."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Stopping(), plans=(plan(), plan(A)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Cancel(B), m.Drop((A,))]
    assert scheduler.states == ["cached", "cancelled"]


def test_a_target_lost_after_a_stop_is_cancelled() -> None:
    """A stopped run has no values to give; it must end all the same."""
    scheduler = told(m.Hit((A,)), m.Stopping(), plans=(plan(),), targets=(A,))

    assert scheduler.handle([m.ValueLost(A)]) == [m.Cancel(A)]
    assert scheduler.is_finished


def test_a_blocked_consumer_is_decided_again_after_the_lease_and_the_rerun() -> None:
    """It waits for both, one after the other, and asks when it has both."""
    scheduler = told(m.Hit((A,)), m.Missed((B,)), m.Missed((C,)), m.Blocked(C), plans=(plan(), plan(A), plan(A)))

    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([m.Unblocked(C)]) == [m.Decide((C,))]
    assert scheduler.handle([m.Missed((C,))]) == []
    assert scheduler.states[C] == "waiting"
    assert scheduler.handle([done(A)]) == [m.Decide((B, C))]


def test_a_value_made_again_is_dropped_again_and_only_then() -> None:
    """One drop for each time that a value was made; what was not made again is not dropped again."""
    scheduler = told(m.Missed((A,)), done(A), m.Missed((B,)), plans=(plan(), plan(A)), targets=(B,))
    assert scheduler.handle([done(B)]) == [m.Drop((A,))]

    assert scheduler.handle([m.ValueLost(B)]) == [m.Start(B)]
    assert scheduler.handle([done(B)]) == []
    assert scheduler.handle([m.ValueLost(B)]) == [m.Start(B)]
    assert scheduler.handle([m.Lost(B, A)]) == [m.Start(A)]
    assert scheduler.handle([done(A)]) == [m.Start(B)]
    assert scheduler.handle([done(B)]) == [m.Drop((A,))]
