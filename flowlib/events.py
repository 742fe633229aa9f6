"""What can happen in a run: one closed set of frozen events, emitted only by the engine.

Logs, progress, history and pictures are observers of this stream or folds over it. Times (`at`) are seconds since
1970, UTC; durations are measured on a monotonic clock.

What happened to hundreds of nodes in one go travels as one batch, a `NodesCached` or a `NodesRan`, whose columns say
what one event a node would say. Only observers that ask for batches meet them; `events()` is what all others see.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, Protocol, get_args

import attrs

from flowlib.ids import Key, NodeId, RunId

NodeState = Literal[
    "waiting", "ready", "running", "done", "cached", "failed", "skipped", "stopped", "timed_out", "cancelled"
]
NODE_STATES: tuple[str, ...] = get_args(NodeState)
RunStatus = Literal["running", "success", "partial", "failed", "cancelled", "crashed"]
"""`partial`: every target has a value, though some nodes failed; `failed`: some target has none, because some did."""


@attrs.frozen(kw_only=True)
class RunStarted:
    """Before the first node is decided."""

    run: RunId
    at: float
    n_nodes: int
    """Nodes known at the start; a run may grow."""
    tags: tuple[str, ...] = ()
    expected_s: float | None = None
    """Predicted wall seconds from past runs; None without history."""


@attrs.frozen(kw_only=True)
class NodesAdded:
    """After a task returned nodes and they joined the graph."""

    at: float
    parent: NodeId
    n_nodes: int


@attrs.frozen(kw_only=True)
class NodeCached:
    """After a valid entry was found, or entries for all targets that are made of this node; nothing ran."""

    at: float
    node: NodeId
    task: str
    key: Key | None
    """None when the node was not looked at, because the targets were recognised by their recipes."""
    label: str = ""
    saved_s: float = 0.0
    """Seconds the stored result once took to compute; without a key, what calls of the task took on average."""


@attrs.frozen(kw_only=True)
class NodeStarted:
    """Before the node's job is handed to an executor."""

    at: float
    node: NodeId
    task: str
    label: str = ""
    site: str = ""
    """`file:line` of the call that made the node."""
    reasons: tuple[str, ...] = ()
    """Why it runs, in short words."""
    attempt: int = 1
    """Counts up when a node is tried again."""


@attrs.frozen(kw_only=True)
class NodeRetried:
    """After an attempt failed, while the node waits to be tried again."""

    at: float
    node: NodeId
    task: str
    attempt: int
    """Which attempt failed; the first is 1."""
    delay_s: float
    """Seconds before the next one may start."""
    error_type: str
    message: str
    duration_s: float = 0.0
    worker: str = ""
    label: str = ""
    site: str = ""
    timed_out: bool = False
    """Whether it failed because it took too long."""
    cpu_s: float = 0.0
    peak_bytes: int = 0


@attrs.frozen(kw_only=True)
class NodeFinished:
    """After the job succeeded and its result was handed to the store."""

    at: float
    node: NodeId
    task: str
    key: Key | None = None
    """None when the call cannot be cached."""
    duration_s: float = 0.0
    size_bytes: int = 0
    """Encoded size of the result; 0 when it was not encoded."""
    worker: str = ""
    label: str = ""
    cpu_s: float = 0.0
    """Processor seconds, children included where it had a process of its own; 0 when not measured."""
    peak_bytes: int = 0
    """The most memory that its process held meanwhile; 0 when it had none of its own."""


@attrs.frozen(kw_only=True)
class NodeFailed:
    """After the job raised, or its inputs could not be had."""

    at: float
    node: NodeId
    task: str
    error_type: str
    message: str
    duration_s: float = 0.0
    worker: str = ""
    label: str = ""
    site: str = ""
    kept: bool = False
    """True when the run goes on with a `Failed` or a fallback in the place of the value."""
    attempt: int = 1
    """Which attempt it was: the last one."""
    cpu_s: float = 0.0
    """Processor seconds, children included where it had a process of its own; 0 when not measured."""
    peak_bytes: int = 0
    """The most memory that its process held meanwhile; 0 when it had none of its own."""


@attrs.frozen(kw_only=True)
class NodeTimedOut(NodeFailed):
    """After the node took longer than it may; where it cannot be stopped, it still runs, and its result will be dropped."""

    limit: str = "run"
    """Which of its limits it was: `run`, `queue` or `total`."""


@attrs.frozen(kw_only=True)
class NodeSkipped:
    """After something it needs ended without a value, so this node never starts."""

    at: float
    node: NodeId
    task: str
    because: NodeId
    """The node that it all began with: one that failed, took too long or was cancelled."""
    label: str = ""


@attrs.frozen(kw_only=True)
class NodeCancelled:
    """After the run stopped before this node was started."""

    at: float
    node: NodeId
    task: str
    label: str = ""


@attrs.frozen(kw_only=True)
class Noticed:
    """Something the user should know, told once per run: a result that could not be kept, a cache that is not used."""

    at: float
    kind: str
    """A stable short word, such as `not-kept`, `store-unusable`, `uncacheable`, `foreign-cache`."""
    message: str


@attrs.frozen(kw_only=True)
class RunFinished:
    """After the last node ended and the store was flushed."""

    at: float
    status: RunStatus
    duration_s: float
    counts: dict[str, int]
    """Number of nodes by final state."""


Event = (
    RunStarted
    | NodesAdded
    | NodeCached
    | NodeStarted
    | NodeRetried
    | NodeFinished
    | NodeFailed
    | NodeTimedOut
    | NodeSkipped
    | NodeCancelled
    | Noticed
    | RunFinished
)
EVENT_TYPES: tuple[type, ...] = get_args(Event)


# ----------------------------------------------------------------------------------------------------------------------
# Batches. Invariant: a batch and its events say the same; a batch has at least one node.


class Call(NamedTuple):
    """What many nodes of a batch have in common. A tuple, because it is looked up by value."""

    task: str
    site: str = ""
    reasons: tuple[str, ...] = ()


class NodesCached:
    """A `NodeCached` of each of many nodes, found in one look-up. Columns have one place for each node.

    A plain class with slots, as is `NodesRan`: both are made on the run's hot path and never compared there.
    """

    __slots__ = ("at", "call_of", "calls", "keys", "labels", "nodes", "saved_ns")

    def __init__(
        self,
        *,
        at: float,
        calls: Sequence[Call],
        call_of: Sequence[int],
        nodes: Sequence[NodeId],
        labels: Sequence[str],
        keys: Sequence[Key | None],
        saved_ns: Sequence[int],
    ) -> None:
        self.at = at
        self.calls, self.call_of = calls, call_of
        """The distinct tasks, and the place of each node's own among them."""
        self.nodes, self.labels, self.keys = nodes, labels, keys
        self.saved_ns = saved_ns
        """Nanoseconds that the stored results once took; whole numbers, because they are quick to write."""

    @property
    def ended_at(self) -> float:
        """When the last of its events happened."""
        return self.at

    @property
    def n_events(self) -> int:
        """How many events it stands for."""
        return len(self.nodes)

    def events(self) -> Iterator["Event"]:
        """Yield the events it stands for, in order."""
        columns = zip(self.nodes, self.call_of, self.labels, self.keys, self.saved_ns, strict=True)
        for node, call, label, key, saved_ns in columns:
            task, saved_s = self.calls[call].task, saved_ns / 1e9
            yield NodeCached(at=self.at, node=node, task=task, key=key, label=label, saved_s=saved_s)


class NodesRan:
    """A `NodeStarted` and a `NodeFinished` of each of many nodes that ran one after the other in one worker."""

    __slots__ = ("at", "call_of", "calls", "durations_ns", "keys", "labels", "nodes", "sizes", "worker")

    def __init__(
        self,
        *,
        at: float,
        calls: Sequence[Call],
        call_of: Sequence[int],
        nodes: Sequence[NodeId],
        labels: Sequence[str],
        keys: Sequence[Key | None],
        durations_ns: Sequence[int],
        sizes: Sequence[int],
        worker: str,
    ) -> None:
        self.at = at
        """When the first node started. Each of the others started when the one before it finished."""
        self.calls, self.call_of = calls, call_of
        """The distinct tasks, sites and reasons, and the place of each node's own among them."""
        self.nodes, self.labels, self.keys = nodes, labels, keys
        self.durations_ns, self.sizes, self.worker = durations_ns, sizes, worker

    @property
    def ended_at(self) -> float:
        """When the last node finished."""
        return self.at + sum(self.durations_ns) / 1e9

    @property
    def n_events(self) -> int:
        """How many events it stands for."""
        return 2 * len(self.nodes)

    def events(self) -> Iterator["Event"]:
        """Yield the events it stands for, in order: a node's start, its end, the next node's start."""
        ends = accumulate(self.durations_ns)
        columns = (self.nodes, self.call_of, self.labels, self.keys, self.durations_ns, self.sizes, ends)
        at = self.at
        for node, call, label, key, duration_ns, size, end_ns in zip(*columns, strict=True):
            task, site, reasons = self.calls[call]
            yield NodeStarted(at=at, node=node, task=task, label=label, site=site, reasons=reasons)
            at = self.at + end_ns / 1e9
            yield NodeFinished(
                at=at,
                node=node,
                task=task,
                key=key,
                duration_s=duration_ns / 1e9,
                size_bytes=size,
                worker=self.worker,
                label=label,
            )


EventBatch = NodesCached | NodesRan


class Observer(Protocol):
    """Something that watches a run. An observer that raises is dropped and reported once; the run goes on."""

    def on_event(self, event: Event) -> None:
        """Take one event. Called by one thread at a time, in order, but not always by the same; must not block."""


class BatchObserver(Observer, Protocol):
    """An observer whose class also has `on_batch` is given batches whole; to all others their events are told."""

    def on_batch(self, batch: EventBatch) -> None:
        """Take the events of many nodes at once, in the place where they happened."""
