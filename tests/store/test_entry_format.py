"""The bytes of an entry: what an earlier version wrote is still read, and what nobody asks for stays packed."""

import copy
import marshal
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from flowlib.hashing.digest import digest_bytes
from flowlib.ids import Digest, Key
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


def format_2(entry: Entry) -> bytes:
    """Write an entry as the second format did."""
    payload = entry.payload
    return marshal.dumps(
        (
            2,
            entry.key,
            entry.task,
            entry.output,
            payload.codec,
            payload.content,
            payload.inline,
            payload.kept,
            payload.refs,
            marshal.dumps((dict(entry.parts), dict(entry.previews)), 2),
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
    """Every field, in this format and in the earlier ones."""
    assert decode_entry(entry.key, encode_entry(entry)) == entry
    assert decode_entry(entry.key, format_2(entry)) == entry
    assert decode_entry(entry.key, format_1(entry)) == entry


@pytest.mark.parametrize("written", [format_1, format_2])
def test_an_earlier_entry_of_another_key_is_none(entry: Entry, written: Callable[[Entry], bytes]) -> None:
    """Those formats say their key themselves; a record's name is under its seal, so this would be a bug."""
    with pytest.raises(BadRecord, match="another key"):
        decode_entry(Key("0" * 64), written(entry))


def test_what_hardly_any_entry_has_comes_back_too(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """Nothing beyond the ordinary; a value in a blob; a value that is known by its digest only."""
    plain = entry_of("a", store.encode(5))
    large = entry_of("b", store.encode(b"x" * 5000))
    unkept = entry_of("c", Payload(codec="none", content=Digest("sha256-2-3"), kept=False))

    for one in (plain, large, unkept):
        assert decode_entry(one.key, encode_entry(one)) == one
        assert decode_entry(one.key, format_2(one)) == decode_entry(one.key, format_1(one)) == one


def test_equal_entries_are_equal_bytes(entry: Entry) -> None:
    """Whether their details were ever looked at or not."""
    unread, read = decode_entry(entry.key, encode_entry(entry)), decode_entry(entry.key, encode_entry(entry))
    assert read.parts == entry.parts

    assert encode_entry(unread) == encode_entry(read) == encode_entry(decode_entry(entry.key, format_1(entry)))
    assert encode_entry(read) == encode_entry(decode_entry(entry.key, format_2(entry)))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), attrs.evolve])
def test_an_entry_whose_details_are_packed_is_like_any_other(entry: Entry, again: Callable[[Entry], Entry]) -> None:
    """Copied, pickled, compared, changed."""
    packed = decode_entry(entry.key, encode_entry(entry))

    other = again(packed)

    assert other == entry
    assert other.previews == entry.previews
    assert attrs.evolve(packed, task="other") != entry
    assert attrs.evolve(packed, parts={}) != packed


@pytest.mark.parametrize("body", [(), (3,), (2,), (1, 2), ("x",) * 16, 5, (3, *range(15)), (4, *range(12)), {}])
def test_another_format_is_no_entry(body: Any) -> None:
    """A future version's, or none."""
    with pytest.raises(BadRecord):
        decode_entry(Key("k"), marshal.dumps(body, 2))


def test_a_cache_of_an_earlier_version_is_taken_over(
    store: LocalStore, opened: Callable[..., LocalStore], entry: Entry
) -> None:
    """Its rows lay in the table of diskcache, its entries in the first or the second format."""
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


def test_inline_bytes_are_named_when_somebody_asks() -> None:
    """And with the digest that they have; whoever names them himself is believed until they are loaded."""
    payload = Payload(codec="raw", inline=b"abc")
    again = pickle.loads(pickle.dumps(Payload(codec="raw", inline=b"abc")))

    assert payload.claim is None
    assert payload.n_bytes == 3
    assert payload.content == again.content == digest_bytes(b"abc")
    assert payload == again == Payload(codec="raw", content=digest_bytes(b"abc"), inline=b"abc")
    assert payload.claim == payload.content
    assert Payload(codec="raw", content=Digest("sha256-1-5000")).n_bytes == 5000
    with pytest.raises(AttributeError, match="contents"):
        payload.contents  # type: ignore[attr-defined]


def test_payloads_are_values() -> None:
    """Equal and hashed by content."""
    one, two = (Payload(codec="plain", content=Digest("sha256-1-2"), inline=b"x") for _ in range(2))

    assert {one, two} == {one}
