"""One run, several executors: each job goes where its task or the run wants it.

What flowlib itself has to do (operators, reductions, values of returned nodes) stays in the threads of the run: it is
quick, or works on values that are there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.threads import ThreadExecutor
from flowlib.ids import Key, NodeId

if TYPE_CHECKING:
    from flowlib.execution.processes import ProcessExecutor


class RoutedExecutor:
    """The threads of a run, and processes when something wants them.

    Args:
        home: The run's threads.
        make_away: Makes the door to the processes; called when the first job goes there.
        is_away: Whether what says nothing goes to the processes.
    """

    def __init__(
        self, home: ThreadExecutor, make_away: "Callable[[ThreadExecutor], ProcessExecutor]", *, is_away: bool
    ) -> None:
        self._home, self._make_away, self._is_away = home, make_away, is_away
        self._made: ProcessExecutor | None = None
        self.capacity = home.capacity
        self.makes_calls_here = not is_away

    @property
    def _away(self) -> "ProcessExecutor":
        if self._made is None:
            self._made = self._make_away(self._home)
        return self._made

    def _goes_away(self, work: Job | Call) -> bool:
        wanted = work.policy.executor
        if isinstance(work, Call):
            return self._is_away and wanted is None and not work.task.is_op
        if work.assembles or work.stream is not None or work.task.own_code:
            return False
        return wanted == "processes" or (self._is_away and wanted is None)

    def submit(self, job: Job) -> None:
        """Take a job."""
        (self._away if self._goes_away(job) else self._home).submit(job)

    def submit_batch(self, batch: Batch) -> None:
        """Take quick calls; those that go elsewhere than the first are a batch of their own."""
        waiting = tuple(batch.waiting)
        if not waiting:
            return
        if not self._is_away and Job not in set(map(type, waiting)):  # the thousands of quick calls of most runs
            self._home.submit_batch(batch)
            return
        away = [work for work in waiting if self._goes_away(work)]
        if not away:
            self._home.submit_batch(batch)
            return
        if len(away) == len(waiting):
            self._away.submit_batch(batch)
            return
        for work in away:
            batch.waiting.remove(work)
        self._home.submit_batch(batch)
        self._away.submit_batch(Batch(away, batch.made, batch.gather))

    def perform_batch(self, batch: Batch) -> None:
        """Make the calls of a batch in the calling thread."""
        self._home.perform_batch(batch)

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first."""
        return self._home.collect(timeout_s)

    def take_ended(self) -> list[Outcome]:
        """Return the outcomes that are there."""
        return self._home.take_ended()

    def take_over(self, key: Key) -> bool:
        """Perform a job or call with this key now, if the threads have it."""
        return self._home.take_over(key)

    def help_out(self) -> bool:
        """Perform a queued job that holds something others wait for, if the threads have one."""
        return self._home.help_out()

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """End the job of a node, if it is in a process or a coroutine."""
        return (self._made is not None and self._made.kill(node, error)) or self._home.kill(node, error)

    def replace_worker(self) -> None:
        """Let the threads take one more job."""
        self._home.replace_worker()

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self._home.wake()

    def close(self) -> None:
        """Let go of threads and processes."""
        self._home.close()
        if self._made is not None:
            self._made.close()
