"""One suite for every executor: whatever a job does, exactly one outcome comes out, and it says what happened."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowlib as fl
from flowlib.clock import SystemClock
from flowlib.engine.away import place_here
from flowlib.execution.base import Batch, Call, Executor, Given, Job, Outcome, Shared, Stored
from flowlib.execution.elsewhere import ElsewhereExecutor
from flowlib.execution.inline import InlineExecutor
from flowlib.execution.on_futures import FutureThreads
from flowlib.execution.processes import ProcessExecutor
from flowlib.execution.threads import ThreadExecutor, ThreadPool
from flowlib.execution.wire import Place, Terms
from flowlib.execution.worker import Worker
from flowlib.hashing.identity import Identity
from flowlib.ids import Key, NodeId
from flowlib.store.memory import MemoryStore
from tests.contracts.lent import CLUSTERS, lent_cluster, lent_threads, marked

PATIENCE_S = 30.0
PROCESSES = ["processes", "pool of processes", *CLUSTERS]
KINDS = ["inline", "threads", "inner", "pool of threads", *PROCESSES]

colour: ContextVar[str] = ContextVar("colour", default="none")


def make_worker(store: Any = None) -> Worker:
    return Worker(
        store=store,
        identity=Identity(),
        clock=SystemClock(),
        call_in_run=lambda call: call(),
        call_quick=lambda call: call(),
    )


def make_executor(kind: str, worker: Worker, n_threads: int = 4) -> Executor:
    if kind == "inline":
        return InlineExecutor(worker)
    if kind == "processes":
        return ProcessExecutor(worker, Terms(run="contract", place=place_here()), 2)
    if kind == "pool of threads":
        return FutureThreads(worker, lent_threads())
    if kind in PROCESSES:
        return ElsewhereExecutor(worker, Terms(run="contract", place=Place(main_file=None)), lent_cluster(kind))
    return ThreadExecutor(worker, ThreadPool(n_threads), is_inner=kind == "inner")


@pytest.fixture(params=marked(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def executor(kind: str) -> Iterator[Executor]:
    made = make_executor(kind, make_worker())
    yield made
    end(made)


def end(executor: Any) -> None:
    """Close an executor and, for an inner one, the pool it does not own."""
    executor.close()
    if hasattr(executor, "pool"):
        executor.pool.close()


def job_of(node: Any, number: int = 0, **fields: Any) -> Job:
    """Return the job of a call, without a store."""
    defaults: dict[str, Any] = {"inputs": {}, "keep": False, "wants_digest": False}
    return Job(
        node=NodeId(number),
        task=node._fl_task,
        policy=node._fl_policy,
        args=node._fl_args,
        **{**defaults, **fields},
    )


def call(fn: Callable[..., Any], *args: Any, number: int = 0, **fields: Any) -> Job:
    return job_of(fl.task(fn)(*args), number, **fields)


def outcomes_of(executor: Executor, jobs: list[Job]) -> list[Outcome]:
    """Submit jobs and return their outcomes by node, after checking that each came once."""
    for job in jobs:
        executor.submit(job)
    found: list[Outcome] = []
    while len(found) < len(jobs):
        batch = executor.collect(PATIENCE_S)
        assert batch, "an outcome is missing"
        found += batch
    assert Counter(outcome.node for outcome in found) == Counter(job.node for job in jobs)
    assert executor.collect(0.0) == []
    return sorted(found, key=lambda outcome: outcome.node)


def outcome_of(executor: Executor, job: Job) -> Outcome:
    return outcomes_of(executor, [job])[0]


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


# ---- values and errors


def test_a_value_comes_out(executor: Executor) -> None:
    """The outcome of a success has the value, the node and a duration."""
    outcome = outcome_of(executor, call(lambda x: x + 1, 1, number=7))
    assert (outcome.value, outcome.error, outcome.node) == (2, None, 7)
    assert outcome.duration_s >= 0.0
    assert outcome.worker


@pytest.mark.parametrize("value", [None, 0, False, "", [], float("nan"), ..., NotImplemented])
def test_values_that_look_like_nothing_are_values(executor: Executor, value: Any) -> None:
    """None, falsy values and odd constants are results like any other."""
    outcome = outcome_of(executor, call(lambda: value))
    assert repr(outcome.value) == repr(value)
    assert (outcome.error, outcome.lost, outcome.has_expansion) == (None, None, False)


@pytest.mark.parametrize(
    ("kind_of_error", "args"),
    [
        (ValueError, ("no",)),
        (KeyboardInterrupt, ()),
        (SystemExit, (3,)),
        (GeneratorExit, ()),
        (MemoryError, ()),
        (Unpicklable, ("a", "b")),
        (StopIteration, ()),
    ],
)
def test_whatever_a_task_raises_comes_out_as_it_is(executor: Executor, kind_of_error: Any, args: Any) -> None:
    """Exceptions of any kind, also those that cannot be pickled, are outcomes and stop nobody else."""

    def fail() -> None:
        raise kind_of_error(*args)

    outcomes = outcomes_of(executor, [call(fail, number=0), call(lambda: 1, number=1)])
    assert type(outcomes[0].error) is kind_of_error
    assert outcomes[0].error.args == kind_of_error(*args).args
    assert (outcomes[1].value, outcomes[1].error) == (1, None)


def test_the_end_of_the_stack_is_an_outcome(executor: Executor) -> None:
    """Endless recursion in a task is a RecursionError of that task."""

    def down(n: int) -> int:
        return down(n + 1)

    assert isinstance(outcome_of(executor, call(down, 0)).error, RecursionError)


def test_wrong_arguments_found_late_are_outcomes(executor: Executor) -> None:
    """What a check refuses is an error of the call, before and after it."""

    def square(x: int) -> int:
        return x * x

    checked = fl.task(check_in=lambda x: x > 0, check_out=lambda value: value < 10)(square)
    errors = [outcome.error for outcome in outcomes_of(executor, [job_of(checked(x), x + 10) for x in (-1, 2, 5)])]
    assert [type(error) for error in errors] == [fl.TaskMisused, type(None), fl.TaskMisused]


@pytest.mark.parametrize("n_calls", [1, 40])
def test_quick_calls_come_out_of_their_batch(executor: Executor, n_calls: int) -> None:
    """Every call of a batch has one outcome, with its own value or its own error; a job among them, too."""

    def third(x: int) -> int:
        if x % 3 == 2:
            raise ValueError(x)
        return x * 10

    task = fl.task(third)
    node = task(0)
    calls: list[Any] = [
        Call(NodeId(number), task, node._fl_policy, (number,), None, False) for number in range(n_calls)
    ]
    calls[n_calls // 2] = job_of(task(n_calls // 2), n_calls // 2)
    executor.submit_batch(Batch(calls))
    found: list[Outcome] = []
    while len(found) < n_calls:
        found += executor.collect(PATIENCE_S)
    assert sorted(outcome.node for outcome in found) == list(range(n_calls))
    for outcome in found:
        if outcome.node % 3 == 2:
            assert isinstance(outcome.error, ValueError)
            assert outcome.error.args == (outcome.node,)
        else:
            assert (outcome.value, outcome.error) == (outcome.node * 10, None)


def test_a_value_of_some_megabytes_goes_and_comes(executor: Executor) -> None:
    """Size is no reason to fail, below the limit that clusters state."""
    big = np.arange(2_000_000)
    outcome = outcome_of(executor, call(lambda a: a[::-1].copy(), big))
    assert outcome.error is None
    assert np.array_equal(outcome.value, big[::-1])


# ---- inputs


def test_inputs_take_the_places_of_their_nodes(executor: Executor) -> None:
    """Given and shared values arrive in the call, alone and in containers."""
    one, two = fl.task(lambda: 1)(), fl.task(lambda: [2])()
    node = fl.task(lambda x, many: (x, many))(one, {"k": [two]})
    outcome = outcome_of(executor, job_of(node, inputs={one: Given(1), two: Shared([2])}))
    assert outcome.value == (1, {"k": [[2]]})


def test_a_shared_input_is_a_copy(executor: Executor) -> None:
    """A job that changes a small shared value changes its own copy."""
    source = fl.task(lambda: [1])()
    shared = [1]

    def spoil(items: list[int]) -> list[int]:
        items.append(9)
        return items

    outcome = outcome_of(executor, job_of(fl.task(spoil)(source), inputs={source: Shared(shared)}))
    assert (outcome.value, shared) == ([1, 9], [1])


def test_a_lost_input_is_told(kind: str) -> None:
    """A stored input that cannot be loaded is no error of the task: the outcome names the node."""
    executor = make_executor(kind, make_worker(MemoryStore()))
    source = fl.task(lambda: 1)()
    job = job_of(fl.task(lambda x: x)(source), inputs={source: Stored(Key("0" * 64))})
    outcome = outcome_of(executor, job)
    assert outcome.lost is source
    assert outcome.error is None
    end(executor)


def test_a_lost_input_is_replaced_by_the_spare_one(kind: str) -> None:
    """While the value is still in memory, losing the stored one costs nothing."""
    executor = make_executor(kind, make_worker(MemoryStore()))
    source = fl.task(lambda: [1])()
    stored = Stored(Key("0" * 64), spare=Shared([1]))
    outcome = outcome_of(executor, job_of(fl.task(lambda x: x)(source), inputs={source: stored}))
    assert (outcome.value, outcome.lost) == ([1], None)
    end(executor)


# ---- odd functions


def test_generators_are_refused(executor: Executor) -> None:
    """A generator, and every other iterator of Python's own, is refused with the fix."""

    def numbers() -> Any:
        yield 1

    jobs = [call(numbers), call(lambda: map(str, [1]), number=1), call(lambda: iter([1]), number=2)]
    for outcome in outcomes_of(executor, jobs):
        assert isinstance(outcome.error, fl.TaskMisused)
        assert "list(...)" in str(outcome.error)


def test_coroutines_are_run_to_their_end(executor: Executor) -> None:
    """An async task gives its value; its exception is the task's."""

    async def good(x: int) -> int:
        await asyncio.sleep(0)
        return x

    async def bad() -> None:
        raise LookupError("gone")

    outcomes = outcomes_of(executor, [call(good, 5), call(bad, number=1)])
    assert outcomes[0].value == 5
    assert isinstance(outcomes[1].error, LookupError)


def test_coroutines_run_where_a_loop_is_running(kind: str) -> None:
    """Inside a running event loop an async task works, too."""

    async def good(x: int) -> int:
        await asyncio.sleep(0)
        return x

    async def main() -> Any:
        executor = make_executor(kind, make_worker())
        value = outcome_of(executor, call(good, 5)).value
        end(executor)
        return value

    assert asyncio.run(main()) == 5


def test_returned_nodes_are_an_expansion(executor: Executor) -> None:
    """A node in a result, alone or in a container, makes the outcome an expansion."""
    inner = fl.task(lambda: 1)
    alone, held, none = outcomes_of(
        executor, [call(lambda: inner()), call(lambda: {"a": [inner()]}, number=1), call(lambda: {"a": [1]}, number=2)]
    )
    assert alone.has_expansion
    assert fl.run(alone.expansion, cache=False) == 1
    assert held.has_expansion
    assert not none.has_expansion


def test_context_variables_reach_the_task_and_stay_in_it(kind: str) -> None:
    """A task sees the variables of whoever began the run; what it sets, nobody else sees. Processes have their own."""
    if kind in PROCESSES:
        return
    token = colour.set("red")
    executor = make_executor(kind, make_worker())

    def paint() -> str:
        before = colour.get()
        colour.set("blue")
        return before

    outcomes = outcomes_of(executor, [call(paint, number=number) for number in range(5)])
    assert [outcome.value for outcome in outcomes] == ["red"] * 5
    assert colour.get() == "red"
    colour.reset(token)
    end(executor)


# ---- waking and closing


def test_wake_ends_a_wait(executor: Executor) -> None:
    """`wake` makes `collect` return without outcomes, even if it came first."""
    executor.wake()
    assert executor.collect(PATIENCE_S) == []


def test_wake_from_another_thread_ends_a_wait(executor: Executor) -> None:
    """A thread that waits for ever is woken by another one."""
    waker = threading.Timer(0.0, executor.wake)
    waker.start()
    assert executor.collect(None) == []
    waker.join()


def test_wakes_lose_no_outcome(executor: Executor) -> None:
    """However often it is woken, every outcome comes out once."""
    for _ in range(50):
        executor.wake()
    jobs = [call(lambda x: x, number, number=number) for number in range(20)]
    for job in jobs:
        executor.submit(job)
        executor.wake()
    found: list[Outcome] = []
    while len(found) < len(jobs):
        found += executor.collect(PATIENCE_S)
    assert sorted(outcome.value for outcome in found) == list(range(20))


def test_a_wait_with_a_limit_ends_empty(executor: Executor) -> None:
    """Nothing to collect: an empty list, after the time given."""
    assert executor.collect(0.0) == []
    assert executor.collect(0.01) == []


def test_close_does_not_wait_for_jobs_that_run() -> None:
    """`close` returns while a job still runs; its outcome is still answered, and its thread ends."""
    before = set(threading.enumerate())
    executor = make_executor("threads", make_worker(), 1)
    started, go_on = threading.Event(), threading.Event()

    def gate() -> int:
        started.set()
        return int(go_on.wait(PATIENCE_S))

    executor.submit(call(gate))
    assert started.wait(PATIENCE_S)
    executor.close()
    go_on.set()
    (outcome,) = executor.collect(PATIENCE_S)
    assert outcome.value == 1
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_an_inner_executor_works_after_the_pool_was_closed() -> None:
    """A task that outlives its run can still finish a run of its own: it performs the jobs itself."""
    pool = ThreadPool(2)
    pool.close()
    inner = ThreadExecutor(make_worker(), pool, is_inner=True)
    assert [outcome.value for outcome in outcomes_of(inner, [call(lambda x: x, n, number=n) for n in range(5)])] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip


def test_threads_are_started_for_work_only() -> None:
    """A pool starts no thread before there is a job, and never more than asked for."""
    pool = ThreadPool(3)
    executor = ThreadExecutor(make_worker(), pool)
    before = threading.active_count()
    outcomes_of(executor, [call(lambda: 1)])
    assert threading.active_count() == before + 1
    outcomes_of(executor, [call(lambda: 1, number=number) for number in range(50)])
    assert threading.active_count() <= before + 3
    executor.close()


def test_a_pool_that_gets_no_thread_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any thread, `submit` raises instead of waiting for ever; with one, the pool makes do."""
    pool = ThreadPool(2)
    executor = ThreadExecutor(make_worker(), pool)
    real_start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        executor.submit(call(lambda: 1))
    monkeypatch.setattr(threading.Thread, "start", real_start)
    outcomes_of(executor, [call(lambda: 1)])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    outcomes_of(executor, [call(lambda: 1, number=number) for number in range(5)])
    executor.close()


# ---- several runs


def test_two_executors_share_nothing(kind: str) -> None:
    """Outcomes come out where their jobs went in, also when two runs share the threads."""
    pool = ThreadPool(2)
    worker = make_worker()
    first: Any
    second: Any
    if kind in ("threads", "inner"):
        first = ThreadExecutor(worker, pool, is_inner=kind == "inner")
        second = ThreadExecutor(worker, pool, is_inner=kind == "inner")
    else:
        first, second = make_executor(kind, worker), make_executor(kind, worker)
    for number in range(30):
        first.submit(call(lambda x: ("first", x), number, number=number))
        second.submit(call(lambda x: ("second", x), number, number=number))
    for executor, name in ((first, "first"), (second, "second")):
        found: list[Outcome] = []
        while len(found) < 30:
            found += executor.collect(PATIENCE_S)
        assert sorted(outcome.value for outcome in found) == [(name, number) for number in range(30)]
        executor.close()
    pool.close()


@pytest.mark.parametrize("name", ["inline", "threads"])
@pytest.mark.parametrize("cached", [True, False])
def test_runs_nested_three_deep_with_one_worker(tmp_path: Path, name: str, cached: bool) -> None:
    """A run inside a run inside a run never waits for the one thread it is on."""

    @fl.task
    def leaf(x: int) -> int:
        return x + 1

    @fl.task
    def middle(x: int) -> int:
        return sum(fl.run([leaf(x), leaf(x + 1)]))

    @fl.task
    def upper(x: int) -> int:
        return sum(fl.run([middle(x), middle(x + 1)]))

    @fl.task
    def top(x: int) -> int:
        return sum(fl.run([upper(x), upper(x + 1)]))

    cache = tmp_path / "cache" if cached else False
    executor: Any = name
    assert fl.run([top(0), top(1)], cache=cache, executor=executor, workers=1, progress=False) == [20, 28]


def test_two_hundred_jobs_from_four_threads() -> None:
    """Four runs submit to one pool at once; every outcome comes out where it belongs."""
    pool = ThreadPool(4)
    values: dict[int, list[int]] = {}

    def one_run(which: int) -> None:
        executor = ThreadExecutor(make_worker(), pool)
        jobs = [call(lambda x: x, which * 1000 + number, number=number) for number in range(50)]
        values[which] = [outcome.value for outcome in outcomes_of(executor, jobs)]

    threads = [threading.Thread(target=one_run, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert values == {which: [which * 1000 + number for number in range(50)] for which in range(4)}
    pool.close()


def test_a_waiting_run_performs_the_queued_job_it_waits_for() -> None:
    """`take_over` finds a queued job by its key, performs it here, and answers whoever submitted it."""
    pool = ThreadPool(1)
    started, go_on = threading.Event(), threading.Event()

    def gate() -> bool:
        started.set()
        return go_on.wait(PATIENCE_S)

    owner, helper = ThreadExecutor(make_worker(), pool), ThreadExecutor(make_worker(), pool, is_inner=True)
    owner.submit(call(gate))
    assert started.wait(PATIENCE_S)  # the only thread is busy now
    owner.submit(call(lambda: threading.get_ident(), number=1, key=Key("k")))

    assert not helper.take_over(Key("other"))
    assert helper.take_over(Key("k"))
    assert not helper.take_over(Key("k"))

    (outcome,) = owner.collect(PATIENCE_S)
    assert (outcome.node, outcome.value) == (1, threading.get_ident())
    go_on.set()
    assert owner.collect(PATIENCE_S)[0].value is True
    assert not InlineExecutor(make_worker()).take_over(Key("k"))
    pool.close()


def test_inline_tasks_run_in_the_engines_thread() -> None:
    """A task with executor="inline" runs in the thread of `run`, beside tasks in the pool."""

    @fl.task(executor="inline")
    def here() -> int:
        return threading.get_ident()

    @fl.task
    def there() -> int:
        return threading.get_ident()

    first, second = fl.run([here(), there()], cache=False, progress=False)
    assert first == threading.get_ident() != second
