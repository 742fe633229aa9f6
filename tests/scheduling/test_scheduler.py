"""Facts in, commands out."""

from collections.abc import Mapping, Sequence

import attrs
import pytest

from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.scheduler import Scheduler
from flowlib.scheduling.states import FINAL_STATES
from tests.scheduling.plans import Plan, grown


def ids(*numbers: int) -> tuple[NodeId, ...]:
    """Return node ids."""
    return tuple(NodeId(number) for number in numbers)


def plan(
    *dependencies: int, pool: str | None = None, always: bool = False, priority: float = 0.0, weight_s: float = 1.0
) -> Plan:
    """Return a node's plan, dependencies first."""
    return Plan(dependencies=ids(*dependencies), pool=pool, always=always, priority=priority, weight_s=weight_s)


class Told:
    """A scheduler, and facts about nodes by number."""

    def __init__(self, *plans: Plan, targets: tuple[int, ...] = (), slots: int = 4, **pools: int) -> None:
        self.scheduler = Scheduler(slots, Budgets(pools))
        self.commands = self.scheduler.handle([grown(plans, ids(*targets))])

    def tell(self, *facts: m.Fact) -> list[m.Command]:
        self.commands = self.scheduler.handle(facts)
        return self.commands

    def missed(self, *nodes: int) -> list[m.Command]:
        return self.tell(*[m.Missed((node,)) for node in ids(*nodes)])

    def done(self, *nodes: int) -> list[m.Command]:
        return self.tell(*[m.Ended(node, "done", has_value=True) for node in ids(*nodes)])

    def failed(self, node: int, *, kept: bool = False) -> list[m.Command]:
        return self.tell(m.Ended(NodeId(node), "failed", has_value=kept))

    def states(self) -> list[str]:
        return list(self.scheduler.states)


def decide(*nodes: int) -> m.Decide:
    """Return the question about some nodes."""
    return m.Decide(ids(*nodes))


def start(*nodes: int) -> list[m.Start]:
    """Return the commands that start some nodes, in order."""
    return [m.Start(node) for node in ids(*nodes)]


# ---- the ordinary way


def test_a_chain_goes_node_by_node_and_values_leave_behind_it() -> None:
    """A value is dropped when its last consumer has ended; a target's never."""
    told = Told(plan(), plan(0), plan(1), targets=(2,))

    assert told.commands == [decide(0)]
    assert told.missed(0) == start(0)
    assert told.done(0) == [decide(1)]
    assert told.missed(1) == start(1)
    assert told.done(1) == [m.Drop((NodeId(0),)), decide(2)]
    assert told.missed(2) == start(2)
    assert told.done(2) == [m.Drop((NodeId(1),))]
    assert told.scheduler.is_finished
    assert told.scheduler.consumers_left(NodeId(2)) == 1


def test_hits_run_nothing_and_let_their_dependents_be_decided_in_one_wave() -> None:
    """A warm run is a walk over digests: one question for all that became ready together."""
    told = Told(plan(), plan(), plan(0), plan(1), plan(2, 3), targets=(4,))

    assert told.commands == [decide(0, 1)]
    assert set(told.tell(m.Hit((NodeId(0),)), m.Hit((NodeId(1),)))) == {decide(2, 3)}
    assert told.tell(m.Hit((NodeId(2),)), m.Hit((NodeId(3),)))[-1] == decide(4)
    told.tell(m.Hit((NodeId(4),)))
    assert told.states() == ["cached"] * 5


def test_nothing_starts_before_all_of_its_inputs() -> None:
    """The last input opens the gate, whatever the order in which they end."""
    told = Told(plan(), plan(), plan(0, 1))
    told.missed(0, 1)

    assert told.done(1) == []
    assert told.done(0) == [decide(2)]


def test_a_value_that_nobody_asked_for_is_dropped_at_once() -> None:
    """A node that is neither a target nor an input, as the members of an abandoned fan-out."""
    told = Told(plan())
    told.missed(0)

    assert told.done(0) == [m.Drop((NodeId(0),))]


def test_an_empty_graph_is_finished() -> None:
    """Nothing to do is done."""
    assert Told().scheduler.is_finished


# ---- order


def test_the_critical_path_starts_first() -> None:
    """With one slot, the node with the longest remaining path goes before those constructed earlier."""
    told = Told(plan(), plan(), plan(1, weight_s=10), slots=1)

    assert told.missed(0, 1) == start(1)


def test_depth_decides_between_equal_paths_and_construction_between_equal_depths() -> None:
    """Going deep keeps few values alive."""
    told = Told(plan(), plan(0), plan(), plan(), plan(priority=1), slots=1)
    told.missed(4)
    told.tell(m.Hit((NodeId(0),)))
    told.missed(3, 2, 1)

    order = []
    running = 4
    while started := [c.node for c in told.done(running) if isinstance(c, m.Start)]:
        order += started
        (running,) = started
    assert order == [1, 2, 3]


def test_priority_goes_before_everything_else() -> None:
    """What the user says wins over what is estimated."""
    told = Told(plan(weight_s=100), plan(priority=1.0), slots=1)

    assert told.missed(0, 1) == start(1)


def test_children_are_ranked_as_part_of_the_path_they_hold_up() -> None:
    """A node that returned others is on the way to something: its children go before equal strangers, deepest first."""
    told = Told(plan(), plan(0, weight_s=5), plan(), slots=1)
    told.missed(0)
    told.missed(2)

    told.tell(grown((plan(), plan()), parent=NodeId(0)), m.Expanded(NodeId(0), ids(3, 4)))
    assert told.commands == [*start(2), decide(3, 4)]
    told.missed(3, 4)
    assert told.done(2) == [*start(3), m.Drop((NodeId(2),))]

    told.tell(grown((plan(),), parent=NodeId(3)), m.Expanded(NodeId(3), ids(5)))
    assert told.commands == [*start(4), decide(5)]
    told.missed(5)
    assert told.done(4) == start(5)


# ---- limits


def test_never_more_at_once_than_slots() -> None:
    """An end gives its slot to the next."""
    told = Told(*[plan() for _ in range(5)], slots=2)

    assert told.missed(0, 1, 2, 3, 4) == start(0, 1)
    assert told.done(1)[0] == m.Start(NodeId(2))
    assert [c for c in told.done(0, 2) if isinstance(c, m.Start)] == start(3, 4)


def test_a_pool_limits_its_nodes_and_nobody_else() -> None:
    """The nodes of a full pool wait; the rest use the slots."""
    told = Told(plan(pool="db"), plan(pool="db"), plan(), plan(pool="gpu"), slots=4, db=1, gpu=2)

    assert told.missed(0, 1, 2, 3) == start(0, 2, 3)
    assert told.done(2) == [m.Drop((NodeId(2),))]
    assert told.done(0) == [*start(1), m.Drop((NodeId(0),))]


def test_a_pool_can_be_added_before_the_nodes_that_name_it() -> None:
    """Pools come with the policies of nodes, also of those that join later."""
    budgets = Budgets()
    told = Told()
    told.scheduler = Scheduler(4, budgets)
    budgets.declare("db", 1)
    told.tell(grown((plan(pool="db"), plan(pool="db"))))

    assert told.missed(0, 1) == start(0)


def test_a_node_put_together_takes_a_slot_too() -> None:
    """Putting values together is a job; it waits for its turn like every other."""
    told = Told(plan(), plan(), plan(), slots=1)
    told.missed(0)
    told.missed(1, 2)
    told.tell(grown((plan(),)), m.Expanded(NodeId(0), ids(3)))
    assert told.commands[0] == m.Start(NodeId(1))

    assert told.tell(m.Hit((NodeId(3),))) == []
    assert told.states()[0] == "ready"
    assert told.done(1)[0] == m.Assemble(NodeId(0))


# ---- failures


def test_a_failure_skips_everything_below_and_nothing_else() -> None:
    """Each skipped node names the one that it all began with."""
    told = Told(plan(), plan(0), plan(1), plan(), plan(3))
    told.missed(0, 3)

    assert told.failed(0) == [m.Skip(NodeId(1), NodeId(0)), m.Skip(NodeId(2), NodeId(0))]
    assert told.done(3) == [decide(4)]


def test_a_kept_failure_is_a_value() -> None:
    """Its consumers run, and it is dropped like every other value."""
    told = Told(plan(), plan(0))
    told.missed(0)

    assert told.failed(0, kept=True) == [decide(1)]
    told.missed(1)
    assert told.done(1) == [m.Drop((NodeId(0), NodeId(1)))]


def test_always_runs_after_failures_but_not_before_they_have_happened() -> None:
    """It waits for every input to end, in whatever way."""
    told = Told(plan(), plan(), plan(0), plan(1, 2, always=True))
    told.missed(0, 1)

    assert told.failed(0) == [m.Skip(NodeId(2), NodeId(0))]
    assert told.states()[3] == "waiting"
    assert told.done(1) == [decide(3)]
    assert told.missed(3) == start(3)


def test_a_new_node_on_a_failed_one_is_skipped_when_it_joins() -> None:
    """Also what depends on it, and what joins later."""
    told = Told(plan())
    told.missed(0)
    told.failed(0)

    told.tell(grown((plan(0), plan(1), plan())))
    assert told.commands == [m.Skip(NodeId(1), NodeId(0)), m.Skip(NodeId(2), NodeId(0)), decide(3)]
    assert told.tell(grown((plan(2),))) == [m.Skip(NodeId(4), NodeId(0))]


def test_a_new_always_node_waits_for_every_input_though_one_was_skipped_as_it_joined() -> None:
    """The skipped input counts once, not twice."""
    told = Told(plan(), plan())
    told.missed(0, 1)
    told.failed(0)

    told.tell(grown((plan(0), plan(1, 2, always=True))))
    assert told.states()[2:] == ["skipped", "waiting"]
    assert told.done(1) == [decide(3)]


# ---- same key, leases


def test_a_deferred_node_is_decided_again_when_the_other_has_ended() -> None:
    """Two nodes with one key run once; if the first fails, the second tries itself."""
    for end in (m.Ended(NodeId(0), "done", has_value=True), m.Ended(NodeId(0), "failed", has_value=False)):
        told = Told(plan(), plan())
        assert told.tell(m.Missed((NodeId(0),)), m.Deferred(NodeId(1), NodeId(0))) == start(0)

        assert told.tell(end)[-1] == decide(1)


def test_a_node_deferred_to_one_that_has_ended_runs() -> None:
    """To decide it again would bring the same answer, for ever."""
    told = Told(plan(), plan(), targets=(0,))
    told.missed(0)
    told.done(0)

    assert told.tell(m.Deferred(NodeId(1), NodeId(0))) == start(1)


def test_a_blocked_node_gives_its_slots_back_and_is_decided_again() -> None:
    """Waiting for somebody else's work takes no slot and no place in a pool."""
    told = Told(plan(pool="db"), plan(pool="db"), slots=1, db=1)
    assert told.missed(0, 1) == start(0)

    assert told.tell(m.Blocked(NodeId(0))) == start(1)
    assert told.tell(m.Unblocked(NodeId(0))) == [decide(0)]
    assert told.missed(0) == []
    assert told.done(1)[0] == m.Start(NodeId(0))


# ---- growth


def test_an_expanded_node_is_put_together_when_its_children_have_ended() -> None:
    """It gives its slot to its children, and ends after them; their values are kept until then."""
    told = Told(plan(), plan(0), slots=1)
    told.missed(0)

    told.tell(grown((plan(), plan(2))), m.Expanded(NodeId(0), ids(2, 3)))
    assert told.commands == [decide(2)]
    assert told.missed(2) == start(2)
    assert told.done(2) == [decide(3)]
    assert told.tell(m.Hit((NodeId(3),))) == [m.Assemble(NodeId(0))]
    assert told.done(0) == [m.Drop((NodeId(2), NodeId(3))), decide(1)]


def test_children_that_have_ended_already_are_put_together_at_once() -> None:
    """A task may return nodes that the graph knows."""
    told = Told(plan(), plan(), targets=(0,))
    told.missed(0, 1)
    told.done(0)

    assert told.tell(m.Expanded(NodeId(1), ids(0))) == [m.Assemble(NodeId(1))]


def test_no_children_at_all_is_fine() -> None:
    """A task may return a container of nodes with none in it."""
    told = Told(plan())
    told.missed(0)

    assert told.tell(grown(()), m.Expanded(NodeId(0), ())) == [m.Assemble(NodeId(0))]


def test_a_failing_child_leaves_the_answer_to_the_engine() -> None:
    """It is asked to put the rest together, and says what becomes of the parent."""
    told = Told(plan(), plan(0))
    told.missed(0)
    told.tell(grown((plan(), plan())), m.Expanded(NodeId(0), ids(2, 3)))
    told.missed(2, 3)

    assert told.failed(2) == []
    assert told.done(3) == [m.Assemble(NodeId(0))]
    assert told.tell(m.Ended(NodeId(0), "skipped", has_value=False)) == [
        m.Skip(NodeId(1), NodeId(0)),
        m.Drop((NodeId(3),)),
    ]


def test_expansions_nest() -> None:
    """A child may return nodes, too; each level is put together in turn."""
    told = Told(plan(), slots=1)
    told.missed(0)
    told.tell(grown((plan(),), parent=NodeId(0)), m.Expanded(NodeId(0), ids(1)))
    told.missed(1)
    told.tell(grown((plan(),), parent=NodeId(1)), m.Expanded(NodeId(1), ids(2)))

    assert told.tell(m.Hit((NodeId(2),))) == [m.Assemble(NodeId(1))]
    assert told.done(1) == [m.Assemble(NodeId(0)), m.Drop((NodeId(2),))]
    assert told.done(0) == [m.Drop((NodeId(1), NodeId(0)))]


def test_what_was_put_together_may_hold_nodes_again() -> None:
    """Then it waits once more, for those."""
    told = Told(plan())
    told.missed(0)
    told.tell(grown((plan(),)), m.Expanded(NodeId(0), ids(1)))
    assert told.tell(m.Hit((NodeId(1),))) == [m.Assemble(NodeId(0))]

    told.tell(grown((plan(),)), m.Expanded(NodeId(0), ids(2)))
    assert told.commands == [m.Drop((NodeId(1),)), decide(2)]
    assert told.tell(m.Hit((NodeId(2),))) == [m.Assemble(NodeId(0))]
    assert told.done(0) == [m.Drop((NodeId(2), NodeId(0)))]


def test_a_value_is_not_dropped_when_the_same_batch_finds_it_a_consumer() -> None:
    """Growth may ask for a node that has just lost its last consumer."""
    told = Told(plan(), plan(0), plan())
    told.missed(0, 2)
    told.done(0)
    told.missed(1)

    commands = told.tell(m.Ended(NodeId(1), "done", has_value=True), grown((plan(0),)), m.Expanded(NodeId(2), ids(3)))

    assert m.Drop((NodeId(0),)) not in commands
    assert told.tell(m.Hit((NodeId(3),))) == [m.Assemble(NodeId(2)), m.Drop((NodeId(0),))]


# ---- stopping


def test_stopping_cancels_what_has_not_started_and_lets_the_rest_finish() -> None:
    """Dependents of running nodes are cancelled at once, not when those end."""
    told = Told(plan(), plan(0), plan(), plan(), slots=1)
    told.missed(0, 2)

    assert told.tell(m.Stopping()) == [m.Cancel(NodeId(1)), m.Cancel(NodeId(2)), m.Cancel(NodeId(3))]
    assert not told.scheduler.is_finished
    assert told.done(0) == [m.Drop((NodeId(0),))]
    assert told.scheduler.is_finished


def test_stopping_twice_changes_nothing_more() -> None:
    """An interrupt may follow an error."""
    told = Told(plan(), plan(0))
    told.tell(m.Stopping())

    assert told.tell(m.Stopping()) == []
    assert told.states() == ["cancelled", "cancelled"]


def test_a_node_cancelled_in_a_batch_is_not_decided_in_it() -> None:
    """No question about a node that has ended."""
    told = Told(plan(), plan(0))
    told.missed(0)

    assert told.tell(m.Ended(NodeId(0), "done", has_value=True), m.Stopping()) == [
        m.Cancel(NodeId(1)),
        m.Drop((NodeId(0),)),
    ]


def test_always_runs_after_a_stop() -> None:
    """Cleaning up is what it is for; it waits for its inputs, cancelled or not."""
    told = Told(plan(), plan(0), plan(1, always=True))
    told.missed(0)

    assert told.tell(m.Stopping()) == [m.Cancel(NodeId(1)), decide(2)]
    assert told.missed(2) == start(2)


def test_what_a_stop_cancelled_is_in_nobodys_way() -> None:
    """A cancelled node asks for no slot: a better rank, a larger share or a full pool keeps no clean-up waiting."""
    quick = attrs.evolve(plan(always=True), task="quick")
    told = Told(quick, quick, plan(priority=9.0), slots=1)
    told.tell(m.Paced("quick", 2), m.Missed(ids(0)))
    told.missed(2)

    assert told.tell(m.Missed(ids(1)), m.Stopping()) == [m.Cancel(NodeId(2)), m.StartQuick(ids(1))]


def test_a_lease_that_is_held_elsewhere_after_a_stop_is_not_waited_for() -> None:
    """The node has not started, so it is cancelled."""
    told = Told(plan())
    told.missed(0)
    told.tell(m.Stopping())

    assert told.tell(m.Blocked(NodeId(0))) == [m.Cancel(NodeId(0))]


def test_a_node_that_waits_for_a_lease_is_cancelled_by_a_stop() -> None:
    """Waiting is not working."""
    told = Told(plan())
    told.missed(0)
    told.tell(m.Blocked(NodeId(0)))

    assert told.tell(m.Stopping()) == [m.Cancel(NodeId(0))]


def test_growth_after_a_stop_is_cancelled_and_its_parent_is_put_together() -> None:
    """So every node ends, whatever a running task still returns."""
    told = Told(plan())
    told.missed(0)
    told.tell(m.Stopping())

    told.tell(grown((plan(), plan(1), plan(always=True))), m.Expanded(NodeId(0), ids(2)))
    assert told.commands == [m.Cancel(NodeId(1)), m.Cancel(NodeId(2)), m.Assemble(NodeId(0)), decide(3)]


def test_children_that_run_are_finished_and_put_together_after_a_stop() -> None:
    """What was paid for is kept: the parent is not new work."""
    told = Told(plan())
    told.missed(0)
    told.tell(grown((plan(),)), m.Expanded(NodeId(0), ids(1)))
    told.missed(1)

    assert told.tell(m.Stopping()) == []
    assert told.done(1) == [m.Assemble(NodeId(0))]


# ---- scale


class CountingList(list[object]):
    """A list that counts the elements that are copied out of it."""

    n_copied = 0

    def __add__(self, other: object) -> list[object]:
        CountingList.n_copied += len(self)
        return super().__add__(other)  # type: ignore[operator]

    def __getitem__(self, index: object) -> object:
        found = super().__getitem__(index)  # type: ignore[index]
        CountingList.n_copied += len(found) if isinstance(index, slice) else 0
        return found


def count_told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how many neighbours are told of ends: the scheduler's inner loop."""
    told = [0]
    inner, inner_many = Scheduler._tell, Scheduler._tell_many

    def tell(self: Scheduler, waiters: Sequence[NodeId], ended: NodeId, *, needs_value: bool) -> None:
        told[0] += len(waiters)
        inner(self, waiters, ended, needs_value=needs_value)

    def tell_many(self: Scheduler, ends: Mapping[NodeId, int]) -> None:
        told[0] += sum(ends.values())
        inner_many(self, ends)

    monkeypatch.setattr(Scheduler, "_tell", tell)
    monkeypatch.setattr(Scheduler, "_tell_many", tell_many)
    return told


def run_all(scheduler: Scheduler, commands: list[m.Command]) -> int:
    """Answer every command with a hit or an end; return how many commands there were."""
    n_commands = 0
    while commands:
        n_commands += sum(len(command.nodes) if isinstance(command, m.Drop) else 1 for command in commands)
        facts: list[m.Fact] = []
        for command in commands:
            if isinstance(command, m.Decide):
                facts += [m.Missed((node,)) for node in command.nodes]
            elif isinstance(command, m.Start):
                facts.append(m.Ended(command.node, "done", has_value=True))
        commands = scheduler.handle(facts)
    return n_commands


@pytest.mark.parametrize("shape", ["chain", "fan"])
@pytest.mark.parametrize("n", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_work_is_linear_in_nodes_and_edges(n: int, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each edge is told of once, each node is decided, started and dropped once; nothing recurses."""
    told = count_told(monkeypatch)
    plans = [plan(*([] if number == 0 else [number - 1] if shape == "chain" else [0])) for number in range(n)]
    scheduler = Scheduler(8)

    n_commands = run_all(scheduler, scheduler.handle([grown(tuple(plans))]))

    assert scheduler.is_finished
    assert told[0] == n - 1
    n_questions = n if shape == "chain" else 2
    assert n_commands == 2 * n + n_questions


def test_a_failure_on_top_of_a_long_chain_skips_it_without_recursion() -> None:
    """Skips spread with a stack of our own."""
    n = 20_000
    told = Told(*[plan(*([number - 1] if number else [])) for number in range(n)])
    told.missed(0)

    assert len(told.failed(0)) == n - 1


def test_growing_one_by_one_copies_nothing_of_what_is_there() -> None:
    """A recursion ten thousand levels deep costs as much per level as the first."""
    told = Told(plan())
    told.missed(0)
    table = told.scheduler._table
    table._remaining_s = CountingList(table._remaining_s)  # type: ignore[assignment]
    table.states = CountingList(table.states)  # type: ignore[assignment]
    CountingList.n_copied = 0
    for number in range(1, 2_000):
        told.tell(grown((plan(),), parent=NodeId(number - 1)), m.Expanded(NodeId(number - 1), ids(number)))
        told.missed(number)
    told.done(1_999)
    while assembled := [c.node for c in told.commands if isinstance(c, m.Assemble)]:
        told.done(*assembled)

    assert set(told.states()) <= FINAL_STATES
    assert type(table._remaining_s) is CountingList
    assert CountingList.n_copied == 0


def test_slots_follow_the_executor_up_and_down() -> None:
    """Workers of a cluster come and go: more slots start more at once; with fewer, what runs goes on and nothing new starts."""
    told = Told(*[plan() for _ in range(6)], slots=1)
    told.missed(*range(6))
    assert told.states().count("running") == 1
    told.tell(m.Resized(3))
    assert told.states().count("running") == 3
    told.tell(m.Resized(1))
    told.done(0)
    assert told.states().count("running") == 2
    told.done(1)
    assert told.states().count("running") == 1
    told.done(2)
    assert told.states().count("running") == 1
    told.tell(m.Resized(0))  # a cluster without workers for the moment: one at a time waits for some
    told.done(3)
    told.done(4)
    told.done(5)
    assert told.states() == ["done"] * 6


def test_a_task_that_takes_the_slots_of_all_takes_those_there_are() -> None:
    """When there are fewer, it still fits."""
    told = Told(*[attrs.evolve(plan(), task="quick") for _ in range(2)], slots=4)
    told.tell(m.Paced("quick", 10, alone=True))
    told.tell(m.Resized(2))
    told.missed(0, 1)
    assert told.states() == ["running"] * 2
