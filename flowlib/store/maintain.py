"""Look after a cache directory: list, measure, verify, repair, remove, adopt. `collect` frees space.

Every function works beside other processes that read and write, and returns what it found or did as a frozen value
for a door to print. Looking (`ls`, `size`, `verify`) changes nothing and decodes no value.
"""

from pathlib import Path

import attrs

from flowlib.hashing.digest import is_digest
from flowlib.ids import Digest, Key, RunId
from flowlib.store.base import Entry
from flowlib.store.collect import Collected, gc
from flowlib.store.contents import blobs_of, entries_of, records_of
from flowlib.store.derived import payload_bytes
from flowlib.store.local import LocalStore
from flowlib.store.mac import Refused

__all__ = [
    "Collected",
    "Kept",
    "Repair",
    "Usage",
    "Verification",
    "gc",
    "ls",
    "repair",
    "rm",
    "size",
    "trust",
    "verify",
]


@attrs.frozen(kw_only=True)
class Kept:
    """One kept result. `n_bytes` is what its value takes when encoded, shared blobs counted in full."""

    key: Key
    task: str
    n_bytes: int
    duration_s: float
    created_at: float
    run: RunId
    codec: str
    flags: frozenset[str]


@attrs.frozen(kw_only=True)
class Usage:
    """Bytes on disk by kind, and how many results and blobs there are."""

    n_entries: int
    n_blobs: int
    blob_bytes: int
    index_bytes: int
    log_bytes: int
    run_bytes: int
    temporary_bytes: int
    quarantine_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        kept = self.blob_bytes + self.index_bytes + self.log_bytes + self.run_bytes
        return kept + self.temporary_bytes + self.quarantine_bytes


@attrs.frozen(kw_only=True)
class Verification:
    """What a full check found. Names are entry keys and blob digests, each with what is wrong."""

    n_entries: int
    n_blobs: int
    n_bytes: int
    n_foreign: int
    is_index_sound: bool
    damaged_entries: tuple[str, ...]
    damaged_blobs: tuple[tuple[str, str], ...]
    incomplete_entries: tuple[tuple[Key, str], ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged and nothing is missing. Records of another key are no damage."""
        return self.is_index_sound and not (self.damaged_entries or self.damaged_blobs or self.incomplete_entries)


@attrs.frozen(kw_only=True)
class Repair:
    """What a repair did."""

    is_index_new: bool
    n_restored: int
    """Records that the index had lost and the log still had."""
    n_dropped: int
    """Entries removed because they or their blobs are damaged; their results are computed again when asked for."""
    n_quarantined: int
    """Files moved to `bad/`."""


def ls(store: LocalStore, *, task: str | None = None, prefix: str = "") -> tuple[Kept, ...]:
    """Return the kept results, newest first, of all tasks or of one, with keys that start with `prefix`.

    Raises:
        StoreTrouble: The index cannot be read.
    """
    kept = [
        Kept(
            key=entry.key,
            task=entry.task,
            n_bytes=payload_bytes(entry),
            duration_s=entry.duration_s,
            created_at=entry.created_at,
            run=entry.run,
            codec=entry.payload.codec,
            flags=entry.flags,
        )
        for name, entry in entries_of(store, prefix)
        if isinstance(entry, Entry) and (task is None or entry.task == task)
    ]
    return tuple(sorted(kept, key=lambda item: (-item.created_at, item.key)))


def size(store: LocalStore) -> Usage:
    """Measure a cache directory. Cost: one `stat` a file."""
    store.flush()
    n_blobs, blob_bytes = _measure(store.root / "blobs")
    return Usage(
        n_entries=sum(1 for _ in entries_of(store)),
        n_blobs=n_blobs,
        blob_bytes=blob_bytes,
        index_bytes=_measure(store.root / "index")[1],
        log_bytes=_measure(store.root / "entries")[1],
        run_bytes=_measure(store.root / "runs")[1],
        temporary_bytes=_measure(store.root / "tmp")[1],
        quarantine_bytes=sum(_measure(path)[1] for path in [store.root / "bad", *store.root.glob("index.corrupt-*")]),
    )


def verify(store: LocalStore) -> Verification:
    """Check every record and read every blob. Cost: the reading of all blobs, at 1 to 10 GB/s from memory."""
    store.flush()
    problems = {name: store.blobs.check(Digest(name)) for _, name in store.blobs.names() if is_digest(name)}
    strays = tuple((str(path), "no blob") for path, name in store.blobs.names() if not is_digest(name))
    damaged: list[str] = []
    incomplete: list[tuple[Key, str]] = []
    n_entries = n_foreign = 0
    for name, entry in entries_of(store):
        n_entries += 1
        if entry is Refused.FOREIGN:
            n_foreign += 1
        elif not isinstance(entry, Entry):
            damaged.append(name[2:])
        else:
            lacking = [(digest, problems.get(digest, "missing")) for digest in blobs_of(entry)]
            incomplete += [(entry.key, f"blob {digest}: {problem}") for digest, problem in lacking if problem]
    return Verification(
        n_entries=n_entries,
        n_blobs=len(problems),
        n_bytes=_measure(store.root / "blobs")[1],
        n_foreign=n_foreign,
        is_index_sound=store.records.index.check(),
        damaged_entries=tuple(damaged),
        damaged_blobs=tuple((name, problem) for name, problem in problems.items() if problem) + strays,
        incomplete_entries=tuple(incomplete),
    )


def repair(store: LocalStore) -> Repair:
    """Make a cache whole: index from the log, damaged files to `bad/`, entries without their blobs dropped.

    Raises:
        StoreTrouble: Another process maintains this cache, or the disk refuses.
    """
    store.flush()
    with store.maintaining():
        is_index_new, n_restored = store.restore_index()
        quarantined = 0
        for path, name in list(store.blobs.names()):
            if not is_digest(name) or store.blobs.check(Digest(name)):
                quarantined += store.blobs.quarantine(path).startswith(" (moved")
        broken = [
            name
            for name, entry in entries_of(store)
            if entry is Refused.DAMAGED or (isinstance(entry, Entry) and not all(map(store.blobs.has, blobs_of(entry))))
        ]
        store.remove(broken)
    return Repair(is_index_new=is_index_new, n_restored=n_restored, n_dropped=len(broken), n_quarantined=quarantined)


def rm(store: LocalStore, *, task: str | None = None, prefix: str = "") -> int:
    """Remove the results of a task, or those whose key starts with `prefix`, and return how many.

    Blobs that nothing else names go with the next `gc`.

    Raises:
        ValueError: Neither is given: removing everything is `rm -r` of the directory.
        StoreTrouble: The index cannot be read or written.
    """
    if task is None and not prefix:
        raise ValueError("Give a task or the beginning of a key.")
    names = ["e:" + kept.key for kept in ls(store, task=task, prefix=prefix)]
    store.remove(names)
    return len(names)


def trust(store: LocalStore) -> int:
    """Adopt every record that another key has sealed, and return how many results that made usable.

    Only for caches whose origin is trusted: from then on their pickles are loaded.

    Raises:
        StoreTrouble: The index cannot be read or written.
    """
    store.flush()
    with store.maintaining():
        foreign: dict[str, bytes] = {}
        for prefix in ("e:", "t:", "s:", "r:", "f:"):
            for name, body, record in records_of(store, prefix):
                if body is Refused.FOREIGN and (sealed := store.mac.adopt(name, record)) is not None:
                    foreign[name] = sealed
        store.adopt(foreign)
    return sum(1 for name in foreign if name.startswith("e:"))


def _measure(directory: Path) -> tuple[int, int]:
    n_files = n_bytes = 0
    for path in directory.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not path.is_dir() or path.is_symlink():
            n_files, n_bytes = n_files + 1, n_bytes + status.st_size
    return n_files, n_bytes
