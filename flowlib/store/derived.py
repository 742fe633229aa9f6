"""Records that follow from entries: the latest keys and the statistics of each task."""

from collections.abc import Callable, Mapping, Sequence

from flowlib.hashing.digest import size_bytes
from flowlib.ids import Key
from flowlib.store.base import Entry, TaskStats
from flowlib.store.entry_format import (
    BadRecord,
    decode_entry,
    decode_keys,
    decode_stats,
    encode_keys,
    encode_stats,
    record_name,
)

RECENT_KEYS = 32
"""How many of a task's latest entries `recent` can name."""


def derive_from(
    committing: Callable[[Key], Entry | None],
    bodies: Mapping[str, bytes],
    get: Callable[[Sequence[str]], Mapping[str, bytes]],
) -> dict[str, bytes]:
    """Return what follows from records that are being committed.

    Args:
        committing: Returns an entry that is at hand, so that it need not be read.
        bodies: The records by name; those that are no entries, or damaged, are passed over.
        get: Returns the bodies of records that are there.
    """
    entries = []
    for name, body in bodies.items():
        if name.startswith("e:"):
            key = Key(name[2:])
            try:
                entries.append(committing(key) or decode_entry(key, body))
            except BadRecord:
                continue
    return derive_records(entries, get) if entries else {}


def derive_records(entries: Sequence[Entry], get: Callable[[Sequence[str]], Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the new bodies of `r:<task>` and `s:<task>` after some entries, in the order they were made."""
    by_task: dict[str, list[Entry]] = {}
    for entry in entries:
        by_task.setdefault(entry.task, []).append(entry)
    old = get([record_name(kind, task) for task in by_task for kind in "rs"])
    new: dict[str, bytes] = {}
    for task, group in by_task.items():
        recent, stats = record_name("r", task), record_name("s", task)
        new[recent] = encode_keys(newest_first(group, old.get(recent)))
        new[stats] = encode_stats(add_stats(group, old.get(stats)))
    return new


def newest_first(entries: Sequence[Entry], old: bytes | None) -> list[Key]:
    """Return the latest keys after some entries were added, newest first, each once."""
    latest = [entry.key for entry in reversed(entries[-RECENT_KEYS:])]
    return list(dict.fromkeys([*latest, *(decode_keys(old) if old else ())]))[:RECENT_KEYS]


def add_stats(entries: Sequence[Entry], old: bytes | None) -> TaskStats:
    """Return the statistics of a task after some entries were added."""
    before = decode_stats(old) if old else TaskStats(n=0, mean_s=0.0, mean_bytes=0.0)
    n = before.n + len(entries)
    seconds = before.mean_s * before.n + sum(entry.duration_s for entry in entries)
    n_bytes = before.mean_bytes * before.n + sum(payload_bytes(entry) for entry in entries)
    return TaskStats(n=n, mean_s=seconds / n, mean_bytes=n_bytes / n)


def payload_bytes(entry: Entry) -> int:
    """Return the bytes a value takes when encoded, files inside it included."""
    payload = entry.payload
    return payload.n_bytes + (sum(map(size_bytes, payload.refs)) if payload.refs else 0)
