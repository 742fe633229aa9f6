"""How much is done for a batch: statements, file operations, seals and locks, counted, so that none creeps in."""

import fcntl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowlib.ids import Key
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


def test_a_look_up_costs_one_seal_for_each_hit_and_no_file_operation(
    counted: tuple[LocalStore, Counter[str]], entry_of: Callable[..., Entry]
) -> None:
    """Statements are for hundreds of keys each."""
    store, done = counted
    for n in (SMALL, LARGE):
        entries = batch(store, entry_of, n)
        store.put_many(entries)
        store.flush()
        done.clear()
        found = store.find([entry.key for entry in entries])

        assert done == {"seal": n, "sql SELECT": -(-n // 256)}
        assert sorted(map(store.load, (entry.payload for entry in found.values()))) == list(range(n))  # type: ignore[type-var]
        assert done == {"seal": n, "sql SELECT": -(-n // 256)}
    done.clear()
    assert store.find([Key("0" * 64)]) == {}
    assert done == {"sql SELECT": 1}


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
