"""The bytes of an entry and of the small records beside it.

Constraints: written and read a hundred thousand times a run (about 1 us each), no code runs on decoding, readable by
every later Python. Layout: `marshal` version 2 of one tuple of exact builtin types, sealed by `mac.Mac` under the
record's name. Version 2 has not changed since Python 2.5 and has no shared references, so equal entries are equal
bytes. The key of an entry is its name, which is under the seal; what a hit does not need is packed (`details`), and what hardly any entry has is left out. Formats 1 and 2 are still
read. Rejected: JSON, 5 times slower and without bytes; pickle, which runs code.

Invariant: `marshal.loads` only ever sees bytes whose seal has been verified, so hostile bytes never reach it.
"""

import marshal
from typing import Any

from flowlib.ids import Key
from flowlib.store.base import NO_FLAGS, NO_TEXTS, Entry, Payload, TaskStats
from flowlib.store.details import pack_details

_MARSHAL_VERSION = 2
_ENTRY_FORMAT = 3


class BadRecord(ValueError):
    """A sealed record does not hold what its name promises: written by a future version, or by a bug."""


def record_name(kind: str, name: str) -> str:
    r"""Return the name a record is filed under: any text is allowed, lone surrogates are written out.

    >>> record_name("t", "a"), record_name("r", "b\ud800")
    ('t:a', 'r:b\\ud800')
    """
    if name.isascii():
        return f"{kind}:{name}"
    return f"{kind}:{name.encode('utf-8', 'backslashreplace').decode('utf-8')}"


def encode_entry(entry: Entry) -> bytes:
    """Return the unsealed bytes of an entry, its key left out: that is the name it is filed and sealed under."""
    payload = entry.payload
    rest = None
    if entry.flags or entry.watch or payload.refs or not payload.kept:
        rest = payload.kept, tuple(payload.refs), tuple(sorted(entry.flags)), tuple(entry.watch)
    fields = (
        _ENTRY_FORMAT,
        entry.task,
        entry.output,
        payload.codec,
        payload.content if payload.inline is None else None,
        payload.inline,
        entry.packed_details(),
        entry.run,
        entry.created_at,
        entry.duration_s,
        entry.expires_at,
        rest,
    )
    return marshal.dumps(fields, _MARSHAL_VERSION)


def decode_entry(key: Key, body: bytes) -> Entry:
    """Return the entry of a key in verified bytes.

    Raises:
        BadRecord: They are not an entry of a known format.
    """
    try:
        fields = marshal.loads(body)
        if fields[0] != _ENTRY_FORMAT:
            fields = _from_earlier(key, fields)
        _, task, output, codec, content, inline, details, run, made, took, ends, rest = fields
        kept, refs, flags, watch = (True, (), NO_FLAGS, ()) if rest is None else rest
        payload = Payload(codec, content, inline, kept, refs)
        return Entry(
            key, task, output, payload, details, NO_TEXTS, run, made, took, frozenset(flags), watch, ends
        )  # the fields are Any here: converting each to its NewType would cost as much as the seal
    except (ValueError, EOFError, TypeError, LookupError) as error:
        raise BadRecord(str(error)) from error


def _from_earlier(key: Key, fields: Any) -> tuple[Any, ...]:
    """Return the fields of an earlier format in the order of this one."""
    if fields[0] == 1:
        _, own_key, task, output, payload, parts, previews, *rest = fields
    elif fields[0] == 2:
        _, own_key, task, output, *payload, details, run, made, took, flags, watch, ends = fields
        parts, previews = marshal.loads(details)
        rest = [run, made, took, flags, watch, ends]
    else:
        raise BadRecord(f"entry format {fields[0]}")
    if own_key != key:
        raise BadRecord("an entry of another key")
    codec, content, inline, kept, refs = payload
    run, made, took, flags, watch, ends = rest
    details = pack_details(parts, previews)
    rare = (kept, refs, flags, watch)
    return (
        _ENTRY_FORMAT,
        task,
        output,
        codec,
        None if inline is not None else content,
        inline,
        details,
        run,
        made,
        took,
        ends,
        None if rare == (True, (), (), ()) else rare,
    )


def encode_stats(stats: TaskStats) -> bytes:
    """Return the bytes of a task's statistics."""
    return marshal.dumps((stats.n, stats.mean_s, stats.mean_bytes), _MARSHAL_VERSION)


def decode_stats(body: bytes) -> TaskStats:
    """Return the statistics in verified bytes."""
    n, mean_s, mean_bytes = marshal.loads(body)
    return TaskStats(n=n, mean_s=mean_s, mean_bytes=mean_bytes)


def encode_keys(keys: list[Key]) -> bytes:
    """Return the bytes of a list of keys, newest first."""
    return marshal.dumps([str(key) for key in keys], _MARSHAL_VERSION)


def decode_keys(body: bytes) -> list[Key]:
    """Return the keys in verified bytes."""
    return [Key(key) for key in marshal.loads(body)]
