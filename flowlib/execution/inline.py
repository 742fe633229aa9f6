"""Run jobs in the thread of the engine, one after the other."""

from flowlib.execution.base import Job, Outcome
from flowlib.execution.worker import Worker


class InlineExecutor:
    """Performs a job inside `submit`. The simplest executor, and the one for breakpoints."""

    capacity = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._outcomes: list[Outcome] = []

    def submit(self, job: Job) -> None:
        """Perform the job now."""
        self._outcomes.append(self._worker.perform(job))

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return what has been performed since the last call; never waits."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def wake(self) -> None:
        """Nothing to do: `collect` never waits."""

    def close(self) -> None:
        """Nothing to let go of."""
