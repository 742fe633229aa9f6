"""What the store costs: small results in and out, and large arrays in and out, each beside its floor.

Floors: raw SQLite rows for small results, and their bytes appended to a file and synced; one hash and one write for an
array stored, `np.memmap` for an array loaded; the same arrays hashed, written and synced one by one for many of them.
Run with `pytest benchmarks/bench_store.py`.
"""

import fcntl
import hashlib
import marshal
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowlib.hashing.digest import digest_bytes
from flowlib.ids import Digest, Key, RunId
from flowlib.store.base import Entry, Holder, Payload
from flowlib.store.local import LocalStore, StoreOptions, open_store

N = 10_000
ARRAY_BYTES = 100_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """An empty store with the default policy for syncing."""
    opened = open_store(tmp_path / "cache", StoreOptions(secret=b"k", flush_after_s=1e9))
    yield opened
    opened.close()


def entries_of(store: LocalStore, salt: str) -> list[Entry]:
    """Make entries like those of a sweep: a dict of metrics, two arguments, a code version."""
    code = Digest("sha256-" + "c" * 64 + "-900")
    made = []
    for number in range(N):
        key = Key(hashlib.sha256(f"{salt}{number}".encode()).hexdigest())
        payload = store.encode({"auc": number / N, "loss": 0.1, "n": number})
        made.append(
            Entry(
                key=key,
                task="fit",
                output=payload.content,
                payload=payload,
                parts={"code": code, "arg:lr": payload.content, "arg:data": code},
                previews={"arg:lr": "0.1", "arg:data": "<Table 10 x 3>"},
                run=RunId("20260101-000000-00000000"),
                created_at=1.0,
                duration_s=0.1,
            )
        )
    return made


@pytest.mark.benchmark(group="store: 10,000 small results in")
def test_put_and_flush(benchmark: Any, store: LocalStore) -> None:
    """Entries taken, sealed, logged and indexed."""
    rounds = iter(range(100))

    def setup() -> tuple[tuple[list[Entry]], dict[str, Any]]:
        return (entries_of(store, f"{next(rounds)} "),), {}

    def put(entries: list[Entry]) -> None:
        for at in range(0, N, 1000):
            store.put_many(entries[at : at + 1000])
        store.flush()

    benchmark.pedantic(put, setup=setup, rounds=5)


@pytest.mark.benchmark(group="store: 10,000 small results in")
def test_floor_append_and_sync(benchmark: Any, tmp_path: Path) -> None:
    """The bytes alone: ten appends to one file, each synced. What a group commit cannot do without."""
    chunk = os.urandom(700 * 1000)
    descriptor = os.open(tmp_path / "floor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append() -> None:
        for _ in range(0, N, 1000):
            os.write(descriptor, chunk)
            os.fsync(descriptor)

    benchmark.pedantic(append, rounds=5)
    os.close(descriptor)


@pytest.mark.benchmark(group="store: 10,000 small results in")
def test_floor_rows_into_sqlite(benchmark: Any, tmp_path: Path) -> None:
    """The same number of rows of the same size, in the same batches, into a bare table."""
    connection = sqlite3.connect(tmp_path / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE t(key TEXT PRIMARY KEY, value BLOB)")
    rounds = iter(range(100))

    def setup() -> tuple[tuple[list[tuple[str, bytes]]], dict[str, Any]]:
        salt = next(rounds)
        return ([(hashlib.sha256(b"%d %d" % (salt, i)).hexdigest(), os.urandom(600)) for i in range(N)],), {}

    def insert(rows: list[tuple[str, bytes]]) -> None:
        for at in range(0, N, 1000):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows[at : at + 1000])
            connection.execute("COMMIT")

    benchmark.pedantic(insert, setup=setup, rounds=5)
    connection.close()


@pytest.mark.benchmark(group="store: 10,000 small results out")
def test_find(benchmark: Any, store: LocalStore) -> None:
    """One batch of look-ups, every record authenticated and decoded."""
    entries = entries_of(store, "")
    for entry in entries:
        store.put(entry)
    store.flush()
    keys = [entry.key for entry in entries]

    found = benchmark.pedantic(store.find, args=(keys,), rounds=10)

    assert len(found) == N


@pytest.mark.benchmark(group="store: 10,000 small results out")
def test_find_misses(benchmark: Any, store: LocalStore) -> None:
    """The same for keys that are not there."""
    for entry in entries_of(store, ""):
        store.put(entry)
    store.flush()
    keys = [Key(hashlib.sha256(b"other %d" % number).hexdigest()) for number in range(N)]

    assert benchmark.pedantic(store.find, args=(keys,), rounds=10) == {}


@pytest.mark.benchmark(group="store: 10,000 small results out")
def test_floor_rows_out_of_sqlite(benchmark: Any, tmp_path: Path) -> None:
    """`SELECT ... IN` on a bare table, nothing checked."""
    connection = sqlite3.connect(tmp_path / "floor.db", isolation_level=None)
    connection.execute("CREATE TABLE t(key TEXT PRIMARY KEY, value BLOB)")
    keys = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(N)]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(key, os.urandom(600)) for key in keys])
    connection.execute("COMMIT")
    query = f"SELECT key, value FROM t WHERE key IN ({','.join('?' * 250)})"

    def select() -> int:
        return sum(len(connection.execute(query, keys[at : at + 250]).fetchall()) for at in range(0, N, 250))

    assert benchmark.pedantic(select, rounds=10) == N
    connection.close()


@pytest.mark.benchmark(group="store: one small value encoded and loaded")
def test_encode_and_load_small(benchmark: Any, store: LocalStore) -> None:
    """A dict of metrics to a payload and back."""
    value = {"auc": 0.9, "loss": 0.1, "n": 5}

    assert benchmark(lambda: store.load(store.encode(value))) == value


@pytest.mark.benchmark(group="store: one number encoded and loaded")
def test_encode_and_load_a_number(benchmark: Any, store: LocalStore) -> None:
    """The commonest small result."""
    assert benchmark(lambda: store.load(store.encode(0.5))) == 0.5


@pytest.mark.benchmark(group="store: one number encoded and loaded")
def test_floor_marshal_and_two_digests(benchmark: Any) -> None:
    """What naming the bytes and verifying them takes."""

    def there_and_back() -> object:
        data = marshal.dumps(0.5, 2)
        hashlib.sha256(data).hexdigest()
        hashlib.sha256(data).hexdigest()
        return marshal.loads(data)

    assert benchmark(there_and_back) == 0.5


@pytest.mark.benchmark(group="store: 1,000 leases")
def test_leases_alone(benchmark: Any, store: LocalStore) -> None:
    """Marked, taken, asked whether others committed, and given back, by the only process."""
    keys = [Key(f"{number:064x}") for number in range(1000)]
    holder = Holder()

    def lease() -> None:
        mark = store.mark(holder)
        leases = store.lease_many(keys, holder)
        store.others_since(mark)
        store.release_many([lease for lease in leases if lease is not None])

    benchmark(lease)


@pytest.mark.benchmark(group="store: 1,000 leases")
def test_floor_kernel_locks(benchmark: Any, tmp_path: Path) -> None:
    """A record lock of the kernel for each key: what leases cost beside another process."""
    descriptor = os.open(tmp_path / "locks", os.O_RDWR | os.O_CREAT, 0o600)

    def lock() -> None:
        for place in range(1000):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * place)
        for place in range(1000):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, 2 * place)

    benchmark(lock)
    os.close(descriptor)


@pytest.fixture
def arrays() -> list[Any]:
    """200 arrays of 1 MB."""
    rng = np.random.default_rng(0)
    return [rng.random(125_000) for _ in range(200)]


@pytest.mark.benchmark(group="store: 200 arrays of 1 MB in, synced")
def test_encode_arrays(benchmark: Any, tmp_path: Path, arrays: list[Any]) -> None:
    """Hashed, written, renamed; synced together at the flush."""
    rounds = iter(range(100))

    def setup() -> tuple[tuple[LocalStore], dict[str, Any]]:
        return (open_store(tmp_path / str(next(rounds)), StoreOptions(secret=b"k")),), {}

    def encode(store: LocalStore) -> None:
        for array in arrays:
            store.encode(array)
        store.flush()

    benchmark.pedantic(encode, setup=setup, rounds=3)


@pytest.mark.benchmark(group="store: 200 arrays of 1 MB in, synced")
def test_floor_hash_write_and_sync_each(benchmark: Any, tmp_path: Path, arrays: list[Any]) -> None:
    """The plain way to save them as safely: one after the other, then their directory."""
    rounds = iter(range(100))

    def save(directory: Path) -> None:
        directory.mkdir()
        for array in arrays:
            name = digest_bytes(array.data.cast("B"))
            with open(directory / f"{name}.new", "wb", buffering=0) as file:
                file.write(array.data)
                os.fsync(file.fileno())
            os.rename(directory / f"{name}.new", directory / name)
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    benchmark.pedantic(save, setup=lambda: ((tmp_path / f"floor{next(rounds)}",), {}), rounds=3)


@pytest.fixture
def array() -> Any:
    """100 MB of noise."""
    return np.random.default_rng(0).random(ARRAY_BYTES // 8)


@pytest.mark.benchmark(group="store: 100 MB array in")
def test_encode_array(benchmark: Any, tmp_path: Path, array: Any) -> None:
    """Hashed, written, renamed; not synced, like the floor."""
    store = open_store(tmp_path / "cache", StoreOptions(secret=b"k", fsync="off"))

    def setup() -> tuple[tuple[Any], dict[str, Any]]:
        for blob in (tmp_path / "cache" / "blobs").glob("*/*"):
            blob.unlink()
        return (array,), {}

    benchmark.pedantic(store.encode, setup=setup, rounds=5)
    store.close()


@pytest.mark.benchmark(group="store: 100 MB array in")
def test_floor_hash_and_write(benchmark: Any, tmp_path: Path, array: Any) -> None:
    """One pass of XXH3 and one `write`."""
    path = tmp_path / "floor"

    def write() -> None:
        digest_bytes(array.data.cast("B"))
        with open(path, "wb", buffering=0) as file:
            file.write(array.data)

    benchmark.pedantic(write, setup=lambda: path.unlink(missing_ok=True), rounds=5)


@pytest.fixture
def stored(store: LocalStore, array: Any) -> Payload:
    """The array's payload."""
    return store.encode(array)


@pytest.mark.benchmark(group="store: 100 MB array out")
def test_load_array(benchmark: Any, store: LocalStore, stored: Payload, array: Any) -> None:
    """A private map, every byte of it verified."""
    loaded = benchmark.pedantic(store.load, args=(stored,), rounds=5)

    assert np.array_equal(loaded, array)


@pytest.mark.benchmark(group="store: 100 MB array out")
def test_floor_memmap_and_read(benchmark: Any, store: LocalStore, stored: Payload) -> None:
    """`np.load(mmap_mode="c")` and one pass over the bytes, which is what verifying needs."""
    path = store.blobs.path_of(stored.content)

    def load() -> Any:
        mapped: Any = np.load(path, mmap_mode="c")
        digest_bytes(mapped.data.cast("B"))
        return mapped

    benchmark.pedantic(load, rounds=5)


@pytest.mark.benchmark(group="store: 100 MB array out")
def test_floor_memmap_unread(benchmark: Any, store: LocalStore, stored: Payload) -> None:
    """`np.load(mmap_mode="c")` alone: nothing read, nothing verified."""
    path = store.blobs.path_of(stored.content)

    benchmark.pedantic(lambda: np.load(path, mmap_mode="c"), rounds=5)


@pytest.mark.benchmark(group="store: opening")
def test_open_a_cache_of_10_000_results(benchmark: Any, store: LocalStore) -> None:
    """Checks of the directory, SQLite, and a look at the log."""
    for entry in entries_of(store, ""):
        store.put(entry)
    store.flush()
    root, options = store.root, store.options

    benchmark.pedantic(lambda: open_store(root, options).close(), rounds=10)
