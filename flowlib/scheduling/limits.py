"""How many nodes may run at once: slots of the whole run, and of the pools that nodes name.

Theory of operation: ready nodes lie in one heap. A node that comes to the top while its pool is full is parked beside
it; each slot that its pool gives back brings one parked node, the best, back into the heap. So a node is moved a bounded
number of times, and ten thousand nodes behind a pool of one slot cost no more than without the pool.
"""

import heapq
from collections.abc import Mapping

from flowlib.ids import NodeId
from flowlib.scheduling.priority import Rank


class ReadyQueue:
    """Nodes that may start, best rank first, and the slots they compete for.

    Args:
        slots: How many nodes may hold a slot at once.
        pools: The same by pool name.

    Cost: O(log nodes) for each operation.
    """

    __slots__ = ("_free", "_free_in", "_heap", "_parked", "_pool_of", "_size_of")

    def __init__(self, slots: int, pools: Mapping[str, int]) -> None:
        self._free = slots
        self._size_of = dict(pools)
        self._free_in = dict(pools)
        self._heap: list[Rank] = []
        self._parked: dict[str, list[Rank]] = {name: [] for name in pools}
        self._pool_of: dict[NodeId, str] = {}

    def add_pool(self, name: str, slots: int) -> None:
        """Make a pool known. If two declarations of it differ, the smaller number holds: it satisfies both."""
        known = self._size_of.get(name)
        if known is None:
            self._size_of[name] = self._free_in[name] = slots
            self._parked[name] = []
        elif slots < known:
            self._size_of[name] = slots
            self._free_in[name] -= known - slots

    def knows_pool(self, name: str | None) -> bool:
        """Whether nodes may name this pool."""
        return name is None or name in self._size_of

    def push(self, rank: Rank, pool: str | None) -> None:
        """Add a ready node."""
        if pool is not None:
            self._pool_of[rank[3]] = pool
        heapq.heappush(self._heap, rank)

    def take(self) -> NodeId | None:
        """Give the best node that fits its slots; None if there is none."""
        while self._free > 0 and self._heap:
            rank = heapq.heappop(self._heap)
            pool = self._pool_of.get(rank[3])
            if pool is None:
                self._free -= 1
                return rank[3]
            if self._free_in[pool] > 0:
                self._free -= 1
                self._free_in[pool] -= 1
                return rank[3]
            heapq.heappush(self._parked[pool], rank)
        return None

    def release(self, node: NodeId) -> None:
        """Take back the slots of a node."""
        self._free += 1
        pool = self._pool_of.pop(node, None)
        if pool is not None:
            self._free_in[pool] += 1
            if self._free_in[pool] > 0 and self._parked[pool]:
                heapq.heappush(self._heap, heapq.heappop(self._parked[pool]))
