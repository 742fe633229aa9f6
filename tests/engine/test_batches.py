"""Quick calls in batches: what is handed over together must come out as if each call had been made alone."""

import contextvars
import signal
import threading
from collections.abc import Iterable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import SystemClock
from flowlib.engine.batches import LOOK_S, Batches
from flowlib.engine.pace import QUICK_S, Pace
from flowlib.execution.base import Batch, Call, Executor, Job, Outcome
from flowlib.execution.inline import InlineExecutor
from flowlib.execution.quick import Unbegun, perform_batch
from flowlib.execution.worker import Worker
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.hashing.identity import Identity
from flowlib.ids import Key, NodeId
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.limits import SLOT
from flowlib.scheduling.messages import Command, Done, Missed, Paced, Start, StartQuick
from flowlib.scheduling.scheduler import Scheduler
from tests.scheduling.plans import Plan, grown

LATER_S = 2 * LOOK_S
seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=-1)


class FakeExecutor:
    """Takes batches and does nothing with them."""

    capacity = 3
    makes_calls_here = True

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def submit_batch(self, batch: Batch) -> None:
        self.batches.append(batch)


@fl.task
def plain(n: int) -> int:
    return n


@fl.task
def sees(n: int) -> int:
    before = seen.get()
    seen.set(n)
    return before


@fl.task
def grows(xs: list[int]) -> list[int]:
    xs.append(0)
    return xs


@fl.task
async def coroutine(n: int) -> int:
    return n


@fl.task
def returns_coroutine(n: int) -> Any:
    return coroutine.fn(n)


@fl.task
def generator(n: int) -> Any:
    return (i for i in range(n))


@fl.task
def at_thirty_runs_next(n: int, number: int) -> int:
    if number == 30:
        return fl.run(at_thirty_runs_next(plain(31), 31))
    return n


@fl.task
def at_thirty_runs_last(n: int, number: int) -> int:
    if number == 30:
        return fl.run(at_thirty_runs_last(plain(29), 29))
    return n


def calls_of(nodes: Iterable[Any], keys: Iterable[str] = ()) -> list[Call | Job]:
    return [
        Call(NodeId(number), node._fl_task, node._fl_policy, node._fl_args, Key(key) if key else None, False)
        for number, (node, key) in enumerate(zip(nodes, [*keys] or [""] * 100, strict=False))
    ]


def batches_of(n: int) -> tuple[Batches, FakeExecutor]:
    executor: Any = FakeExecutor()
    batches = Batches(executor, Graph(targets_of([plain(k) for k in range(n)])))
    batches.submit(calls_of(plain(k) for k in range(n)))
    return batches, executor


def make_worker() -> Worker:
    return Worker(
        store=None,
        identity=Identity(),
        clock=SystemClock(),
        call_in_run=lambda fn: fn(),
        call_quick=lambda fn: fn(),
    )


def performed(nodes: Iterable[Any]) -> list[Outcome]:
    batch = Batch(calls_of(nodes))
    perform_batch(batch, make_worker(), copy_context())
    return batch.take_done()


# ---- making the calls of a batch


def test_context_of_one_call_does_not_leak_into_the_next() -> None:
    """Each call sees the context the batch was made with, and none of them changes the caller's."""
    assert [outcome.value for outcome in performed(sees(n) for n in range(4))] == [-1] * 4
    assert seen.get() == -1


def test_error_of_one_call_ends_no_other() -> None:
    """Whatever a call raises, SystemExit and KeyboardInterrupt included, the next ones are made."""

    @fl.task
    def leaves(n: int) -> int:
        raise (SystemExit, KeyboardInterrupt, ValueError)[n]

    outcomes = performed([plain(1), leaves(0), leaves(1), leaves(2), plain(2)])

    assert [type(outcome.error).__name__ for outcome in outcomes] == [
        *("NoneType", "SystemExit", "KeyboardInterrupt", "ValueError", "NoneType")
    ]
    assert [outcomes[0].value, outcomes[-1].value] == [1, 2]


def test_coroutine_is_run_and_counts_for_its_call() -> None:
    """What a plain function returns to be awaited is awaited inside the call; a generator is refused."""
    result, refused = performed([returns_coroutine(3), generator(3)])

    assert result.value == 3
    assert isinstance(refused.error, fl.errors.TaskMisused)


def test_ctrl_c_leaves_the_rest_to_the_engine_whose_thread_it_is() -> None:
    """With a time limit, a KeyboardInterrupt ends the work at the batch; the rest is still there."""

    @fl.task
    def interrupted() -> int:
        raise KeyboardInterrupt

    batch = Batch(calls_of([plain(1), interrupted(), plain(2)]))

    perform_batch(batch, make_worker(), copy_context(), until=SystemClock.monotonic() + 60)

    assert len(batch.take_done()) == 2
    assert len(batch.waiting) == 1


def test_time_limit_leaves_the_rest() -> None:
    """A batch is left after the first call that ends too late, never before one was made."""
    batch = Batch(calls_of(plain(n) for n in range(3)))

    perform_batch(batch, make_worker(), copy_context(), until=0.0)

    assert len(batch.take_done()) == 1
    assert len(batch.waiting) == 2


def test_inline_executor_goes_on_with_a_batch_in_collect() -> None:
    """A call in a batch that was taken back is not made; what was left is made later, and nothing twice."""
    executor: Executor
    made: list[int] = []

    @fl.task
    def takes_back(n: int) -> int:
        made.append(n)
        if n == 1:
            back.extend(batch.take_back())
        return n

    back: list[Call | Job] = []
    batch = Batch(calls_of(takes_back(n) for n in range(4)))
    executor = InlineExecutor(make_worker())
    executor.submit_batch(batch)

    assert [outcome.value for outcome in executor.collect(0.0)] == [0, 1]
    assert len(back) == 2
    assert executor.collect(0.0) == []


def test_call_is_taken_over_by_key_once() -> None:
    """A call that has not been begun is found by its key, in whatever batch it is, and is gone from it."""
    unbegun, taken = Unbegun(), list[Batch]()
    batch = Batch(calls_of([plain(1), plain(2)], keys=["a", "b"]))
    unbegun.add(batch, taken.append)

    assert unbegun.take_over(Key("b"))
    assert not unbegun.take_over(Key("b"))
    assert [call.key for call in taken[0].waiting] == ["b"]
    assert [call.key for call in batch.waiting] == ["a"]


# ---- looking after batches


def test_batch_that_does_not_move_is_spread_over_all_workers() -> None:
    """Two looks without a change, and what has not begun goes to all workers in equal parts, in order."""
    batches, executor = batches_of(8)
    batch = executor.batches[0]
    batch.is_begun = True
    batch.waiting.popleft()

    batches.look(LATER_S)
    assert len(executor.batches) == 1
    batches.look(2 * LATER_S)

    assert not batch.waiting
    parts = [[call.node for call in part.waiting] for part in executor.batches[1:]]
    assert parts == [[1, 2, 3], [4, 5, 6], [7]]


def test_batch_that_moves_or_has_not_begun_is_left_alone() -> None:
    """Looks change nothing as long as calls begin, or wait for a worker."""
    batches, executor = batches_of(4)
    batches.look(LATER_S)
    batches.look(2 * LATER_S)
    executor.batches[0].is_begun = True
    executor.batches[0].waiting.popleft()
    batches.look(3 * LATER_S)

    assert len(executor.batches) == 1
    assert len(executor.batches[0].waiting) == 3


def test_what_ended_in_a_stuck_batch_comes_out_at_once() -> None:
    """Results do not wait for the slow call behind them."""
    batches, executor = batches_of(4)
    batch = executor.batches[0]
    batch.is_begun = True
    done = Outcome(node=NodeId(0))
    batch.waiting.popleft()
    batch.done.append(done)

    assert batches.look(LATER_S) == ([done], [])
    assert batches.look(2 * LATER_S) == ([], [])
    assert batches.look(2 * LATER_S + LOOK_S / 2) == ([], [])


@pytest.mark.parametrize("n_behind", [0, 2])
def test_what_holds_up_a_batch_is_told_once(n_behind: int) -> None:
    """It does not move for two looks; what is behind it goes to others then."""
    batches, executor = batches_of(1 + n_behind)
    batch = executor.batches[0]
    batch.is_begun = True
    call = batch.current = batch.waiting.popleft()
    assert isinstance(call, Call)

    assert batches.look(LATER_S) == ([], [])
    assert batches.at_work() == [call]
    assert batches.look(2 * LATER_S) == ([], [call])
    assert batches.look(3 * LATER_S) == ([], [])
    assert bool(batches) == bool(n_behind)


def test_what_has_ended_holds_up_nothing() -> None:
    """The worker has not come to say so."""
    batches, executor = batches_of(1)
    batch = executor.batches[0]
    batch.is_begun = True
    call = batch.current = batch.waiting.popleft()
    call.duration_s = 1.0  # type: ignore[union-attr]

    assert batches.at_work() == []
    assert batches.look(LATER_S) == ([], [])
    assert not batches


def test_drained_batch_is_forgotten() -> None:
    """A batch whose last call has begun needs no more looks."""
    batches, executor = batches_of(2)
    executor.batches[0].take_back()

    batches.look(LATER_S)

    assert not batches


def test_calls_that_are_held_go_on_or_are_taken_back() -> None:
    """During a pause no call begins; afterwards all do, and a stop meanwhile gets every one of them."""
    batches, executor = batches_of(4)
    batches.hold()
    assert not executor.batches[0].waiting

    batches.go_on()
    assert sum(len(batch.waiting) for batch in executor.batches) == 4

    batches.hold()
    assert [call.node for call in batches.take_back()] == [0, 1, 2, 3]
    assert batches.take_back() == []


# ---- pace


def test_pace_is_known_after_four_calls() -> None:
    """Fewer calls say nothing; then the median counts, so that one call that had to wait changes nothing."""
    pace = Pace()

    assert pace.took({"f": [1e-6, 1e-6, 1e-6]}) == []
    ((fact),) = pace.took({"f": [1e-6, 1.0, 1e-6]})

    assert fact.task == "f"
    assert fact.per_slot > 100


def test_task_that_becomes_slow_is_handed_over_one_by_one() -> None:
    """Slow calls take the pace back."""
    pace = Pace()
    pace.took({"f": [1e-6] * 10})

    assert pace.took({"f": [4 * QUICK_S] * 10}) == [Paced("f", 1)]
    assert pace.took({"f": [4 * QUICK_S] * 10}) == []


def test_large_results_make_small_batches() -> None:
    """Of a task that gives anything but scalars, few results are in memory together."""
    pace = Pace()
    pace.gave_value("f")

    assert pace.took({"f": [1e-6] * 10}) == [Paced("f", 8, alone=True)]


# ---- shares of slots


def ids(first: int, n: int = 1) -> tuple[NodeId, ...]:
    return tuple(NodeId(number) for number in range(first, first + n))


def starts(commands: Iterable[Command]) -> list[Command]:
    return [command for command in commands if isinstance(command, Start | StartQuick)]


def test_quick_calls_share_slots() -> None:
    """A slot takes `per_slot` calls, given as one command; calls of other tasks take a whole slot each."""
    scheduler = Scheduler(2, decides=False)
    scheduler.handle([Paced("quick", 4)])

    commands = scheduler.handle([grown([*[Plan(dependencies=(), task="quick")] * 10, Plan(dependencies=())])])

    assert starts(commands) == [StartQuick(ids(0, 4)), StartQuick(ids(4, 4))]
    assert starts(scheduler.handle([Done(ids(0, 2))])) == [StartQuick(ids(8, 2))]
    assert starts(scheduler.handle([Done(ids(4, 3))])) == []
    assert starts(scheduler.handle([Done(ids(2))])) == [Start(NodeId(10))]


def test_slots_come_back_whole_though_the_pace_changes_meanwhile() -> None:
    """A call gives back the share that it took, whatever its task is worth by then."""
    scheduler = Scheduler(1, decides=False)
    scheduler.handle([Paced("quick", SLOT)])
    plans = [Plan(dependencies=(), task="quick")] * 5
    assert starts(scheduler.handle([grown(plans)])) == [StartQuick(ids(0, 5))]

    scheduler.handle([Paced("quick", 1), Done(ids(0, 5))])

    assert starts(scheduler.handle([grown(plans)])) == [Start(NodeId(5))]
    assert starts(scheduler.handle([Done(ids(5))])) == [Start(NodeId(6))]


def test_pool_limits_quick_calls_too() -> None:
    """A batch never holds more calls than their pool has slots."""
    scheduler = Scheduler(4, Budgets({"db": 2}))
    scheduler.handle([Paced("quick", 100), grown([Plan(dependencies=(), task="quick", pool="db")] * 5)])

    assert starts(scheduler.handle([Missed(ids(0, 5))])) == [StartQuick(ids(0, 2))]
    assert starts(scheduler.handle([Done(ids(0))])) == [StartQuick(ids(2))]


# ---- whole runs


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_quick_calls_with_lists_get_lists_of_their_own(executor: Any) -> None:
    """A list that a quick call changes is nobody else's."""
    given = [1, 2]
    nodes = [grows([plain(n), n]) for n in range(30)] + [grows(given) for _ in range(3)]

    values = fl.run(nodes, executor=executor, cache=False, progress=False)

    assert values == [[n, n, 0] for n in range(30)] + [[1, 2, 0]] * 3
    assert given == [1, 2]


@pytest.mark.parametrize("task", [at_thirty_runs_next, at_thirty_runs_last])
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_call_may_run_another_call_of_its_batch(task: Any, executor: Any, tmp_path: Path) -> None:
    """What waits behind a call, or ended before it and was not kept yet, is there for a run inside the call."""
    nodes = [task(plain(k), k) for k in range(50)]

    values = fl.run(nodes, workers=1, executor=executor, cache=tmp_path, progress=False)

    special = 31 if task is at_thirty_runs_next else 29
    assert values == [special if k == 30 else k for k in range(50)]


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("task", [at_thirty_runs_next, at_thirty_runs_last])
def test_call_in_an_inner_run_may_run_another_call_of_its_batch(task: Any, n_workers: int, tmp_path: Path) -> None:
    """The same where the engine that made the batch works at it itself."""

    @fl.task
    def outer() -> int:
        return sum(fl.run([task(plain(k), k) for k in range(50)]))

    assert fl.run(outer(), workers=n_workers, cache=tmp_path, progress=False) in (
        sum(range(50)) + 1,
        sum(range(50)) - 1,
    )


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_ctrl_c_cancels_calls_that_were_handed_over(executor: Any) -> None:
    """Calls of a batch that turn out slow are not made after a Ctrl-C or `cancel`."""
    n_made = 0

    @fl.task
    def turns_slow(n: int) -> int:
        nonlocal n_made
        n_made += 1
        if n == 40:
            signal.raise_signal(signal.SIGINT) if executor == "inline" else stopped.set()
        if n >= 40:
            released.wait(2 * LOOK_S)
        return n

    stopped, released = threading.Event(), threading.Event()
    if executor == "threads":
        handle = fl.start([turns_slow(n) for n in range(500)], workers=1, cache=False, progress=False)
        assert stopped.wait(30)
        handle.cancel()
        with pytest.raises(fl.errors.RunStopped):
            handle.result()
    else:
        with pytest.raises(KeyboardInterrupt):
            fl.run([turns_slow(n) for n in range(500)], executor="inline", cache=False, progress=False)

    assert n_made < 100
