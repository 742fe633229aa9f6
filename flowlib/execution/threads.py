"""Run jobs in threads that live as long as the run.

Theory of operation: a `ThreadPool` owns the threads and one queue of work. Every run that uses the pool has a
`ThreadExecutor` with an outbox of its own. A run inside a task shares the pool of the outer run: while it waits, its
thread performs jobs of its own that no other thread has taken yet, and the queued job whose key it is waiting for. So
an inner run never takes a second slot and can never wait for a thread that waits for it.

Invariant: the outbox is a `SimpleQueue`, whose `put` may interrupt a `get` of the same thread: that is what a signal
handler does when it calls `wake`. A lock or a `threading.Semaphore` in its place would deadlock there.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from queue import Empty, SimpleQueue

from flowlib.execution.base import Batch, Call, Ended, Job, Outcome
from flowlib.execution.lookout import Lookout
from flowlib.execution.outbox import Outbox, outcomes_of
from flowlib.execution.quick import PATIENCE_S, Unbegun, perform_batch, perform_calls
from flowlib.execution.worker import Worker, perform_in
from flowlib.ids import Key, NodeId


class ThreadPool:
    """Threads and the queue of jobs they take from.

    Args:
        n_threads: How many threads at most; each is started when there is work for it.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._work: deque[tuple[Job | Batch, ThreadExecutor]] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._n_idle = 0
        self._closed = False

    def put(self, job: Job | Batch, executor: "ThreadExecutor") -> None:
        """Queue a job or a batch, starting a thread if none is idle."""
        with self._changed:
            self._work.append((job, executor))
            if self._n_idle < len(self._work) and len(self._threads) < self.n_threads and not self._closed:
                self._start_thread()
            self._changed.notify()

    def take(
        self, wanted: "Callable[[Job | Batch, ThreadExecutor], bool]"
    ) -> "tuple[Job | Batch, ThreadExecutor] | None":
        """Take back the first queued job that is wanted; None if no thread has yet to start such a job."""
        with self._changed:
            for position, found in enumerate(self._work):
                if wanted(*found):
                    del self._work[position]
                    return found
        return None

    def close(self) -> None:
        """Tell the threads to end once they have nothing to do; jobs that run are not waited for.

        Queued jobs stay: their runs are over, or are inner runs that perform them themselves.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"flowlib-{len(self._threads) + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:  # with one thread the run is slower, with none it would never end
                self._work.pop()
                raise
        else:
            self._threads.append(thread)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._n_idle += 1
                while not self._work and not self._closed:
                    self._changed.wait()
                self._n_idle -= 1
                if self._closed:
                    return
                job, executor = self._work.popleft()
            executor.perform(job)
            del job, executor


class ThreadExecutor(Outbox):
    """One run's door to a pool of threads.

    Args:
        worker: Performs this run's jobs.
        pool: The threads.
        unbegun: Where runs inside the tasks find calls that wait.
        lookout: Told when a call is made in the thread of the engine.
        is_inner: Whether the run is inside a task, and therefore already on one of the pool's threads.
    """

    makes_calls_here = True

    def __init__(
        self,
        worker: Worker,
        pool: ThreadPool,
        unbegun: Unbegun | None = None,
        lookout: Lookout | None = None,
        *,
        is_inner: bool = False,
    ) -> None:
        self.pool, self._unbegun, self._lookout = pool, unbegun or Unbegun(), lookout or Lookout()
        self.capacity = pool.n_threads
        self._worker = worker
        self._context = copy_context()
        self._is_inner = is_inner
        self.outbox: SimpleQueue[Outcome | Ended | None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Queue a job for any thread of the pool; one that must run inline is performed now."""
        if job.policy.executor == "inline":
            with self._lookout.away():
                self.perform(job)
        else:
            self.pool.put(job, self)

    def submit_batch(self, batch: Batch) -> None:
        """Queue a batch for any thread of the pool."""
        self._unbegun.add(batch, self.perform)
        self.pool.put(batch, self)

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Make calls as they come, in the calling thread."""
        perform_calls(calls, ended, self._worker, self._context)

    def perform(self, job: Job | Batch, until: float = math.inf) -> None:
        """Perform a job in the calling thread, with the context variables of the thread that began the run.

        Args:
            job: What to perform.
            until: When to give the rest of a batch back to the pool.
        """
        if isinstance(job, Batch):
            perform_batch(job, self._worker, self._context, until)
            if job.waiting:
                self.pool.put(job, self)
            else:
                self._unbegun.discard(job)
            self.outbox.put(job)
        else:
            self.outbox.put(perform_in(self._context, self._worker, job))

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first; an inner run works instead of waiting."""
        if self._is_inner and self.outbox.empty():
            until = self._worker.clock.monotonic() + PATIENCE_S
            self._take_and_perform(lambda job, executor: executor is self, until)
        try:
            first = self.outbox.get(timeout=timeout_s)
        except Empty:
            return []
        return outcomes_of(first) + self.take_ended()

    def take_over(self, key: Key) -> bool:
        """Perform a queued job with this key, whichever run it belongs to; only a run on a pool thread has to."""
        if not self._is_inner:
            return False
        with self._lookout.away():
            is_made = self._unbegun.take_over(key)
        return is_made or self._take_and_perform(lambda job, executor: _has_key(job, key))

    def help_out(self) -> bool:
        """Perform a queued job that holds something others wait for, whichever run it belongs to."""
        return self._is_inner and self._take_and_perform(lambda job, executor: _holds_something(job))

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """Cancel a job that is a coroutine; False for every other, since a thread cannot be stopped."""
        return self._worker.coroutines.cancel(node, error)

    def replace_worker(self) -> None:
        """Let the pool start one more thread."""
        self.pool.n_threads += 1

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self.outbox.put(None)

    def close(self) -> None:
        """Let go of the pool, unless it belongs to the outer run."""
        if not self._is_inner:
            self.pool.close()

    def _take_and_perform(
        self, wanted: "Callable[[Job | Batch, ThreadExecutor], bool]", until: float = math.inf
    ) -> bool:
        found = self.pool.take(wanted)
        if found is None:
            return False
        job, executor = found
        with self._lookout.away():
            executor.perform(job, until)
        return True


def _holds_something(work: Job | Batch) -> bool:
    jobs = tuple(work.waiting) if isinstance(work, Batch) else (work,)
    return any(job.policy.pool is not None or job.policy.resources is not None for job in jobs)


def _has_key(job: Job | Batch, key: Key) -> bool:
    return isinstance(job, Job) and job.key == key
