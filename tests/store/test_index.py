"""Connections of the index: one a thread, none left open."""

import contextlib
import gc
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowlib.store.base import Entry
from flowlib.store.files import Files
from flowlib.store.index import Index
from flowlib.store.local import LocalStore


def is_open(connection: sqlite3.Connection) -> bool:
    """Ask a connection whether it still works."""
    try:
        connection.execute("SELECT 1").close()
    except sqlite3.ProgrammingError:
        return False
    return True


def in_a_thread(function: Callable[[], object]) -> None:
    """Call a function in a thread and wait for the thread's end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_thread_s_connection_closes_with_the_thread(store: LocalStore) -> None:
    """Threads come and go while the store stays open; the others' connections stay."""
    seen: list[sqlite3.Connection] = []
    in_a_thread(lambda: seen.append(store.records.index.connection))

    assert seen[0] is not store.records.index.connection
    assert [is_open(seen[0]), is_open(store.records.index.connection)] == [False, True]


def test_only_a_close_under_the_write_lock_writes_the_log_back(store: LocalStore, root: Path) -> None:
    """The last connection to go checkpoints, and whoever opens meanwhile waits: so no thread's end may be the last."""
    log = root / "index" / "cache.db-wal"
    moments: list[tuple[str, bool]] = []
    indices: list[Index] = []

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        with store.locks.writing():
            moments.append(("locked", log.exists()))
            yield
            moments.append(("freed", log.exists()))

    def use() -> None:
        index = Index(root / "index", Files(), lock, sync=False, network=False)
        index.commit(lambda: ({"e:1": b"1"}, ()))
        indices.append(index)

    store.close()
    in_a_thread(use)
    in_a_thread(lambda: indices[0].get(["e:1"]))

    assert log.exists()
    assert moments == [("locked", False), ("freed", True), ("locked", True), ("freed", True)]
    indices[0].close()
    assert moments[4:] == [("locked", True), ("freed", False)]


def test_a_thread_that_outlives_the_closing_of_the_index_keeps_its_connection(
    opened: Callable[..., LocalStore],
) -> None:
    """It may be in the middle of a statement: what it uses is closed when it ends, or with the index."""
    indices: list[Index] = []
    has_opened, is_closed, found = threading.Event(), threading.Event(), list[object]()

    def use() -> None:
        store = opened()
        indices.append(store.records.index)
        connection = indices[0].connection
        has_opened.set()
        is_closed.wait()
        found.append(is_open(connection))

    thread = threading.Thread(target=use)
    thread.start()
    has_opened.wait()
    indices[0].close()
    is_closed.set()
    thread.join()

    assert found == [True]


def test_connections_close_with_the_index(opened: Callable[..., LocalStore]) -> None:
    """A thread that goes on holds nothing open of an index that was rebuilt."""
    store = opened()
    seen: list[sqlite3.Connection] = []
    has_one, may_end = threading.Event(), threading.Event()

    def use() -> None:
        seen.append(store.records.index.connection)
        has_one.set()
        may_end.wait()

    thread = threading.Thread(target=use)
    thread.start()
    has_one.wait()
    try:
        store.records.rebuild()
        gc.collect()
        assert not is_open(seen[0])
    finally:
        may_end.set()
        thread.join()


def test_a_collection_closes_before_python_complains(opened: Callable[..., LocalStore]) -> None:
    """An index in a cycle goes without the warning about an open database that Python gives since 3.13."""
    for _ in range(3):
        store = opened()
        index = store.records.index
        connection = index.connection
        store.records.rebuild()
        index.itself = index  # type: ignore[attr-defined]
        del index, connection
        with warnings.catch_warnings(record=True, action="always") as told:
            gc.collect()
        assert told == []


def test_a_child_of_a_fork_closes_nothing_of_its_parent(
    store: LocalStore, in_child: Callable[[Callable[[], object]], int]
) -> None:
    """SQLite forbids closing what came through a fork; it is kept aside instead."""
    index = store.records.index
    connection = index.connection

    def child() -> None:
        index.close()
        assert index._aside == {connection}

    assert in_child(child) == 0
    assert is_open(connection)


@pytest.mark.parametrize("setting", ["synchronous", "cache_size", "mmap_size"])
def test_every_connection_has_the_same_settings(store: LocalStore, setting: str) -> None:
    """SQLite keeps them for each connection, not in the database."""
    found: list[object] = []

    def ask() -> None:
        found.extend(store.records.index.connection.execute(f"PRAGMA {setting}").fetchall())

    in_a_thread(ask)
    ask()

    assert found[0] == found[1]
    assert found[0] == {"synchronous": (0,), "cache_size": (8192,), "mmap_size": (0,)}[setting]


@pytest.fixture
def stored(store: LocalStore, entry_of: Callable[..., Entry]) -> tuple[LocalStore, Entry]:
    """A store, and an entry that it has committed."""
    entry = entry_of(1, store.encode(1))
    store.put(entry)
    store.flush()
    return store, entry


def test_a_database_that_is_as_we_left_it_is_opened_without_diskcache(
    opened: Callable[..., LocalStore], stored: tuple[LocalStore, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose opening writes all its settings anew: five times what everything else at the start of a run takes."""
    store, entry = stored
    store.close()

    monkeypatch.setitem(sys.modules, "diskcache", None)

    assert opened().find([entry.key]) == {entry.key: entry}


def test_a_log_that_goes_while_the_database_is_opened(
    opened: Callable[..., LocalStore], stored: tuple[LocalStore, Entry], faulty_files: Any
) -> None:
    """The last other process ends between the listing of the directory and the look at what is in it."""
    store, entry = stored
    log = store.root / "index" / "cache.db-wal"
    assert log.exists()

    def end_the_other(_: int, operation: str, arguments: tuple[Any, ...]) -> None:
        if operation == "is_ordinary" and arguments == (log,):
            store.records.index.connection.close()
            assert not log.exists()
            gone.append(log)

    gone: list[Path] = []
    again = opened(files=faulty_files(end_the_other))

    assert gone == [log]
    assert again.find([entry.key]) == {entry.key: entry}


def test_a_database_with_another_kind_of_log_is_brought_up_to_date(
    opened: Callable[..., LocalStore], stored: tuple[LocalStore, Entry]
) -> None:
    """As when the cache was on a network file system and is now on a disk of this machine."""
    store, entry = stored
    store.close()
    path = store.root / "index" / "cache.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = delete").fetchone() == ("delete",)

    again = opened()

    assert again.records.index.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert again.find([entry.key]) == {entry.key: entry}
