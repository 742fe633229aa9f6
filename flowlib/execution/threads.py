"""Run jobs in threads that live as long as the run.

Theory of operation: a `ThreadPool` owns the threads and one queue of work. Every run that uses the pool has a
`ThreadExecutor` with an outbox of its own. A run inside a task shares the pool of the outer run: while it waits, its
thread performs jobs of its own that no other thread has taken yet. So an inner run never takes a second slot and can
never wait for a thread that waits for it.
"""

import threading
from collections import deque

from flowlib.execution.base import Job, Outcome
from flowlib.execution.worker import Worker


class ThreadPool:
    """Threads and the queue of jobs they take from.

    Args:
        n_threads: How many threads at most; each is started when there is work for it.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._work: deque[tuple[Job, ThreadExecutor]] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._n_idle = 0
        self._closed = False

    def put(self, job: Job, executor: "ThreadExecutor") -> None:
        """Queue a job, starting a thread if none is idle."""
        with self._changed:
            self._work.append((job, executor))
            if self._n_idle < len(self._work) and len(self._threads) < self.n_threads:
                name = f"flowlib-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def take_own(self, executor: "ThreadExecutor") -> Job | None:
        """Take back a job of `executor` that no thread has started; None if there is none."""
        with self._changed:
            for position, (job, owner) in enumerate(self._work):
                if owner is executor:
                    del self._work[position]
                    return job
        return None

    def close(self) -> None:
        """Tell the threads to end once they have nothing to do; jobs that run are not waited for."""
        with self._changed:
            self._closed = True
            self._work.clear()
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._n_idle += 1
                while not self._work and not self._closed:
                    self._changed.wait()
                self._n_idle -= 1
                if not self._work:
                    return
                job, executor = self._work.popleft()
            executor.answer(executor.worker.perform(job))
            del job, executor


class ThreadExecutor:
    """One run's door to a pool of threads.

    Args:
        worker: Performs this run's jobs.
        pool: The threads.
        is_inner: Whether the run is inside a task, and therefore already on one of the pool's threads.
    """

    def __init__(self, worker: Worker, pool: ThreadPool, *, is_inner: bool = False) -> None:
        self.worker = worker
        self.pool = pool
        self.capacity = pool.n_threads
        self._is_inner = is_inner
        self._outbox: deque[Outcome] = deque()
        self._there = threading.Semaphore(0)

    def submit(self, job: Job) -> None:
        """Queue a job for any thread of the pool."""
        self.pool.put(job, self)

    def answer(self, outcome: Outcome) -> None:
        """Take an outcome from a thread."""
        self._outbox.append(outcome)
        self._there.release()

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first; an inner run works instead of waiting."""
        if self._is_inner and not self._outbox and (job := self.pool.take_own(self)) is not None:
            return [self.worker.perform(job)]
        self._there.acquire(timeout=timeout_s)
        while self._there.acquire(blocking=False):  # before the outbox: an answer in between wakes us once too often
            continue
        outcomes = []
        while self._outbox:
            outcomes.append(self._outbox.popleft())
        return outcomes

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self._there.release()

    def close(self) -> None:
        """Let go of the pool, unless it belongs to the outer run."""
        if not self._is_inner:
            self.pool.close()
