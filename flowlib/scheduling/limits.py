"""How many nodes may run at once: slots of the whole run, and what else nodes need of the budgets they share.

Theory of operation: ready nodes lie in one heap, except that a wave of many is sorted once, which costs a third of as
many pushes. A node that comes to the top while a budget lacks what it needs is parked beside that; whenever the best of
the parked would fit, it is brought back into the heap. So ten thousand nodes behind a pool of one slot cost no more than
without the pool. A node that needs much is not overtaken by those of lower rank that need little of the same budget.

A node of a quick task takes a share of a slot, so that many of them make one job. Slots are counted in `SLOT` units.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence

from flowlib.ids import NodeId
from flowlib.scheduling.budgets import Budgets, Needs
from flowlib.scheduling.messages import Traits
from flowlib.scheduling.priority import Rank

SLOT = 1 << 12
"""Units of a slot; the smallest share of one is a single unit."""

_WAVE = 32
"""Fewer nodes than this are pushed one by one."""


def _whole(_: NodeId | Traits) -> int:
    return SLOT


class ReadyQueue:
    """Nodes that may start, best rank first, and what they compete for.

    Args:
        slots: How many nodes may hold a slot at once.
        budgets: What else they need; others may take from it, too.
        traits: What each node needs, by id; it may grow.
        units_of: What share of a slot a node takes, in units; 0 for one that is not to start any more.
        units_of_kind: What share of a slot each node of a wave takes, by its traits.

    Attributes:
        spent: The rates that nodes taken since it was last cleared have used up, each as often as it was.

    Cost: O(log nodes) for each operation.
    """

    __slots__ = (
        *(
            "_budgets",
            "_free",
            "_heap",
            "_held",
            "_holding",
            "_kept",
            "_parked",
            "_traits",
            "_slots",
            "_units_of",
            "_units_of_kind",
            "_wave",
        ),
        "spent",
    )

    def __init__(
        self,
        slots: int,
        budgets: Budgets,
        traits: Sequence[Traits],
        units_of: Callable[[NodeId], int] = _whole,
        units_of_kind: Callable[[Traits], int] = _whole,
    ) -> None:
        self._free = self._slots = slots * SLOT
        self._budgets, self._traits = budgets, traits
        self._units_of, self._units_of_kind = units_of, units_of_kind
        self._held: dict[NodeId, int] = {}
        self._holding: dict[NodeId, Needs] = {}
        """What nodes give back when they end, beside slots."""
        self._heap: list[Rank] = []
        self._wave: list[Rank] = []
        """Sorted, the best last."""
        self._parked: dict[str, list[Rank]] = {}
        """By the budget that lacks something."""
        self._kept: dict[NodeId, list[tuple[int, Needs]]] = {}
        """What jobs that cannot be stopped still use, by node: units, and of budgets."""
        self.spent: list[str] = []

    def resize(self, slots: int) -> None:
        """Set how many nodes may hold a slot at once; those that do keep theirs."""
        self._free += slots * SLOT - self._slots
        self._slots = slots * SLOT

    @property
    def has_parked(self) -> bool:
        """Whether any node waits for a budget."""
        return any(self._parked.values())

    def push(self, rank: Rank) -> None:
        """Add a ready node."""
        heapq.heappush(self._heap, rank)

    def push_many(self, ranks: Sequence[Rank]) -> None:
        """Add ready nodes that need nothing but a slot."""
        if len(ranks) >= max(_WAVE, len(self._wave) // 4):  # merging into a longer wave would cost more than pushing
            self._wave += ranks
            self._wave.sort(reverse=True)
        else:
            for rank in ranks:
                heapq.heappush(self._heap, rank)

    def take(self) -> NodeId | None:
        """Give the best node that fits; None if there is none."""
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
            if not units:
                continue  # it was ended meanwhile
            wants = self._traits[node].wants
            if wants and not self._take_wants(node, rank, wants):
                continue
            self._free -= units
            if units != SLOT:
                self._held[node] = units
            return node
        return None

    def take_wave(self) -> list[NodeId]:
        """Give the best nodes that fit their slots, in order: what `take` gives one by one as long as none names a pool.

        Some may have been ended meanwhile: they are to be put back.
        """
        wave, heap, traits, held, free = self._wave, self._heap, self._traits, self._held, self._free
        taken: list[NodeId] = []
        kind, units = None, SLOT
        while wave and not (heap and heap[0] < wave[-1]):
            node = wave[-1][3]
            if traits[node] is not kind:
                kind = traits[node]
                units = self._units_of_kind(kind)
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

    def is_alone(self, node: NodeId) -> bool:
        """Whether no other node holds anything of the slots; this one was taken."""
        return self._slots - self._free == self.units_held(node)

    def hold_nothing(self, node: NodeId) -> None:
        """Take note that a node runs in the slot of others."""
        self._held[node] = 0

    def release_many(self, nodes: Sequence[NodeId]) -> None:
        """Take back what nodes held."""
        if self._holding:
            for node in nodes:
                self.release(node)
        else:
            give_up = self._held.pop
            self._free += sum([give_up(node, SLOT) for node in nodes])

    def release(self, node: NodeId) -> None:
        """Take back what a node held."""
        self._give_back(self._held.pop(node, SLOT), self._holding.pop(node, ()))

    def put_back(self, node: NodeId) -> None:
        """Take back what a node held that does not start after all; then it has used up no rate either."""
        rates = self._traits[node].rates if node in self._holding else ()
        for name in rates:
            self.spent.remove(name)
        self._give_back(self._held.pop(node, SLOT), (*self._holding.pop(node, ()), *[(name, 1) for name in rates]))

    def keep(self, node: NodeId) -> None:
        """Leave what a node held to its job, which goes on without it; the node may take more of it."""
        self._kept.setdefault(node, []).append((self._held.pop(node, SLOT), self._holding.pop(node, ())))

    def is_kept(self, node: NodeId) -> bool:
        """Whether a job goes on without its node."""
        return node in self._kept

    def return_kept(self, node: NodeId) -> None:
        """Take back what the job holds that has gone on longest without this node."""
        kept = self._kept[node]
        units, needs = kept.pop(0)
        if not kept:
            del self._kept[node]
        self._give_back(units, needs)

    def give_back_early(self, nodes: Iterable[NodeId]) -> None:
        """Give back what nodes hold of budgets, but not their slots; what that allows here comes to light later."""
        for node in nodes if self._holding else ():
            self._budgets.give(self._holding.pop(node, ()))

    def wake_all(self) -> None:
        """Bring back what would fit, after others have given something back."""
        for name in [*self._parked]:
            self._wake(name)

    def _give_back(self, units: int, needs: Needs) -> None:
        self._free += units
        if needs:
            self._budgets.give(needs)
            for name, _ in needs:
                self._wake(name)

    def _take_wants(self, node: NodeId, rank: Rank, wants: Needs) -> bool:
        """Take of the budgets what a node needs, or park it."""
        lacking = next((name for name, _ in wants if self._is_overtaking(rank, name)), None)
        if lacking is None:
            lacking = self._budgets.take(wants)
        if lacking is None:
            traits = self._traits[node]
            self._holding[node] = traits.needs
            self.spent += traits.rates
        else:
            heapq.heappush(self._parked.setdefault(lacking, []), rank)
        for name, _ in wants:
            if name != lacking:
                self._wake(name)
        return lacking is None

    def _is_overtaking(self, rank: Rank, name: str) -> bool:
        best = self._best_parked(name)
        return best is not None and best < rank

    def _wake(self, name: str) -> None:
        """Bring the best of those parked for want of a budget back, if it would fit."""
        best = self._best_parked(name)
        if best is not None and dict(self._traits[best[3]].wants)[name] <= self._budgets.free(name):
            heapq.heappush(self._heap, heapq.heappop(self._parked[name]))

    def _best_parked(self, name: str) -> Rank | None:
        parked = self._parked.get(name)
        while parked and not self._units_of(parked[0][3]):
            heapq.heappop(parked)  # it was ended meanwhile
        return parked[0] if parked else None
