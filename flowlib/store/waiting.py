"""Entries and texts on their way to the disk: taken, waiting for the next commit, or in the one at work.

Invariant: at every moment an entry that was taken is in one of the two batches or committed, so a look-up that asks
here first and the index second never misses it.
"""

import threading
from collections.abc import Mapping, Sequence

import attrs

from flowlib.ids import Key
from flowlib.store.base import Entry
from flowlib.store.opening import StoreOptions

_MAX_WAITING = 50_000


@attrs.define
class Batch:
    """What is committed together; `since` is when the first of it came."""

    entries: dict[Key, Entry] = attrs.field(factory=dict)
    texts: dict[str, str] = attrs.field(factory=dict)
    since: float | None = None

    def __len__(self) -> int:
        return len(self.entries) + len(self.texts)


class Waiting:
    """The batch that grows and the batch that is being committed. Safe for any number of threads."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._growing, self._committing = Batch(), Batch()

    def add(self, entries: Sequence[Entry] = (), texts: Mapping[str, str] | None = None) -> bool:
        """Take entries and texts; say whether a commit is due, because enough waits, or waits for long enough."""
        options = self._options
        now = options.clock.monotonic()
        with self._lock:
            growing = self._growing
            for entry in entries:
                growing.entries[entry.key] = entry
            if texts:
                growing.texts.update(texts)
            if growing.since is None:
                growing.since = now
            is_old = now - growing.since >= options.flush_after_s
            return is_old or len(growing.entries) >= options.flush_count or options.fsync == "full"

    def known(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return the entries among `keys` that are not committed yet."""
        growing, committing = self._growing.entries, self._committing.entries  # in this order: see `begin`
        if not growing and not committing:
            return {}
        found = {key: growing.get(key) or committing.get(key) for key in keys}
        return {key: entry for key, entry in found.items() if entry is not None}

    def committing(self, key: Key) -> Entry | None:
        """Return an entry of the batch that is being committed."""
        return self._committing.entries.get(key)

    def texts(self) -> dict[str, str]:
        """Return the texts that are not committed yet."""
        with self._lock:
            return {**self._committing.texts, **self._growing.texts}

    def begin(self) -> Batch:
        """Return what waits, to be committed; `end` or `take_back` has to follow."""
        with self._lock:
            batch = self._committing = self._growing  # in this order: look-ups come without the lock
            self._growing = Batch()
        return batch

    def take_back(self, batch: Batch) -> None:
        """Let a batch wait again, so that it is found and tried again; bounded, because a full disk may stay full."""
        with self._lock:
            if len(batch) + len(self._growing) <= _MAX_WAITING:
                newer = self._growing
                batch.entries.update(newer.entries)
                batch.texts.update(newer.texts)
                batch.since = self._options.clock.monotonic()
                self._growing = batch

    def end(self) -> None:
        """Note that the commit is over."""
        with self._lock:
            self._committing = Batch()
