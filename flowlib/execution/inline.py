"""Run jobs in the thread of the engine, one after the other."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from queue import Empty, SimpleQueue

from flowlib.execution.base import Batch, Call, Job, Outcome, drained
from flowlib.execution.lookout import Lookout
from flowlib.execution.quick import PATIENCE_S, Unbegun, perform_batch, perform_calls
from flowlib.execution.worker import Worker, perform_in
from flowlib.ids import Key, NodeId


class InlineExecutor:
    """Performs a job inside `submit`, and batches inside `collect`. The simplest executor, and the one for breakpoints.

    `collect` comes back from time to time, so that a run can be stopped between two calls.

    Args:
        worker: Performs this run's jobs.
        unbegun: Where runs inside the tasks find calls that wait.
        lookout: Told when a call is made.
    """

    capacity = 1
    makes_calls_here = True

    def __init__(self, worker: Worker, unbegun: Unbegun | None = None, lookout: Lookout | None = None) -> None:
        self._worker, self._unbegun, self._lookout = worker, unbegun or Unbegun(), lookout or Lookout()
        self._batches: deque[Batch] = deque()
        self._context = copy_context()
        self._outcomes: deque[Outcome] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Perform the job now."""
        with self._lookout.away():
            outcome = perform_in(self._context, self._worker, job)
        self._outcomes.append(outcome)

    def submit_batch(self, batch: Batch) -> None:
        """Take a batch, to be performed by `collect`."""
        self._unbegun.add(batch, self._perform)
        self._batches.append(batch)

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Make calls as they come, in the calling thread."""
        perform_calls(calls, ended, self._worker, self._context)

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return what has been performed since the last call; without any, go on with batches, or wait for `wake`."""
        if not self._outcomes:
            self._go_on()
        if not self._outcomes:
            try:
                self._wakes.get(timeout=timeout_s)
            except Empty:
                return []
        return self.take_ended()

    def take_ended(self) -> list[Outcome]:
        """Return what has been performed since the last call."""
        return drained(self._outcomes)

    take_made = take_ended

    def take_slow(self) -> list[Call]:
        """Return nothing: nothing is in another process."""
        return []

    take_given_back = take_slow

    def take_over(self, key: Key) -> bool:
        """Perform a call of any batch that waits, whichever run it belongs to."""
        with self._lookout.away():
            return self._unbegun.take_over(key)

    def _go_on(self) -> None:
        now = self._worker.clock.monotonic
        until = now() + PATIENCE_S
        while self._batches:
            batch = self._batches[0]
            with self._lookout.away():
                self._perform(batch, until)
            if batch.waiting:
                return
            self._unbegun.discard(self._batches.popleft())
            if now() >= until:
                return

    def _perform(self, batch: Batch, until: float = math.inf) -> None:
        perform_batch(batch, self._worker, self._context, until)
        self._outcomes.extend(batch.take_done())

    def help_out(self) -> bool:
        """Return False: no job waits for another thread."""
        return False

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """Return False: whoever asks is not in the thread of the job, which alone could end it."""
        return False

    def replace_worker(self) -> None:
        """Nothing to do: no job goes on while others are asked for."""

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self._wakes.put(None)

    def close(self) -> None:
        """Nothing to let go of."""
