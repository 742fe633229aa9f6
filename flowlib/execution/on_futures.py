"""Run jobs in an executor of the user's: any object with the interface of `concurrent.futures`.

A pool of threads makes the calls as they are, like the threads of a run do. Every other executor is taken for one of
processes: it is given orders (`elsewhere`) and carries them out itself, one after the other in each of its processes.

What this cannot promise: a call that has begun cannot be ended, and when a process dies, most executors break as a whole.
Then the jobs that were under way fail with that, and so does each that is given to it later. The executor is never shut
down: it belongs to whoever made it.
"""

import math
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from types import ModuleType
from typing import Any

from flowlib.errors import ClusterTrouble, error_text
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.cluster import Told
from flowlib.execution.onsite import Order, Reply, refusal, told_in_size
from flowlib.execution.outbox import Outbox
from flowlib.execution.quick import Unbegun, perform_batch, perform_calls
from flowlib.execution.remote import Remote
from flowlib.execution.worker import Worker
from flowlib.ids import Key, NodeId


def is_threads(executor: object) -> bool:
    """Whether an executor makes calls in threads that share this interpreter."""
    return isinstance(executor, ThreadPoolExecutor) and "Interpreter" not in type(executor).__name__


class FutureThreads(Outbox):
    """One run's door to a pool of threads of the user's.

    Args:
        worker: Performs this run's jobs.
        executor: The threads.
        unbegun: Where runs inside the tasks find calls that nobody has begun.
        outbox: Where outcomes are put: a run's own threads may share it.
    """

    makes_calls_here = False

    def __init__(
        self,
        worker: Worker,
        executor: Executor,
        unbegun: Unbegun | None = None,
        outbox: "SimpleQueue[Any] | None" = None,
    ) -> None:
        self.capacity = int(getattr(executor, "_max_workers", 1))
        self.outbox: SimpleQueue[Any] = SimpleQueue() if outbox is None else outbox
        self._worker, self._executor, self._unbegun = worker, executor, unbegun or Unbegun()
        self._context = copy_context()

    def submit(self, job: Job) -> None:
        """Give a job to the threads."""
        self.submit_batch(Batch([job]))

    def submit_batch(self, batch: Batch) -> None:
        """Give calls to one of the threads; what it has not begun can be taken back."""
        self._unbegun.add(batch, self._perform)
        try:
            self._executor.submit(self._perform, batch)
        except RuntimeError as error:  # shut down, or broken by its own initializer
            self._unbegun.discard(batch)
            for call in batch.take_back():
                self.outbox.put(Outcome(call.node, broken(call, error)))

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Make calls as they come, in the calling thread."""
        perform_calls(calls, ended, self._worker, self._context)

    def _perform(self, batch: Batch) -> None:
        perform_batch(batch, self._worker, self._context, math.inf)
        self._unbegun.discard(batch)
        self.outbox.put(batch)

    def take_over(self, key: Key) -> bool:
        """Perform a call with this key that no thread has begun, in the calling thread."""
        return self._unbegun.take_over(key)

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """Return False: what runs in this process cannot be ended from outside."""
        return False

    def replace_worker(self) -> None:
        """Nothing to do: how many threads there are is the user's choice."""

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self.outbox.put(None)

    def close(self) -> None:
        """Nothing to let go of: the threads are the user's."""


class FutureCluster:
    """An executor of the user's, with processes wherever they are, as a cluster."""

    is_here = keeps_time = False

    def __init__(self, executor: Executor) -> None:
        self.name = f"the {type(executor).__name__} that was given"
        self._executor = executor
        self._futures: dict[str, Future[bytes]] = {}

    def capacity(self) -> int:
        """Return how many orders it carries out at once."""
        found = getattr(self._executor, "_max_workers", None)
        return found if isinstance(found, int) else 1

    def send(self, order: Order, wishes: Mapping[str, float], told: Told) -> None:
        """Submit an order; an executor that is broken says so in the place of a reply."""
        try:
            future = self._executor.submit(perform_order, order.packed())
        except RuntimeError as error:
            told(self._trouble(error))
            return
        self._futures[order.ticket] = future
        future.add_done_callback(lambda done: self._done(order.ticket, done, told))

    def _done(self, ticket: str, future: "Future[bytes]", told: Told) -> None:
        self._futures.pop(ticket, None)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            told(future.result())
        else:
            told(self._trouble(error) if isinstance(error, (BrokenExecutor, RuntimeError)) else error)

    def _trouble(self, error: BaseException) -> ClusterTrouble:
        return _broken(self.name, error)

    def end(self, ticket: str) -> bool:
        """Take back an order that has not begun."""
        future = self._futures.get(ticket)
        return future is None or future.cancel()

    def close(self) -> None:
        """Nothing to let go of: the executor is the user's."""


def broken(call: Job | Call, error: BaseException) -> ClusterTrouble:
    """Return the error of a call that an executor does not take."""
    return _broken(f"the executor that was given for task {call.task.name!r}", error)


def _broken(name: str, error: BaseException) -> ClusterTrouble:
    facts = {"reason": f"{type(error).__name__}: {error_text(error)[:500]}"}
    hint = 'Give a new one. executor="processes" makes a new process for one that dies, and says which task it was.'
    return ClusterTrouble(f"{name[0].upper()}{name[1:]} no longer works.", facts, hint)


# ---------------------------------------------------------------------------------------------------------------------
# In the user's process

_here = threading.local()


def perform_order(packed: bytes) -> bytes:
    """Carry out an order in this process and return the reply."""
    theirs, _, is_batch, _, _, token, message = pickle.loads(packed)
    if trouble := refusal(theirs, token):
        return told_in_size(Reply(trouble=trouble))
    remote: Remote | None = getattr(_here, "remote", None)
    if remote is None:
        remote = _here.remote = Remote(f"process-{threading.get_native_id()}")
    main = sys.modules.get("__main__")
    stand_in: ModuleType | None = getattr(_here, "main", None)
    if stand_in is not None:
        sys.modules["__main__"] = stand_in
    try:
        if is_batch:
            answers: list[bytes] = []
            remote.perform_calls(message, answers.append)
        else:
            answers = [remote.perform(message)]
    finally:
        _here.main = sys.modules.get("__main__")
        if main is not None:  # the user's own functions are looked up there
            sys.modules["__main__"] = main
    return told_in_size(Reply(answers=tuple(answers)))
