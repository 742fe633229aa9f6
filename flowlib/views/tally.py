"""Counts of a run as it goes on, cheap enough to be taken at every event.

Invariant: taking an event is O(1) and draws nothing; reading the counts is O(tasks), however many nodes there are.
Invariant: a batch of events leaves the counts that its events would have left, for a tenth of their price. The times of
a task's first and last event are then those of the batch.
Invariant: for any stream, the counts are those of `history.record.fold`. A property test holds the two together.
"""

from collections import Counter

import attrs

from flowlib.events import (
    Event,
    EventBatch,
    NodeCached,
    NodeFailed,
    NodesAdded,
    NodesCached,
    NodeStarted,
    NodeState,
    Noticed,
    RunFinished,
    RunStarted,
)
from flowlib.history.record import NODE_EVENTS, NodeEnd, state_after
from flowlib.ids import NodeId
from flowlib.text import LONGEST_TEXT

MAX_DISTINCT = 5
"""Distinct failures and notices that are told apart; the others are counted together."""


@attrs.define
class TaskTally:
    """The nodes of one task so far."""

    task: str
    counts: dict[str, int] = attrs.field(factory=dict)
    """State -> number of nodes; a state that was left again stays with 0."""
    first_at: float = 0.0
    last_at: float = 0.0

    def count(self, *states: str) -> int:
        """Return the number of nodes in any of these states."""
        return sum(self.counts.get(state, 0) for state in states)


@attrs.define
class FailureTally:
    """Failures of one task with the same error."""

    task: str
    error_type: str
    message: str
    first_label: str
    site: str
    n: int = 1


class Tally:
    """What a progress display needs to know of a run. Not an observer: displays own one and feed it."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.tasks: dict[str, TaskTally] = {}
        self.failures: dict[tuple[str, str, str], FailureTally] = {}
        """The first distinct failures, by task, error type and message."""
        self.n_other_failures = 0
        self.notices: list[Noticed] = []
        self.n_other_notices = 0
        self.saved_s = 0.0
        self._n_added = 0
        self._place: dict[NodeId, tuple[TaskTally, str]] = {}
        self._saved: dict[NodeId, float] = {}

    def add(self, event: Event) -> None:
        """Take one event. Cost: about a microsecond."""
        if isinstance(event, NODE_EVENTS):
            self._move(event)
        elif isinstance(event, RunStarted):
            self.started = event
        elif isinstance(event, NodesAdded):
            self._n_added += event.n_nodes
        elif isinstance(event, Noticed):
            self._notice(event)
        else:
            self.finished = event

    def add_batch(self, batch: EventBatch) -> None:
        """Take the events of many nodes. Cost: some tenths of a microsecond a node."""
        state: NodeState = "cached" if isinstance(batch, NodesCached) else "done"
        used = dict.fromkeys(batch.call_of)
        places = {call: (self._task(batch.calls[call].task, batch.at), state) for call in used}
        for node, call in zip(batch.nodes, batch.call_of, strict=True):
            if node in self._place:
                self._leave(node)
            self._place[node] = places[call]
        for call, n in Counter(batch.call_of).items():
            task, _ = places[call]
            task.counts[state] = task.counts.get(state, 0) + n
            task.last_at = batch.ended_at
        if isinstance(batch, NodesCached):
            self._saved.update(zip(batch.nodes, [ns / 1e9 for ns in batch.saved_ns], strict=True))
            self.saved_s += sum(batch.saved_ns) / 1e9

    @property
    def n_nodes(self) -> int:
        """All nodes known so far; a node may be heard of before it is announced."""
        return max((self.started.n_nodes if self.started else 0) + self._n_added, len(self._place))

    def count(self, *states: str) -> int:
        """Return the number of nodes in any of these states; nodes never heard of are `waiting`."""
        n = sum(task.count(*states) for task in list(self.tasks.values()))
        return n + (self.n_nodes - len(self._place) if "waiting" in states else 0)

    def _move(self, event: NodeStarted | NodeEnd) -> None:
        task = self._task(event.task, event.at)
        if event.node in self._place:
            self._leave(event.node)
        state = state_after(event)
        self._place[event.node] = (task, state)
        task.counts[state] = task.counts.get(state, 0) + 1
        task.last_at = event.at
        if isinstance(event, NodeCached):
            self._saved[event.node] = event.saved_s
            self.saved_s += event.saved_s
        elif isinstance(event, NodeFailed):
            self._fail(event)

    def _task(self, name: str, at: float) -> TaskTally:
        if name not in self.tasks:
            self.tasks[name] = TaskTally(name, first_at=at)
        return self.tasks[name]

    def _leave(self, node: NodeId) -> None:
        """Take a node out of the state it was in."""
        task, state = self._place[node]
        task.counts[state] -= 1
        if state == "cached":
            self.saved_s -= self._saved.pop(node, 0.0)

    def _fail(self, event: NodeFailed) -> None:
        message = event.message[:LONGEST_TEXT]
        known = self.failures.get((event.task, event.error_type, message))
        if known is not None:
            known.n += 1
        elif len(self.failures) < MAX_DISTINCT:
            failure = FailureTally(event.task, event.error_type, message, event.label, event.site)
            self.failures[event.task, event.error_type, message] = failure
        else:
            self.n_other_failures += 1

    def _notice(self, event: Noticed) -> None:
        if len(self.notices) < MAX_DISTINCT:
            self.notices.append(event)
        else:
            self.n_other_notices += 1
