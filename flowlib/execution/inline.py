"""Run jobs in the thread of the engine, one after the other."""

from contextvars import copy_context
from queue import Empty, SimpleQueue

from flowlib.execution.base import Batch, Job, Outcome
from flowlib.execution.quick import perform_batch
from flowlib.execution.worker import Worker, perform_in
from flowlib.ids import Key


class InlineExecutor:
    """Performs a job inside `submit`. The simplest executor, and the one for breakpoints."""

    capacity = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._context = copy_context()
        self._outcomes: list[Outcome] = []
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Perform the job now."""
        self._outcomes.append(perform_in(self._context, self._worker, job))

    def submit_batch(self, batch: Batch) -> None:
        """Perform a batch now."""
        self.perform_batch(batch)
        self._outcomes += batch.take_done()

    def perform_batch(self, batch: Batch) -> None:
        """Perform a batch now; its calls are in its `done` then."""
        perform_batch(batch, self._worker, self._context)

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return what has been performed since the last call; without any, wait for `wake`."""
        if not self._outcomes:
            try:
                self._wakes.get(timeout=timeout_s)
            except Empty:
                return []
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def take_over(self, key: Key) -> bool:
        """Return False: a job that was submitted has been performed."""
        return False

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self._wakes.put(None)

    def close(self) -> None:
        """Nothing to let go of."""
