"""Many quick calls as one piece of work: what it costs to hand a job to a thread is paid once for all of them.

Theory of operation: the calls of a batch are made one after the other in one thread. Each has its own copy of the
context and its own place in `done` the moment it ends, so that nothing is lost and nothing leaks from one to the next.
What has not been begun can be taken back at any time: a call that was thought quick and is not holds up nobody.

Cost of a call beside the user's function: about 0.5 us, without a digest.
"""

import threading
from collections import deque
from contextvars import Context, copy_context
from typing import Any

from flowlib.execution.base import Job, Outcome
from flowlib.execution.worker import Worker, has_nodes, perform_in, refuse_generator, running_job
from flowlib.execution.worker import finish as finish_coroutine
from flowlib.graph.args import ATOMS
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.ids import Key, NodeId


class Call(Outcome):
    """A call whose inputs are plain values that nobody can change, and what becomes of it."""

    keywords: dict[str, Any] | None = None
    """What is given by keyword; then `args` has only what is given by position."""
    is_announced = False
    """Whether it has been told that it started; for the others that is told when they have ended."""
    previous: None = None

    def __init__(
        self,
        node: NodeId,
        task: Task[..., Any],
        policy: Policy,
        args: tuple[Any, ...],
        key: Key | None,
        wants_digest: bool,
    ) -> None:
        self.node, self.task, self.policy, self.args, self.key = node, task, policy, args, key
        self.keep, self.wants_digest = key is not None, wants_digest


class Batch:
    """Calls, and jobs among them, to be made one after the other.

    Attributes:
        waiting: What has not been begun.
        done: What has ended, in order.
        is_begun: Whether a worker has taken it.
    """

    __slots__ = ("done", "is_begun", "waiting")

    def __init__(self, calls: list[Call | Job]) -> None:
        self.is_begun = False
        self.waiting: deque[Call | Job] = deque(calls)
        self.done: deque[Outcome] = deque()

    def has_key(self, key: Key) -> bool:
        """Whether a call with this key has not been begun."""
        return any(call.key == key for call in tuple(self.waiting))

    def take_back(self) -> list[Call | Job]:
        """Return what has not been begun; it is nobody's then."""
        return _drained(self.waiting)

    def take_done(self) -> list[Outcome]:
        """Return what has ended since the last time."""
        return _drained(self.done)

    def perform(self, worker: Worker, context: Context) -> None:
        """Make every call that is still here. Never raises for what a call does."""
        self.is_begun = True
        inside = context.copy().run(worker.call_in_run, copy_context)
        now, next_call, ended = worker.clock.monotonic, self.waiting.popleft, self.done.append
        name = threading.current_thread().name
        began = now()
        while self.waiting:
            try:
                call = next_call()
            except IndexError:  # the last one was taken back this very moment
                return
            if isinstance(call, Job):
                ended(perform_in(context, worker, call))
                began = now()
                continue
            call.worker = name
            try:
                value = inside.copy().run(_make, call)
            except BaseException as error:  # user code may raise anything, KeyboardInterrupt and SystemExit included
                call.error = error
            else:
                call.value = value
            call.duration_s = -began + (began := now())
            if call.error is None and (call.wants_digest or type(call.value) not in ATOMS):
                inside.copy().run(_look_at, call, worker)
            ended(call)


def _drained(queue: "deque[Any]") -> list[Any]:
    taken: list[Any] = []
    while queue:
        try:
            taken.append(queue.popleft())
        except IndexError:  # the other thread was faster
            break
    return taken


def _make(call: Call) -> Any:
    running_job.set(call)
    return call.task.fn(*call.args, **call.keywords) if call.keywords else call.task.fn(*call.args)


def _look_at(call: Call, worker: Worker) -> None:
    """Do with a result what `Worker` does: nodes in it make the graph grow, else it is digested and encoded."""
    try:
        value = call.value
        if type(value) not in ATOMS:
            running_job.set(call)
            value = call.value = finish_coroutine(value)
            refuse_generator(call, value)
            if has_nodes(value, call):
                call.expansion, call.has_expansion, call.value = value, True, None
                return
        worker.keep(call, value, call)
    except BaseException as error:
        call.error, call.value = error, None
