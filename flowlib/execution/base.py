"""What an executor is given and what it answers. Executors know jobs and outcomes, nothing else."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.ids import Digest, Key, NodeId
from flowlib.store.base import Entry, Payload


@attrs.define(eq=False)
class Shared:
    """A mutable input that others use too: the worker copies it if it is small, and checks it afterwards if not."""

    value: Any
    first: Digest | None = None
    """What a large one was when it was first lent; it must still be that each time."""


@attrs.frozen
class Stored:
    """An input that is in the store: the worker loads its own copy."""

    key: Key
    output: Digest | None = None
    """What the value must be: another run may have put another result in its place since the node was decided."""
    spare: Shared | None = None
    """The value as it is in memory, if it still is: used when the stored one cannot be loaded."""


@attrs.frozen
class Given:
    """An input that is handed over as it is: immutable, or nobody else will use it."""

    value: Any


Input = Stored | Given | Shared | Payload
"""A bare payload is an input in the store whose few bytes were kept when it was decided: nothing is looked up again."""


@attrs.define(eq=False)
class Stopwatch:
    """Tells the engine when an attempt whose time is limited began. Its executor sets it, in any thread."""

    began_at: float | None = None
    """On the monotonic clock; None while the job waits for a worker."""


@attrs.frozen(kw_only=True)
class Job:
    """One call to make."""

    node: NodeId
    task: Task[..., Any]
    policy: Policy
    args: tuple[Any, ...]
    """The call's bound arguments, with nodes in them."""
    inputs: Mapping[Node, Input]
    """Where the value of each node in `args` comes from."""
    key: Key | None = None
    """The call's key; None when it cannot be cached."""
    parts: Mapping[str, str] = attrs.field(factory=dict)
    """The key's parts; `arg:NAME` tells what each argument was before the call."""
    keep: bool = True
    """Whether the result goes into the store."""
    wants_digest: bool = True
    """Whether the digest of the result is wanted."""
    previous: Entry | None = None
    """An earlier result to compare with, when the task has an equality policy."""
    stream: Callable[[], Any] | None = None
    """Makes the value instead of calling the task: for a reduction that has been fed already."""
    attempt: int = 1
    """Which attempt at its node it is; the outcome has to say the same."""
    stopwatch: Stopwatch | None = None
    """To be set when the job begins; None when nobody asks."""
    assembles: bool = False
    """Whether the value is `args[0]` with values in the places of its nodes: what a task returned, spliced in."""

    @classmethod
    def assembling(
        cls,
        node: NodeId,
        task: Task[..., Any],
        policy: Policy,
        returned: Any,
        inputs: Mapping[Node, Input],
        *,
        keep: bool,
        wants_digest: bool,
    ) -> "Job":
        """Make the job that puts the values of returned nodes in their places."""
        args = (returned,)
        return cls(
            node=node,
            task=task,
            policy=policy,
            args=args,
            inputs=inputs,
            keep=keep,
            wants_digest=wants_digest,
            assembles=True,
        )

    @classmethod
    def failing(cls, node: NodeId, task: Task[..., Any], policy: Policy, error: BaseException) -> "Job":
        """Make a job that only raises, so that every end of a node comes out of its executor."""

        def fail() -> Any:
            raise error

        return cls(node=node, task=task, policy=policy, args=(), inputs={}, stream=fail)


class Outcome:
    """What became of a job. Exactly one of value, error, expansion, lost is meant, in the order error first.

    One is made for every node: what most of them do not have stands on the class and costs an instance nothing.
    """

    value: Any = None
    error: BaseException | None = None
    expansion: Any = None
    """What the task returned, when there are nodes in it."""
    has_expansion: bool = False
    lost: Node | None = None
    """The input whose stored value could not be loaded."""
    borrowed: bool = False
    """Whether the value may share memory with an input that others hold, so that it must not be handed on as it is."""
    lenders: tuple[Node, ...] = ()
    """Whose values those inputs are."""
    spoiled: tuple[Node, ...] = ()
    """Shared inputs that the job changed: nobody may use them any more."""
    digest: Digest | None = None
    payload: Payload | None = None
    """None when the result was not kept."""
    not_kept: str = ""
    """Why the result was not kept though it should have been."""
    flags: frozenset[str] = frozenset()
    report: Any = None
    """What runs inside the call did, if that was in another process."""
    is_away: bool = False
    """Whether the value was made in another process and is in the store only."""
    is_special: bool = False
    """Whether it is away, or has a report: no plain call."""
    duration_s: float = 0.0
    cpu_s: float = 0.0
    """Processor seconds; 0 where they are not measured."""
    peak_bytes: int = 0
    """The most memory that the process held; 0 where it is not measured."""
    worker: str = ""
    attempt: int = 1
    """That of the job."""
    is_judged: bool = False
    """Whether it has been compared with the limits of its timeout."""
    limit: str = ""
    """Which limit of its timeout the call went over: `run`, `queue` or `total`; empty for every other end."""

    def __init__(
        self, node: NodeId, error: BaseException | None = None, duration_s: float = 0.0, worker: str = ""
    ) -> None:
        self.node, self.error, self.duration_s, self.worker = node, error, duration_s, worker

    @classmethod
    def of(cls, job: Job, error: BaseException | None = None) -> "Outcome":
        """Return the outcome of a job, which tells of the same attempt."""
        outcome = cls(job.node, error)
        if job.attempt > 1:
            outcome.attempt = job.attempt
        return outcome


class Call(Outcome):
    """A call whose inputs are plain values that nobody can change, and what becomes of it."""

    keywords: dict[str, Any] | None = None
    """What is given by keyword; then `args` has only what is given by position."""
    is_announced = False
    """Whether it has been told that it started; for the others that is told when they have ended."""
    source: Node | None = None
    """The node itself, where later calls of the same batch ask for its value."""
    follows = False
    """Whether `args` are as the node has them, with nodes among them: earlier calls of the same batch, and others."""
    splits = False
    """Whether they still have to be split into what is given by position and by keyword."""
    is_returned = False
    """Whether it has not been made, because those values are not there, or are not plain."""
    previous: None = None
    key: Key | None = None
    keep = wants_digest = False

    def __init__(
        self,
        node: NodeId,
        task: Task[..., Any],
        policy: Policy,
        args: tuple[Any, ...],
        key: Key | None = None,
        wants_digest: bool = False,
    ) -> None:
        self.node, self.task, self.policy, self.args = node, task, policy, args
        if wants_digest or key is not None:
            self.key, self.keep, self.wants_digest = key, key is not None, wants_digest

    @property
    def is_untold(self) -> bool:
        """Whether it has not ended, and nobody has been told that it began."""
        return not self.is_announced and not self.duration_s and self.error is None

    def split(self) -> None:
        """Tell what is given by keyword from what is given by position."""
        positional, self.keywords = self.task.signature.split(self.args)
        self.args = tuple(positional)


Gather = Callable[[tuple[Any, ...], Mapping[Node, Any]], tuple[Any, ...] | None]


class Batch:
    """Calls, and jobs among them, to be made one after the other.

    Attributes:
        waiting: What has not been begun.
        done: What has ended, in order.
        made: The plain values that later calls of the batch may ask for; None if none does.
        gather: Returns a call's arguments with values for nodes, those in `made` among them; None if they are not plain.
        is_begun: Whether a worker has taken it.
        current: What has been begun last, if it is begun in this process.
        task: Name of the task of the first call.
        has_waited: Whether its calls mostly waited for something, so that others could have run meanwhile.
    """

    __slots__ = ("current", "done", "gather", "has_waited", "is_begun", "made", "task", "waiting")

    def __init__(
        self, calls: list[Call | Job], made: dict[Node, Any] | None = None, gather: Gather | None = None
    ) -> None:
        self.is_begun = False
        self.has_waited = False
        self.current: Call | Job | None = None
        self.made, self.gather = made, gather
        self.task = calls[0].task.name if calls else ""
        self.waiting: deque[Call | Job] = deque(calls)
        self.done: deque[Outcome] = deque()

    def fill(self, call: Call) -> bool:
        """Bring the arguments of a call that follows others together; False if it cannot be made here."""
        args = None if self.gather is None or self.made is None else self.gather(call.args, self.made)
        if args is None:
            return False
        call.args = args
        if call.splits:
            call.split()
        return True

    def take(self, key: Key) -> "Call | Job | None":
        """Return the call with this key, if it has not been begun; it is the caller's then."""
        for call in tuple(self.waiting):
            if call.key == key:
                with contextlib.suppress(ValueError):  # the other thread was faster
                    self.waiting.remove(call)
                    return call
        return None

    @property
    def at_work(self) -> Call | None:
        """The call that is being made, if nobody has been told that it began."""
        current = self.current  # the worker goes on meanwhile
        return current if isinstance(current, Call) and current.is_untold else None

    def take_back(self) -> list[Call | Job]:
        """Return what has not been begun, in order; it is nobody's then.

        From the end on, because the worker takes from the front meanwhile: so it is the end of the batch, with no gaps.
        """
        taken: deque[Call | Job] = deque()
        while self.waiting:
            try:
                taken.appendleft(self.waiting.pop())
            except IndexError:  # the worker was faster
                break
        return [*taken]

    def take_done(self) -> list[Outcome]:
        """Return what has ended since the last time."""
        return drained(self.done)


class Ended(Protocol):
    """Something that holds outcomes: a batch, the answer of another process."""

    def take_done(self) -> list[Outcome]:
        """Return the outcomes that are there, each once."""


def drained(queue: "deque[Any]") -> list[Any]:
    """Take what is in a queue that other threads put into."""
    taken: list[Any] = []
    while queue:
        try:
            taken.append(queue.popleft())
        except IndexError:  # the other thread was faster
            break
    return taken


class Executor(Protocol):
    """Where jobs run."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once. It may change: workers of a cluster come and go."""

    makes_calls_here: bool
    """Whether quick calls may be made in the thread of the engine: not if they were to be made in other processes."""

    def submit(self, job: Job) -> None:
        """Take a job; its outcome will come out of `collect`, always, whatever the job does."""

    def submit_batch(self, batch: Batch) -> None:
        """Take quick calls that one worker makes in a row; their outcomes come out of `collect`."""

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Make calls in the calling thread as they come: each has ended, and `ended` was told, before the next is asked for."""

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first; empty after `timeout_s` or a `wake`."""

    def take_ended(self) -> list[Outcome]:
        """Return the outcomes that are there; never waits, and performs nothing."""

    def take_made(self) -> list[Outcome]:
        """Return those of the outcomes that come from this process, and so are there without running code of the user's."""

    def take_slow(self) -> list[Call]:
        """Return calls that were thought to be quick and hold others up in another process, each once."""

    def take_given_back(self) -> list[Call]:
        """Return calls that were behind those in another process, and have not begun; they are nobody's then."""

    def take_over(self, key: Key) -> bool:
        """Perform a job or call with this key now, in the calling thread; False if none waits to be started.

        A run that waits for a key calls it, because the thread it waits in may be the one that job is waiting for.
        """

    def help_out(self) -> bool:
        """Perform a queued job that holds something others wait for, in the calling thread; False if there is none.

        A run inside a task that waits for a budget calls it, because the thread it waits in may be the one that job needs.
        """

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """End the job of a node now; its outcome comes out of collect with this error. False if this executor cannot."""

    def replace_worker(self) -> None:
        """Take one more job at once, in the place of one that cannot be ended and may never come back."""

    def wake(self) -> None:
        """Make a waiting `collect` return now. May be called from a signal handler."""

    def close(self) -> None:
        """Let go of the workers without waiting for jobs that still run."""
