"""Run jobs in worker processes: on all cores, and such that one that crashes, leaks or hangs can be ended.

Theory of operation: the executor packs a job in the thread of the run (`parcel`), a worker of the pool performs it, and
its answer is unpacked in the thread of the run again. What could not be begun for want of something is packed once more.
Outcomes come out of the same box as those of the run's threads, so that one run can use both.

Invariant: a worker that dies costs the job that was running in it, and no other: calls of its batch that had ended count,
calls that had not begun are queued again.
"""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from flowlib.errors import CannotSend, WorkerDied
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.parcel import Again, Packer, Parcel
from flowlib.execution.pool import Pool, shared_pool
from flowlib.execution.serving import answers_in
from flowlib.execution.spill import SpillDirectory, spill_directory
from flowlib.execution.threads import outcomes_of
from flowlib.execution.wire import Terms, Wants
from flowlib.execution.worker import Worker
from flowlib.execution.workers import Death
from flowlib.ids import Key, NodeId

_MOST_TIMES = 5
"""How often one job is packed anew because something was missing, or because its worker was ended with the nursery."""


class ProcessExecutor:
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

    makes_calls_here = False

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
        self.send(_JobErrand(self, job))

    def submit_batch(self, batch: Batch, n_times: int = 0) -> None:
        """Queue quick calls; what a worker has not taken can be taken back."""
        for call in tuple(batch.waiting):
            if isinstance(call, Call) and (refused := self._refusal(call)) is not None:
                with contextlib.suppress(ValueError):
                    batch.waiting.remove(call)
                    call.error = refused
                    self.outbox.put(call)
        if batch.waiting:
            self.processes.put(_BatchErrand(self, batch, n_times))

    def perform_batch(self, batch: Batch) -> None:
        """Make the calls of a batch one after the other; they are in its `done` then."""
        raise NotImplementedError("calls are made in other processes: see makes_calls_here")

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first; empty after `timeout_s` or a `wake`."""
        while True:
            try:
                first = self.outbox.get(timeout=timeout_s)
            except Empty:
                return []
            found = outcomes_of(first) + self.take_ended()
            if found or first is None:
                return found

    def take_ended(self) -> list[Outcome]:
        """Return the outcomes that are there."""
        outcomes: list[Outcome] = []
        try:
            while True:
                outcomes += outcomes_of(self.outbox.get_nowait())
        except Empty:
            return outcomes

    def take_over(self, key: Key) -> bool:
        """Return False: the calling thread performs no jobs."""
        return False

    def help_out(self) -> bool:
        """Return False: the calling thread performs no jobs."""
        return False

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

    def send(self, errand: "_JobErrand") -> None:
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

    def requeue(self, errand: Any) -> None:
        """Queue an errand again before others, because its worker is gone and it is not to blame."""
        if not self._is_closed:
            self.processes.put(errand, first=True)

    def release(self, parcel: Parcel) -> None:
        """Remove the files of a parcel that has been performed."""
        if self._made is not None:
            for name in parcel.files:
                self._made[1].release(name)

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


class _JobErrand:
    """One job on its way."""

    def __init__(self, executor: ProcessExecutor, job: Job) -> None:
        self.executor, self.job = executor, job
        self.parcel: Parcel | None = None
        self.n_times = 0
        self._error: BaseException | None = None

        self._waits: list[Any] = []

    is_empty = True

    def has(self, node: NodeId) -> bool:
        """Whether this is the job of a node."""
        return self.job.node == node

    def take_out(self, node: NodeId, error: BaseException) -> None:
        """End the job before it has begun."""
        self.executor.outbox.put(Outcome.of(self.job, error))

    def condemn(self, node: NodeId, error: BaseException) -> bool:
        """Note what its outcome is to be, if this is the job of a node."""
        if not self.has(node):
            return False
        self._error = error
        return True

    def message(self, known: set[str]) -> tuple[bytes, bool] | None:
        """Return the parcel's message for a worker."""
        assert self.parcel is not None
        self.executor.start(self.job)
        message = self.parcel.message(() if self.n_times else known)
        known.update(self.parcel.needs)
        return message, False

    def noted(self, wait: bytes, journal: int) -> bool:
        """Take note that something inside the task waits, or waits no more; return which."""
        return _note(self.executor, self.job, pickle.loads(wait), self._waits)

    def answered(self, answer: bytes, journal: int) -> None:
        """Hand the answer to the thread of the run."""
        _forget(self.executor, self.job, self._waits)
        if self._error is not None:  # it ended while it was to be ended: what was said goes
            self.executor.outbox.put(Outcome.of(self.job, self._error))
        else:
            self.executor.outbox.put(_Answer(lambda: self._unpack(answer)))

    def died(self, death: Death, journal: int) -> None:
        """End the job with its worker, unless that died for another reason."""
        _forget(self.executor, self.job, self._waits)
        if self._error is None and death.is_ours and self.n_times < _MOST_TIMES:
            self.n_times += 1
            self.executor.requeue(self)
            return
        outcome = Outcome.of(self.job, self._error or died(self.job, death))
        outcome.peak_bytes = death.peak_bytes
        self.executor.outbox.put(outcome)

    def _unpack(self, answer: bytes) -> list[Outcome]:
        parcel = self.parcel
        assert parcel is not None
        try:
            outcome = self.executor.packer.unpack(self.job, answer)
        except Again:
            self.n_times += 1
            if self.n_times < _MOST_TIMES:
                self.executor.send(self)
                return []
            outcome = Outcome.of(self.job, cannot_get_there(self.job))
        self.executor.release(parcel)
        return [outcome]


class _BatchErrand:
    """Quick calls on their way; jobs among them go one by one."""

    def __init__(self, executor: ProcessExecutor, batch: Batch, n_times: int = 0) -> None:
        self.executor, self.batch, self.n_times = executor, batch, n_times
        self._sent: list[Call] = []
        self._job: _JobErrand | None = None
        self._errors: dict[NodeId, BaseException] = {}
        self._waits: list[Any] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return not self.batch.waiting

    def has(self, node: NodeId) -> bool:
        """Whether a node's call has not been begun."""
        return any(call.node == node for call in tuple(self.batch.waiting))

    def take_out(self, node: NodeId, error: BaseException) -> None:
        """End a call before it has begun."""
        for call in tuple(self.batch.waiting):
            if call.node == node:
                with contextlib.suppress(ValueError):
                    self.batch.waiting.remove(call)
                    self.executor.outbox.put(Outcome(node, error))

    def condemn(self, node: NodeId, error: BaseException) -> bool:
        """Note what the outcome of a call that was sent is to be."""
        if self._job is not None and self._job.condemn(node, error):
            return True
        if not any(call.node == node for call in self._sent):
            return False
        self._errors[node] = error
        return True

    def message(self, known: set[str]) -> tuple[bytes, bool] | None:
        """Take calls off the batch for a worker: all up to the first job, or that job."""
        self.batch.is_begun = True
        calls: list[Call] = []
        waiting = self.batch.waiting
        while waiting:
            try:
                call = waiting.popleft()
            except IndexError:  # taken back this very moment
                break
            if isinstance(call, Job):
                if calls:
                    waiting.appendleft(call)
                    break
                self._give_back(call)
                return None
            calls.append(call)
        if waiting:
            self.executor.processes.put(_BatchErrand(self.executor, self.batch), first=True)
        if not calls:
            return None
        self._sent = calls
        parcel = self.executor.packer.pack_calls(calls)
        message = parcel.message(() if self.n_times else known)
        known.update(parcel.needs)
        return message, True

    def _give_back(self, job: Job) -> None:
        """Let the thread of the run pack a job: that may run the user's code."""
        if self.batch.waiting:
            self.executor.processes.put(_BatchErrand(self.executor, self.batch), first=True)
        self.executor.outbox.put(_Answer(lambda: self._submit(job)))

    def _submit(self, job: Job) -> list[Outcome]:
        self.executor.submit(job)
        return []

    def noted(self, wait: bytes, journal: int) -> bool:
        """Take note that something inside a call waits, or waits no more; return which."""
        told = pickle.loads(wait)
        waiting = next((call for call in self._sent if call.key in told[1]), self._sent[0])
        return _note(self.executor, waiting, told, self._waits)

    def answered(self, answer: bytes, journal: int) -> None:
        """Hand the answers of all calls to the thread of the run."""
        _forget(self.executor, self._sent[0], self._waits)
        answers = answers_in(journal)
        calls, self._sent = self._sent, []
        self.executor.outbox.put(_Answer(lambda: self._unpack(calls, answers)))

    def died(self, death: Death, journal: int) -> None:
        """Let the call that was running end with its worker; queue again what had not begun."""
        _forget(self.executor, self._sent[0], self._waits)
        answers = answers_in(journal)
        calls, self._sent = self._sent, []
        ended, left = calls[: len(answers)], calls[len(answers) :]
        if ended:
            self.executor.outbox.put(_Answer(lambda: self._unpack(ended, answers)))
        innocents: list[Call] = []
        is_charged = death.is_ours
        for call in left:
            error = self._errors.get(call.node)
            if error is None and not is_charged:
                error, is_charged = died(call, death), True
            if error is None:
                innocents.append(call)
            else:
                call.error, call.peak_bytes = error, death.peak_bytes
                self.executor.outbox.put(call)
        if innocents:
            self.executor.requeue(_BatchErrand(self.executor, Batch(list(innocents))))

    def _unpack(self, calls: list[Call], answers: list[bytes]) -> list[Outcome]:
        packer = self.executor.packer
        found = [pickle.loads(answer) for answer in answers]
        if found and isinstance(found[0], Wants):
            return self._send_again(calls, found[0])
        ended: list[Outcome] = []
        for call, done in zip(calls, found, strict=False):
            packer.settle(call, done, call)
            if call.node in self._errors:
                call.error = self._errors[call.node]
            ended.append(call)
        return ended

    def _send_again(self, calls: list[Call], wants: Wants) -> list[Outcome]:
        if self.n_times + 1 >= _MOST_TIMES:
            for call in calls:
                call.error = cannot_get_there(call)
            return list(calls)
        for call in calls:
            self.executor.packer.note(call, wants)
        self.executor.submit_batch(Batch(list(calls)), self.n_times + 1)
        return []


class _Answer:
    """What a worker said, to be unpacked in the thread of the run."""

    def __init__(self, unpack: Callable[[], list[Outcome]]) -> None:
        self.take_done = unpack


def _note(executor: ProcessExecutor, call: Job | Call, wait: Any, waits: list[Any]) -> bool:
    begins, chain, key = wait
    if begins:
        waits.append((chain, key))
    elif (chain, key) in waits:
        waits.remove((chain, key))
    return executor.note_wait(call, wait)


def _forget(executor: ProcessExecutor, call: Job | Call, waits: list[Any]) -> None:
    """End the waits of a call that has ended with them."""
    while waits:
        executor.note_wait(call, (False, *waits.pop()))


def died(job: Job | Call, death: Death) -> WorkerDied:
    """Return the error of a job whose worker died."""
    return WorkerDied(
        task=job.task.name,
        signal_number=death.signal_number,
        exit_code=death.exit_code,
        peak_bytes=death.peak_bytes,
    )


def cannot_get_there(job: Job | Call) -> CannotSend:
    """Return the error of a job for which a worker kept asking for more."""
    return CannotSend(
        f"Task {job.task.name!r} cannot run in another process: what it needs does not get there.",
        {},
        'Define what it uses in a module that can be imported, or give the task executor="threads".',
    )
