"""What a store holds, entry by entry, for those who look after it."""

from collections.abc import Iterator

from flowlib.errors import StoreTrouble
from flowlib.ids import Digest, Key
from flowlib.store.base import Entry
from flowlib.store.entry_format import BadRecord, decode_entry
from flowlib.store.index import IndexBusy, IndexLost
from flowlib.store.local import LocalStore
from flowlib.store.mac import Refused


def records_of(store: LocalStore, prefix: str) -> Iterator[tuple[str, bytes | Refused, bytes]]:
    """Iterate over (name, body or why it is refused, sealed record) of the committed records.

    Raises:
        StoreTrouble: The index cannot be read.
    """
    try:
        yield from store.records.items(prefix)
    except (IndexLost, IndexBusy) as error:
        raise StoreTrouble(
            "The cache index cannot be read.", {"directory": store.root, "reason": error}, "Run: flowlib cache repair"
        ) from error


def entries_of(store: LocalStore, prefix: str = "") -> Iterator[tuple[str, Entry | Refused]]:
    """Iterate over (record name, entry or why it is refused), for keys that start with `prefix`. Flushes first.

    Raises:
        StoreTrouble: The index cannot be read.
    """
    store.flush()
    for name, body, _ in records_of(store, "e:" + prefix):
        if isinstance(body, Refused):
            yield name, body
            continue
        try:
            entry = decode_entry(Key(name[2:]), body)
        except BadRecord:
            yield name, Refused.DAMAGED
        else:
            yield name, entry


def blobs_of(entry: Entry) -> list[Digest]:
    """Return the blobs an entry needs."""
    payload = entry.payload
    own = [payload.content] if payload.kept and payload.inline is None else []
    return [*own, *payload.refs]
