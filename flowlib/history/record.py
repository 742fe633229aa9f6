"""What a run was: its events folded into one frozen value.

Theory of operation: the fold keeps, for each node, the event that started it and the event that ended it, nothing else;
every number is derived from these when a record is asked for. So taking an event is O(1), a record is O(nodes), and
a stream cut anywhere gives the record of the run so far.

Invariant: `sum(record.counts.values()) == record.n_nodes`, for any stream.
Invariant: no clock is read. Whatever a record knows of time came in an event.
"""

from collections.abc import Iterable, Mapping

import attrs

from flowlib.events import (
    NODE_STATES,
    Event,
    NodeCached,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodesAdded,
    NodeSkipped,
    NodeStarted,
    NodeState,
    NodeTimedOut,
    Noticed,
    RunFinished,
    RunStarted,
    RunStatus,
)
from flowlib.ids import Key, NodeId, RunId

NodeEnd = NodeCached | NodeFinished | NodeFailed | NodeTimedOut | NodeSkipped | NodeCancelled | NodeRetried
"""What ends a node, or an attempt at it."""
NODE_EVENTS = (
    *(NodeStarted, NodeFinished, NodeCached, NodeFailed, NodeTimedOut, NodeSkipped, NodeCancelled),
    NodeRetried,
)
"""The events that move one node, most frequent first (they are tried in this order)."""

_STATE_AFTER: Mapping[type, NodeState] = {
    NodeStarted: "running",
    NodeFinished: "done",
    NodeCached: "cached",
    NodeFailed: "failed",
    NodeTimedOut: "timed_out",
    NodeRetried: "waiting",
    NodeSkipped: "skipped",
    NodeCancelled: "cancelled",
}


def state_after(event: NodeStarted | NodeEnd) -> NodeState:
    """Return the state a node is in once this event has happened.

    >>> state_after(NodeSkipped(at=1.0, node=2, task="fit", because=1))
    'skipped'
    """
    return _STATE_AFTER[type(event)]


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """An attempt at a node that failed, after which there was to be another one."""

    attempt: int
    """The first is 1."""
    ended_at: float
    duration_s: float
    error_type: str
    message: str
    timed_out: bool
    delay_s: float
    """Seconds before the next one might start."""
    cpu_s: float = 0.0
    peak_bytes: int = 0


@attrs.frozen(kw_only=True)
class NodeRecord:
    """What happened to one node. Fields that its state has no use for keep their defaults."""

    node: NodeId
    task: str
    state: NodeState
    label: str = ""
    started_at: float | None = None
    """None for a node that never started: a hit, a skipped or a cancelled one."""
    ended_at: float | None = None
    duration_s: float = 0.0
    saved_s: float = 0.0
    size_bytes: int = 0
    key: Key | None = None
    worker: str = ""
    site: str = ""
    reasons: tuple[str, ...] = ()
    error_type: str = ""
    message: str = ""
    cpu_s: float = 0.0
    """Processor seconds; 0 when they were not measured, as for calls that took no time worth it."""
    peak_bytes: int = 0
    """The most memory that its process held; 0 where nodes share one."""
    because: NodeId | None = None
    """The node that made this one be skipped: the first that ended without a value."""
    kept: bool = False
    attempts: tuple[AttemptRecord, ...] = ()
    """The attempts before the one that the other fields tell of."""


@attrs.frozen(kw_only=True)
class TaskRecord:
    """The nodes of one task, summed."""

    task: str
    counts: Mapping[str, int]
    """State -> number of nodes, in the order of NODE_STATES; states without nodes are left out."""
    n_timed: int
    """Nodes that ran to an end, done or failed."""
    duration_s: float
    """Seconds of work, summed over the timed nodes."""
    longest_s: float
    saved_s: float
    size_bytes: int
    cpu_s: float = 0.0
    """Processor seconds, summed over the nodes for which they were measured."""
    peak_bytes: int = 0
    """The most memory that the process of one of them held."""

    @property
    def mean_s(self) -> float:
        """Mean seconds of a timed node; 0 when none is."""
        return self.duration_s / self.n_timed if self.n_timed else 0.0


@attrs.frozen(kw_only=True)
class RunRecord:
    """What a run was, or is so far."""

    run: RunId
    """Empty when the stream lacks its beginning."""
    status: RunStatus
    """`running` until the stream says otherwise; who knows that the process is gone makes it `crashed`."""
    started_at: float | None
    ended_at: float | None
    """None while no end was seen."""
    duration_s: float
    """Wall seconds: from the engine when the run ended, else up to the last event."""
    n_nodes: int
    counts: Mapping[str, int]
    """State -> number of nodes, in the order of NODE_STATES; states without nodes are left out."""
    nodes: Mapping[NodeId, NodeRecord]
    """In the order in which nodes were first heard of; nodes that have not been begun are not in it."""
    tasks: tuple[TaskRecord, ...]
    """In the order in which tasks were first heard of."""
    tags: tuple[str, ...] = ()
    expected_s: float | None = None
    notices: tuple[Noticed, ...] = ()

    @property
    def saved_s(self) -> float:
        """Seconds that hits did not have to be computed again."""
        return sum(task.saved_s for task in self.tasks)

    @property
    def work_s(self) -> float:
        """Seconds of work in all workers together; over `duration_s` it is the parallelism reached."""
        return sum(task.duration_s for task in self.tasks)

    @property
    def failures(self) -> tuple[NodeRecord, ...]:
        """The nodes that failed or took too long, in node order of first mention."""
        return tuple(node for node in self.nodes.values() if node.state in ("failed", "timed_out"))


def fold(events: Iterable[Event]) -> RunRecord:
    """Return the record of a stream of events, whole or cut anywhere.

    Cost: O(events).

    >>> fold([NodeStarted(at=1.0, node=0, task="load")]).counts
    {'running': 1}
    """
    recorder = Recorder()
    for event in events:
        recorder.on_event(event)
    return recorder.record()


class Recorder:
    """An observer that can say at any moment what the run was so far. `fold` is this, fed at once."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._n_added = 0
        self._first_at: float | None = None
        self._last_at = 0.0
        self._starts: dict[NodeId, NodeStarted] = {}
        self._ends: dict[NodeId, NodeEnd] = {}
        self._retried: dict[NodeId, list[NodeRetried]] = {}
        self._order: dict[NodeId, None] = {}
        self._notices: list[Noticed] = []

    def on_event(self, event: Event) -> None:
        """Take one event. O(1)."""
        if self._first_at is None:
            self._first_at = event.at
        self._last_at = event.at
        if isinstance(event, NODE_EVENTS):
            self._on_node(event)
        elif isinstance(event, RunStarted):
            self._started = event
        elif isinstance(event, NodesAdded):
            self._n_added += event.n_nodes
        elif isinstance(event, Noticed):
            self._notices.append(event)
        else:
            self._finished = event

    def record(self) -> RunRecord:
        """Return what the run was so far. O(nodes)."""
        starts, ends, retried = self._starts, self._ends, self._retried
        nodes = {node: _node_record(node, starts.get(node), ends.get(node), retried.get(node)) for node in self._order}
        started, finished = self._started, self._finished
        n_nodes = max((started.n_nodes if started else 0) + self._n_added, len(nodes))
        elapsed_s = 0.0 if self._first_at is None else max(self._last_at - self._first_at, 0.0)
        return RunRecord(
            run=started.run if started else RunId(""),
            status=finished.status if finished else "running",
            started_at=started.at if started else self._first_at,
            ended_at=finished.at if finished else None,
            duration_s=finished.duration_s if finished else elapsed_s,
            n_nodes=n_nodes,
            counts=_counts(nodes.values(), n_waiting=n_nodes - len(nodes)),
            nodes=nodes,
            tasks=_task_records(nodes.values()),
            tags=started.tags if started else (),
            expected_s=started.expected_s if started else None,
            notices=tuple(self._notices),
        )

    def _on_node(self, event: NodeStarted | NodeEnd) -> None:
        self._order[event.node] = None
        if isinstance(event, NodeStarted):
            # A node may start again after an end: a hit whose blob turns out to be lost is computed after all.
            self._starts[event.node] = event
            self._ends.pop(event.node, None)
        else:
            self._ends[event.node] = event
            if isinstance(event, NodeRetried):
                self._retried.setdefault(event.node, []).append(event)


def _node_record(
    node: NodeId, start: NodeStarted | None, end: NodeEnd | None, retried: list[NodeRetried] | None
) -> NodeRecord:
    last = end or start
    assert last is not None, "a node in the order has a start or an end"
    fields: dict[str, object] = {}
    if start is not None:
        fields.update(started_at=start.at, site=start.site, reasons=start.reasons)
    match end:
        case NodeCached():
            fields.update(key=end.key, saved_s=end.saved_s)
        case NodeFinished():
            fields.update(key=end.key, duration_s=end.duration_s, size_bytes=end.size_bytes, worker=end.worker)
        case NodeFailed():
            fields.update(error_type=end.error_type, message=end.message, kept=end.kept)
            fields.update(duration_s=end.duration_s, worker=end.worker, site=end.site or fields.get("site", ""))
        case NodeSkipped():
            fields.update(because=end.because)
    if isinstance(end, NodeFinished | NodeFailed):
        fields.update(cpu_s=end.cpu_s, peak_bytes=end.peak_bytes)
    if retried is not None:
        fields.update(attempts=tuple(map(_attempt_record, retried)))
    label = last.label or (start.label if start else "")
    ended_at = end.at if end and not isinstance(end, NodeRetried) else None
    return NodeRecord(
        node=node, task=last.task, state=state_after(last), label=label, ended_at=ended_at, **fields  # type: ignore[arg-type]
    )  # fmt: skip


def _attempt_record(event: NodeRetried) -> AttemptRecord:
    return AttemptRecord(
        attempt=event.attempt,
        ended_at=event.at,
        duration_s=event.duration_s,
        error_type=event.error_type,
        message=event.message,
        timed_out=event.timed_out,
        delay_s=event.delay_s,
        cpu_s=event.cpu_s,
        peak_bytes=event.peak_bytes,
    )


def _counts(nodes: Iterable[NodeRecord], *, n_waiting: int = 0) -> dict[str, int]:
    counts = dict.fromkeys(NODE_STATES, 0)
    counts["waiting"] += n_waiting
    for node in nodes:
        counts[node.state] += 1
    return {state: n for state, n in counts.items() if n}


def _task_records(nodes: Iterable[NodeRecord]) -> tuple[TaskRecord, ...]:
    nodes_of: dict[str, list[NodeRecord]] = {}
    for node in nodes:
        nodes_of.setdefault(node.task, []).append(node)
    return tuple(_task_record(task, members) for task, members in nodes_of.items())


def _task_record(task: str, nodes: list[NodeRecord]) -> TaskRecord:
    timed = [node.duration_s for node in nodes if node.state in ("done", "failed", "timed_out")]
    return TaskRecord(
        task=task,
        counts=_counts(nodes),
        n_timed=len(timed),
        duration_s=sum(timed),
        longest_s=max(timed, default=0.0),
        saved_s=sum(node.saved_s for node in nodes),
        size_bytes=sum(node.size_bytes for node in nodes),
        cpu_s=sum(node.cpu_s for node in nodes),
        peak_bytes=max((node.peak_bytes for node in nodes), default=0),
    )
