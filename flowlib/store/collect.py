"""Free space in a cache directory: least useful results first, then whatever nobody needs.

Rules: an entry goes before its blob, so a hit never names a blob that a collection took (on a full disk, where not even a
removal can be noted, blobs go first, and an entry that outlives its blob is a miss); a blob whose time stamp has
changed since it was looked at is in use again and stays. The worst that a collection beside a running process can do
is that one value is computed again.
"""

import math
import os
from collections.abc import Collection
from pathlib import Path

import attrs

from flowlib.errors import StoreTrouble
from flowlib.hashing.digest import is_digest
from flowlib.ids import Digest, Key
from flowlib.store.base import Entry
from flowlib.store.contents import blobs_of, entries_of
from flowlib.store.derived import payload_bytes
from flowlib.store.local import LocalStore

GRACE_S = 3600.0
"""A blob that no entry names may belong to a run at work for this long."""
_ABANDONED_S = 86_400.0
_EVIDENCE_S = 7 * 86_400.0


@attrs.frozen(kw_only=True)
class Collected:
    """What a collection removed, or would remove. `keys` are the entries, least useful first."""

    keys: tuple[Key, ...]
    n_blobs: int
    n_files: int
    """Temporary files of dead processes, and quarantined files older than a week."""
    n_bytes: int
    is_dry_run: bool


def gc(
    store: LocalStore,
    *,
    older_than_s: float | None = None,
    max_bytes: int | None = None,
    reachable: Collection[Key] | None = None,
    pinned: Collection[Key] = (),
    dry_run: bool = False,
    grace_s: float = GRACE_S,
) -> Collected:
    """Remove entries by age, reach and size, then blobs without entries and files without owners.

    Args:
        store: The cache.
        older_than_s: Entries made longer ago than this go; seconds.
        max_bytes: Entries go, least seconds saved per byte first, until values take no more than this.
        reachable: If given, entries with other keys go.
        pinned: Keys of entries that never go.
        dry_run: Only say what would go.
        grace_s: Blobs without an entry stay for this many seconds after they were written or last reused.

    Raises:
        StoreTrouble: Another process maintains this cache, or the disk refuses.
    """
    with store.maintaining():
        entries = [entry for _, entry in entries_of(store) if isinstance(entry, Entry)]
        doomed = _choose(entries, store.options.clock.now(), older_than_s, max_bytes, reachable, frozenset(pinned))
        doomed_keys = {entry.key for entry in doomed}
        freed = {digest for entry in doomed for digest in blobs_of(entry)}
        stamps = _stamps(store)
        made_room = 0 if dry_run else _remove_entries(store, entries, doomed_keys, stamps)
        listed = [entry for _, entry in entries_of(store)]
        used = {d for e in listed if isinstance(e, Entry) and e.key not in doomed_keys for d in blobs_of(e)}
        if not all(isinstance(entry, Entry) for entry in listed):
            grace_s = math.inf  # which blobs the records of another key need is unknown: only the freed ones go
        blobs = _unused(store, stamps, used, freed, grace_s)
        files = _ownerless(store)
        n_bytes = sum(stamps[path][1] for path in blobs) + sum(_n_bytes(path) for path in files)
        if not dry_run:
            n_bytes = made_room + _remove_blobs(store, blobs, stamps) + _remove_files(store, files) + store.compact()
    keys = tuple(entry.key for entry in doomed)
    return Collected(keys=keys, n_blobs=len(blobs), n_files=len(files), n_bytes=n_bytes, is_dry_run=dry_run)


def _remove_entries(
    store: LocalStore, entries: list[Entry], doomed_keys: set[Key], stamps: dict[Path, tuple[int, int]]
) -> int:
    """Remove entries; return how many bytes of their blobs had to go before, because the disk was full."""
    names = ["e:" + entry.key for entry in entries if entry.key in doomed_keys]
    try:
        store.remove(names)
        return 0
    except StoreTrouble:
        used = {digest for entry in entries if entry.key not in doomed_keys for digest in blobs_of(entry)}
        freed = {digest for entry in entries if entry.key in doomed_keys for digest in blobs_of(entry)} - used
        n_bytes = _remove_blobs(store, [path for path in stamps if path.name in freed], stamps)
        store.remove(names)
        return n_bytes


def _choose(
    entries: list[Entry],
    now: float,
    older_than_s: float | None,
    max_bytes: int | None,
    reachable: Collection[Key] | None,
    pinned: frozenset[Key],
) -> list[Entry]:
    """Return the entries to remove, least useful first."""
    doomed = [
        entry
        for entry in entries
        if entry.key not in pinned
        and (
            not entry.is_valid(now)
            or (older_than_s is not None and entry.created_at < now - older_than_s)
            or (reachable is not None and entry.key not in reachable)
        )
    ]
    if max_bytes is not None:
        gone = {entry.key for entry in doomed}
        doomed += _least_useful([entry for entry in entries if entry.key not in gone], max_bytes, pinned)
    return doomed


def _least_useful(entries: list[Entry], max_bytes: int, pinned: frozenset[Key]) -> list[Entry]:
    """Return the entries to give up so that the rest fits; a blob is gone when its last entry is."""
    sizes: dict[str, int] = {}
    uses: dict[str, int] = {}
    for entry in entries:
        for name, n_bytes in _takes(entry).items():
            sizes[name] = n_bytes
            uses[name] = uses.get(name, 0) + 1
    total = sum(sizes.values())
    given_up: list[Entry] = []
    for entry in sorted(entries, key=lambda e: (e.duration_s / max(payload_bytes(e), 1), e.created_at, e.key)):
        if total <= max_bytes:
            break
        if entry.key in pinned:
            continue
        given_up.append(entry)
        for name in _takes(entry):
            uses[name] -= 1
            total -= 0 if uses[name] else sizes[name]
    return given_up


def _takes(entry: Entry) -> dict[str, int]:
    """Return what an entry occupies: each of its blobs, or its own inline bytes, by name."""
    blobs: dict[str, int] = {digest: int(digest.rpartition("-")[2]) for digest in blobs_of(entry)}
    return blobs if entry.payload.inline is None else {**blobs, entry.key: len(entry.payload.inline)}


def _stamps(store: LocalStore) -> dict[Path, tuple[int, int]]:
    stamps: dict[Path, tuple[int, int]] = {}
    for path, name in store.blobs.names():
        if is_digest(name):
            try:
                status = store.options.files.status(path)
            except FileNotFoundError:
                continue
            stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps


def _unused(
    store: LocalStore, stamps: dict[Path, tuple[int, int]], used: set[Digest], freed: set[Digest], grace_s: float
) -> list[Path]:
    young_ns = (store.options.clock.now() - grace_s) * 1e9
    unnamed = [(path, stamp) for path, (stamp, _) in stamps.items() if path.name not in used]
    return [path for path, stamp in unnamed if path.name in freed or stamp <= young_ns]


def _ownerless(store: LocalStore) -> list[Path]:
    now, files = store.options.clock.now(), store.options.files
    host = os.uname().nodename
    found = []
    for path in [store.root / "tmp" / name for name in files.names(store.root / "tmp")]:
        owner, _, pid = path.name.rsplit(".", 1)[0].rpartition(".")
        dead = owner == host and pid.isdecimal() and not _is_alive(int(pid))
        if dead or _age_s(path, now) > _ABANDONED_S:
            found.append(path)
    evidence = [store.root / name for name in files.names(store.root) if name.startswith("index.corrupt-")]
    for directory in [store.root / "bad", *evidence]:
        old = [directory / name for name in files.names(directory)]
        found += [path for path in old if _age_s(path, now) > _EVIDENCE_S]
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _age_s(path: Path, now: float) -> float:
    try:
        return now - path.lstat().st_ctime
    except OSError:
        return 0.0


def _n_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _remove_blobs(store: LocalStore, paths: list[Path], stamps: dict[Path, tuple[int, int]]) -> int:
    files, n_bytes = store.options.files, 0
    for path in paths:
        try:
            if files.status(path).st_mtime_ns == stamps[path][0]:
                files.remove(path)
                n_bytes += stamps[path][1]
        except OSError:
            continue  # gone already, or stays until the next collection
    return n_bytes


def _remove_files(store: LocalStore, paths: list[Path]) -> int:
    n_bytes = 0
    for path in paths:
        try:
            n_found = _n_bytes(path)
            store.options.files.remove(path)
            n_bytes += n_found
            if path.parent.name.startswith("index.corrupt-") and not store.options.files.names(path.parent):
                store.options.files.remove_dir(path.parent)
        except OSError:
            continue
    return n_bytes
