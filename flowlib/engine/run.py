"""Compose a run: options become parts, parts become an engine, the engine's values become the target's shape."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from flowlib.clock import Clock, SystemClock
from flowlib.config import Settings, environment, load_settings, n_cpus
from flowlib.engine.clusters import is_thread_pool
from flowlib.engine.context import Loop, RunContext, surrounding_run
from flowlib.engine.covered import InnerCalls
from flowlib.engine.engine import Engine
from flowlib.engine.failure import combined
from flowlib.engine.flight import Circles
from flowlib.engine.observe import Emitter
from flowlib.engine.shares import Shares
from flowlib.engine.stop import Stop, Terminated, interrupts
from flowlib.engine.stores import store_for
from flowlib.errors import RunStopped, TaskMisused, near_miss
from flowlib.events import Observer, RunFinished, RunStarted, RunStatus
from flowlib.execution.base import Executor
from flowlib.execution.inline import InlineExecutor
from flowlib.execution.lookout import Lookout
from flowlib.execution.routing import RoutedExecutor
from flowlib.execution.threads import ThreadExecutor, ThreadPool
from flowlib.execution.worker import Worker, running_job
from flowlib.graph.args import map_structure, targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.graph.task import Task
from flowlib.hashing.file import Dir, File
from flowlib.hashing.identity import Identity
from flowlib.history.log import RunLog
from flowlib.ids import Digest, Key, new_run_id
from flowlib.planning.decide import Planner
from flowlib.planning.key import KeyMaker
from flowlib.scheduling.states import FINAL_STATES
from flowlib.store.base import Store

_INNER_SETTINGS = ("on_error", "executor", "strict", "max_nodes")
"""What a run inside a task may have otherwise than the outer one. It never has workers of its own."""

Cache = str | os.PathLike[str] | Store | bool | None


@attrs.frozen(kw_only=True)
class RunOptions:
    """What one call of `run` was given."""

    settings: Settings
    cache: Cache = None
    observers: Sequence[Observer] = ()
    tags: tuple[str, ...] = ()
    deadline_s: float | None = None
    is_firm: bool = False
    """Whether the deadline ends the run, instead of only letting nothing new begin."""
    force: Collection[str] = ()
    clock: Clock = attrs.field(factory=SystemClock)
    chance: Callable[[], float] | None = None
    """Gives numbers from 0 to 1, by which the delays of retries vary."""
    given: Collection[str] = ()
    """Names of the settings that the call itself was given."""
    chain: frozenset[Key] = frozenset()
    """Keys being computed by the tasks that the call was made in, when the run does not join theirs."""
    circles: Circles = attrs.field(factory=Circles)
    """What the runs inside those tasks wait for."""
    around: InnerCalls | None = None
    """What the call that this one was made in is told, when the run does not join its run."""


def options_from(arguments: Mapping[str, Any], **options: Any) -> RunOptions:
    """Read the settings and return the options of a run.

    Args:
        arguments: What the caller gave for fields of `Settings`; None counts as not given.
        **options: Other fields of `RunOptions`.

    Raises:
        ConfigError: A setting is not known.
    """
    cache = options.get("cache")
    given = dict(arguments)
    if isinstance(cache, (str, os.PathLike, bool)):
        given["cache"] = cache if isinstance(cache, bool) else os.fspath(cache)
    names = [name for name, value in given.items() if value is not None]
    return RunOptions(settings=load_settings(given), given=names, **options)


def execute(target: Any, options: RunOptions, stop: Stop | None = None) -> Any:
    """Run what is missing and return the target with values in the places of its nodes.

    Raises:
        Exception: The user's own, when one node failed; `SweepFailed` when several did.
        RunStopped: The run was cancelled, or reached its deadline, before every target had a value.
        KeyboardInterrupt: Ctrl-C; what had finished is kept.
        SystemExit: SIGTERM, with the code 143; what had finished is kept.
    """
    stop = stop or Stop()
    try:
        return _executed(target, options, stop)
    except KeyboardInterrupt as error:
        if not stop.was_terminated:
            raise
        raise Terminated from error


def _executed(target: Any, options: RunOptions, stop: Stop) -> Any:
    graph = graph_of(target)
    with interrupts(stop):
        context, trouble = open_context(options, stop)
        if trouble:
            context.emitter.notice(context.clock.now(), "store-unusable", trouble)
        engine = _engine(target, graph, context, options)
        if context.is_inner:
            _run_inner(engine, context, options.force)
        else:
            _run_whole(engine, context, options.force)
    return _result(target, engine, context)


def graph_of(target: Any) -> Graph:
    """Return the graph of what a user asks for.

    Raises:
        TaskMisused: It is a task itself, not a call of one.
    """
    if isinstance(target, Task):
        name = target.name
        raise TaskMisused(f"Task {name!r} was given, not a call of it.", {}, f"Call it: {name}(...).")
    return Graph(targets_of(target))


def unforced(nodes: Iterable[Node], force: Collection[str], where: str) -> list[str]:
    """Return a sentence for each name in `force` that no task has: most likely it is misspelt, and nothing was forced.

    Names cannot be refused before the run, because tasks may return calls of tasks that nobody knows yet.
    """
    known = {node._fl_task.name for node in nodes if not node._fl_task.is_op} if force else set()
    unknown = [name for name in dict.fromkeys(force) if name not in known]
    return [f"force= names {name!r}, but there is no such task {where}. {near_miss(name, known)}" for name in unknown]


def _tell_unforced(engine: Engine, context: RunContext, force: Collection[str]) -> None:
    for message in unforced(engine.graph.nodes, force, "in this run"):
        context.emitter.notice(context.clock.now(), "not-forced", message)


def _run_inner(engine: Engine, context: RunContext, force: Collection[str]) -> None:
    before = context.stop.enter_user_code(False)
    try:
        with context.shares.lent(running_job.get(), engine.help_others, lambda: context.stop.is_killed):
            try:
                context.loop.catch_up_held_up()
                engine.run()
                _tell_unforced(engine, context, force)
            finally:
                with context.stop.holding_off():
                    engine.close()
    finally:
        context.stop.enter_user_code(before)


def _run_whole(engine: Engine, context: RunContext, force: Collection[str]) -> None:
    began = context.clock.monotonic()
    status: RunStatus = "failed"
    try:
        now, n_nodes = context.clock.now(), len(engine.graph)
        context.emitter.emit(RunStarted(run=context.run, at=now, n_nodes=n_nodes, tags=context.tags))
        engine.run()
        status = _status(engine, context)
        _tell_unforced(engine, context, force)
        if cpu_bound := engine.cpu_bound.notice(context.clock.monotonic() - began, n_cpus()):
            context.emitter.notice(context.clock.now(), "cpu-bound", cpu_bound)
    except (KeyboardInterrupt, RunStopped):
        status = "cancelled"
        raise
    finally:
        with context.stop.holding_off():
            try:
                engine.close()
            finally:
                _close(engine, context, status, began)


def open_context(options: RunOptions, stop: Stop, *, looking: bool = False) -> tuple[RunContext, str]:
    """Return the parts of a run, and why it has no cache if that is not by choice. Inside a task, join its run.

    Args:
        options: What the caller asked for.
        stop: Stops the run.
        looking: Whether nothing will run, so that no log is begun and no thread prepared.
    """
    outer = surrounding_run()
    if outer is not None and running_job.get() is not None:
        return _inner_context(outer, options)
    store, trouble, use = store_for(options.cache, options.settings, looking=looking)
    run = new_run_id(options.clock.now())
    observers = list(options.observers)
    root = getattr(store, "root", None)
    log = RunLog(root / "runs", run) if root is not None and not looking else None
    if log is not None:
        observers.append(log)
    memo = getattr(store, "file_memo", None)
    files, texts = memo() if memo is not None else None, store.texts if store is not None else None
    identity, environ = Identity(files=files, texts=texts), environment()
    inline = options.settings.executor == "inline"
    return RunContext(
        run=run,
        settings=options.settings,
        store=store,
        use=use,
        identity=identity,
        keys=KeyMaker(identity, environ),
        clock=options.clock,
        log=log,
        emitter=Emitter(observers, log=options.settings.log),
        stop=stop,
        pool=None if inline else ThreadPool(options.settings.n_workers),
        tags=options.tags,
        shares=Shares(options.settings),
        chance=options.chance,
        chain=options.chain,
        circles=options.circles,
        around=options.around,
    ), trouble


def _inner_context(outer: RunContext, options: RunOptions) -> tuple[RunContext, str]:
    """Return the parts of a run inside a task: those of the outer run, but for what the call says otherwise."""
    own = {name: getattr(options.settings, name) for name in _INNER_SETTINGS if name in options.given}
    store, trouble, use = outer.store, "", outer.use
    if options.cache is not None and options.cache is not True:
        store, trouble, use = store_for(options.cache, options.settings)
    observers = [observer for observer in options.observers if not getattr(observer, "notices_only", False)]
    context = attrs.evolve(
        outer,
        settings=attrs.evolve(outer.settings, **own),
        store=store,
        use=use,
        keys=outer.keys.for_inner_run(),
        emitter=Emitter(observers, outer=outer.emitter) if observers else outer.emitter,
        pool=None if _stays_in_its_thread(own.get("executor", outer.settings.executor)) else outer.pool,
        chain=current_chain(),
        around=current_inner_calls(),
        inner_calls={},
        loop=Loop(outer.loop),
        stop=Stop(outer.stop),
        is_inner=True,
        first_id=next(outer.inner_ids),
    )
    return context, trouble


def _stays_in_its_thread(executor: object) -> bool:
    """Whether the calls of a run inside a task are made in the thread of that task.

    So it is where the user gave the threads: there may be one only, and it is the task's.
    """
    return executor == "inline" or is_thread_pool(executor)


def current_chain() -> frozenset[Key]:
    """Return the keys being computed by the tasks that the calling code is inside of."""
    outer, job = surrounding_run(), running_job.get()
    if outer is None or job is None:
        return frozenset()
    return outer.chain | {job.key} if job.key is not None else outer.chain


def current_inner_calls() -> InnerCalls | None:
    """Return what is to be told of the calls that the calling code makes; None where nothing stored depends on them."""
    outer, job = surrounding_run(), running_job.get()
    if outer is None or job is None:
        return None
    if job.key is None:  # its own result is not stored, but may be part of one that is
        return outer.around
    return outer.inner_calls.setdefault(job.node, InnerCalls(outer.around))


def planner_for(graph: Graph, context: RunContext, force: Collection[str] = ()) -> Planner:
    """Return the planner of a run: the same for running, `plan` and `why`."""

    def digest_file(path: str) -> Digest:
        return context.identity.digest(Dir(path) if os.path.isdir(path) else File(path))

    return Planner(graph, context.store, context.keys, force=force, digest_file=digest_file)


def _engine(target: Any, graph: Graph, context: RunContext, options: RunOptions) -> Engine:
    worker = Worker(
        store=context.store,
        identity=context.identity,
        clock=context.clock,
        call_in_run=context.call,
        call_quick=context.call_quick,
        strict=context.settings.strict,
    )
    executor: Executor
    lookout = Lookout()
    if context.pool is None:
        executor = InlineExecutor(worker, context.unbegun, lookout)
    else:
        home = ThreadExecutor(worker, context.pool, context.unbegun, lookout, is_inner=context.is_inner)
        executor = home
        if not context.is_away:
            make = partial(_away, threads=home, worker=worker, context=context, graph=graph)
            executor = RoutedExecutor(home, make, context.settings.executor)
    context.stop.attach(executor.wake)
    planner = planner_for(graph, context, options.force)
    targets = targets_of(target)
    return Engine(context, graph, targets, planner, executor, lookout, options.deadline_s, options.is_firm)


def _away(wanted: Any, threads: ThreadExecutor, worker: Worker, context: RunContext, graph: Graph) -> Executor:
    from flowlib.engine.away import away_executor  # sockets, subprocesses, cloudpickle: only for runs that need them

    return away_executor(wanted, threads, worker, context, graph)


def _status(engine: Engine, context: RunContext) -> RunStatus:
    states = engine.scheduler.states
    if context.stop.cause == "interrupt":
        return "cancelled"
    if engine.errors:
        return "failed"
    if "cancelled" in states:
        return "cancelled"
    return "partial" if "failed" in states or "timed_out" in states else "success"


def _close(engine: Engine, context: RunContext, status: RunStatus, began: float) -> None:
    """Let go of the threads, and give the log its end; what it could not write is told before that."""
    if context.pool is not None:
        context.pool.close()
    context.clusters.close()
    context.write_log()
    counts = Counter[str](state if state in FINAL_STATES else "cancelled" for state in engine.scheduler.states)
    if engine.recall.has_settled:
        counts["cached"] = len(engine.graph)
    duration_s = context.clock.monotonic() - began
    end = RunFinished(at=context.clock.now(), status=status, duration_s=duration_s, counts=dict(counts))
    context.emitter.end(end)
    if context.log is not None:
        context.log.close()


def _result(target: Any, engine: Engine, context: RunContext) -> Any:
    failed = combined(engine.errors) if engine.errors else None
    if context.stop.cause == "interrupt":
        error = KeyboardInterrupt()
        error.add_note("flowlib: finished results are kept; run again to go on from here")
        raise error from failed
    if failed is not None:
        raise failed
    values = {}
    for number in engine.targets:
        if not engine.values.has(number):
            raise RunStopped(
                "The run was stopped before every result was there.",
                {"cause": context.stop.cause or "cancelled", "missing": repr(engine.graph.nodes[number])},
                "Finished results are kept: run again to go on from here.",
            )
        values[engine.graph.nodes[number]] = engine.values[number]
    return map_structure(target, values)
