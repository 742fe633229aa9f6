"""Quick calls on their way: hand batches to the executor, take them apart when one call holds up the others.

Theory of operation: a batch that has been begun and has not moved for two looks in a row holds a call that is not quick.
What it has not begun is taken back and spread over all workers; what that brings to a halt is spread again. So a slow
call among quick ones delays the others by a few hundredths of a second, whatever the pace was thought to be.
"""

from collections.abc import Sequence

from flowlib.engine.pace import Pace
from flowlib.execution.base import Batch, Call, Executor, Job, Outcome
from flowlib.graph.args import ATOMS
from flowlib.graph.graph import Graph
from flowlib.scheduling.messages import Paced

LOOK_S = 0.02
"""How often batches that are under way are looked at."""


class Batches:
    """The batches of one run, and what is known of the pace of its tasks."""

    def __init__(self, executor: Executor, graph: Graph) -> None:
        self._executor, self._nodes = executor, graph.nodes
        self._pace = Pace()
        self._under_way: dict[Batch, int] = {}
        """How many calls each had waiting when it was last looked at."""
        self._looked_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def submit(self, calls: list[Call | Job]) -> None:
        """Hand calls to one worker."""
        batch = Batch(calls)
        self._executor.submit_batch(batch)
        self._under_way[batch] = len(calls)

    def perform(self, calls: list[Call | Job]) -> list[Outcome]:
        """Make calls now, in the thread of the engine."""
        batch = Batch(calls)
        self._executor.perform_batch(batch)
        return batch.take_done()

    def take_back(self) -> list[Call | Job]:
        """Return every call that has not begun; it is nobody's then."""
        return [call for batch in self._under_way for call in batch.take_back()]

    def look(self, now: float) -> list[Outcome]:
        """Spread what is held up; return what has ended in batches that are still under way."""
        ended: list[Outcome] = []
        if now - self._looked_at < LOOK_S:
            return ended
        self._looked_at = now
        for batch, n_before in [*self._under_way.items()]:
            n_waiting = len(batch.waiting)
            ended += batch.take_done()
            if not n_waiting:
                del self._under_way[batch]
            elif batch.is_begun and n_waiting == n_before:
                del self._under_way[batch]
                self._spread(batch.take_back())
            else:
                self._under_way[batch] = n_waiting
        return ended

    def _spread(self, calls: list[Call | Job]) -> None:
        size = -(-len(calls) // self._executor.capacity)
        for first in range(0, len(calls), max(size, 1)):
            self.submit(calls[first : first + size])

    def learn(self, outcomes: Sequence[Outcome]) -> list[Paced]:
        """Learn from what calls took and gave; return what the scheduler has to know."""
        durations_s: dict[str, list[float]] = {}
        for outcome in outcomes:
            task = self._nodes[outcome.node]._fl_task.name
            if type(outcome.value) not in ATOMS:
                self._pace.gave_value(task)
            found = durations_s.get(task)
            if found is None:
                found = durations_s[task] = []
            found.append(outcome.duration_s)
        return self._pace.took(durations_s)
