"""A run in the background: ask how it goes, pause it, cancel it, wait for it."""

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Generic, Literal, TypeVar

import attrs

from flowlib.engine.context import current_run, surrounding_run
from flowlib.engine.run import RunOptions, current_chain, current_inner_calls, execute
from flowlib.engine.stop import Stop
from flowlib.errors import FlowWarning
from flowlib.events import Event, EventBatch, RunFinished, RunStatus
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.history.record import fold

R = TypeVar("R")

_GOODBYE_S = 5.0
"""How long the end of the program waits for a run to keep what has finished."""


class _Recorder:
    """Keeps the events of one run; those of many nodes as they come, written out when somebody asks."""

    def __init__(self) -> None:
        self._said: list[Event | EventBatch] = []

    def on_event(self, event: Event) -> None:
        self._said.append(event)

    def on_batch(self, batch: EventBatch) -> None:
        self._said.append(batch)

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(event for said in [*self._said] for event in _written_out(said))

    @property
    def n_events(self) -> int:
        return sum(said.n_events if isinstance(said, EventBatch) else 1 for said in [*self._said])

    @property
    def end(self) -> RunFinished | None:
        last = self._said[-1] if self._said else None
        return last if isinstance(last, RunFinished) else None


def _written_out(said: Event | EventBatch) -> Iterable[Event]:
    return said.events() if isinstance(said, EventBatch) else (said,)


class Run(Generic[R]):
    """A run that goes on in a thread of its own. Made by `flowlib.start`."""

    def __init__(self, target: R, options: RunOptions, warn: Callable[[], None]) -> None:
        outer = surrounding_run()
        self._target = target
        self._warn = warn
        self._has_ended = False
        self._stop = Stop(None if outer is None else outer.stop)
        self._recorder = _Recorder()
        self._future: Future[R] = Future()
        circles = options.circles if outer is None else outer.circles
        observers = (*options.observers, self._recorder)
        options = attrs.evolve(
            options, observers=observers, chain=current_chain(), circles=circles, around=current_inner_calls()
        )
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run, options), name="flowlib-run", daemon=True)
        atexit.register(self._end_with_program)
        self._thread.start()

    @property
    def status(self) -> RunStatus | Literal["paused"]:
        """`running`, `paused`, `success`, `partial`, `failed` or `cancelled`.

        `paused`: nothing runs any more, and what has finished is kept. `partial`: every value is there, though some nodes
        failed and something took their places.
        """
        if not self._has_ended:
            return "paused" if self._stop.is_still else "running"
        end = self._recorder.end
        return "failed" if end is None else end.status

    @property
    def events(self) -> tuple[Event, ...]:
        """What has happened so far."""
        return self._recorder.events

    @property
    def counts(self) -> Mapping[str, int]:
        """How many nodes are in which state. O(events) while the run goes on."""
        return fold(self.events).counts

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes the run was started with, dependencies first."""
        return tuple(Graph(targets_of(self._target)).nodes)

    def result(self, timeout_s: float | None = None) -> R:
        """Wait for the run and return the values, or raise what `flowlib.run` would.

        Raises:
            TimeoutError: The run still goes on after `timeout_s`; it is not stopped by that.
        """
        try:
            result = self._future.result(timeout_s)
        except BaseException:
            with contextlib.suppress(FlowWarning):  # where warnings are errors, the run's own error goes first
                self._warn()
            raise
        self._warn()
        return result

    def cancel(self, *, kill: bool = False) -> None:
        """Start nothing new; what runs is finished and kept. `result` then raises `RunStopped`.

        Args:
            kill: Do not wait for what runs: processes are ended, coroutines cancelled, threads left behind.
        """
        if kill:
            self._stop.end("cancel")
        else:
            self._stop.request("cancel")

    def pause(self, *, wait: bool = False, timeout_s: float | None = None) -> None:
        """Start nothing new until `resume`. After that the program may end, and go on another time by running again.

        Args:
            wait: Return only when nothing runs any more and what has finished is kept; then `status` is `paused`.
            timeout_s: How long to wait at most.

        Raises:
            TimeoutError: Something still runs after `timeout_s`. The run stays paused.
        """
        self._stop.pause(True)
        if self._has_ended:
            self._stop.note_still()
        if wait and not self._stop.wait_still(timeout_s):
            raise TimeoutError(f"Something still runs after {timeout_s:g} s.")

    def resume(self) -> None:
        """Go on after `pause`."""
        self._stop.pause(False)

    async def wait(self) -> R:
        """Wait without blocking the event loop; cancelling the waiter cancels the run."""
        import asyncio

        try:
            return await asyncio.wrap_future(self._future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _end_with_program(self) -> None:
        """Give the run its end when the program ends before it: what has finished is kept, and its log says how it ended."""
        self.cancel(kill=True)
        self._thread.join(_GOODBYE_S)

    def _run(self, options: RunOptions) -> None:
        current_run.set(None)  # in this copy of the caller's context: the run joins no other
        try:
            result = execute(self._target, options, self._stop)
        except BaseException as error:  # handed to whoever asks for the result
            self._settle(error=error)
        else:
            self._settle(result=result)

    def _settle(self, *, result: Any = None, error: BaseException | None = None) -> None:
        self._has_ended = True
        self._stop.note_still()
        atexit.unregister(self._end_with_program)
        if not self._future.set_running_or_notify_cancel():
            return
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def __repr__(self) -> str:
        return f"<run {self.status}, {self._recorder.n_events} events>"
