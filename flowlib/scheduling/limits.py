"""How many nodes may run at once: slots of the whole run, and of the pools that nodes name.

Theory of operation: ready nodes lie in one heap, except that a wave of many is sorted once, which costs a third of as
many pushes. A node that comes to the top while its pool is full is parked beside it; each slot that its pool gives back
brings one parked node, the best, back into the heap. So a node is moved a bounded number of times, and ten thousand nodes
behind a pool of one slot cost no more than without the pool.

A node of a quick task takes a share of a slot, so that many of them make one job. Slots are counted in `SLOT` units.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence

from flowlib.ids import NodeId
from flowlib.scheduling.priority import Rank

SLOT = 1 << 12
"""Units of a slot; the smallest share of one is a single unit."""

_WAVE = 32
"""Fewer nodes than this are pushed one by one."""


def _whole(node: NodeId) -> int:
    return SLOT


class ReadyQueue:
    """Nodes that may start, best rank first, and the slots they compete for.

    Args:
        slots: How many nodes may hold a slot at once.
        pools: The same by pool name.
        units_of: What share of a slot a node takes, in units; asked when it starts.

    Cost: O(log nodes) for each operation.
    """

    __slots__ = (
        "_free",
        "_free_in",
        "_heap",
        "_held",
        "_kept",
        "_parked",
        "_pool_of",
        "_size_of",
        "_units_of",
        "_wave",
    )

    def __init__(self, slots: int, pools: Mapping[str, int], units_of: Callable[[NodeId], int] = _whole) -> None:
        self._free = slots * SLOT
        self._units_of = units_of
        self._held: dict[NodeId, int] = {}
        self._size_of = dict(pools)
        self._free_in = dict(pools)
        self._heap: list[Rank] = []
        self._wave: list[Rank] = []
        """Sorted, the best last."""
        self._parked: dict[str, list[Rank]] = {name: [] for name in pools}
        self._pool_of: dict[NodeId, str] = {}
        self._kept: dict[NodeId, list[tuple[int, str | None]]] = {}
        """What jobs that cannot be stopped still use, by node: units, and the pool."""

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

    def push_many(self, ranks: Sequence[Rank]) -> None:
        """Add ready nodes that name no pool."""
        if len(ranks) >= max(_WAVE, len(self._wave) // 4):  # merging into a longer wave would cost more than pushing
            self._wave += ranks
            self._wave.sort(reverse=True)
        else:
            for rank in ranks:
                heapq.heappush(self._heap, rank)

    def take(self) -> NodeId | None:
        """Give the best node that fits its slots; None if there is none."""
        heap, wave = self._heap, self._wave
        while heap or wave:
            in_wave = not heap or (bool(wave) and wave[-1] < heap[0])
            rank = wave[-1] if in_wave else heap[0]
            node = rank[3]
            units = self._units_of(node)
            if units > self._free:
                return None
            if in_wave:
                wave.pop()
            else:
                heapq.heappop(heap)
            pool = self._pool_of.get(node)
            if pool is not None:
                if self._free_in[pool] <= 0:
                    heapq.heappush(self._parked[pool], rank)
                    continue
                self._free_in[pool] -= 1
            self._free -= units
            if units != SLOT:
                self._held[node] = units
            return node
        return None

    def take_wave(self) -> list[NodeId]:
        """Give the best nodes that fit their slots, in order: what `take` gives one by one as long as none names a pool."""
        wave, heap, units_of, held, free = self._wave, self._heap, self._units_of, self._held, self._free
        taken: list[NodeId] = []
        while wave and not (heap and heap[0] < wave[-1]):
            node = wave[-1][3]
            units = units_of(node)
            if units > free:
                break
            free -= units
            wave.pop()
            if units != SLOT:
                held[node] = units
            taken.append(node)
        self._free = free
        return taken

    def units_held(self, node: NodeId) -> int:
        """Return what share of a slot a node that was taken holds."""
        return self._held.get(node, SLOT)

    def hold_nothing(self, node: NodeId) -> None:
        """Take note that a node runs in the slot of others."""
        self._held[node] = 0

    def release_many(self, nodes: Sequence[NodeId]) -> None:
        """Take back the slots of nodes."""
        if self._pool_of:
            for node in nodes:
                self.release(node)
        else:
            give_up = self._held.pop
            self._free += sum([give_up(node, SLOT) for node in nodes])

    def release(self, node: NodeId) -> None:
        """Take back the slots of a node."""
        self._give_back(self._held.pop(node, SLOT), self._pool_of.pop(node, None))

    def keep(self, node: NodeId) -> None:
        """Leave the slots of a node to its job, which goes on without it; the node may take others."""
        self._kept.setdefault(node, []).append((self._held.pop(node, SLOT), self._pool_of.pop(node, None)))

    def is_kept(self, node: NodeId) -> bool:
        """Whether a job goes on without its node."""
        return node in self._kept

    def return_kept(self, node: NodeId) -> None:
        """Take back the slots of the job that has gone on longest without this node."""
        kept = self._kept[node]
        units, pool = kept.pop(0)
        if not kept:
            del self._kept[node]
        self._give_back(units, pool)

    def _give_back(self, units: int, pool: str | None) -> None:
        self._free += units
        if pool is not None:
            self._free_in[pool] += 1
            if self._free_in[pool] > 0 and self._parked[pool]:
                heapq.heappush(self._heap, heapq.heappop(self._parked[pool]))
