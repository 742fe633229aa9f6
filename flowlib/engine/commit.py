"""Make finished results durable, in groups, and hold their leases until they are.

Invariant: a lease is given back only after the entry it protects has been committed, so whoever waits for it finds it.
"""

import json

from flowlib.clock import Clock
from flowlib.engine.announce import Announcer
from flowlib.hashing.code import CodeVersion
from flowlib.ids import Key, NodeId
from flowlib.store.base import Entry, Lease, Store

FLUSH_S = 0.05
"""Longest time a finished result stays uncommitted."""


class Ledger:
    """The keys one run computes: who computes which, under which lease, and what waits to be committed."""

    def __init__(self, store: Store | None, clock: Clock, announcer: Announcer) -> None:
        self._store = store
        self._clock = clock
        self._announcer = announcer
        self._computing: dict[Key, NodeId] = {}
        self._key_of: dict[NodeId, Key] = {}
        self._leases: dict[NodeId, Lease] = {}
        self._uncommitted: list[NodeId] = []
        self._first_at = 0.0
        self._texts_kept: set[str] = set()

    @property
    def has_uncommitted(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._uncommitted)

    def claim(self, number: NodeId, key: Key) -> NodeId | None:
        """Note that a node computes a key; return the node of this run that already does, if any."""
        other = self._computing.setdefault(key, number)
        if other != number:
            return other
        if self._key_of.get(number, key) != key:
            del self._computing[self._key_of[number]]
        self._key_of[number] = key
        return None

    def take_lease(self, number: NodeId, key: Key) -> bool:
        """Get the right to compute a key; False while another run holds it."""
        if number in self._leases or self._store is None:
            return True
        lease = self._store.lease(key)
        if lease is None:
            return False
        self._leases[number] = lease
        return True

    def holds_lease(self, number: NodeId) -> bool:
        """Whether a node has its lease already."""
        return number in self._leases

    def put(self, number: NodeId, entry: Entry, version: CodeVersion | None) -> None:
        """Hand an entry to the store; its lease goes back with the next commit."""
        if self._store is None:
            return
        if version is not None and version.digest not in self._texts_kept:
            self._texts_kept.add(version.digest)
            texts = {f"code:{version.digest}": json.dumps(dict(version.parts))}
            self._store.put_texts(texts | {f"source:{digest}": text for digest, text in version.texts.items()})
        self._store.put(entry)
        if not self._uncommitted:
            self._first_at = self._clock.monotonic()
        self._uncommitted.append(number)

    def release(self, number: NodeId) -> None:
        """Give up a node's claim and lease. Harmless when it has none."""
        key = self._key_of.pop(number, None)
        if key is not None:
            del self._computing[key]
        lease = self._leases.pop(number, None)
        if lease is not None:
            lease.release()

    def release_all(self) -> None:
        """Give up every claim and lease: the run is over."""
        for number in [*self._key_of]:
            self.release(number)

    def commit_in_time(self) -> None:
        """Commit if the oldest uncommitted result has waited long enough."""
        if self._uncommitted and self._clock.monotonic() - self._first_at >= FLUSH_S:
            self.commit()

    def commit(self) -> None:
        """Commit what is finished, give its leases back, and tell what the store had to say."""
        if self._store is None:
            return
        self._store.flush()
        for number in self._uncommitted:
            self.release(number)
        self._uncommitted.clear()
        for kind, message in self._store.take_notices():
            self._announcer.notice(kind, message)
