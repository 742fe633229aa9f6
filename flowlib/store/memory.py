"""The same contract in memory: for tests, and for runs that want reuse without a directory.

Invariant: values are kept as bytes, exactly as on disk, so a load gives a new object here too, and a value that cannot
be stored on disk cannot be stored here.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from flowlib.clock import Clock, SystemClock
from flowlib.hashing.digest import digest_bytes
from flowlib.ids import Digest, Key
from flowlib.store import codec as codecs
from flowlib.store.base import BlobLost, Entry, Holder, Lease, Mark, NotKept, Payload, TaskStats
from flowlib.store.blobs import matches
from flowlib.store.derived import RECENT_KEYS, payload_bytes
from flowlib.store.files import Files
from flowlib.store.memo import StoredFileMemo


class MemoryStore:
    """A store that ends with its process. Safe for any number of threads.

    >>> store = MemoryStore()
    >>> store.load(store.encode({"lr": 0.1}))
    {'lr': 0.1}
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._recent: dict[str, list[Key]] = {}
        self._stats: dict[str, TaskStats] = {}
        self._texts: dict[str, str] = {}
        self._notes: dict[str, bytes] = {}
        self._leased: set[Key] = set()
        self._n_released = 0
        self._records: dict[str, bytes] = {}
        self._memo = StoredFileMemo(lambda names: self._records, self._records.update)
        self.blobs = MemoryBlobs()

    def find(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return the valid entries among `keys`."""
        now = self._clock.now()
        found = {key: self._entries[key] for key in keys if key in self._entries}
        return {key: entry for key, entry in found.items() if entry.is_valid(now)}

    def encode(self, value: object, *, codec: str | None = None) -> Payload:
        """Encode a value and keep its bytes.

        Raises:
            NotKept: It cannot be encoded.
        """
        scalar = codecs.encode_scalar(value) if codec is None else None
        if scalar is not None:
            return scalar
        encoded = codecs.encode_value(value, self.blobs, codec=codec)
        data = b"".join(encoded.parts)
        if len(data) <= codecs.INLINE_BYTES:
            return Payload(codec=encoded.codec, inline=data, refs=encoded.refs)
        content = encoded.digest()
        self.blobs.keep(content, data)
        return Payload(codec=encoded.codec, content=content, refs=encoded.refs)

    def load(self, payload: Payload) -> object:
        """Return a new object that no one else holds.

        Raises:
            BlobLost: The bytes are missing, damaged, or no longer make a value.
        """
        if payload.inline is not None and payload.codec in codecs.SIMPLE:
            return codecs.load_simple(payload.codec, payload.inline, payload.claim)
        data = self.blobs.get(payload.content) if payload.inline is None else payload.inline
        view = memoryview(bytearray(data))
        if not matches(view, payload.content):
            raise BlobLost("its bytes are damaged: they do not have the digest they should")
        try:
            return codecs.decode_value(payload.codec, view, self.blobs)
        except BlobLost:
            raise
        except Exception as error:  # unpickling runs code of the user's classes
            raise BlobLost(f"its bytes no longer make a value: {type(error).__name__}: {error}") from error

    def put(self, entry: Entry) -> None:
        """Take an entry."""
        self.put_many((entry,))

    def put_many(self, entries: Sequence[Entry]) -> None:
        """Take entries."""
        with self._lock:
            for entry in entries:
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        keys = [entry.key, *(key for key in self._recent.get(entry.task, ()) if key != entry.key)]
        self._recent[entry.task] = keys[:RECENT_KEYS]
        old = self._stats.get(entry.task, TaskStats(n=0, mean_s=0.0, mean_bytes=0.0))
        n = old.n + 1
        self._stats[entry.task] = TaskStats(
            n=n,
            mean_s=old.mean_s + (entry.duration_s - old.mean_s) / n,
            mean_bytes=old.mean_bytes + (payload_bytes(entry) - old.mean_bytes) / n,
        )

    def flush(self) -> None:
        """Do nothing: every entry is where it will be."""
        self._memo.flush()

    def flush_soon(self) -> Callable[[], bool]:
        """Do nothing, and say that it is done."""
        self.flush()
        return lambda: True

    def lease(self, key: Key, holder: Holder | None = None) -> Lease | None:
        """Return the right to compute `key`, or None while someone holds it."""
        return self.lease_many((key,), holder)[0]

    def lease_many(self, keys: Sequence[Key], holder: Holder | None = None) -> list[Lease | None]:
        """Return what `lease` would for each key."""
        with self._lock:
            return [self._lease(key, holder) for key in keys]

    def _lease(self, key: Key, holder: Holder | None) -> Lease | None:
        if key in self._leased:
            return None
        self._leased.add(key)
        return _MemoryLease(self, key, holder)

    def release_many(self, leases: Iterable[Lease]) -> None:
        """Release leases of this store."""
        for lease in leases:
            lease.release()

    def give_back(self, key: Key, holder: Holder | None) -> None:
        """End a lease."""
        with self._lock:
            self._leased.discard(key)
            self._n_released += 1
            if holder is not None:
                holder.n_released += 1

    def mark(self, holder: Holder) -> Mark:
        """Note this moment."""
        with self._lock:
            return Mark(holder, self._n_released - holder.n_released)

    def others_since(self, mark: Mark) -> bool:
        """Say whether anybody but the holder has released a lease since a mark."""
        return self.mark(mark.holder).inside != mark.inside

    def recent(self, task: str) -> list[Entry]:
        """Return the latest entries of a task, newest first, at most 32; expired ones are among them."""
        return [self._entries[key] for key in list(self._recent.get(task, ())) if key in self._entries]

    def stats(self, task: str) -> TaskStats | None:
        """Return what runs of a task cost; None without history."""
        return self._stats.get(task)

    def put_texts(self, texts: Mapping[str, str]) -> None:
        """Keep texts by name, once."""
        with self._lock:
            self._texts = {**texts, **self._texts}

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kept texts among `names`."""
        return {name: self._texts[name] for name in names if name in self._texts}

    def notes(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the notes among `names`."""
        return {name: self._notes[name] for name in names if name in self._notes}

    def put_notes(self, notes: Mapping[str, bytes]) -> None:
        """Keep notes by name."""
        with self._lock:
            self._notes.update(notes)

    def file_memo(self) -> StoredFileMemo:
        """Return the memo of file digests that lives in this store."""
        return self._memo

    def take_notices(self) -> list[tuple[str, str]]:
        """Return nothing: memory gives no trouble worth telling."""
        return []

    def close(self) -> None:
        """Do nothing: the store ends when the last reference to it does."""


class _MemoryLease:
    def __init__(self, store: MemoryStore, key: Key, holder: Holder | None) -> None:
        self._store, self._key, self._holder = store, key, holder
        self._is_released = False

    def release(self) -> None:
        """Give the right back."""
        if not self._is_released:
            self._is_released = True
            self._store.give_back(self._key, self._holder)


class MemoryBlobs:
    """Blobs by digest in a dict, and the files of values among them."""

    def __init__(self) -> None:
        self._data: dict[Digest, bytes] = {}
        self._files = Files()

    def keep(self, digest: Digest, data: bytes) -> None:
        """Keep bytes under their digest."""
        self._data.setdefault(digest, data)

    def get(self, digest: Digest) -> bytes:
        """Return kept bytes.

        Raises:
            BlobLost: They were never kept.
        """
        if digest not in self._data:
            raise BlobLost(f"blob {digest} is missing")
        return self._data[digest]

    def forget(self, digest: Digest) -> None:
        """Lose a blob, as a disk might."""
        self._data.pop(digest, None)

    def ingest(self, source: Path) -> Digest:
        """Keep a copy of a file.

        Raises:
            NotKept: It cannot be read.
        """
        try:
            data = self._read(source)
        except OSError as error:
            raise NotKept(f"the file {source} cannot be copied: {error.strerror or error}") from error
        digest = digest_bytes(data)
        self.keep(digest, data)
        return digest

    def copy_out(self, digest: Digest, target: Path, mode: int) -> None:
        """Write a copy of a blob at a path; raises BlobLost or OSError."""
        self._files.make_path(target.parent)
        descriptor = self._files.create(target)
        try:
            self._files.write(descriptor, [self.get(digest)])
            self._files.set_mode(target, mode)
        finally:
            self._files.close(descriptor)

    def digest_of_file(self, path: Path) -> Digest:
        """Return the digest of a file of the user's; raises OSError."""
        return digest_bytes(self._read(path))

    def make_path(self, path: Path) -> None:
        """Create a directory of the user's; raises OSError."""
        self._files.make_path(path)

    def set_aside(self, path: Path) -> None:
        """Move a file of the user's into a directory beside the one it is in; raises OSError."""
        attic = path.parent.with_name(f"{path.parent.name}.replaced")
        self._files.make_dir(attic)
        self._files.move(path, attic / f"{path.name}.{len(self._files.names(attic))}")

    def _read(self, path: Path) -> bytes:
        descriptor, n_bytes = self._files.open_read(Path(os.path.realpath(path)))
        try:
            return bytes(self._files.read(descriptor, n_bytes))
        finally:
            self._files.close(descriptor)
