"""Run jobs on a cluster: whatever takes bytes to another process and brings bytes back.

Theory of operation: the executor packs a job (`parcel`) and hands the cluster an order that it need not understand; a reply
comes back and is unpacked in the thread of the run. The cluster is an adapter of a page: it carries orders, ends them, and
says how many fit. Everything else is here, once for all of them: what is sent again because the worker lacked something,
what a lost worker costs, what is too large. flowlib's scheduler decides what runs when; the engine behind the cluster never
has more than it can do at once, never tries again by itself what it was told is over, and sees no graph.

Invariant: all state is touched by the thread of the run only; what comes from other threads goes through the outbox.
Invariant: every order ends: with a reply, with an error of the cluster, or because nobody waits for it any more.
"""

import itertools
import os
import pickle
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from flowlib.errors import ClusterTrouble, TaskTimedOut
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.cluster import Cluster, WorkerLost, as_trouble, too_large, wishes_of
from flowlib.execution.errands import cannot_get_there, cap_of, died, too_much
from flowlib.execution.onsite import MOST_BYTES, Order, Reply, Token
from flowlib.execution.outbox import FarOutbox
from flowlib.execution.parcel import Packer
from flowlib.execution.wire import Terms, Wants
from flowlib.execution.worker import Worker
from flowlib.ids import NodeId

MOST_LOST = 3
"""How many workers may be lost with one job before it is to blame."""

_MOST_TIMES = 5
"""How often one job is packed anew because something was missing."""


class ElsewhereExecutor(FarOutbox):
    """One run's door to a cluster.

    Args:
        worker: This run's own means.
        terms: What holds for all jobs of this run.
        cluster: Carries orders; it belongs to whoever made it.
        n_workers: How many orders may be under way at once; 0 lets the cluster say.
        outbox: Where outcomes are put: a run's threads may share it.
        token: What shows a worker whether it sees the run's cache directory.
        environ: This program's environment, for workers that have another one.
    """

    def __init__(
        self,
        worker: Worker,
        terms: Terms,
        cluster: Cluster,
        n_workers: int = 0,
        outbox: "SimpleQueue[Any] | None" = None,
        token: Token | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.outbox: SimpleQueue[Any] = SimpleQueue() if outbox is None else outbox
        self.cluster, self.packer = cluster, Packer(terms, worker, environ=environ)
        self._worker, self._terms, self._environ, self._n_workers = worker, terms, environ, n_workers
        self._token = token if terms.root is not None else None
        name = (
            f"{terms.run}-{os.urandom(8).hex()}"  # an engine that sees one ticket twice may take one call for the other
        )
        self._tickets = map(f"{name}-{{}}".format, itertools.count(1))
        self._n_more = 0
        self._waiting: deque[_Errand | Batch] = deque()
        self._sent: dict[str, _Errand] = {}

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once."""
        return max(1, self._n_workers or self.cluster.capacity())

    # ---- the protocol of executors

    def submit(self, job: Job) -> None:
        """Send a job, or queue it until another one has ended."""
        self._waiting.append(_Errand([job]))
        self._hand_out()

    def submit_batch(self, batch: Batch) -> None:
        """Send quick calls, or queue them; what has not been sent can be taken back."""
        for call in tuple(batch.waiting):
            if isinstance(call, Call) and call.follows:  # the values it asks for are not there
                batch.waiting.remove(call)
                call.is_returned = True
                self.outbox.put(call)
        self._waiting.append(batch)
        self._hand_out()

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """End the job of a node; its outcome has this error. The worker's child process is ended within seconds."""
        for errand in [*self._waiting]:
            if isinstance(errand, _Errand) and errand.has(node):
                self._waiting.remove(errand)
                return self._give_up(errand, node, error)
        for ticket, errand in [*self._sent.items()]:
            if errand.has(node):
                if not self.cluster.end(ticket):
                    return False
                del self._sent[ticket]
                self._give_up(errand, node, error)
                self._hand_out()
                return True
        return False

    def _give_up(self, errand: "_Errand", node: NodeId, error: BaseException) -> bool:
        """End one call of an errand; the others, which had not answered, go again."""
        errand.n_lost -= 1  # this is nobody's loss
        for call in errand.calls:
            if call.node == node:
                self.outbox.put(_ended(call, error))
        self._again(errand, [call for call in errand.calls if call.node != node])
        return True

    def replace_worker(self) -> None:
        """Take one more order at once: one cannot be ended, and may never come back."""
        self._n_more += 1

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self.outbox.put(None)

    def close(self) -> None:
        """End what is still under way."""
        sent, self._sent = self._sent, {}
        self._waiting.clear()
        for ticket in sent:
            self.cluster.end(ticket)

    # ---- out

    def _hand_out(self) -> None:
        """Send what waits, as far as there is room."""
        while self._waiting and len(self._sent) < self.capacity + self._n_more:
            found = self._waiting.popleft()
            errand = _Errand.of_batch(found, self._waiting) if isinstance(found, Batch) else found
            if errand is not None:
                self._send(errand)

    def _send(self, errand: "_Errand") -> None:
        """Pack an errand and hand it over; the outcomes of what cannot be sent come out at once."""
        message = self._message(errand)
        if message is None:
            return
        ticket = next(self._tickets)
        order = Order(
            ticket=ticket,
            message=message,
            is_batch=errand.is_batch,
            cap_bytes=min((cap for call in errand.calls if (cap := cap_of(call)) is not None), default=None),
            limit_s=_limit_s(errand.calls[0]),
            token=self._token,
        )
        self._sent[ticket] = errand
        job = errand.calls[0]
        if isinstance(job, Job) and job.stopwatch is not None and not self.cluster.keeps_time:
            job.stopwatch.began_at = self._worker.clock.monotonic()

        def told(reply: bytes | BaseException) -> None:
            self.outbox.put(_Answer(lambda: self._take(ticket, reply)))

        try:
            self.cluster.send(order, wishes_of(errand.calls[0]), told)
        except Exception as error:  # no worker will do, or the cluster is gone
            del self._sent[ticket]
            self._fail(errand, error)

    def _message(self, errand: "_Errand") -> bytes | None:
        if errand.is_batch:
            fit: list[Any] = []
            for call in errand.calls:
                try:
                    self.packer.goods(call.task, call.policy)
                    fit.append(call)
                except Exception as error:
                    self.outbox.put(_ended(call, error))
            errand.calls = fit
            if not fit:
                return None
            message = self.packer.pack_calls(fit).message()
        else:
            packed = self.packer.pack(errand.calls[0])  # type: ignore[arg-type]  # a job: no batch has one
            if isinstance(packed, Outcome):
                self.outbox.put(packed)
                return None
            message = packed.message()
        if len(message) > MOST_BYTES:
            self._fail(errand, too_large(errand.calls[0], "What it is given is", self._terms))
            return None
        return message

    # ---- back

    def _take(self, ticket: str, reply: bytes | BaseException) -> list[Outcome]:
        """Take what became of an order. In the thread of the run."""
        errand = self._sent.pop(ticket, None)
        if errand is None:  # nobody waits for it any more
            return []
        if isinstance(reply, WorkerLost):
            self._lost(errand, reply)
        elif isinstance(reply, BaseException):
            self._fail(errand, reply)
        else:
            self._replied(errand, pickle.loads(reply))
        self._hand_out()
        return []

    def _lost(self, errand: "_Errand", lost: WorkerLost) -> None:
        errand.n_lost += lost.n_lost
        if errand.n_lost < MOST_LOST:
            self._waiting.appendleft(errand)
            return
        name = errand.calls[0].task.name
        facts = {"workers lost": str(errand.n_lost), "the last one": str(lost)}
        hint = "Most likely the machine runs out of memory with it; give it less, or a worker with more."
        self._fail(errand, ClusterTrouble(f"Task {name!r} lost every worker that it was given to.", facts, hint))

    def _fail(self, errand: "_Errand", error: BaseException) -> None:
        for call in errand.calls:
            self.outbox.put(_ended(call, as_trouble(error, call, self.cluster.name)))

    def _replied(self, errand: "_Errand", reply: Reply) -> None:
        if reply.trouble == "storeless":
            self._do_without_store()
            self._waiting.appendleft(errand)
        elif reply.trouble == "too large":
            self._fail(errand, too_large(errand.calls[0], "What it returns is", self._terms))
        elif reply.trouble:
            hint = "Install the same versions on every worker."
            facts = {"versions": reply.trouble}
            self._fail(errand, ClusterTrouble(f"A worker of {self.cluster.name} does not fit.", facts, hint))
        else:
            self._settle(errand, reply)

    def _do_without_store(self) -> None:
        """A worker joined that does not see the cache directory: from now on, values travel with the messages."""
        if self._token is not None:
            self._token, self._terms = None, self._terms.without_store()
            self.packer = Packer(self._terms, self._worker, environ=self._environ)

    def _settle(self, errand: "_Errand", reply: Reply) -> None:
        answers: list[Any] = [pickle.loads(answer) for answer in reply.answers]
        if answers and isinstance(answers[0], Wants):
            self._want(errand, answers[0])
            return
        ended, left = errand.calls[: len(answers)], errand.calls[len(answers) :]
        outcomes: list[Any] = ended
        if errand.is_batch:
            self.packer.settle_quick(ended, answers, reply.worker)  # type: ignore[arg-type]
        elif ended:
            outcomes = [Outcome(ended[0].node)]
            self.packer.settle(ended[0], answers[0], outcomes[0])
        for outcome in outcomes:
            outcome.worker = reply.worker or outcome.worker
            self.outbox.put(outcome)
        error = _death_of(left[0], reply) if left else None
        if error is not None and reply.death is not None:
            dead = _ended(left[0], error)
            dead.peak_bytes, dead.worker = max(reply.death.peak_bytes, reply.held_bytes), reply.worker
            dead.limit = "run" if reply.is_late else ""
            self.outbox.put(dead)
            left = left[1:]
        self._again(errand, left)

    def _want(self, errand: "_Errand", wants: Wants) -> None:
        errand.n_packed += 1
        if errand.n_packed >= _MOST_TIMES:
            self._fail(errand, cannot_get_there(errand.calls[0]))
            return
        for call in errand.calls:
            self.packer.note(call, wants)
        self._waiting.appendleft(errand)

    def _again(self, errand: "_Errand", calls: Sequence[Job | Call]) -> None:
        """Send again what had not begun when a process ended."""
        if not calls:
            return
        again = _Errand([*calls], is_batch=errand.is_batch, n_lost=errand.n_lost + 1, n_packed=errand.n_packed)
        if again.n_lost < 2 * _MOST_TIMES:
            self._waiting.appendleft(again)
        else:
            self._fail(again, WorkerLost("its process kept being ended"))


class _Errand:
    """A job, or quick calls that one process makes in a row, on the way."""

    def __init__(self, calls: list[Job | Call], *, is_batch: bool = False, n_lost: int = 0, n_packed: int = 0) -> None:
        self.calls, self.is_batch = calls, is_batch
        self.n_lost, self.n_packed = n_lost, n_packed

    @classmethod
    def of_batch(cls, batch: Batch, waiting: "deque[_Errand | Batch]") -> "_Errand | None":
        """Take calls off a batch: all up to the first job, or that job; what is left waits on. None if nothing is left."""
        batch.is_begun = True
        calls: list[Job | Call] = []
        while batch.waiting:
            try:
                call = batch.waiting.popleft()
            except IndexError:  # taken back this very moment
                break
            if isinstance(call, Job) and calls:
                batch.waiting.appendleft(call)
                break
            calls.append(call)
            if isinstance(call, Job):
                break
        if batch.waiting:
            waiting.appendleft(batch)
        return cls(calls, is_batch=isinstance(calls[0], Call)) if calls else None

    def has(self, node: NodeId) -> bool:
        """Whether a node's call is in it."""
        return any(call.node == node for call in self.calls)


class _Answer:
    """What a cluster said, to be taken in the thread of the run."""

    def __init__(self, take: Callable[[], list[Outcome]]) -> None:
        self.take_done = take


def _ended(call: Job | Call, error: BaseException) -> Outcome:
    if isinstance(call, Job):
        return Outcome(call.node, error)
    call.error = error
    return call


def _limit_s(call: Job | Call) -> float | None:
    """Return how long one attempt of a call may take."""
    return None if call.policy.timeout is None else call.policy.timeout.run


def _death_of(call: Job | Call, reply: Reply) -> BaseException | None:
    """Return the error of the call that ended its process, or was ended with it; None if it was ended for another reason."""
    if reply.is_late:
        return TaskTimedOut(task=call.task.name, limit="run", limit_s=_limit_s(call) or 0.0)
    if reply.held_bytes:
        return too_much(call, reply.held_bytes)
    return None if reply.death is None or reply.death.is_blameless else died(call, reply.death)
