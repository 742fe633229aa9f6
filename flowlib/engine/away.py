"""Work that leaves the process: what a run tells those who do it, and what runs inside their tasks tell it."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from flowlib.clock import SystemClock
from flowlib.config import Settings, environment, scratch_directory
from flowlib.engine.clusters import is_thread_pool, packages_of
from flowlib.engine.context import RunContext, current_run
from flowlib.engine.covered import InnerCalls
from flowlib.engine.flight import Circles
from flowlib.engine.observe import Emitter
from flowlib.engine.stop import Stop
from flowlib.engine.stores import store_for
from flowlib.errors import ExpansionLimit
from flowlib.events import Event, Noticed
from flowlib.execution.base import Executor
from flowlib.execution.picklers import is_user_module
from flowlib.execution.processes import ProcessExecutor
from flowlib.execution.threads import ThreadExecutor, ThreadPool
from flowlib.execution.warm import shared_pool
from flowlib.execution.wire import Place, Terms
from flowlib.execution.worker import Worker
from flowlib.graph.graph import Graph
from flowlib.graph.task import Task
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest, Key, NodeId, RunId
from flowlib.planning.key import KeyMaker
from flowlib.store.local import LocalStore

_BLOCK = 100_000_000
"""Node ids of each run inside a task; see `context`."""


def away_executor(wanted: Any, threads: ThreadExecutor, worker: Worker, context: RunContext, graph: Graph) -> Executor:
    """Return a run's door to where its jobs go beside its threads; outcomes come out where those of the threads do.

    Args:
        wanted: "processes", the name of a cluster, or an executor or client of the user's.
        threads: The threads of the run.
        worker: The run's own means.
        context: The run.
        graph: What it runs.

    Raises:
        MissingExtra: A package is not installed.
        ClusterTrouble: The cluster cannot be reached, or its workers do not fit.
    """
    if wanted == "processes":
        return _processes(threads, worker, context)
    if is_thread_pool(wanted):
        from flowlib.execution.on_futures import FutureThreads

        return FutureThreads(worker, wanted, context.unbegun, threads.outbox)
    return _elsewhere(wanted, threads, worker, context, graph)


def _elsewhere(wanted: Any, threads: ThreadExecutor, worker: Worker, context: RunContext, graph: Graph) -> Executor:
    from flowlib.execution.elsewhere import ElsewhereExecutor

    def packages() -> dict[str, str]:
        return packages_of((node._fl_task for node in graph.nodes), context.identity)

    n_workers = context.settings.workers
    cluster = context.clusters.get(wanted, n_workers, packages)
    root = context.store.root if isinstance(context.store, LocalStore) else None
    token = None if root is None else context.clusters.token(root)
    place = place_here() if cluster.is_here else Place(main_file=place_here().main_file)
    terms = _terms(context, None if token is None else root, place, is_far=True)
    environ = None if cluster.is_here else context.keys.environ
    return ElsewhereExecutor(worker, terms, cluster, n_workers, threads.outbox, token, environ)


def _terms(context: RunContext, root: Path | None, place: Place, *, is_far: bool) -> Terms:
    directory = None if root is None else str(root)
    return Terms(
        run=context.run,
        root=directory,
        fsync=context.settings.fsync,
        strict=context.settings.strict,
        place=place,
        inside=Inside(
            run=context.run,
            settings=attrs.evolve(context.settings, executor="threads", progress=False),
            root=directory,
            chain=context.chain,
            is_watched=context.emitter.is_watched,
            is_far=is_far,
        ),
    )


def _processes(threads: ThreadExecutor, worker: Worker, context: RunContext) -> ProcessExecutor:
    root = context.store.root if isinstance(context.store, LocalStore) else None
    terms = _terms(context, root, place_here(), is_far=False)
    shared_pool().renew(_marks())
    scratch = scratch_directory() if root is None else root / "tmp"
    n_processes = context.settings.n_processes
    return ProcessExecutor(worker, terms, n_processes, threads.outbox, scratch, on_wait=_Waits(context.circles))


def place_here() -> Place:
    """Return the surroundings of this process."""
    main = sys.modules.get("__main__")
    return Place(
        cwd=os.getcwd(),
        environ=environment(),
        path=tuple(sys.path),
        main_file=getattr(main, "__file__", None),
        argv=tuple(sys.argv),
    )


def _marks() -> dict[str, object]:
    """Return what a worker has taken on for good: where its output goes, and the user's modules as their files are now.

    Cost: 1 us a module, 3 for each of the user's.
    """
    marks: dict[str, object] = {}
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            marks[f"descriptor {descriptor}"] = (status.st_dev, status.st_ino)
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if type(file) is str and name != "__main__" and is_user_module(name):
            with contextlib.suppress(OSError):
                status = os.stat(file)
                marks[file] = (status.st_mtime_ns, status.st_size)
    return marks


@attrs.frozen
class _Waits:
    """Notes what runs inside the tasks of other processes wait for, beside what those of this process do."""

    circles: Circles

    def __call__(self, task: str, wait: tuple[bool, frozenset[Key], Key]) -> BaseException | None:
        """Note that a wait begins or ends; return the error of one that would be for ever."""
        begins, chain, key = wait
        if not begins:
            self.circles.end(chain, key)
        elif not self.circles.begin(chain, key):
            return ExpansionLimit(
                f"Task {task!r} asks for a result that waits for its own.",
                {},
                "Give the recursion an end: call it with other arguments, or not at all.",
            )
        return None


# ---------------------------------------------------------------------------------------------------------------------
# In the other process


@attrs.frozen(kw_only=True)
class Report:
    """What runs inside one task did, as far as the run around them cares."""

    files: Mapping[str, Digest]
    tasks: list[Task[..., Any]]
    is_refused: bool
    events: list[Event]


@attrs.define(eq=False)
class Inside:
    """Stands for a run in a process that works for it: what runs inside its tasks join. Opened by the first of them."""

    run: RunId
    settings: Settings
    root: str | None
    chain: frozenset[Key]
    is_watched: bool
    is_far: bool = False
    _context: RunContext | None = attrs.field(default=None, init=False)
    _recorded: "_Recorder | None" = attrs.field(default=None, init=False)
    _tell: Callable[[Any], None] | None = attrs.field(default=None, init=False)
    _opening: Any = attrs.field(default=None, init=False)

    @property
    def is_open(self) -> bool:
        """Whether any task has run something inside yet."""
        return self._context is not None

    def begin(self, tell: Callable[[Any], None]) -> None:
        """Take note of how the run is told that something waits."""
        self._tell = tell
        self._opening = threading.Lock()

    def call(self, fn: Callable[[], Any]) -> Any:
        """Call a function so that `flowlib.run` inside it joins the run."""
        token = current_run.set(self)
        try:
            return fn()
        finally:
            current_run.reset(token)

    def without_store(self) -> "Inside":
        """Return the same without the cache directory."""
        return attrs.evolve(self, root=None)

    def opened(self) -> RunContext:
        """Return a run's parts in this process: the same cache, threads of its own."""
        with self._opening:
            if self._context is None:
                self._context = self._open()
        return self._context

    def take_report(self, node: NodeId, *, has_key: bool) -> Report | None:
        """Return what the runs inside a task did; None if there was none.

        A task without a key has none of its own that matter, but they may matter to what is around it: it tells of all so far.
        """
        context, recorder = self._context, self._recorded
        if context is None or recorder is None:
            return None
        calls, events = context.inner_calls.pop(node, None), recorder.take()
        if has_key and calls is None and not events:
            return None
        calls = calls if has_key else context.around
        files, tasks, is_refused = ({}, [], False) if calls is None else calls.report()
        return Report(files=files, tasks=tasks, is_refused=is_refused, events=events)

    def _open(self) -> RunContext:
        store, _, use = store_for(self.root or False, attrs.evolve(self.settings, cache=self.root or False))
        texts = None if store is None else store.texts
        identity = Identity(texts=texts)
        self._recorded = _Recorder()
        return RunContext(
            run=self.run,
            settings=self.settings,
            store=store,
            use=use,
            identity=identity,
            keys=KeyMaker(identity, environment()),
            clock=SystemClock(),
            emitter=Emitter([self._recorded] if self.is_watched else []),
            stop=Stop(),
            pool=ThreadPool(self.settings.n_workers),
            chain=self.chain,
            circles=Circles() if self.is_far else _ToldCircles(self._tell),
            around=InnerCalls(),
            is_away=True,
            is_far=self.is_far,
        )


class _ToldCircles(Circles):
    """Also tells the run of every wait: what it waits for may wait for it in another process."""

    def __init__(self, tell: Callable[[Any], None] | None) -> None:
        super().__init__()
        self._tell = tell

    def begin(self, chain: frozenset[Key], key: Key) -> bool:
        is_fine = super().begin(chain, key)
        if is_fine and self._tell is not None:
            self._tell((True, chain, key))
        return is_fine

    def end(self, chain: frozenset[Key], key: Key) -> None:
        super().end(chain, key)
        if self._tell is not None:
            self._tell((False, chain, key))


class _Recorder:
    """Keeps events until the answer of the task takes them along."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


# ---------------------------------------------------------------------------------------------------------------------
# Back in the run


def absorb(report: Any, node: NodeId, context: RunContext, *, has_key: bool) -> None:
    """Take what the runs inside a task of another process did for what runs inside it here would have done."""
    calls = context.around if not has_key else context.inner_calls.setdefault(node, InnerCalls(context.around))
    if calls is not None:
        calls.absorb(report.files, report.tasks, report.is_refused)
    blocks: dict[int, int] = {}

    def here(number: int) -> NodeId:
        block, offset = divmod(number, _BLOCK)
        if block not in blocks:
            blocks[block] = next(context.inner_ids)
        return NodeId(blocks[block] + offset)

    for event in report.events:
        if isinstance(event, Noticed):
            context.emitter.notice(event.at, event.kind, event.message)
            continue
        ids = {name: here(getattr(event, name)) for name in ("node", "parent", "because") if hasattr(event, name)}
        context.emitter.emit(attrs.evolve(event, **ids))
