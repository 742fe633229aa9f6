"""The bytes of an entry: what an earlier version wrote is still read, and what nobody asks for stays packed."""

import copy
import marshal
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from flowlib.ids import Digest
from flowlib.store.base import Entry, Payload
from flowlib.store.entry_format import BadRecord, decode_entry, encode_entry
from flowlib.store.local import LocalStore


def format_1(entry: Entry) -> bytes:
    """Write an entry as the first format did."""
    payload = entry.payload
    return marshal.dumps(
        (
            1,
            entry.key,
            entry.task,
            entry.output,
            (payload.codec, payload.content, payload.inline, payload.kept, payload.refs),
            dict(entry.parts),
            dict(entry.previews),
            entry.run,
            entry.created_at,
            entry.duration_s,
            tuple(sorted(entry.flags)),
            entry.watch,
            entry.expires_at,
        ),
        2,
    )


@pytest.fixture
def entry(store: LocalStore, entry_of: Callable[..., Entry]) -> Entry:
    """An entry with something in every field."""
    payload = attrs.evolve(store.encode(5), refs=(Digest("sha256-0-1"),))
    return entry_of(
        "a", payload, flags=frozenset({"weak", "files"}), watch=(("a.txt", Digest("sha256-2-3")),), expires_at=5.0
    )


def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    """Every field, in this format and in the first."""
    assert decode_entry(encode_entry(entry)) == entry
    assert decode_entry(format_1(entry)) == entry


def test_equal_entries_are_equal_bytes(entry: Entry) -> None:
    """Whether their details were ever looked at or not."""
    unread, read = decode_entry(encode_entry(entry)), decode_entry(encode_entry(entry))
    assert read.parts == entry.parts

    assert encode_entry(unread) == encode_entry(read) == encode_entry(decode_entry(format_1(entry)))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), attrs.evolve])
def test_an_entry_whose_details_are_packed_is_like_any_other(entry: Entry, again: Callable[[Entry], Entry]) -> None:
    """Copied, pickled, compared, changed."""
    packed = decode_entry(encode_entry(entry))

    other = again(packed)

    assert other == entry
    assert other.previews == entry.previews
    assert attrs.evolve(packed, task="other") != entry
    assert attrs.evolve(packed, parts={}) != packed


@pytest.mark.parametrize("body", [(), (3,), (1, 2), ("x",) * 16, 5, (3, *range(15))])
def test_another_format_is_no_entry(body: Any) -> None:
    """A future version's, or none."""
    with pytest.raises(BadRecord):
        decode_entry(marshal.dumps(body, 2))


def test_a_cache_of_an_earlier_version_is_taken_over(
    store: LocalStore, opened: Callable[..., LocalStore], entry: Entry
) -> None:
    """Its rows lay in the table of diskcache, its entries in the first format."""
    entry = attrs.evolve(entry, expires_at=None)
    name = "e:" + entry.key
    store.put_texts({"a": "b"})
    store.flush()
    connection = store.records.index.connection
    connection.execute("DELETE FROM Cache")
    connection.execute(
        "INSERT INTO Cache(key, raw, store_time, access_time, mode, value) SELECT name, 1, 0, 0, 1, value FROM Records"
    )
    connection.execute(
        "INSERT INTO Cache(key, raw, store_time, access_time, mode, value) VALUES (?, 1, 0, 0, 1, ?)",
        (name, store.mac.seal(name, format_1(entry))),
    )
    connection.execute("DROP TABLE Records")
    store.close()

    heir = opened()

    assert heir.find([entry.key]) == {entry.key: entry}
    assert heir.texts(["a"]) == {"a": "b"}
    assert heir.take_notices() == []


def test_payloads_are_values() -> None:
    """Equal and hashed by content."""
    one, two = (Payload(codec="plain", content=Digest("sha256-1-2"), inline=b"x") for _ in range(2))

    assert {one, two} == {one}
