"""Whatever happens to the bytes on disk: a kept value comes back as it was, or not at all."""

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowlib.ids import Key
from flowlib.store import packs
from flowlib.store.base import BlobLost, Entry, NotKept
from flowlib.store.entry_format import decode_entry
from flowlib.store.index import IndexLost
from flowlib.store.local import LocalStore

VALUES: dict[str, Any] = {
    "raw": os.urandom(9000),
    "text": "line\r\n" * 2000,
    "plain": [{"i": i, "x": i / 3} for i in range(300)],
    "npy": np.arange(2000.0).reshape(40, 50),
    "large npy": np.arange(20_000),
    "pickle5": {"a": np.arange(900), "b": [np.ones(700), "text"]},
    "small": {"auc": 0.5, "n": 3},
    "small array": np.arange(20, dtype=">i2"),
    "small text": "ok",
}


def is_same(a: Any, b: Any) -> bool:
    """Equal with type, arrays included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(is_same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


def mutations(data: bytes, n: int, seed: str) -> Iterator[bytes]:
    """Yield changed copies of some bytes: flipped bits, cut ends, zeroed stretches, swapped halves, additions."""
    rng = random.Random(seed)
    for _ in range(n):
        changed = bytearray(data)
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at:]
            case 3:
                stop = min(len(data), at + rng.choice([1, 16, 512, 4096]))
                changed[at:stop] = bytes(stop - at)
            case 4:
                changed = changed[at:] + changed[:at]
            case 5:
                changed += rng.randbytes(rng.choice([1, 100]))
        yield bytes(changed)


@pytest.fixture
def filled(store: LocalStore, entry_of: Callable[..., Entry]) -> dict[Key, Any]:
    """Put all values; return them by key."""
    values = {}
    for name, value in VALUES.items():
        entry = entry_of(name, store.encode(value), duration_s=float(len(name)))
        store.put(entry)
        values[entry.key] = value
    store.flush()
    return values


def check(store: LocalStore, values: dict[Key, Any]) -> int:
    """Read everything; return how many values came back. Fails on a wrong one, or on any other exception."""
    n_right = 0
    for key, entry in store.find(list(values)).items():
        assert entry.key == key
        try:
            value = store.load(entry.payload)
        except BlobLost:
            continue
        assert is_same(value, values[key])
        n_right += 1
    return n_right


N_BLOB, N_PACK, N_ROW = 2200, 1500, 1000


def test_damaged_blobs_are_never_values(store: LocalStore, filled: dict[Key, Any]) -> None:
    """2,200 mutations of blobs: each is found out when it is read, moved aside, and told."""
    n_lost = 0
    blobs = [entry for entry in store.find(list(filled)).values() if entry.payload.inline is None]
    for entry in blobs:
        path = store.blobs.path_of(entry.payload.content)
        good = path.read_bytes()
        for bad in mutations(good, N_BLOB // len(blobs) + 1, str(path.name)):
            path.unlink(missing_ok=True)
            path.write_bytes(bad)
            try:
                value = store.load(entry.payload)
            except BlobLost:
                n_lost += 1
                assert not path.exists()
            else:
                assert is_same(value, filled[entry.key])
        path.unlink(missing_ok=True)
        path.write_bytes(good)
        assert is_same(store.load(entry.payload), filled[entry.key])

    assert n_lost > N_BLOB * 0.9
    assert [kind for kind, _ in store.take_notices()] == ["damaged-blob"]


def test_swapped_blobs_are_never_values(store: LocalStore, filled: dict[Key, Any]) -> None:
    """Every blob under every other blob's name."""
    payloads = [entry.payload for entry in store.find(list(filled)).values() if entry.payload.inline is None]
    for one in payloads:
        for other in payloads:
            if one is not other:
                path = store.blobs.path_of(one.content)
                good = path.read_bytes()
                shutil.copyfile(store.blobs.path_of(other.content), path.with_suffix(".new"))
                os.replace(path.with_suffix(".new"), path)
                with pytest.raises(BlobLost):
                    store.load(one)
                path.write_bytes(good)

    assert check(store, filled) == len(filled)


def test_deleted_blobs_are_misses(store: LocalStore, filled: dict[Key, Any]) -> None:
    """What is not there is not a value; the small ones, kept inline, still are."""
    shutil.rmtree(store.root / "blobs")

    assert check(store, filled) == 3


def test_damaged_packs_give_no_wrong_record(store: LocalStore, filled: dict[Key, Any]) -> None:
    """1,500 mutations of the log: each record that still opens is one that was written."""
    (pack,) = (store.root / "entries").iterdir()
    data = pack.read_bytes()
    good = {frame.name: store.mac.open(frame.name, frame.record) for frame in packs.decode_frames(data)[0]}
    assert len(good) == len(filled)
    entries = store.find([*filled])

    for bad in mutations(data, N_PACK, "pack"):
        for frame in packs.decode_frames(bad)[0]:
            body = store.mac.open(frame.name, frame.record)
            if isinstance(body, bytes):
                assert body == good[frame.name]
                assert decode_entry(Key(frame.name[2:]), body) == entries[Key(frame.name[2:])]


def test_a_torn_pack_keeps_all_records_before_the_tear(store: LocalStore, filled: dict[Key, Any]) -> None:
    """A crash in the middle of an append costs only what was being appended."""
    (pack,) = (store.root / "entries").iterdir()
    data = pack.read_bytes()
    whole, end = packs.decode_frames(data)
    assert end == len(data)

    for cut in range(0, len(data), 97):
        frames, _ = packs.decode_frames(data[:cut])
        assert frames == whole[: len(frames)]
        after, _ = packs.decode_frames(data[:cut] + data)
        assert [frame.name for frame in after[-len(whole) :]] == [frame.name for frame in whole]


def test_damaged_rows_are_misses(store: LocalStore, filled: dict[Key, Any]) -> None:
    """1,000 mutations of entries in the index, and every row under every other key."""
    connection = store.records.index.connection
    rows = dict(connection.execute("SELECT name, value FROM Records WHERE name LIKE 'e:%'"))
    n_found = 0
    for name, good in rows.items():
        for bad in [*mutations(good, N_ROW // len(rows) + 1, name), *(v for v in rows.values() if v is not good)]:
            connection.execute("UPDATE Records SET value = ? WHERE name = ?", (bad, name))
            n_found += len(store.find([Key(name[2:])]))
            if bad != good:
                assert n_found == 0
            n_found = 0
        connection.execute("UPDATE Records SET value = ? WHERE name = ?", (good, name))

    assert check(store, filled) == len(filled)
    assert {kind for kind, _ in store.take_notices()} <= {"damaged", "foreign-cache"}


def test_rows_of_other_types_are_misses(store: LocalStore, filled: dict[Key, Any]) -> None:
    """Somebody may edit the database."""
    connection = store.records.index.connection
    for value in (None, 1, 1.5, "text", b"", b"\x01"):
        connection.execute("UPDATE Records SET value = ?", (value,))
        assert store.find(list(filled)) == {}
        assert store.recent("fit") == []
        assert store.stats("fit") is None


def reopen_all(opened: Callable[..., LocalStore], root: Path, filled: dict[Key, Any], n: int, seed: str) -> int:
    """Damage the closed database `n` times; return how many values the reopened stores gave."""
    database = root / "index" / "cache.db"
    good = database.read_bytes()
    n_right = 0
    for bad in mutations(good, n, seed):
        shutil.rmtree(root / "index")
        (root / "index").mkdir()
        database.write_bytes(bad)
        store = opened()
        n_right += check(store, filled)
        store.put_texts({"after": "the damage"})
        store.flush()
        assert store.texts(["after"]) == {"after": "the damage"}
        store.close()
    return n_right


def test_a_database_whose_own_complaint_is_no_text_heals_by_itself(
    store: LocalStore, opened: Callable[..., LocalStore], root: Path, filled: dict[Key, Any]
) -> None:
    """SQLite names the damaged part of the schema in its message, and the name is not UTF-8 any more."""
    store.close()
    database = root / "index" / "cache.db"
    data = database.read_bytes()
    name = b"sqlite_autoindex_Records_1"
    assert data.count(name) == 1
    database.write_bytes(data.replace(name, b"sqlite_autoindex_Rec\xc5rds_1"))

    healed = opened()

    assert check(healed, filled) == len(filled)
    assert [kind for kind, _ in healed.take_notices()] == ["index-rebuilt"]


@pytest.mark.parametrize("n", [40, pytest.param(460, marks=pytest.mark.slow)])
def test_a_damaged_database_heals_by_itself(
    opened: Callable[..., LocalStore], root: Path, filled: dict[Key, Any], in_child: Callable[..., int], n: int
) -> None:
    """500 mutations of the database file: the store opens, gives nothing wrong, and takes new records."""
    for store in (opened(),):
        store.close()

    def damage_and_reopen() -> None:
        assert reopen_all(opened, root, filled, n, f"database {n}") >= n * len(filled) // 2

    assert in_child(damage_and_reopen) == 0


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, None])
def test_an_unusable_database_is_rebuilt_from_the_log(
    store: LocalStore, opened: Callable[..., LocalStore], root: Path, filled: dict[Key, Any], content: bytes | None
) -> None:
    """Empty, overwritten or deleted: every entry is back at once, with texts and statistics."""
    store.put_texts({"a": "text"})
    store.close()
    shutil.rmtree(root / "index")
    if content is not None:
        (root / "index").mkdir()
        (root / "index" / "cache.db").write_bytes(content)

    again = opened()

    assert check(again, filled) == len(filled)
    assert again.texts(["a"]) == {"a": "text"}
    assert again.stats("fit") is not None
    assert again.stats("fit").n == len(filled)
    assert len(again.recent("fit")) == len(filled)


@pytest.mark.parametrize("table", [b"Records", b"Settings"])
def test_a_complaint_that_is_no_text_means_a_lost_index(
    store: LocalStore, opened: Callable[..., LocalStore], root: Path, filled: dict[Key, Any], table: bytes
) -> None:
    """SQLite quotes what it does not understand, and Python cannot decode that."""
    store.close()
    database = root / "index" / "cache.db"
    data = database.read_bytes()
    sound = b"CREATE TABLE " + table
    assert sound in data
    database.write_bytes(data.replace(sound, b"CREATE TABL\xc5 " + table))

    again = opened()

    assert check(again, filled) == len(filled)
    assert [kind for kind, _ in again.take_notices()] == ["index-rebuilt"]


def test_a_database_damaged_while_open_heals(store: LocalStore, root: Path, filled: dict[Key, Any]) -> None:
    """The next look-up finds out, and answers from the log. The evidence is kept, and told once."""
    connection = store.records.index.connection
    connection.execute("DROP TABLE Records")

    assert check(store, filled) == len(filled)
    assert (root / "index.corrupt-1").is_dir()
    assert [kind for kind, _ in store.take_notices()] == ["index-rebuilt"]


def test_a_database_found_damaged_inside_a_transaction_heals(
    store: LocalStore, entry_of: Callable[..., Entry], filled: dict[Key, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a commit reads to derive latest keys may lie on the first damaged page: the lock is free when it heals."""
    lost = store.records.index
    asked: list[Sequence[str]] = []

    def get(names: Sequence[str]) -> dict[str, bytes]:
        asked.append(names)
        raise IndexLost("database disk image is malformed")

    monkeypatch.setattr(lost, "get", get)
    monkeypatch.setattr("flowlib.store.locks._WRITE_PATIENCE_S", 0.01)
    store.put(entry_of("new", store.encode(7)))
    store.flush()

    assert len(asked) == 1
    assert store.records.index is not lost
    assert [kind for kind, _ in store.take_notices()] == ["index-rebuilt"]
    assert len(store.find([*filled, entry_of("new", store.encode(7)).key])) == len(filled) + 1


def test_a_database_deleted_while_open_heals(store: LocalStore, root: Path, filled: dict[Key, Any]) -> None:
    """Deleting the index, or the whole cache, under a running process costs time only."""
    shutil.rmtree(root / "index")
    store.put_texts({"a": "b"})
    store.flush()
    assert check(store, filled) == len(filled)

    shutil.rmtree(root)
    with pytest.raises(NotKept):
        store.encode(b"x" * 5000)
    store.put_texts({"c": "d"})
    store.flush()

    assert check(store, filled) <= len(filled)


def test_sqlite_reports_what_the_index_relies_on() -> None:
    """The codes that mean a lost database are those SQLite really gives."""
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError) as caught,
    ):
        connection.execute("SELECT value FROM Cache")

    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_ERROR
