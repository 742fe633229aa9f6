"""Moments at which something has to be done about a node."""

import heapq
from collections.abc import Collection, Iterator
from typing import Literal

from flowlib.ids import NodeId

Kind = Literal["retry", "queue", "run", "total", "kill"]
"""What it is time for: the next attempt, the three limits of a timeout, and to stop waiting for what was killed."""


class Timers:
    """At most one moment for each kind and node, on the monotonic clock. O(log moments) for each operation.

    >>> timers = Timers()
    >>> timers.set("run", NodeId(3), 10.0)
    >>> timers.next_at, list(timers.take(9.0)), list(timers.take(10.0))
    (10.0, [], [('run', 3)])
    """

    def __init__(self) -> None:
        self._due_at: dict[tuple[Kind, NodeId], float] = {}
        self._heap: list[tuple[float, Kind, NodeId]] = []
        """With moments that were changed or taken back; `_due_at` knows which are still meant."""

    def __bool__(self) -> bool:
        return bool(self._due_at)

    def set(self, kind: Kind, node: NodeId, due_at: float) -> None:
        """Set a moment, in the place of an earlier one."""
        self._due_at[kind, node] = due_at
        heapq.heappush(self._heap, (due_at, kind, node))

    def cancel(self, kind: Kind, node: NodeId) -> None:
        """Take a moment back. Harmless when there is none."""
        self._due_at.pop((kind, node), None)

    @property
    def next_at(self) -> float | None:
        """The nearest moment."""
        heap, due_at = self._heap, self._due_at
        while heap and due_at.get((heap[0][1], heap[0][2])) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take(self, now: float) -> Iterator[tuple[Kind, NodeId]]:
        """Yield what is due, in order, and forget it; what is taken back meanwhile is left out."""
        while (next_at := self.next_at) is not None and next_at <= now:
            _, kind, node = heapq.heappop(self._heap)
            del self._due_at[kind, node]
            yield kind, node

    def put_off(self, kinds: Collection[Kind], by_s: float) -> None:
        """Put off every moment of some kinds. O(moments)."""
        for (kind, node), due_at in [*self._due_at.items()]:
            if kind in kinds:
                self.set(kind, node, due_at + by_s)
