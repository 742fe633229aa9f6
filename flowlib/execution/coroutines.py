"""Run jobs that are coroutines: the one kind of job that a thread can end while it runs.

Invariant: a coroutine over its time is cancelled, so that its `finally` blocks run and its connections close.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from flowlib.errors import TaskTimedOut
from flowlib.execution.base import Job
from flowlib.graph.coroutine import finish
from flowlib.ids import NodeId


class OverTime(Exception):
    """A coroutine was cancelled because it took longer than its timeout allows."""

    def __init__(self, error: TaskTimedOut) -> None:
        super().__init__()
        self.error = error


class Coroutines:
    """The jobs of one run that are coroutines and run now."""

    def __init__(self) -> None:
        self._cancel: dict[NodeId, Callable[[], object]] = {}
        self._errors: dict[NodeId, BaseException] = {}

    def finish(self, coroutine: Coroutine[Any, Any, Any], job: Job) -> Any:
        """Return what a job's coroutine returns.

        Raises:
            OverTime: It took too long.
        """
        return finish(self._watched(coroutine, job))

    def cancel(self, node: NodeId, error: BaseException) -> bool:
        """Cancel the coroutine of a node, from any thread; False if none runs. Its outcome will have this error."""
        cancel = self._cancel.get(node)
        if cancel is None:
            return False
        self._errors[node] = error
        try:
            cancel()
        except RuntimeError:  # its loop was closed this very moment
            return self._errors.pop(node, None) is None
        return True

    def take_error(self, node: NodeId) -> BaseException | None:
        """Return why the coroutine of a node was cancelled, once."""
        return self._errors.pop(node, None)

    async def _watched(self, coroutine: Coroutine[Any, Any, Any], job: Job) -> Any:
        import asyncio

        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None, "a coroutine that runs is a task"
        self._cancel[job.node] = lambda: loop.call_soon_threadsafe(task.cancel)
        run_s = None if job.policy.timeout is None else job.policy.timeout.run
        try:
            async with asyncio.timeout(run_s) as timer:
                return await coroutine
        except TimeoutError as error:
            if run_s is None or not timer.expired():
                raise
            late = TaskTimedOut(task=job.task.name, limit="run", limit_s=run_s)
            late.__cause__ = error.__cause__
            raise OverTime(late) from None
        finally:
            self._cancel.pop(job.node, None)
