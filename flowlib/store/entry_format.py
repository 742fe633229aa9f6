"""The bytes of an entry and of the small records beside it.

Constraints: written and read a hundred thousand times a run (about 1 us each), no code runs on decoding, readable by
every later Python. Layout: `marshal` version 2 of one tuple of exact builtin types, sealed by `mac.Mac` under the
record's name. Version 2 has not changed since Python 2.5 and has no shared references, so equal entries are equal
bytes. What a hit does not need (parts, previews) is packed apart and unpacked when asked for. Format 1, which had it in
the open, is still read. Rejected: JSON, 5 times slower and without bytes; pickle, which runs code.

Invariant: `marshal.loads` only ever sees bytes whose seal has been verified, so hostile bytes never reach it.
"""

import marshal
from typing import Any

from flowlib.ids import Key
from flowlib.store.base import Entry, Payload, TaskStats, pack_details

_MARSHAL_VERSION = 2
_ENTRY_FORMAT = 2
_NO_FLAGS: frozenset[str] = frozenset()


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
    """Return the unsealed bytes of an entry."""
    payload = entry.payload
    fields = (
        _ENTRY_FORMAT,
        entry.key,
        entry.task,
        entry.output,
        payload.codec,
        payload.content,
        payload.inline,
        payload.kept,
        payload.refs if type(payload.refs) is tuple else tuple(payload.refs),
        entry.packed_details(),
        entry.run,
        float(entry.created_at),
        float(entry.duration_s),
        tuple(sorted(entry.flags)) if entry.flags else (),
        entry.watch if type(entry.watch) is tuple else tuple(entry.watch),
        entry.expires_at,
    )
    return marshal.dumps(fields, _MARSHAL_VERSION)


def decode_entry(body: bytes) -> Entry:
    """Return the entry in verified bytes.

    Raises:
        BadRecord: They are not an entry of a known format.
    """
    try:
        fields = marshal.loads(body)
        if fields[0] == 1:
            fields = _from_format_1(fields)
        (known, key, task, output, codec, content, inline, kept, refs, details, run, made, took, flags, watch, ends) = (
            fields
        )
    except (ValueError, EOFError, TypeError, LookupError) as error:
        raise BadRecord(str(error)) from error
    if known != _ENTRY_FORMAT:
        raise BadRecord(f"entry format {known}")
    return Entry(  # the fields are Any here: converting each to its NewType would cost as much as the seal
        key=key,
        task=task,
        output=output,
        payload=Payload(codec=codec, content=content, inline=inline, kept=kept, refs=refs),
        parts=details,
        run=run,
        created_at=made,
        duration_s=took,
        flags=frozenset(flags) if flags else _NO_FLAGS,
        watch=watch,
        expires_at=ends,
    )


def _from_format_1(fields: Any) -> tuple[Any, ...]:
    """Return the fields of the first format in the order of this one."""
    _, key, task, output, payload, parts, previews, *rest = fields
    return (_ENTRY_FORMAT, key, task, output, *payload, pack_details(parts, previews), *rest)


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
