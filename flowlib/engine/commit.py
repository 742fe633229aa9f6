"""Make finished results durable, in groups, and hold their leases until they are.

Invariant: a lease is given back only after the entry it protects has been committed, so whoever waits for it finds it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager

from flowlib.clock import Clock
from flowlib.engine.announce import Announcer
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.identity import Identity
from flowlib.ids import Key, NodeId
from flowlib.store.base import Entry, Holder, Lease, Mark, Store

FLUSH_S = 0.05
"""Longest time a finished result stays uncommitted."""

_RENEWED_AFTER = 16
"""Questions after which the moment before the look-ups is noted anew: once the process is alone, that makes them cheap."""


class Ledger:
    """The keys one run computes: who computes which, under which lease, and what waits to be committed."""

    def __init__(
        self,
        store: Store | None,
        clock: Clock,
        announcer: Announcer,
        identity: Identity,
        holding_off: Callable[[], AbstractContextManager[None]],
        *,
        waits: bool = True,
    ) -> None:
        self._store = store
        self._waits = waits
        """Whether another run that computes a key is waited for. If not, the key is computed twice rather."""
        self._identity = identity
        self._holding_off = holding_off
        """Keeps interrupts from tearing what goes to the store."""
        self._clock = clock
        self._announcer = announcer
        self._computing: dict[Key, NodeId] = {}
        self._key_of: dict[NodeId, Key] = {}
        self._leases: dict[NodeId, Lease] = {}
        self._holder = Holder()
        self._mark: Mark | None = None
        """A moment before the look-ups of all that has been claimed since."""
        self._n_asked = 0
        self._uncommitted: list[NodeId] = []
        self._committing: list[NodeId] = []
        self._is_committed: Callable[[], bool] = bool
        self._first_at = 0.0
        self._texts_kept: set[str] = set()

    @property
    def has_uncommitted(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._uncommitted or self._committing)

    def claim(self, number: NodeId, key: Key) -> NodeId | None:
        """Note that a node computes a key; return the node of this run that already does, if any."""
        other = self._computing.setdefault(key, number)
        if other != number:
            return other
        if self._key_of.get(number, key) != key:
            del self._computing[self._key_of[number]]
        self._key_of[number] = key
        return None

    def before_looking_up(self) -> None:
        """Note the moment: what is claimed from now on is looked up after it."""
        if self._store is not None and (self._mark is None or not self._computing):
            self._mark = self._store.mark(self._holder)

    def stored_meanwhile(self, keys: Sequence[Key]) -> Collection[Key]:
        """Return those of some leased keys that another run stored between our look-up and our lease."""
        if self._store is None or not keys:
            return ()
        self._n_asked += 1
        fresh = self._store.mark(self._holder) if self._n_asked % _RENEWED_AFTER == 0 else None
        if self._mark is None or self._store.others_since(self._mark):
            return self._store.find(keys)
        if fresh is not None:
            self._mark = fresh  # nothing has happened between the two
        return ()

    def take_lease(self, number: NodeId, key: Key) -> bool:
        """Get the right to compute a key; False while another run holds it."""
        if self._store is None or not self._waits or number in self._leases:
            return True
        lease = self._store.lease(key, self._holder)
        if lease is not None:
            self._leases[number] = lease
        return lease is not None

    def take_leases(self, wanted: Sequence[tuple[NodeId, Key]]) -> list[bool]:
        """Get the rights to compute keys; False for each that another run holds."""
        if self._store is None or not self._waits:
            return [True] * len(wanted)
        lacking = [(number, key) for number, key in wanted if number not in self._leases]
        leases = self._store.lease_many([key for _, key in lacking], self._holder)
        self._leases.update(
            (number, lease) for (number, _), lease in zip(lacking, leases, strict=True) if lease is not None
        )
        return [number in self._leases for number, _ in wanted]

    def holds_lease(self, number: NodeId) -> bool:
        """Whether a node has its lease already."""
        return number in self._leases

    def put_many(
        self, numbers: Sequence[NodeId], entries: Sequence[Entry], versions: Iterable[CodeVersion | None]
    ) -> None:
        """Hand entries to the store; their leases go back with the next commit."""
        if self._store is None or not entries:
            return
        with self._holding_off():
            for version in versions:
                if version is not None and version.digest not in self._texts_kept:
                    self._keep_texts(version, self._store)
            self._store.put_many(entries)
            if not self._uncommitted:
                self._first_at = self._clock.monotonic()
            self._uncommitted += numbers

    def _keep_texts(self, version: CodeVersion, store: Store) -> None:
        self._texts_kept.add(version.digest)
        texts = {f"code:{version.digest}": json.dumps(dict(version.parts))}
        texts |= {f"source:{digest}": text for digest, text in version.texts.items()}
        store.put_texts(texts | self._identity.take_unkept(store.texts))

    def release(self, number: NodeId) -> None:
        """Give up a node's claim and lease. Harmless when it has none."""
        key = self._key_of.pop(number, None)
        if key is not None:
            del self._computing[key]
        self.release_lease(number)

    def release_many(self, numbers: Iterable[NodeId]) -> None:
        """Give up the claims and leases of nodes, most of which have none."""
        if self._key_of or self._leases:
            for number in numbers:
                self.release(number)

    def release_lease(self, number: NodeId) -> None:
        """Give up a node's lease for now; the nodes of this run that need its key still wait for it."""
        lease = self._leases.pop(number, None)
        if lease is not None:
            lease.release()

    def release_all(self) -> None:
        """Give up every claim and lease: the run is over."""
        for number in [*self._key_of]:
            self.release(number)

    def commit_in_time(self) -> None:
        """Begin a commit if the oldest uncommitted result has waited long enough; see to the one that is going on."""
        if self._store is None:
            return
        if self._committing:
            self._end_commit(self._store)
        elif self._uncommitted and self._clock.monotonic() - self._first_at >= FLUSH_S:
            with self._holding_off():
                self._committing, self._uncommitted = self._uncommitted, []
                self._is_committed = self._store.flush_soon()
            self._end_commit(self._store)

    def _end_commit(self, store: Store) -> None:
        if self._is_committed():
            numbers, self._committing = self._committing, []
            self._release_committed(numbers, store)
            self._tell(store)

    def commit(self) -> None:
        """Commit what is finished, give its leases back, and tell what the store had to say."""
        if self._store is None:
            return
        with self._holding_off():
            self._store.flush()
            numbers, self._committing, self._uncommitted = self._committing + self._uncommitted, [], []
            self._release_committed(numbers, self._store)
        self._tell(self._store)

    def _release_committed(self, numbers: Iterable[NodeId], store: Store) -> None:
        leases = []
        for number in numbers:
            key = self._key_of.pop(number, None)
            if key is not None:
                del self._computing[key]
            lease = self._leases.pop(number, None)
            if lease is not None:
                leases.append(lease)
        store.release_many(leases)

    def _tell(self, store: Store) -> None:
        for kind, message in store.take_notices():
            self._announcer.notice(kind, message)
