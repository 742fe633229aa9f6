"""End a run at once whose targets are recognised by their recipes; note the targets of a run that went as planned.

A run is *plain* while every node in it was found or kept under a key that stands for all it depends on. Whatever else
happens (a failure, a result that is not kept, a lost value, a file or a time that counts, a forced task) ends that, and
then nothing is noted. See `planning.recognition` for what a note is good for.

Runs inside tasks neither recognise nor note: what they depend on has to be told to the call they are made in. But they
set recipes aside like any other run.
"""

from flowlib.engine.announce import Announcer
from flowlib.engine.context import RunContext
from flowlib.engine.values import Values
from flowlib.ids import NodeId
from flowlib.planning.decide import Miss, Planner
from flowlib.planning.recognition import is_plain
from flowlib.store.base import BlobLost, Entry, Store

_MAY_DIFFER = frozenset({"forced", "result missing"})
"""Reasons to make a result again although there is one: the new one may differ from it."""


class Recall:
    """What one run knows and notes by recipes.

    Attributes:
        has_settled: Whether all targets were recognised, so that no node was looked at.
    """

    def __init__(self, context: RunContext, planner: Planner, values: Values, announcer: Announcer) -> None:
        self._recognition = planner.recognition
        self._is_outermost = context.around is None and not context.is_inner
        self._context, self._planner, self._values, self._announcer = context, planner, values, announcer
        self._is_plain = True
        self.has_settled = False

    def settle(self, targets: tuple[NodeId, ...], n_nodes: int) -> bool:
        """Take the values of all targets from the store if they are recognised; False if the nodes have to be decided.

        Cost: `Planner.recognise`, the values, and 0.3 us a node to tell that nothing ran.
        """
        store = self._context.store
        if self._recognition is None or store is None or not self._is_outermost:
            return False
        entries = self._planner.recognise(targets)
        if entries is None or not self._load(targets, entries, store):
            self._recognition.prepare()
            return False
        for target, entry in zip(targets, entries, strict=True):
            self._planner.record(target, entry.output)
        asked = frozenset(targets)
        covered = [NodeId(number) for number in range(n_nodes) if number not in asked]
        self.has_settled = True
        if self._context.emitter.is_watched:
            self._announcer.covered_many(covered, self._mean_s)
            self._announcer.cached_many(targets, entries)
        return True

    def used(self, entry: Entry) -> None:
        """Take note of a stored result that was used, or that was kept just now."""
        if (entry.flags or entry.watch or entry.expires_at is not None) and not is_plain(entry):
            self._is_plain = False

    def spoil(self) -> None:
        """Take note of something that a later run might meet differently: nothing is noted about this run."""
        self._is_plain = False

    def missed(self, miss: Miss) -> None:
        """Take note that a node runs, before it does."""
        if miss.reasons[0].kind in _MAY_DIFFER:
            self.replacing()

    def replacing(self) -> None:
        """Take note that a stored result may be about to give way to a different one."""
        self._is_plain = False
        if self._recognition is not None and not self._recognition.is_void:
            self._recognition.set_aside()

    def remember(self) -> None:
        """Note the targets of a run that has come to its end, and whose results are committed."""
        if self._recognition is not None and self._is_plain and self._is_outermost and not self._context.stop.cause:
            self._recognition.remember(self._values.key_of, self._planner.outputs)

    def close(self) -> None:
        """Set recipes aside once more: another run may have noted some between the first time and the last commit."""
        if self._recognition is not None and self._recognition.is_void:
            self._recognition.set_aside()

    def _load(self, targets: tuple[NodeId, ...], entries: list[Entry], store: Store) -> bool:
        """Load the values of all targets, or of none."""
        loaded = []
        for entry in entries:
            try:
                if not entry.payload.kept:
                    return False
                loaded.append(store.load(entry.payload))
            except BlobLost:  # its node is decided by its key, and makes the value again
                return False
        for target, entry, value in zip(targets, entries, loaded, strict=True):
            self._values.made(target, value, entry.key)
        return True

    def _mean_s(self, task: str) -> float:
        stats = self._context.store.stats(task) if self._context.store is not None else None
        return stats.mean_s if stats is not None else 0.0
