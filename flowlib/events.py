"""What can happen in a run: one closed set of frozen events, emitted only by the engine.

Logs, progress, history and pictures are observers of this stream or folds over it. Times (`at`) are seconds since
1970, UTC; durations are measured on a monotonic clock.
"""

from typing import Literal, Protocol, get_args

import attrs

from flowlib.ids import Key, NodeId, RunId

NodeState = Literal[
    "waiting", "ready", "running", "done", "cached", "failed", "skipped", "stopped", "timed_out", "cancelled"
]
NODE_STATES: tuple[str, ...] = get_args(NodeState)
RunStatus = Literal["running", "done", "failed", "cancelled", "crashed"]


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
    """After a valid entry was found; nothing ran."""

    at: float
    node: NodeId
    task: str
    key: Key
    label: str = ""
    saved_s: float = 0.0
    """Seconds the stored result once took to compute."""


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
    """True when the sweep keeps the failure as a `Failed` value and goes on."""


@attrs.frozen(kw_only=True)
class NodeSkipped:
    """After a dependency ended without a value, so this node never starts."""

    at: float
    node: NodeId
    task: str
    because: NodeId
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
    | NodeFinished
    | NodeFailed
    | NodeSkipped
    | NodeCancelled
    | Noticed
    | RunFinished
)
EVENT_TYPES: tuple[type, ...] = get_args(Event)


class Observer(Protocol):
    """Something that watches a run. An observer that raises is dropped and reported once; the run goes on."""

    def on_event(self, event: Event) -> None:
        """Take one event. Called in the engine's thread, in order; must not block."""
