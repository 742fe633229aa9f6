"""Calls that follow others in one piece of work: a chain of quick calls is not a command for each of its links."""

import tempfile
import threading
from contextvars import copy_context
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.execution.base import Batch, Call
from flowlib.execution.quick import perform_batch
from flowlib.graph.args import nodes_in
from flowlib.graph.node import Node
from flowlib.ids import NodeId
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.limits import SLOT
from flowlib.scheduling.messages import Decide, Done, Ended, Found, Missed, Paced, Returned, Skip, StartQuick
from flowlib.scheduling.scheduler import Scheduler
from flowlib.testing import EventLog, plain_value
from tests.engine.test_batches import ids, make_worker, starts
from tests.scheduling.plans import Plan, grown

LINKS = 600


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def total(*xs: int, start: int = 0) -> int:
    return sum(xs, start)


@fl.task
def pair(x: int, y: int) -> tuple[int, int]:
    return x, y


@fl.task
def first_of(xs: tuple[int, int]) -> int:
    return xs[0]


@fl.task
def fails_at(x: int, at: int) -> int:
    if x == at:
        raise ValueError(x)
    return x + 1


@fl.task
def grows_at(x: int, at: int) -> int:
    return inc(x) if x == at else x + 1


def chain_of(link: Any, n: int = LINKS) -> Any:
    node = link(0)
    for _ in range(n - 1):
        node = link(node)
    return node


def quick_scheduler(slots: int = 2, per_slot: int = 4) -> Scheduler:
    scheduler = Scheduler(slots, Budgets({"db": 1}), decides=False)
    scheduler.handle([Paced("quick", per_slot, alone=False, leads=True)])
    return scheduler


def chain_plans(n: int, **traits: Any) -> list[Plan]:
    return [Plan(dependencies=ids(k - 1) if k else (), task="quick", **traits) for k in range(n)]


# ---- what the scheduler hands over


def test_chain_is_cut_into_pieces_of_work() -> None:
    """As many links go along as one piece of work takes; the next piece begins when they have ended."""
    scheduler = quick_scheduler()

    assert starts(scheduler.handle([grown(chain_plans(6))])) == [StartQuick(ids(0), ids(1, 3))]
    assert starts(scheduler.handle([Done(ids(0, 4))])) == [StartQuick(ids(4), ids(5))]


def test_node_with_another_input_does_not_follow() -> None:
    """It waits for everything it needs, not only for what is in the piece of work."""
    scheduler = quick_scheduler(slots=1, per_slot=2)
    plans = [Plan(dependencies=(), task="slow"), Plan(dependencies=(), task="quick", priority=1)]
    plans += [Plan(dependencies=ids(0, 2), task="quick")]

    assert starts(scheduler.handle([grown(plans)])) == [StartQuick(ids(1))]


@pytest.mark.parametrize("traits", [{"pool": "db"}, {"always": True}])
def test_node_with_conditions_of_its_own_does_not_follow(traits: dict[str, Any]) -> None:
    """Pools and clean-up are decided when the node is ready."""
    scheduler = quick_scheduler()
    plans = [*chain_plans(1), Plan(dependencies=ids(0), task="quick", **traits)]

    assert starts(scheduler.handle([grown(plans)])) == [StartQuick(ids(0))]


def test_returned_node_waits_again_and_is_skipped_without_its_input() -> None:
    """What came back is where it would be had it never followed."""
    scheduler = quick_scheduler()
    scheduler.handle([grown(chain_plans(3))])

    commands = scheduler.handle([Returned(ids(1, 2))])
    assert starts(commands) == []
    assert [*scheduler.states] == ["running", "waiting", "waiting"]

    commands = scheduler.handle([Ended(NodeId(0), "failed", has_value=False)])
    assert [command for command in commands if isinstance(command, Skip)] == [
        Skip(NodeId(1), NodeId(0)),
        Skip(NodeId(2), NodeId(0)),
    ]
    assert scheduler.is_finished


def test_quick_calls_that_gain_nothing_beside_each_other_take_all_slots() -> None:
    """One piece of work of them is under way at a time; slow calls find room when it has ended."""
    scheduler = Scheduler(3, decides=False)
    scheduler.handle([Paced("quick", SLOT, alone=True)])
    plans = [Plan(dependencies=(), task="quick")] * (SLOT + 1)

    assert [len(start.nodes) for start in starts(scheduler.handle([grown(plans)]))] == [SLOT]


def deciding_scheduler(slots: int = 2, per_slot: int = 4) -> Scheduler:
    scheduler = Scheduler(slots, decides=True)
    scheduler.handle([Paced("quick", per_slot, alone=False, leads=True)])
    return scheduler


def test_links_are_handed_over_to_be_decided_one_by_one() -> None:
    """Where results are stored, too: whoever makes the calls finds out what can be reused on the way."""
    scheduler = deciding_scheduler()
    scheduler.handle([grown(chain_plans(7))])

    assert starts(scheduler.handle([Missed(ids(0))])) == [StartQuick(ids(0), ids(1, 3))]

    commands = scheduler.handle([Done(ids(0, 2)), Found(ids(2)), Returned(ids(3))])
    assert [command for command in commands if isinstance(command, Decide)] == [Decide(ids(3))]
    assert [*scheduler.states[:5]] == ["done", "done", "cached", "ready", "waiting"]


def test_where_results_are_stored_only_what_is_alone_is_followed() -> None:
    """Two chains are decided in waves of two, which costs less than to go along each."""
    scheduler = deciding_scheduler()
    plans = [Plan(dependencies=ids(k - 2) if k > 1 else (), task="quick") for k in range(8)]
    scheduler.handle([grown(plans)])

    assert starts(scheduler.handle([Missed(ids(0, 2))])) == [StartQuick(ids(0, 2))]
    scheduler.handle([Done(ids(0)), Ended(NodeId(1), "failed", has_value=False)])
    assert starts(scheduler.handle([Missed(ids(2))])) == [StartQuick(ids(2), (*ids(4), *ids(6)))]


def test_where_results_are_stored_a_fork_is_not_followed() -> None:
    """What comes after it is a wave."""
    scheduler = deciding_scheduler()
    scheduler.handle([grown([Plan(dependencies=(), task="quick"), *[Plan(dependencies=ids(0), task="quick")] * 2])])

    assert starts(scheduler.handle([Missed(ids(0))])) == [StartQuick(ids(0))]


# ---- what a batch makes of it


def test_values_are_handed_on_inside_a_batch() -> None:
    """A follower is made with what those before it gave; one whose input failed is returned unmade."""

    def gather(args: tuple[Any, ...], made: Any) -> tuple[Any, ...] | None:
        found = tuple(made.get(arg, arg) if type(arg) is Node else arg for arg in args)
        return None if nodes_in(found, lambda _: "") else found

    good, bad = inc(1), fails_at(7, 7)
    nodes = [good, inc(good), bad, inc(bad)]
    calls = [
        Call(NodeId(n), node._fl_task, node._fl_policy, node._fl_args, None, False) for n, node in enumerate(nodes)
    ]
    for call, node in zip(calls, nodes, strict=True):
        call.source, call.follows = node, call.node in (1, 3)
    batch = Batch([*calls], {}, gather)

    perform_batch(batch, make_worker(), copy_context())

    assert [call.value for call in calls] == [2, 3, None, None]
    assert [call.is_returned for call in calls] == [False, False, False, True]
    assert [outcome.node for outcome in batch.take_done()] == [0, 1, 2, 3]


def test_a_batch_that_is_made_in_pieces_hands_values_on() -> None:
    """What is left to the caller after each call goes on where it was."""
    nodes = [inc(0)]
    for _ in range(3):
        nodes.append(inc(nodes[-1]))
    calls = [Call(NodeId(n), node._fl_task, node._fl_policy, node._fl_args) for n, node in enumerate(nodes)]
    for call, node in zip(calls, nodes, strict=True):
        call.source, call.follows = node, call.node > 0
    batch = Batch([*calls], {}, lambda args, made: tuple(made[arg] for arg in args) if args[0] in made else None)

    while batch.waiting:
        perform_batch(batch, make_worker(), copy_context(), until=0.0)

    assert [call.value for call in calls] == [1, 2, 3, 4]


# ---- whole runs


class Traffic:
    """What a run asks of its scheduler: how often, and how many nodes it gives back that were to follow others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_asked = self.n_returned = 0
        handle = Scheduler.handle

        def counting(scheduler: Scheduler, facts: Any) -> Any:
            facts = [*facts]
            self.n_asked += 1
            self.n_returned += sum(len(fact.nodes) for fact in facts if isinstance(fact, Returned))
            return handle(scheduler, facts)

        monkeypatch.setattr(Scheduler, "handle", counting)
        monkeypatch.setattr("flowlib.engine.pace.QUICK_S", 60.0)  # on a busy machine, too
        monkeypatch.setattr("flowlib.engine.pace.BATCH_S", 600.0)
        monkeypatch.setattr("flowlib.engine.starting.PATIENCE_S", 600.0)


@pytest.mark.parametrize("kept", [False, True])
def test_chain_of_quick_calls_takes_few_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool) -> None:
    """A guard of cost: a run of a chain asks the scheduler some times, not once for each link."""
    traffic = Traffic(monkeypatch)

    assert fl.run(chain_of(inc, 5 * LINKS), cache=tmp_path if kept else False, progress=False) == 5 * LINKS
    assert traffic.n_asked < LINKS


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("options", [{"check_out": lambda x: None}, {"retries": 2}, {"cache": False}])
def test_calls_that_cannot_follow_are_not_handed_over_to_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any], kept: bool
) -> None:
    """A guard of cost: who gives them back each time pays for the whole chain with each link."""
    traffic = Traffic(monkeypatch)
    node = chain_of(inc.options(**options))

    assert fl.run(node, cache=tmp_path if kept else False, progress=False) == LINKS
    assert traffic.n_returned < 2 * LINKS


@fl.task
def step(before: int, number: int) -> int:
    return 0


def test_one_link_with_the_key_of_another_does_not_end_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scheduler has to start what comes after it; from there on links are gone along again."""
    traffic = Traffic(monkeypatch)
    node: Any = 0
    for number in [*range(100), 0, *range(100, 2 * LINKS)]:
        node = step(node, number)

    assert fl.run(node, cache=tmp_path, progress=False) == 0
    assert traffic.n_asked < LINKS // 2


def test_what_is_stored_is_found_on_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chain whose beginning is new, and comes to what was there before: nothing after that is made."""
    traffic = Traffic(monkeypatch)

    def go(start: int, n: int) -> tuple[int, int, int]:
        log = EventLog()
        node = inc(start)
        for _ in range(n - 1):
            node = inc(node)
        value = fl.run(node, cache=tmp_path, progress=False, observers=[log])
        return value, log.counts()["NodeFinished"], log.counts()["NodeCached"]

    assert go(0, LINKS) == (LINKS, LINKS, 0)
    traffic.n_asked = 0
    assert go(-99, LINKS) == (LINKS - 99, 99, LINKS - 99)
    assert traffic.n_asked < LINKS
    assert go(-99, 2 * LINKS) == (2 * LINKS - 99, LINKS - 99, LINKS + 99)


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_failure_in_a_chain_skips_what_comes_after_it(executor: Any) -> None:
    """The error is the user's own, and nothing after it is made."""
    log = EventLog()
    node = chain_of(lambda x: fails_at(x, 500))

    with pytest.raises(ValueError, match="500"):
        fl.run(node, cache=False, progress=False, executor=executor, observers=[log])

    counts = log.counts()
    assert (counts["NodeFinished"], counts["NodeFailed"]) == (500, 1)


def test_returned_nodes_in_the_middle_of_a_chain() -> None:
    """A link that returns a node is finished by it, and the chain goes on."""
    assert fl.run(chain_of(lambda x: grows_at(x, 300)), cache=False, progress=False) == LINKS


def test_containers_are_handed_on_by_value() -> None:
    """What is not a scalar goes the way on which nobody can change what others hold."""
    node = chain_of(lambda x: first_of(pair(inc(x), x)))

    assert fl.run(node, cache=False, progress=False) == LINKS


def test_slow_link_holds_up_nobody_else() -> None:
    """A chain whose link waits for another chain: the other one is made meanwhile, or both would wait for ever."""
    reached = threading.Event()

    @fl.task
    def link(x: int, chain: int) -> int:
        if chain == 0 and x == 400:
            assert reached.wait(60)
        if chain == 1 and x == LINKS - 1:
            reached.set()
        return x + 1

    both = [chain_of(lambda x, c=c: link(x, c)) for c in range(2)]

    assert fl.run(both, cache=False, progress=False) == [LINKS, LINKS]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), executor=st.sampled_from(["threads", "inline"]), n_near=st.sampled_from([1, 9]))
def test_any_graph_of_quick_calls_gives_what_plain_calls_give(seed: int, executor: Any, n_near: int) -> None:
    """Scalars, tuples, lists of nodes, keyword and variable arguments, nodes that are returned; kept, found, half found."""
    dice = Random(seed)
    nodes: list[Any] = [inc(0)]
    for _ in range(300):
        x, y = dice.choice(nodes[-n_near:]), dice.choice(nodes[-40:])
        make = dice.choice(
            [
                lambda: inc(x),
                lambda: total(x, y, start=3),
                lambda: total(*nodes[-5:]),
                lambda: first_of(pair(x, y)),
                lambda: grows_at(x, dice.randrange(50)),
                lambda: x + y,
            ]
        )
        nodes.append(make())

    expected = plain_value(nodes)
    with tempfile.TemporaryDirectory() as directory:
        for n, cache in ((0, False), (150, directory), (0, directory), (0, directory)):
            assert fl.run(nodes[n:], cache=cache, progress=False, executor=executor) == expected[n:]
