"""What the runs of one `flowlib.run` call share: the outermost run and those inside its tasks."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import attrs

from flowlib.clock import Clock
from flowlib.config import Settings
from flowlib.engine.clusters import Clusters
from flowlib.engine.covered import InnerCalls
from flowlib.engine.flight import Circles
from flowlib.engine.observe import Emitter
from flowlib.engine.shares import Shares
from flowlib.engine.stop import Stop
from flowlib.engine.stores import Use
from flowlib.execution.quick import Unbegun
from flowlib.execution.threads import ThreadPool
from flowlib.hashing.identity import Identity
from flowlib.history.log import RunLog
from flowlib.ids import Key, NodeId, RunId
from flowlib.planning.key import KeyMaker
from flowlib.store.base import Store

_INNER_IDS = 100_000_000
"""Node ids set aside for each run inside a task; more than any graph holds."""


class Loop:
    """The thread that a run's engine works in, and how to make it commit what has ended.

    A run inside a task that is performed in that very thread holds the engine up. It must not wait for leases that the
    engine keeps until its next commit, nor for what jobs hold that have ended and which the engine has not heard of. The
    task may belong to any run: a thread that waits helps others out. So what a thread holds up is what has begun in it.

    Args:
        outer: The loop of the run this one is inside of.
    """

    def __init__(self, outer: "Loop | None" = None) -> None:
        self._outer = outer
        self._thread = 0
        self._catch_up: Callable[[], None] = lambda: None

    def begin(self, catch_up: Callable[[], None]) -> None:
        """Say that the engine works in the calling thread."""
        self._thread, self._catch_up = threading.get_ident(), catch_up
        _begun_here().append(self)

    def end(self) -> None:
        """Say that the engine works no more."""
        if self in _begun_here():
            _begun_here().remove(self)

    @property
    def holds_up_all(self) -> bool:
        """Whether the calling code keeps the outermost engine from doing anything."""
        loop: Loop = self
        while loop._outer is not None:
            loop = loop._outer
        return loop._thread == threading.get_ident()

    def catch_up_held_up(self) -> None:
        """Take and commit what has ended, for every engine that the calling thread holds up."""
        for loop in tuple(_begun_here()):
            if loop is not self:
                loop._catch_up()


_here = threading.local()


def _begun_here() -> list[Loop]:
    """Return the loops of the engines that work in the calling thread, each inside a task of the one before it."""
    loops: list[Loop] = _here.__dict__.setdefault("loops", [])
    return loops


@attrs.frozen(kw_only=True)
class RunContext:
    """The parts of a run that do not change while it goes on."""

    run: RunId
    settings: Settings
    store: Store | None
    use: Use | None = None
    """Keeps the store open."""
    identity: Identity
    keys: KeyMaker
    clock: Clock
    emitter: Emitter
    stop: Stop
    pool: ThreadPool | None
    """None runs jobs in the engine's thread."""
    log: RunLog | None = None
    """The log of the run on disk; None without a cache directory."""
    tags: tuple[str, ...] = ()
    chance: Callable[[], float] | None = None
    """By which delays vary; None for what nobody can foresee."""
    chain: frozenset[Key] = frozenset()
    """Keys being computed by the tasks this run is inside of: waiting for one of them would be for ever."""
    circles: Circles = attrs.field(factory=Circles)
    """What the runs inside the tasks of this run wait for."""
    unbegun: Unbegun = attrs.field(factory=Unbegun)
    """Quick calls of this run, and of those inside its tasks, that nobody has begun."""
    clusters: Clusters = attrs.field(factory=Clusters)
    """What this run, and those inside its tasks, have opened to work elsewhere."""
    loop: Loop = attrs.field(factory=Loop)
    """Where the run's engine works."""
    around: InnerCalls | None = None
    """Told what the calls of this run depend on: those of the call that the run was made in."""
    inner_calls: dict[NodeId, InnerCalls] = attrs.field(factory=dict)
    """The inner calls of those calls of this run that made any and have not been kept yet."""
    shares: Shares = attrs.field(factory=lambda: Shares(Settings()))
    """Pools, rates and resources, which runs inside tasks share."""
    is_inner: bool = False
    is_away: bool = False
    """Whether the run is in a worker process, for which there are no other processes."""
    is_far: bool = False
    """Whether the process is one of a cluster, where nobody would hear that something waits: then nothing does."""
    first_id: int = 0
    """Where this run's node ids start in the event stream."""
    inner_ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(_INNER_IDS, _INNER_IDS))
    """Hands out `first_id` to runs inside tasks."""

    def opened(self) -> "RunContext":
        """Return this; what stands for a run of another process is opened here."""
        return self

    def write_log(self) -> None:
        """Write what has happened to the log, where other processes read it; what it could not write is told once."""
        if self.log is None:
            return
        self.log.flush()
        trouble = self.log.take_error()
        if trouble is not None:
            message = f"The log of this run is not complete: {trouble}."
            self.emitter.notice(self.clock.now(), "log-incomplete", message)

    def write_log_in_time(self) -> None:
        """Write to the log if what waits to be written has waited long enough."""
        if self.log is not None and self.log.is_due(self.clock.now()):
            self.write_log()

    def write_log_if_held_up(self) -> None:
        """Write to the log if the calling code is about to keep everybody else from doing so."""
        if self.loop.holds_up_all:
            self.write_log()

    def call(self, fn: Callable[[], Any]) -> Any:
        """Call a function, which may take long, so that `flowlib.run` inside it joins this run."""
        self.write_log_if_held_up()
        return self.call_quick(fn)

    def call_quick(self, fn: Callable[[], Any]) -> Any:
        """Call a function that takes no time worth a line in the log so that `flowlib.run` inside it joins this run."""
        token = current_run.set(self)
        before = self.stop.enter_user_code(True)
        try:
            return fn()
        finally:
            self.stop.enter_user_code(before)
            current_run.reset(token)


def is_inside_run() -> bool:
    """Whether the calling code is a task that a run is executing."""
    return current_run.get() is not None


class Surroundings(Protocol):
    """The run that code is inside of, or what stands for it in another process."""

    def opened(self) -> RunContext:
        """Return the parts of the run."""


current_run: ContextVar[Surroundings | None] = ContextVar("flowlib_current_run", default=None)
"""The run whose task is being executed in this thread or coroutine, if any."""


def surrounding_run() -> RunContext | None:
    """Return the parts of the run whose task is being executed in this thread or coroutine, if any."""
    run = current_run.get()
    return None if run is None else run.opened()


if hasattr(
    os, "register_at_fork"
):  # a process that a task forks has none of the run's threads: it starts runs of its own
    os.register_at_fork(after_in_child=lambda: current_run.set(None))
