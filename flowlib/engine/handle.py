"""A run in the background: ask how it goes, pause it, cancel it, wait for it."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Generic, TypeVar

import attrs

from flowlib.engine.context import current_run, surrounding_run
from flowlib.engine.run import RunOptions, current_chain, current_inner_calls, execute
from flowlib.engine.stop import Stop
from flowlib.errors import FlowWarning
from flowlib.events import Event, EventBatch, RunFinished, RunStatus
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node

R = TypeVar("R")


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
        self._thread.start()

    @property
    def status(self) -> RunStatus:
        """`running`, `success`, `partial`, `failed` or `cancelled`.

        `partial`: every value is there, though some nodes failed and something took their places.
        """
        if not self._has_ended:
            return "running"
        end = self._recorder.end
        return "failed" if end is None else end.status

    @property
    def events(self) -> tuple[Event, ...]:
        """What has happened so far."""
        return self._recorder.events

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

    def cancel(self) -> None:
        """Start nothing new; what runs is finished and kept. `result` then raises `RunStopped`."""
        self._stop.request("cancel")

    def pause(self) -> None:
        """Start nothing new until `resume`."""
        self._stop.pause(True)

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

    def _run(self, options: RunOptions) -> None:
        current_run.set(None)  # in this copy of the caller's context: the run joins no other
        try:
            result = execute(self._target, options, self._stop)
        except BaseException as error:  # handed to whoever asks for the result
            self._has_ended = True
            self._settle(error=error)
        else:
            self._has_ended = True
            self._settle(result=result)

    def _settle(self, *, result: Any = None, error: BaseException | None = None) -> None:
        if not self._future.set_running_or_notify_cancel():
            return
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def __repr__(self) -> str:
        return f"<run {self.status}, {self._recorder.n_events} events>"
