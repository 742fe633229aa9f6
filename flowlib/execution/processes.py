"""Run jobs in worker processes: on all cores, and such that one that crashes, leaks or hangs can be ended.

Theory of operation: the executor packs a job in the thread of the run (`parcel`), a worker of the pool performs it, and
its answer is unpacked in the thread of the run again. What could not be begun for want of something is packed once more.
Outcomes come out of the same box as those of the run's threads, so that one run can use both.

Invariant: a worker that dies costs the job that was running in it, and no other: calls of its batch that had ended count,
calls that had not begun are queued again.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs

from flowlib.execution.base import Batch, Call, Job, Outcome, drained
from flowlib.execution.errands import BatchErrand, JobErrand
from flowlib.execution.outbox import FarOutbox
from flowlib.execution.parcel import Packer, Parcel
from flowlib.execution.pool import Pool
from flowlib.execution.spill import SpillDirectory, spill_directory
from flowlib.execution.warm import shared_pool
from flowlib.execution.wire import Terms
from flowlib.execution.worker import Worker
from flowlib.execution.workers import Errand
from flowlib.ids import NodeId


class ProcessExecutor(FarOutbox):
    """One run's door to the worker processes.

    Args:
        worker: This run's own means.
        terms: What holds for all jobs of this run.
        n_processes: How many may work for it at once.
        outbox: Where outcomes are put: a run's threads may share it.
        scratch: Where large values go when there is no room in memory.
        pool: The processes; those of this program unless given.
        on_wait: Told of each wait inside a task, with the task's name; returns the error of one that would be for ever.
    """

    def __init__(
        self,
        worker: Worker,
        terms: Terms,
        n_processes: int,
        outbox: "SimpleQueue[Any] | None" = None,
        scratch: Path = Path("/tmp"),
        pool: Pool | None = None,
        on_wait: "Callable[[str, Any], BaseException | None] | None" = None,
    ) -> None:
        self._on_wait = on_wait
        self.capacity = n_processes
        self.outbox: SimpleQueue[Any] = SimpleQueue() if outbox is None else outbox
        self.processes = pool or shared_pool()
        self.processes.join(self, n_processes)
        self._worker, self._terms, self._scratch = worker, terms, scratch
        self._is_closed = False
        self._slow, self._given_back = deque[Call](), deque[Call]()
        self._made: tuple[Packer, SpillDirectory] | None = None

    @property
    def packer(self) -> Packer:
        """What packs jobs; made with the first one."""
        if self._made is None:
            spill = spill_directory(self._scratch)
            self.processes.mind(str(spill.root))
            terms = attrs.evolve(self._terms, spill=str(spill.root))
            self._made = Packer(terms, self._worker, spill), spill
        return self._made[0]

    # ---- the protocol of executors

    def submit(self, job: Job) -> None:
        """Pack a job and queue it for any worker."""
        self.send(JobErrand(self, job))

    def submit_batch(self, batch: Batch, n_times: int = 0) -> None:
        """Queue quick calls; what a worker has not taken can be taken back."""
        for call in tuple(batch.waiting):
            if isinstance(call, Call) and (refused := self._refusal(call)) is not None:
                with contextlib.suppress(ValueError):
                    batch.waiting.remove(call)
                    call.error = refused
                    self.outbox.put(call)
        if batch.waiting:
            self.processes.put(BatchErrand(self, batch, n_times))

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """End the job of a node now, with its process and all children of that; its outcome has this error."""
        for errand in self.processes.take_back(lambda errand: self._is_mine(errand) and errand.has(node)):  # type: ignore[attr-defined]
            errand.take_out(node, error)  # type: ignore[attr-defined]
            if not errand.is_empty:  # type: ignore[attr-defined]
                self.processes.put(errand, first=True)
            return True

        def is_at(errand: Any) -> bool:
            return self._is_mine(errand) and bool(errand.condemn(node, error))

        return self.processes.end(is_at)

    def replace_worker(self) -> None:
        """Nothing to do: whatever runs in a process can be ended."""

    def take_slow(self) -> list[Call]:
        """Return calls that hold others up in their worker, each once."""
        return drained(self._slow)

    def take_given_back(self) -> list[Call]:
        """Return calls that were behind those, and have not begun."""
        return drained(self._given_back)

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self.outbox.put(None)

    def close(self) -> None:
        """Let go of the workers; those that are still at a job of this run are ended."""
        if self._is_closed:
            return
        self._is_closed = True
        self.processes.take_back(self._is_mine)
        self.processes.end(self._is_mine)
        self.processes.leave(self)
        if self._made is not None:
            spill = self._made[1]
            spill.remove()
            self.processes.mind(str(spill.root), is_removed=True)

    # ---- errands

    def send(self, errand: JobErrand) -> None:
        """Pack an errand's job and queue it; its outcome comes out at once if that is not possible."""
        packed = self.packer.pack(errand.job)
        if isinstance(packed, Outcome):
            self.outbox.put(packed)
            return
        errand.parcel = packed
        self.processes.put(errand)

    def start(self, job: Job) -> None:
        """Note that a job begins."""
        if job.stopwatch is not None:
            job.stopwatch.began_at = self._worker.clock.monotonic()

    def queue(self, errand: Errand) -> None:
        """Queue an errand before others: its worker is gone and it is not to blame, or it goes on with a batch."""
        if not self._is_closed:
            self.processes.put(errand, first=True)

    def release(self, parcel: Parcel) -> None:
        """Remove the files of a parcel that has been performed."""
        if self._made is not None:
            for name in parcel.files:
                self._made[1].release(name)

    def note_slow(self, slow: Iterable[Call], behind: Iterable[Call]) -> None:
        """Take note that a call takes long in its worker, and of those behind it that were given back."""
        self._slow.extend(slow)
        self._given_back.extend(behind)
        self.wake()

    def note_wait(self, call: Job | Call, wait: Any) -> bool:
        """Take note of a wait inside a task; end the task whose wait would be for ever. Return whether it begins."""
        error = None if self._on_wait is None else self._on_wait(call.task.name, wait)
        if error is not None:
            self.kill(call.node, error)
        return bool(wait[0])

    def _is_mine(self, errand: Any) -> bool:
        return getattr(errand, "executor", None) is self

    def _refusal(self, call: Call) -> BaseException | None:
        try:
            self.packer.goods(call.task, call.policy)
        except Exception as error:
            return error
        return None
