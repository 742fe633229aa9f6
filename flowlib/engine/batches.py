"""Quick calls on their way: hand batches to the executor, take them apart when one call holds up the others.

Theory of operation: a batch that has been begun and has not moved for two looks in a row holds a call that is not quick.
What it has not begun is taken back and spread over all workers; what that brings to a halt is spread again. So a slow
call among quick ones delays the others by a few hundredths of a second, whatever the pace was thought to be. That it
runs is told then: for quick calls, that is told when they have ended.
"""

from collections.abc import Sequence
from typing import Any

from flowlib.engine.pace import Pace
from flowlib.execution.base import Batch, Call, Executor, Gather, Job, Outcome
from flowlib.execution.quick import ended_in, is_small, taken_from
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.scheduling.messages import Paced, Resized

_MANY = 256
_SEEN = 64
"""Of many outcomes that come at once, so many tell the pace."""

LOOK_S = 0.02
"""How often batches that are under way are looked at."""


class Batches:
    """The batches of one run, and what is known of the pace of its tasks."""

    def __init__(self, executor: Executor, graph: Graph, gather: Gather | None = None) -> None:
        self._executor, self._nodes, self._gather = executor, graph.nodes, gather
        self._pace = Pace(share_interpreter=executor.makes_calls_here)
        self._under_way: dict[Batch, int] = {}
        """How many calls each had waiting when it was last looked at. The lookout reads it beside the engine: copy, then iterate."""
        self._looked_at = 0.0
        self._capacity = executor.capacity
        self._held: list[Call | Job] = []

    def resized(self) -> list[Resized]:
        """Return what the scheduler has to know if the executor takes more or fewer jobs than before."""
        before, self._capacity = self._capacity, self._executor.capacity
        return [] if before == self._capacity else [Resized(self._capacity)]

    @property
    def n_held(self) -> int:
        """How many calls are held back by a pause."""
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def submit(self, calls: list[Call | Job], made: dict[Node, Any] | None = None) -> None:
        """Hand calls to one worker.

        Args:
            calls: What to make, in order.
            made: Where the values go that later ones of them ask for; None if none does.
        """
        batch = Batch(calls, made, self._gather)
        self._under_way[batch] = len(calls)
        self._executor.submit_batch(batch)

    def perform(self, calls: list[Call | Job], made: dict[Node, Any] | None = None) -> list[Outcome]:
        """Make calls now, in the thread of the engine. Arguments as for `submit`."""
        batch = Batch(calls, made, self._gather)
        batch.is_begun = True
        self._under_way[batch] = len(calls)
        try:
            self._executor.perform_calls(taken_from(batch), ended_in(batch))
        finally:
            del self._under_way[batch]
        return batch.take_done()

    def take_back(self) -> list[Call | Job]:
        """Return every call that has not begun; it is nobody's then."""
        self.hold()
        held, self._held = self._held, []
        return held

    def hold(self) -> None:
        """Let no call begin before `go_on`."""
        for batch in self._under_way:
            self._held += batch.take_back()

    def hold_back(self, calls: Sequence[Call]) -> None:
        """Let some calls not begin before `go_on`."""
        self._held += calls

    def go_on(self) -> None:
        """Let calls begin again."""
        if self._held:
            held, self._held = self._held, []
            self._spread(held)

    def take_done(self) -> list[Outcome]:
        """Return what has ended in batches that are under way."""
        return [outcome for batch in [*self._under_way] for outcome in batch.take_done()]

    def at_work(self) -> list[Call]:
        """Return the calls that are being made just now, and of which nobody has been told that they began."""
        return [call for call in (batch.at_work for batch in [*self._under_way]) if call is not None]

    def look(self, now: float) -> tuple[list[Outcome], list[Call]]:
        """Spread what is held up; return what has ended in batches that are still under way, and what holds others up."""
        ended: list[Outcome] = []
        slow: list[Call] = []
        if now - self._looked_at < LOOK_S:
            return ended, slow
        self._looked_at = now
        for batch, n_before in [*self._under_way.items()]:
            n_waiting = len(batch.waiting)
            is_stuck = batch.is_begun and n_waiting == n_before
            held_up = batch.take_back() if is_stuck else []
            ended += batch.take_done()  # after that: of what is left in the batch, at most one call is under way
            at_work = batch.at_work
            if not n_waiting and at_work is None:
                del self._under_way[batch]
                if batch.has_waited:
                    self._pace.waits(batch.task)
            elif is_stuck:
                del self._under_way[batch]
                slow += [] if at_work is None else [at_work]
                self._spread(held_up)
            else:
                self._under_way[batch] = n_waiting
        return ended, slow

    def _spread(self, calls: list[Call | Job]) -> None:
        size = -(-len(calls) // self._executor.capacity)
        for first in range(0, len(calls), max(size, 1)):
            self.submit(calls[first : first + size])

    def learn(self, outcomes: Sequence[Outcome]) -> list[Paced]:
        """Learn from what calls took and gave; return what the scheduler has to know."""
        durations_s: dict[str, list[float]] = {}
        for outcome in outcomes if len(outcomes) < _MANY else outcomes[:: len(outcomes) // _SEEN]:
            node = self._nodes[outcome.node]
            if node._fl_policy.executor == "inline" or (type(outcome) is Call and outcome.is_returned):
                continue  # the engine makes them itself, and has to come back to everything else after each
            task = node._fl_task.name
            # With a store, only a call with a key is decided on the way.
            can_follow = type(outcome) is Call and (outcome.key is not None or not outcome.wants_digest)
            self._pace.was_made(task, can_follow=can_follow)
            if not is_small(outcome.value):
                self._pace.gave_value(task)
            found = durations_s.get(task)
            if found is None:
                found = durations_s[task] = []
            found.append(outcome.duration_s)
        return self._pace.took(durations_s)
