"""What one worker does at a time for a run: a job, or quick calls in a row; and what becomes of it when the worker dies.

Theory of operation: an errand is packed and unpacked in the thread of the run, and told of everything else in the thread
of the pool, which runs no code of the user's. What a worker said becomes an `_Answer` in the run's outbox.

Invariant: every call of an errand has one outcome: from its answer, from the death of its worker, or from another errand
that took it over.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, Protocol

from flowlib.errors import CannotSend, MemoryExceeded, WorkerDied
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.parcel import Again, Packer, Parcel
from flowlib.execution.serving import BATCH, SHARED, answers_in
from flowlib.execution.wire import Left, Wants
from flowlib.execution.workers import Death, Errand
from flowlib.ids import NodeId

_MOST_TIMES = 5
"""How often one job is packed anew because something was missing, or because its worker died without being to blame."""


class Door(Protocol):
    """What errands need of the executor they belong to."""

    outbox: "SimpleQueue[Any]"

    @property
    def packer(self) -> Packer:
        """What packs the jobs of the run."""

    def send(self, errand: "JobErrand") -> None:
        """Pack an errand's job and queue it."""

    def start(self, job: Job) -> None:
        """Note that a job begins."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def submit_batch(self, batch: Batch, n_times: int = 0) -> None:
        """Take quick calls."""

    def queue(self, errand: Errand) -> None:
        """Queue an errand before others."""

    def release(self, parcel: Parcel) -> None:
        """Remove the files of a parcel that has been performed."""

    def note_wait(self, call: Job | Call, wait: Any) -> bool:
        """Take note of a wait inside a task; return whether it begins."""

    def note_slow(self, slow: Iterable[Call], behind: Iterable[Call]) -> None:
        """Take note that a call takes long in its worker, and of those behind it that were given back."""


class JobErrand:
    """One job on its way."""

    def __init__(self, executor: Door, job: Job) -> None:
        self.executor, self.job = executor, job
        self.parcel: Parcel | None = None
        self.n_times = 0
        self._error: BaseException | None = None

        self._waits: list[Any] = []

    is_empty = True

    @property
    def cap_bytes(self) -> int | None:
        """The most memory its worker may hold."""
        return cap_of(self.job)

    def exceeded(self, held_bytes: int, journal: int) -> None:
        """Let the job end with an error that says how much it held."""
        self._error = self._error or too_much(self.job, held_bytes)

    def has(self, node: NodeId) -> bool:
        """Whether this is the job of a node."""
        return self.job.node == node

    def take_out(self, node: NodeId, error: BaseException) -> None:
        """End the job before it has begun."""
        self.executor.outbox.put(Outcome(node, error))

    def condemn(self, node: NodeId, error: BaseException) -> bool:
        """Note what its outcome is to be, if this is the job of a node."""
        if not self.has(node):
            return False
        self._error = error
        return True

    def message(self, known: set[str], worker: str) -> tuple[bytes, int] | None:
        """Return the parcel's message for a worker."""
        assert self.parcel is not None
        self.executor.start(self.job)
        message = self.parcel.message(() if self.n_times else known)
        known.update(self.parcel.needs)
        return message, 0

    def noted(self, note: bytes, journal: int) -> int:
        """Take note that something inside the task waits, or waits no more."""
        return _note(self.executor, self.job, pickle.loads(note), self._waits)

    def answered(self, answer: bytes, journal: int) -> None:
        """Hand the answer to the thread of the run."""
        _forget(self.executor, self.job, self._waits)
        if self._error is not None:  # it ended while it was to be ended: what was said goes
            self.executor.outbox.put(Outcome(self.job.node, self._error))
        else:
            self.executor.outbox.put(_Answer(lambda: self._unpack(answer)))

    def died(self, death: Death, journal: int) -> None:
        """End the job with its worker, unless that died for another reason."""
        _forget(self.executor, self.job, self._waits)
        if self._error is None and death.is_blameless and self.n_times < _MOST_TIMES:
            self.n_times += 1
            self.executor.queue(self)
            return
        outcome = Outcome(self.job.node, self._error or died(self.job, death))
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
            outcome = Outcome(self.job.node, cannot_get_there(self.job))
        self.executor.release(parcel)
        return [outcome]


class BatchErrand:
    """Quick calls on their way; jobs among them go one by one."""

    def __init__(self, executor: Door, batch: Batch, n_times: int = 0) -> None:
        self.executor, self.batch, self.n_times = executor, batch, n_times
        self.worker = ""
        self._sent: list[Call] = []
        self._n_taken = 0
        """How many of those have ended and been handed on while others went on."""
        self._job: JobErrand | None = None
        self._errors: dict[NodeId, BaseException] = {}
        self._waits: list[Any] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return not self.batch.waiting

    @property
    def cap_bytes(self) -> int | None:
        """The most memory its worker may hold: the least that one of the calls may."""
        calls = self._sent or tuple(self.batch.waiting)
        return min((cap for call in calls if (cap := cap_of(call)) is not None), default=None)

    def exceeded(self, held_bytes: int, journal: int) -> None:
        """Let the call that is running end with an error that says how much it held."""
        running = self._sent[min(len(answers_in(journal)), len(self._sent) - 1)]
        self._errors.setdefault(running.node, too_much(running, held_bytes))

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

    def message(self, known: set[str], worker: str) -> tuple[bytes, int] | None:
        """Take calls off the batch for a worker: all up to the first job, or that job."""
        self.batch.is_begun, self.worker = True, worker
        calls: list[Call] = []
        waiting = self.batch.waiting
        while waiting:
            try:
                call = waiting.popleft()
            except IndexError:  # taken back this very moment
                break
            if isinstance(call, Call) and call.follows:  # the values it asks for are not here
                call.is_returned = True
                self.executor.outbox.put(call)
                continue
            if isinstance(call, Job):
                if calls:
                    waiting.appendleft(call)
                    break
                self._give_back(call)
                return None
            calls.append(call)
        if waiting:
            self.executor.queue(BatchErrand(self.executor, self.batch))
        if not calls:
            return None
        self._sent = calls
        parcel = self.executor.packer.pack_calls(calls)
        message = parcel.message(() if self.n_times else known)
        known.update(parcel.needs)
        return message, BATCH | SHARED

    def _give_back(self, job: Job) -> None:
        """Let the thread of the run pack a job: that may run the user's code."""
        if self.batch.waiting:
            self.executor.queue(BatchErrand(self.executor, self.batch))
        self.executor.outbox.put(_Answer(lambda: self._submit(job)))

    def _submit(self, job: Job) -> list[Outcome]:
        self.executor.submit(job)
        return []

    def noted(self, note: bytes, journal: int) -> int:
        """Take note that something inside a call waits, or waits no more; or that one takes long."""
        told = pickle.loads(note)
        if isinstance(told, Left):
            self._leave(told.n_calls, journal)
            return 0
        waiting = next((call for call in self._sent if call.key in told[1]), self._sent[0])
        return _note(self.executor, waiting, told, self._waits)

    def _leave(self, n_left: int, journal: int) -> None:
        """Hand on what has ended before a call that takes long, and give the run those behind it."""
        first_left = len(self._sent) - n_left
        behind = self._sent[first_left:]
        del self._sent[first_left:]
        n_ended = self._hand_on(journal)
        self.executor.note_slow(self._sent[n_ended : n_ended + 1], behind)

    def _hand_on(self, journal: int) -> int:
        """Let the thread of the run unpack the answers that are there; return how many calls have ended in all."""
        answers = answers_in(journal)
        calls, new = self._sent[self._n_taken : len(answers)], answers[self._n_taken :]
        self._n_taken = len(answers)
        if new:
            self.executor.outbox.put(_Answer(lambda: self._unpack(calls, new)))
        return len(answers)

    def answered(self, answer: bytes, journal: int) -> None:
        """Hand the answers of all calls to the thread of the run."""
        _forget(self.executor, self._sent[0], self._waits)
        answers = answers_in(journal)[self._n_taken :]
        calls, self._sent = self._sent[self._n_taken :], []
        self.executor.outbox.put(_Answer(lambda: self._unpack(calls, answers)))

    def died(self, death: Death, journal: int) -> None:
        """Let the call that was running end with its worker; queue again what had not begun."""
        _forget(self.executor, self._sent[0], self._waits)
        n_ended = self._hand_on(journal)
        left, self._sent = self._sent[n_ended:], []
        innocents: list[Call] = []
        n_times = 0 if n_ended or self._errors else self.n_times + 1
        is_charged = death.is_blameless and n_times < _MOST_TIMES
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
            self.executor.queue(BatchErrand(self.executor, Batch(list(innocents)), n_times))

    def _unpack(self, calls: list[Call], answers: list[bytes]) -> list[Outcome]:
        packer = self.executor.packer
        found = [pickle.loads(answer) for answer in answers]
        if found and isinstance(found[0], Wants):
            return self._send_again(calls, found[0])
        packer.settle_quick(calls, found, self.worker)
        for call in calls if self._errors else ():
            call.error = self._errors.get(call.node, call.error)
        return list(calls)

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


def _note(executor: Door, call: Job | Call, wait: Any, waits: list[Any]) -> int:
    begins, chain, key = wait
    if begins:
        waits.append((chain, key))
    elif (chain, key) in waits:
        waits.remove((chain, key))
    return 1 if executor.note_wait(call, wait) else -1


def _forget(executor: Door, call: Job | Call, waits: list[Any]) -> None:
    """End the waits of a call that has ended with them."""
    while waits:
        executor.note_wait(call, (False, *waits.pop()))


def cap_of(call: Job | Call) -> int | None:
    """Return the most memory that a call may hold; None for no limit."""
    resources = getattr(call.policy, "resources", None)
    return getattr(resources, "memory_bytes", None)


def too_much(call: Job | Call, held_bytes: int) -> MemoryExceeded:
    """Return the error of a call that held more memory than it may."""
    return MemoryExceeded(task=call.task.name, cap_bytes=cap_of(call) or 0, peak_bytes=held_bytes)


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
