"""The store of a cache directory: what runs put in, and get back verified.

Theory of operation: values become bytes (`codec`); small ones stay in their entry, others become blobs (`blobs`).
Entries wait in memory until a flush: first the blobs they name are made durable, then the entries are logged and
indexed (`records`). Waiting entries are found like committed ones. Reading goes the other way, and any doubt on the
way is a miss or `BlobLost`, never a value.

Rules: no method lets trouble of the disk out, except as `NotKept` and `BlobLost`; the rest becomes a notice. A store
that came through a fork starts afresh in the child: it shares no lock, no connection and no waiting entry.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from flowlib.ids import Key
from flowlib.store import codec as codecs
from flowlib.store.base import GENERATION, BlobLost, Entry, Holder, Lease, Mark, Payload, TaskStats
from flowlib.store.blobs import Blobs, matches
from flowlib.store.committer import Committer, done
from flowlib.store.derived import derive_from
from flowlib.store.entry_format import BadRecord, decode_entry, decode_keys, decode_stats, encode_entry, record_name
from flowlib.store.files import is_network_path
from flowlib.store.index import IndexBusy, IndexLost
from flowlib.store.leases import KeyLease, lock_table
from flowlib.store.locks import MAINTENANCE
from flowlib.store.mac import Mac
from flowlib.store.memo import StoredFileMemo
from flowlib.store.notices import Notices
from flowlib.store.opening import StoreOptions, no_index, open_directory, unusable
from flowlib.store.records import Records
from flowlib.store.waiting import Batch, Waiting

__all__ = ["LocalStore", "StoreOptions", "open_store"]


def open_store(path: str | os.PathLike[str], options: StoreOptions) -> "LocalStore":
    """Open the cache in a directory, making it if needed.

    Raises:
        StoreTrouble: The directory cannot be used: not writable, not yours, open to others, of a later format.

    Cost: about 2 ms (10 ms for a new one; SQLite is imported on first use), and the reading of whatever a crash left unindexed.
    """
    root = Path(os.path.abspath(path))
    mac = open_directory(root, options)
    try:
        return LocalStore(root, options, mac)
    except (IndexBusy, OSError) as error:
        raise no_index(root, error, options.files) from error


class LocalStore:
    """Entries and blobs in a directory, for any number of threads and processes. Made by `open_store`."""

    def __init__(self, root: Path, options: StoreOptions, mac: Mac) -> None:
        self.root, self.options, self.mac = root, options, mac
        self._inherited: list[object] = []
        self._restarting = threading.Lock()
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        """Set up everything that belongs to one process."""
        files = self.options.files
        self._notices = Notices()
        self._flushing = threading.Lock()
        self._waiting = Waiting(self.options)
        self._committer = Committer(self.flush)
        self.locks = lock_table(self.root / "leases", files)
        self.blobs = Blobs(self.root, files, self.options.fsync)
        network = is_network_path(self.root)
        derive = functools.partial(derive_from, self._waiting.committing)
        sync = self.options.fsync != "off"
        self.records = Records(
            self.root, files, self.mac, self.locks, self._notices, derive, sync=sync, network=network
        )
        self._memo = StoredFileMemo(self.records.get, self.records.put_unlogged)
        if network:
            self._notices.add("network", "The cache is on a network file system: slower, and locks may not be safe.")
        self._pid = os.getpid()  # last: until then no other thread goes on, see `_here`

    def _here(self) -> None:
        """Start afresh in the child of a fork. What came along is kept, because closing it would harm the parent."""
        if os.getpid() != self._pid:
            with self._restarting:
                if os.getpid() != self._pid:
                    self._inherited += [self.records, self.locks, self._memo]
                    self._start()

    # ---- entries

    def find(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return the valid entries among `keys`. Cost: twice what SQLite takes; see `benchmarks/bench_store.py`."""
        found, now = self._stored(keys), self.options.clock.now()
        late = [key for key, e in found.items() if e.expires_at is not None and e.expires_at <= now]
        for key in late:
            del found[key]
        return found

    def _stored(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        self._here()
        found = self._waiting.known(keys)
        asked = ["e:" + key for key in keys if key not in found] if found else ["e:" + key for key in keys]
        for name, body in (self.records.get(asked) if asked else {}).items():
            try:
                key: Key = name[2:]  # type: ignore[assignment]  # a call of `Key` for each would cost 0.1 us
                found[key] = decode_entry(key, body)
            except BadRecord as error:
                self._notices.add("damaged", f"A record in the cache was ignored: {error}.")
        return found

    def put(self, entry: Entry) -> None:
        """Take an entry; it is durable after the next `flush`, which comes by itself when enough or old ones wait."""
        self.put_many((entry,))

    def put_many(self, entries: Sequence[Entry]) -> None:
        """Take entries, like `put`. Cost: 0.2 us an entry; the flush costs twice what SQLite takes."""
        self._here()
        if self._waiting.add(entries):
            self.flush_soon()

    def put_texts(self, texts: Mapping[str, str]) -> None:
        """Keep texts by name, once."""
        self._here()
        if self._waiting.add(texts=texts):
            self.flush_soon()

    def flush(self) -> None:
        """Commit every entry taken so far: blobs first, then log and index. What fails is told, kept and tried again."""
        self._here()
        with self._flushing:
            batch = self._waiting.begin()
            try:
                self._commit(batch)
            except OSError as error:
                self._notices.add(
                    "not-kept",
                    f"Results cannot be written to the cache {self.root}: {error.strerror or error}. The run goes on.",
                )
                self._waiting.take_back(batch)
            finally:
                self._waiting.end()

    def flush_soon(self) -> Callable[[], bool]:
        """Begin to commit every entry taken so far; return what says whether it is done. Never waits for a blob."""
        self._here()
        if self.blobs.n_unsynced or self._committer.is_busy:
            return self._committer.ask()
        self.flush()
        return done

    def _commit(self, batch: Batch) -> None:
        if self.options.fsync != "off":
            self.blobs.make_durable()
        logged = {}
        for key, entry in batch.entries.items():
            try:
                logged["e:" + key] = encode_entry(entry)
            except (ValueError, TypeError) as error:
                self._notices.add("not-kept", f"A result of task {entry.task!r} cannot be written: {error}.")
        logged.update(self._new_texts(batch.texts))
        self.records.commit(logged)
        self._memo.flush()

    def _new_texts(self, texts: Mapping[str, str]) -> dict[str, bytes]:
        if not texts:
            return {}
        bodies = {record_name("t", name): text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
        there = self.records.get(list(bodies))
        return {name: body for name, body in bodies.items() if name not in there}

    # ---- values

    def encode(self, value: object, *, codec: str | None = None) -> Payload:
        """Encode a value and write its blob if it is larger than 4 KiB. Cost: 0.7 us for a number.

        Raises:
            NotKept: It cannot be encoded, or the blob cannot be written.
        """
        scalar = codecs.encode_scalar(value) if codec is None else None
        if scalar is not None:
            return scalar
        self._here()
        encoded = codecs.encode_value(value, self.blobs, codec=codec)
        if encoded.n_bytes <= codecs.INLINE_BYTES:
            return Payload(codec=encoded.codec, inline=b"".join(encoded.parts), refs=encoded.refs)
        content = encoded.digest()
        self.blobs.write(encoded.parts, content)
        return Payload(codec=encoded.codec, content=content, refs=encoded.refs)

    def load(self, payload: Payload) -> object:
        """Return a new object that no one else holds, after verifying every byte it came from. Cost: 1 us for a number.

        Inline bytes came with the seal of their entry; they are verified again if somebody has named them.

        Raises:
            BlobLost: The bytes are missing or not the ones that were written, or no longer make a value (a class is
                gone).
        """
        try:
            inline = payload.inline
            if inline is not None and payload.codec in codecs.SIMPLE and len(inline) <= codecs.INLINE_BYTES:
                return codecs.load_simple(payload.codec, inline, payload.claim)
            self._here()
            data = self._bytes_of(payload)
        except BlobLost as error:
            if "damaged" in str(error):
                self._notices.add("damaged-blob", f"A stored value is computed again: {error}.")
            raise
        try:
            return codecs.decode_value(payload.codec, data, self.blobs)
        except BlobLost:
            raise
        except Exception as error:  # unpickling runs code of the user's classes
            raise BlobLost(f"its bytes no longer make a value: {type(error).__name__}: {error}") from error

    def _bytes_of(self, payload: Payload) -> memoryview:
        if payload.inline is None:
            return self.blobs.read(payload.content)
        view = memoryview(bytearray(payload.inline))
        if not matches(view, payload.content):
            raise BlobLost("its bytes are damaged: they do not have the digest they should")
        return view

    # ---- leases

    def lease(self, key: Key, holder: Holder | None = None) -> Lease | None:
        """Return the right to compute `key`, or None while another thread or process holds it. Cost: about 2 us."""
        return self.lease_many((key,), holder)[0]

    def lease_many(self, keys: Sequence[Key], holder: Holder | None = None) -> list[Lease | None]:
        """Return what `lease` would for each key. Cost: 0.7 us a key while no other process computes here."""
        self._here()
        return cast("list[Lease | None]", self.locks.take_keys(keys, holder))

    def release_many(self, leases: Iterable[Lease]) -> None:
        """Release leases of this store."""
        table, ours = self.locks, []
        for lease in leases:
            if isinstance(lease, KeyLease) and lease.table is table:
                ours.append(lease)
            else:
                lease.release()
        table.give_keys(ours)

    def mark(self, holder: Holder) -> Mark:
        """Note this moment. Cost: 1 us when alone, else a statement of SQLite (6 us)."""
        self._here()
        inside, alone = self.locks.moment(holder)
        return Mark(holder, inside, self.records.version() if alone is None else alone)

    def others_since(self, mark: Mark) -> bool:
        """Say whether anybody but the holder may have committed and released since a mark. Cost: that of `mark`."""
        self._here()
        inside, alone = self.locks.moment(mark.holder)
        if inside != mark.inside or mark.outside is None:
            return True
        return mark.outside != (alone if type(mark.outside) is int else self.records.version())

    # ---- the rest

    def recent(self, task: str) -> list[Entry]:
        """Return the latest committed entries of a task, newest first, at most 32; expired ones are among them."""
        self._here()
        name = record_name("r", task)
        body = self.records.get([name]).get(name)
        keys = decode_keys(body) if body else []
        found = self._stored(keys)
        return [found[key] for key in keys if key in found]

    def stats(self, task: str) -> TaskStats | None:
        """Return what committed runs of a task cost; None without history."""
        self._here()
        name = record_name("s", task)
        body = self.records.get([name]).get(name)
        return decode_stats(body) if body else None

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kept texts among `names`."""
        self._here()
        filed = {record_name("t", name): name for name in names}
        bodies = self.records.get(list(filed))
        found = {filed[name]: body.decode("utf-8", "surrogatepass") for name, body in bodies.items()}
        waiting = self._waiting.texts()
        found.update((name, waiting[name]) for name in names if name in waiting)
        return found

    def notes(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the notes among `names`. Cost: that of the index, 5 us a name."""
        self._here()
        return {name[2:]: body for name, body in self.records.get(["n:" + name for name in names]).items()}

    def put_notes(self, notes: Mapping[str, bytes]) -> None:
        """Keep notes by name: in the index only, so they are gone with it. Cost: a transaction, 0.1 ms."""
        self._here()
        self.records.put_unlogged({"n:" + name: body for name, body in notes.items()})

    def file_memo(self) -> StoredFileMemo:
        """Return the memo of file digests that lives in this store."""
        self._here()
        return self._memo

    def remove(self, names: Sequence[str]) -> None:
        """Remove records by name, and all notes with them.

        Raises:
            StoreTrouble: The disk refuses.
        """
        with self._changing():
            self.records.remove([*names, *self._noted()] if names else ())

    def _noted(self) -> list[str]:
        return ["n:" + GENERATION, *[name for name, _ in self.records.index.items("n:") if name != "n:" + GENERATION]]

    def adopt(self, sealed: Mapping[str, bytes]) -> None:
        """Commit records that are sealed already.

        Raises:
            StoreTrouble: The disk refuses.
        """
        with self._changing():
            self.records.remove(self._noted())
            self.records.adopt(sealed)

    def restore_index(self) -> tuple[bool, int]:
        """Put back what the log has and the index has not; return whether the index is new, and how many records that was.

        Raises:
            StoreTrouble: The disk refuses.
        """
        with self._changing():
            if self.records.index.check():
                return False, self.records.take_in(everything=True)
            return True, self.records.rebuild()

    def compact(self) -> int:
        """Rewrite the log without what is out of date; return how many bytes that freed.

        Raises:
            StoreTrouble: The disk refuses.
        """
        with self._changing():
            return self.records.compact()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self._here()
        try:
            with self._flushing:
                yield
        except (OSError, IndexBusy, IndexLost) as error:
            raise unusable(self.root, str(error), "Free space or repair permissions, and try again.") from error

    @contextlib.contextmanager
    def maintaining(self) -> Iterator[None]:
        """Hold the right to maintain this cache, so that two collections or repairs never meet.

        Raises:
            StoreTrouble: Another process or thread holds it.
        """
        self._here()
        if not self.locks.take(MAINTENANCE):
            raise unusable(self.root, "another process maintains it", "Try again when that is done.")
        try:
            yield
        finally:
            self.locks.give(MAINTENANCE)

    def take_notices(self) -> list[tuple[str, str]]:
        """Return and forget (kind, message) pairs about trouble since the last call; each kind is told once."""
        return self._notices.take()

    def close(self) -> None:
        """Flush and let go of files. The store may not be used afterwards; closing it again is harmless."""
        if not self._is_closed and os.getpid() == self._pid:
            self._is_closed = True
            self.flush()
            self._committer.close()
            self.locks.settle()
            self.records.close()
