"""How much is done for a batch: statements, file operations, seals and locks, counted, so that none creeps in."""

import fcntl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import xxhash

from flowlib.hashing import digest as digest_module
from flowlib.hashing.digest import size_bytes
from flowlib.ids import Digest, Key
from flowlib.store.base import Entry, Holder
from flowlib.store.local import LocalStore
from flowlib.store.mac import Mac

SMALL, LARGE = 300, 1800


@pytest.fixture
def counted(
    opened: Callable[..., LocalStore], faulty_files: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[LocalStore, Counter[str]]]:
    """A store, and what it has done: SQL by verb, file operations, seals, locks of the kernel."""
    done: Counter[str] = Counter()

    def note(number: int, operation: str, args: tuple[Any, ...]) -> None:
        done[f"file {operation}"] += 1

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            done[name] += 1
            return real(*args)

        return call

    store = opened(files=faulty_files(note), fsync="batch", flush_count=10**6)
    monkeypatch.setattr(Mac, "_tag", counting("seal", Mac._tag))
    monkeypatch.setattr(fcntl, "lockf", counting("lock", fcntl.lockf))
    connection = store.records.index.connection
    connection.set_trace_callback(lambda sql: done.update([f"sql {sql.split()[0]}"]))
    yield store, done
    connection.set_trace_callback(None)


def batch(store: LocalStore, entry_of: Callable[..., Entry], n: int) -> list[Entry]:
    """Make entries of two tasks, results inline."""
    return [entry_of((n, i), store.encode(i), task=f"task {i % 2}") for i in range(n)]


def test_a_batch_is_one_append_one_sync_and_one_transaction(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry]
) -> None:
    """Of what is done once there is the same for a large batch as for a small one; for each entry a seal and a row."""
    store, done = counted
    store.put_many(batch(store, entry_of, 2))
    store.flush()
    costs = []
    for n in (SMALL, LARGE):
        entries = batch(store, entry_of, n)
        done.clear()
        store.put_many(entries)
        store.flush()
        cost = Counter(done)
        cost.subtract({"seal": n, "sql INSERT": n})
        costs.append(+cost)

    assert costs[0] == costs[1]
    assert {name: n for name, n in costs[0].items() if name.startswith("file")} == {"file write": 1, "file sync": 1}
    assert costs[0]["sql BEGIN"] == costs[0]["sql COMMIT"] == 1
    assert costs[0]["sql SELECT"] == 1  # the latest keys and the statistics of both tasks
    assert costs[0]["sql INSERT"] == 4 + 1  # these again, and how far the pack is taken in
    assert costs[0]["seal"] == 4 + 4
    assert costs[0]["lock"] == 2


def file_operations(done: Counter[str]) -> dict[str, int]:
    """Return how often each file operation was done."""
    return {name.removeprefix("file "): n for name, n in done.items() if name.startswith("file ")}


def test_a_blob_costs_one_write_and_is_on_its_way_to_the_disk_at_once(counted: tuple[LocalStore, Counter[str]]) -> None:
    """Of a large one, each 8 MB are."""
    store, done = counted
    once = dict.fromkeys(("status", "create_incomplete", "make_read_only", "close", "make_dir", "rename"), 1)
    for n_bytes, n_writes in [(1_000_000, 1), (30_000_000, 4)]:
        done.clear()
        store.encode(bytes(n_bytes))

        assert file_operations(done) == {**once, "write": n_writes, "begin_sync": n_writes}

    done.clear()
    store.encode(bytes(30_000_000))
    assert file_operations(done) == {"status": 1, "freshen": 1}


def test_a_commit_waits_for_each_blob_and_each_directory_once(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry]
) -> None:
    """And small ones, which were not begun when they were written, are begun together."""
    store, done = counted
    store.put_many(batch(store, entry_of, 1))
    store.flush()
    payloads = [store.encode(bytes([number]) * n_bytes) for number in range(40) for n_bytes in (10_000, 300_000)]
    directories = {store.blobs.path_of(payload.content).parent for payload in payloads}
    store.put_many([entry_of(number, payload) for number, payload in enumerate(payloads)])
    done.clear()

    store.flush()

    waits = len(payloads) + len(directories)
    assert file_operations(done) == {"begin_sync_path": 40, "sync_path": waits, "write": 1, "sync": 1}


def test_each_byte_is_hashed_once_to_be_kept_and_once_to_be_loaded(
    counted: tuple[LocalStore, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is written once, and copied not at all: a loaded array lies on the map of its file."""
    np = pytest.importorskip("numpy")
    store, done = counted
    monkeypatch.setattr(digest_module, "xxhash", hasher := CountingHash())
    array = np.arange(1_000_000, dtype="float64")

    payload = store.encode(array)
    assert size_bytes(payload.content) == hasher.n_bytes == 8_000_128

    loaded = store.load(payload)
    assert hasher.n_bytes == 2 * 8_000_128
    assert done["file map_private"] == 1
    assert done["file read"] == 0
    np.testing.assert_array_equal(loaded, array)


class CountingHash:
    """xxhash, and how many bytes it was given."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def xxh3_128_hexdigest(self, data: memoryview) -> str:
        self.n_bytes += data.nbytes
        return xxhash.xxh3_128_hexdigest(data)

    def xxh3_128(self) -> "CountingHash":
        self._inner = xxhash.xxh3_128()
        return self

    def update(self, data: bytes | memoryview) -> None:
        self.n_bytes += memoryview(data).nbytes
        self._inner.update(data)

    def hexdigest(self) -> str:
        return self._inner.hexdigest()


def test_a_look_up_costs_one_seal_for_each_hit_and_no_file_operation(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry]
) -> None:
    """Statements are for hundreds of keys each; one that asks for most of what there is reads it in one go."""
    store, done = counted
    for n, n_statements in ((SMALL, 2), (LARGE, 2)):
        entries = batch(store, entry_of, n)
        store.put_many(entries)
        store.flush()
        done.clear()
        found = store.find([entry.key for entry in entries])

        assert done == {"seal": n, "sql SELECT": n_statements}
        assert sorted(map(store.load, (entry.payload for entry in found.values()))) == list(range(n))  # type: ignore[type-var]
        assert done == {"seal": n, "sql SELECT": n_statements}
    done.clear()
    assert store.find([Key("0" * 64)]) == {}
    assert done == {"sql SELECT": 1}


def test_a_large_look_up_in_a_small_cache_costs_two_statements(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry], key_of: Callable[[object], Key]
) -> None:
    """One to see how much there is, one to read it; nothing that was not asked for is opened."""
    store, done = counted
    stored = batch(store, entry_of, 10)
    store.put_many(stored)
    store.flush()
    done.clear()

    found = store.find([*[key_of(("other", number)) for number in range(LARGE)], stored[3].key])

    assert found == {stored[3].key: stored[3]}
    assert done == {"seal": 1, "sql SELECT": 2}


def test_a_small_result_is_encoded_and_loaded_without_a_digest(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal of the entry covers its bytes; they get a name only when somebody asks for it."""
    store, done = counted
    entry = entry_of("a", store.encode(5), output=Digest("sha256-00-1"))
    monkeypatch.setattr("flowlib.store.base.digest_bytes", lambda data: done.update(["digest"]))
    monkeypatch.setattr("flowlib.store.codec.digest_bytes", lambda data: done.update(["digest"]))
    store.put(entry)
    store.flush()

    assert store.load(store.find([entry.key])[entry.key].payload) == 5
    assert done["digest"] == 0


def test_leases_and_marks_of_one_who_is_alone_cost_nothing(
    counted: tuple[LocalStore, Counter[str]], key_of: Callable[[object], Key]
) -> None:
    """One lock for all, at the first."""
    store, done = counted
    holder = Holder()
    keys = [key_of(number) for number in range(LARGE)]

    done.clear()

    leases = store.lease_many(keys, holder)
    assert not store.others_since(store.mark(holder))
    store.release_many([lease for lease in leases if lease is not None])

    assert done["lock"] == 1
    assert not [name for name in done if name.startswith("sql")]
