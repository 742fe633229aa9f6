"""A cache that came from elsewhere: nothing in it runs, nothing in it hangs, nothing outside it is touched."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowlib.hashing.digest import digest_bytes
from flowlib.store.base import BlobLost, Entry, Payload
from flowlib.store.local import LocalStore
from flowlib.store.maintain import repair, trust, verify


class Trap:
    """Says so when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def trapped_entry(store: LocalStore, entry_of: Callable[..., Entry], fired: Path) -> Entry:
    """Put an entry whose payload runs code when it is loaded."""
    entry = entry_of("trap", store.encode([Trap(fired), b"x" * 5000]))
    store.put(entry)
    store.flush()
    return entry


@pytest.fixture
def fired(tmp_path: Path) -> Path:
    """Exists once a trap has gone off."""
    return tmp_path / "fired"


@pytest.fixture
def unpickled() -> list[str]:
    """Collects what any unpickler looks up while the test runs."""
    seen: list[str] = []
    active = [True]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if active and event == "pickle.find_class":
            seen.append(repr(args))

    sys.addaudithook(hook)
    yield seen
    active.clear()


def test_a_foreign_cache_is_not_unpickled(
    store: LocalStore,
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    fired: Path,
    unpickled: list[str],
) -> None:
    """Records of another key are misses, with one notice; not even the booby-trapped one fires."""
    entry = trapped_entry(store, entry_of, fired)
    store.close()

    victim = opened(secret=b"the victim's key")
    for _ in range(3):
        assert victim.find([entry.key]) == {}
        assert victim.recent("fit") == []
        assert victim.stats("fit") is None
    verify(victim)
    repair(victim)

    assert [kind for kind, _ in victim.take_notices()] == ["foreign-cache"]
    assert unpickled == []
    assert not fired.exists()


def test_trust_adopts_a_foreign_cache_knowingly(
    store: LocalStore,
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    fired: Path,
    unpickled: list[str],
) -> None:
    """Afterwards its entries are hits; adopting itself runs nothing. It survives the loss of the index."""
    entry = trapped_entry(store, entry_of, fired)
    store.put_texts({"a": "b"})
    store.close()
    heir = opened(secret=b"the heir's key")

    assert trust(heir) == 1
    assert trust(heir) == 0

    assert unpickled == []
    assert heir.find([entry.key]) == {entry.key: entry}
    assert heir.texts(["a"]) == {"a": "b"}
    heir.load(entry.payload)
    assert fired.exists()
    heir.records.index.connection.execute("DROP TABLE Records")
    assert heir.find([entry.key]) == {entry.key: entry}


def test_a_forged_entry_is_not_unpickled(
    store: LocalStore, entry_of: Callable[..., Entry], fired: Path, unpickled: list[str]
) -> None:
    """Whoever can write the database but has no key can only cause misses."""
    entry = trapped_entry(store, entry_of, fired)
    connection = store.records.index.connection
    (record,) = connection.execute("SELECT value FROM Records WHERE name = ?", ("e:" + entry.key,)).fetchone()
    for at in range(len(record)):
        forged = bytearray(record)
        forged[at] ^= 0x41
        connection.execute("UPDATE Records SET value = ? WHERE name = ?", (bytes(forged), "e:" + entry.key))
        assert store.find([entry.key]) == {}

    assert unpickled == []


def test_a_forged_blob_is_not_unpickled(
    store: LocalStore, entry_of: Callable[..., Entry], fired: Path, unpickled: list[str]
) -> None:
    """A pickle of the right length under the right name is found out by its digest, which is SHA-256."""
    entry = entry_of("good", store.encode({"a": [object], "b": b"x" * 5000}))
    assert entry.payload.codec == "pickle5"
    assert entry.payload.content.startswith("sha256-")
    path = store.blobs.path_of(entry.payload.content)
    evil = pickle.dumps(Trap(fired))
    path.unlink()
    path.write_bytes(evil + bytes(int(entry.payload.content.rpartition("-")[2]) - len(evil)))

    with pytest.raises(BlobLost, match="moved to bad/"):
        store.load(entry.payload)

    assert unpickled == []
    assert not fired.exists()


@pytest.mark.parametrize("codec", ["pickle5", "cloudpickle", "plain"])
def test_large_payloads_that_could_harm_are_named_by_sha256(store: LocalStore, codec: str) -> None:
    """Only codecs that run nothing may use the fast digest."""
    values: dict[str, Any] = {"pickle5": [object, bytes(100_000)], "cloudpickle": [lambda: 1, bytes(100_000)],
                              "plain": [bytes(100_000)]}  # fmt: skip

    payload = store.encode(values[codec])

    assert payload.codec == codec
    assert payload.content.startswith("sha256-")
    assert store.encode(bytes(100_000)).content.startswith("xxh3-")


def put_fifo(path: Path, _: Path) -> None:
    """Reading it would wait for a writer."""
    os.mkfifo(path)


def put_link(path: Path, target: Path) -> None:
    """Reading it would read something else."""
    path.symlink_to(target)


def put_directory(path: Path, _: Path) -> None:
    """Not a file at all."""
    path.mkdir()
    (path / "x").touch()


def put_sparse(path: Path, _: Path) -> None:
    """A terabyte that is not there."""
    with open(path, "wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("put", [put_fifo, put_link, put_directory, put_sparse])
def test_something_else_in_the_place_of_a_blob_is_a_miss(
    store: LocalStore, put: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    """It is moved aside unopened, and the value can be stored again."""
    payload = store.encode(b"x" * 5000)
    path = store.blobs.path_of(payload.content)
    path.unlink()
    target = tmp_path / "target"
    target.write_bytes(b"x" * 5000)
    put(path, target)

    with pytest.raises(BlobLost, match="moved to bad/"):
        store.load(payload)

    assert target.read_bytes() == b"x" * 5000
    assert store.load(store.encode(b"x" * 5000)) == b"x" * 5000


@pytest.mark.parametrize("put", [put_fifo, put_link, put_directory, put_sparse])
def test_something_else_where_a_blob_goes_is_moved_aside(
    store: LocalStore, put: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    """Writing neither waits nor writes through a link."""
    data = b"y" * 5000
    path = store.blobs.path_of(digest_bytes(data))
    path.parent.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    put(path, target)

    assert store.load(store.encode(data)) == data
    assert target.read_bytes() == b"precious"


def test_a_shard_that_is_a_link_is_not_written_through(store: LocalStore, tmp_path: Path) -> None:
    """The value is not kept; nothing appears outside."""
    (tmp_path / "outside").mkdir()
    path = store.blobs.path_of(digest_bytes(b"y" * 5000))
    path.parent.symlink_to(tmp_path / "outside")

    with pytest.raises(Exception, match="not a directory"):
        store.encode(b"y" * 5000)

    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("put", [put_fifo, put_link, put_directory, put_sparse])
def test_something_else_among_the_packs_is_ignored(
    store: LocalStore,
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    root: Path,
    put: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    """Opening neither waits nor reads it."""
    entry = entry_of(1, store.encode(1))
    store.put(entry)
    store.close()
    (tmp_path / "target").write_bytes(b"")
    if put is not put_sparse:
        put(root / "entries" / "evil.pack", tmp_path / "target")

    again = opened()
    again.put(entry_of(2, again.encode(2)))
    again.flush()

    assert again.find([entry.key]) == {entry.key: entry}
    assert repair(again).n_restored == 0


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "sha256-../../x-1", "", "a/b", "\x00", "sha256-" + "g" * 64 + "-1"]
)
def test_what_is_no_digest_names_no_file(store: LocalStore, name: str) -> None:
    """No text reaches a path unless it is written like a digest."""
    payload = Payload(codec="raw", content=attrs.field and name)  # type: ignore[arg-type]

    with pytest.raises(BlobLost, match="names no blob"):
        store.load(payload)


def test_settings_in_a_foreign_database_change_nothing(
    store: LocalStore, opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """Whatever the database says about itself, it opens or is replaced."""
    entry = entry_of(1, store.encode(1))
    store.put(entry)
    store.flush()
    connection = store.records.index.connection
    evil = {"disk_evil": 1, "eviction_policy": "least-recently-used", "cull_limit": 10**6, "size_limit": 1,
            "sqlite_mmap_size": 1 << 30, "sqlite_synchronous": "0; DROP TABLE Cache"}  # fmt: skip
    for name, value in evil.items():
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, value))
    store.close()

    again = opened()

    assert again.find([entry.key]) == {entry.key: entry}
    again.put(entry_of(2, again.encode(2)))
    again.flush()
    assert again.find([entry.key]) == {entry.key: entry}
