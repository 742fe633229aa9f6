"""Compose a run: options become parts, parts become an engine, the engine's values become the target's shape."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from flowlib.clock import Clock, SystemClock
from flowlib.config import Settings, environment, load_settings
from flowlib.engine.context import RunContext, current_run
from flowlib.engine.engine import Engine
from flowlib.engine.failure import combined
from flowlib.engine.observe import Emitter
from flowlib.engine.stop import Stop, interrupts
from flowlib.engine.stores import store_for
from flowlib.errors import RunStopped
from flowlib.events import Observer, RunFinished, RunStarted, RunStatus
from flowlib.execution.base import Executor
from flowlib.execution.inline import InlineExecutor
from flowlib.execution.threads import ThreadExecutor, ThreadPool
from flowlib.execution.worker import Worker, running_job
from flowlib.graph.args import map_structure, targets_of
from flowlib.graph.graph import Graph
from flowlib.hashing.file import Dir, File
from flowlib.hashing.identity import Identity
from flowlib.history.log import RunLog
from flowlib.ids import Digest, new_run_id
from flowlib.planning.decide import Planner
from flowlib.planning.key import KeyMaker
from flowlib.store.base import Store

Cache = str | os.PathLike[str] | Store | bool | None


@attrs.frozen(kw_only=True)
class RunOptions:
    """What one call of `run` was given."""

    settings: Settings
    cache: Cache = None
    observers: Sequence[Observer] = ()
    tags: tuple[str, ...] = ()
    deadline_s: float | None = None
    force: Collection[str] = ()
    clock: Clock = attrs.field(factory=SystemClock)


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
    return RunOptions(settings=load_settings(given), **options)


def execute(target: Any, options: RunOptions, stop: Stop | None = None) -> Any:
    """Run what is missing and return the target with values in the places of its nodes.

    Raises:
        Exception: The user's own, when one node failed; `SweepFailed` when several did.
        RunStopped: The run was cancelled, or reached its deadline, before every target had a value.
        KeyboardInterrupt: Ctrl-C; what had finished is kept.
    """
    graph = Graph(targets_of(target))
    context, trouble = open_context(options, stop or Stop())
    if trouble:
        context.emitter.notice(context.clock.now(), "store-unusable", trouble)
    engine = _engine(target, graph, context, options)
    if context.is_inner:
        engine.run()
        return _result(target, engine, context)
    context.emitter.emit(_started(context, graph))
    began = context.clock.monotonic()
    status: RunStatus = "cancelled"
    try:
        with interrupts(context.stop):
            engine.run()
        status = _status(engine, context)
    finally:
        _close(context, engine, status, began)
    return _result(target, engine, context)


def open_context(options: RunOptions, stop: Stop, *, looking: bool = False) -> tuple[RunContext, str]:
    """Return the parts of a run, and why it has no cache if that is not by choice. Inside a task, join its run.

    Args:
        options: What the caller asked for.
        stop: Stops the run.
        looking: Whether nothing will run, so that no log is begun and no thread prepared.
    """
    outer, job = current_run.get(), running_job.get()
    if outer is not None and job is not None:
        chain = outer.chain | ({job.key} if job.key is not None else set())
        store = None if options.cache is False else outer.store
        inner_stop, first_id = Stop(outer.stop), next(outer.inner_ids)
        return attrs.evolve(outer, store=store, chain=chain, stop=inner_stop, is_inner=True, first_id=first_id), ""
    store, trouble = store_for(options.cache, options.settings)
    run = new_run_id(options.clock.now())
    observers = list(options.observers)
    root = getattr(store, "root", None)
    log = RunLog(root / "runs", run) if root is not None and not looking else None
    if log is not None:
        observers.append(log)
    identity, environ = Identity(), environment()
    inline = options.settings.executor == "inline"
    return RunContext(
        run=run,
        settings=options.settings,
        store=store,
        identity=identity,
        keys=KeyMaker(identity, environ),
        clock=options.clock,
        log=log,
        emitter=Emitter(observers, log=options.settings.log),
        stop=stop,
        pool=None if inline else ThreadPool(options.settings.n_workers),
        tags=options.tags,
    ), trouble


def planner_for(graph: Graph, context: RunContext, force: Collection[str] = ()) -> Planner:
    """Return the planner of a run: the same for running, `plan` and `why`."""

    def digest_file(path: str) -> Digest:
        return context.identity.digest(Dir(path) if os.path.isdir(path) else File(path))

    return Planner(graph, context.store, context.keys, force=force, digest_file=digest_file)


def _engine(target: Any, graph: Graph, context: RunContext, options: RunOptions) -> Engine:
    worker = Worker(store=context.store, identity=context.identity, clock=context.clock, call_in_run=context.call)
    executor: Executor
    if context.pool is None:
        executor = InlineExecutor(worker)
    else:
        executor = ThreadExecutor(worker, context.pool, is_inner=context.is_inner)
    context.stop.attach(executor.wake)
    planner = planner_for(graph, context, options.force)
    return Engine(context, graph, targets_of(target), planner, executor, options.deadline_s)


def _started(context: RunContext, graph: Graph) -> RunStarted:
    return RunStarted(run=context.run, at=context.clock.now(), n_nodes=len(graph), tags=context.tags)


def _status(engine: Engine, context: RunContext) -> RunStatus:
    if engine.errors:
        return "failed"
    return "cancelled" if context.stop.cause else "done"


def _close(context: RunContext, engine: Engine, status: RunStatus, began: float) -> None:
    counts = Counter[str](engine.scheduler.states)
    now = context.clock.now()
    duration_s = context.clock.monotonic() - began
    context.emitter.emit(RunFinished(at=now, status=status, duration_s=duration_s, counts=dict(counts)))
    if context.log is not None:
        context.log.close()
    if context.pool is not None:
        context.pool.close()


def _result(target: Any, engine: Engine, context: RunContext) -> Any:
    if engine.errors:
        raise combined(engine.errors)
    if context.stop.cause == "interrupt":
        error = KeyboardInterrupt()
        error.add_note("flowlib: finished results are kept; run again to go on from here")
        raise error
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
