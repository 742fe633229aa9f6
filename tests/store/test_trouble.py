"""A disk that refuses: the computed value is unharmed, the run goes on, one notice says why, nothing spins."""

import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlib.clock import FrozenClock
from flowlib.errors import StoreTrouble
from flowlib.ids import Key
from flowlib.store.base import BlobLost, Entry, NotKept
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.store.maintain import verify


def use(store: LocalStore, entry_of: Callable[..., Entry], key_of: Callable[[object], Key]) -> set[str]:
    """Do everything a run does; fail on a wrong value or an undeclared exception. Return the kinds of notices."""
    for number in range(3):
        for value in (number, b"%d" % number * 5000):
            try:
                payload = store.encode(value)
            except NotKept:
                continue
            store.put(entry_of(value, payload))
            store.put_texts({f"t{number}": "text"})
            store.flush()
            for entry in store.find([key_of(value)]).values():
                try:
                    assert store.load(entry.payload) == value
                except BlobLost:
                    continue
    store.recent("fit")
    store.stats("fit")
    store.texts(["t0"])
    lease = store.lease(key_of("x"))
    assert lease is not None
    lease.release()
    return {kind for kind, _ in store.take_notices()}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EDQUOT])
def test_an_error_at_every_file_operation_is_survived(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    faulty_files: Callable[..., Any],
    code: int,
) -> None:
    """From operation n on, all file operations fail: no exception, no wrong value; afterwards the store is whole."""
    n_operations = [0]

    def fail_from(at: int) -> Callable[[int, str, tuple[Any, ...]], None]:
        def before(number: int, operation: str, args: tuple[Any, ...]) -> None:
            n_operations[0] = number
            if number >= at and operation != "close":
                raise OSError(code, os.strerror(code))

        return before

    files = faulty_files(lambda *_: None)
    store = opened(files=files, fsync="batch")
    use(store, entry_of, key_of)
    for after in range(0, 40, 3):
        files.before = fail_from(files.n_operations + after)
        use(store, entry_of, key_of)
    files.before = lambda *_: None
    use(store, entry_of, key_of)
    store.close()

    again = opened()
    use(again, entry_of, key_of)
    assert verify(again).damaged_blobs == ()
    assert not verify(again).damaged_entries


@pytest.mark.parametrize("nth", range(1, 14))
def test_one_error_at_any_file_operation_is_survived(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    faulty_files: Callable[..., Any],
    nth: int,
) -> None:
    """One write, sync or rename fails; what comes after it works."""

    def before(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation in {"write", "sync", "sync_path", "rename", "create", "make_dir"}:
            counted[0] += 1
            if counted[0] == nth:
                raise OSError(errno.ENOSPC, "No space left on device")

    counted = [0]
    files = faulty_files(lambda *_: None)
    store = opened(files=files, fsync="batch")
    files.before = before

    use(store, entry_of, key_of)
    notices = use(store, entry_of, key_of)

    assert notices <= {"not-kept"}
    store.close()
    assert opened().find([key_of(0)])


def test_the_notice_of_a_full_disk_says_so_once(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], faulty_files: Callable[..., Any]
) -> None:
    """Results stay findable in this process, and are committed when there is space again."""

    def full(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    files = faulty_files(lambda *_: None)
    store = opened(files=files)
    files.before = full
    entry = entry_of(1, store.encode(1))
    for _ in range(3):
        store.put(entry)
        store.flush()

    ((kind, message),) = store.take_notices()
    assert kind == "not-kept"
    assert "No space left on device" in message
    assert store.find([entry.key]) == {entry.key: entry}
    files.before = lambda *_: None
    store.close()
    assert opened().find([entry.key]) == {entry.key: entry}


@pytest.mark.parametrize("limit", [20_000, 50_000, 120_000])
def test_a_file_size_limit_is_survived(
    store: LocalStore,
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    in_child: Callable[[Callable[[], object]], int],
    limit: int,
) -> None:
    """Real write errors, in SQLite's files too: the child ends normally, and what it left is sound."""

    def fill() -> None:
        inner = opened(fsync="batch")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for number in range(400):
            value = b"%d" % number * (900 if number % 2 else 3000)
            try:
                payload = inner.encode(value)
            except NotKept:
                continue
            inner.put(entry_of(number, payload))
            if number % 20 == 0:
                inner.flush()
        inner.close()

    store.close()
    assert in_child(fill) == 0

    again = opened()
    for entry in again.find([key_of(number) for number in range(400)]).values():
        assert again.load(entry.payload)
    assert use(again, entry_of, key_of) == set()
    assert verify(again).is_sound


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare")
@pytest.mark.slow
def test_a_full_file_system_is_survived(
    tmp_path: Path,
    options: StoreOptions,
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
) -> None:
    """A real tmpfs of 1 MB fills up: no exception, no wrong value, and it goes on once there is space."""
    import subprocess

    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], check=False).returncode:
        pytest.skip("cannot mount")
    try:
        store = open_store(mount / "cache", options)
        (mount / "filler").write_bytes(b"x" * 300_000)
        for number in range(300):
            try:
                payload = store.encode(b"%d" % number * 4000)
            except NotKept:
                continue
            store.put(entry_of(number, payload))
            store.flush()
        assert {kind for kind, _ in store.take_notices()} <= {"not-kept"}
        (mount / "filler").unlink()
        assert use(store, entry_of, key_of) == set()
        store.close()
        again = open_store(mount / "cache", options)
        assert use(again, entry_of, key_of) == set()
        again.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_directory_without_permission_is_refused_with_a_hint(
    tmp_path: Path, options: StoreOptions, in_child: Callable[[Callable[[], object]], int]
) -> None:
    """The engine turns this one error into a notice and runs without a cache."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o555)
    for directory in [*tmp_path.parents, tmp_path]:
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)

    def as_nobody() -> None:
        os.setuid(65534)
        with pytest.raises(StoreTrouble, match="Permission denied"):
            open_store(home / "cache", options)

    assert in_child(as_nobody) == 0


def test_flushes_come_by_number_and_by_age(
    opened: Callable[..., LocalStore], root: Path, entry_of: Callable[..., Entry], options: StoreOptions
) -> None:
    """A long run commits as it goes: after 1,000 entries, or 50 ms after the first that waits."""
    clock = FrozenClock(1000.0)
    store = opened(clock=clock, flush_count=10, flush_after_s=0.05)
    other = opened()

    def committed() -> int:
        return len(other.find([entry_of(number, payload).key for number in range(100)]))

    payload = store.encode(1)
    for number in range(9):
        store.put(entry_of(number, payload))
    assert committed() == 0
    store.put(entry_of(9, payload))
    assert committed() == 10

    store.put(entry_of(10, payload))
    clock.advance(0.06)
    assert committed() == 10
    store.put(entry_of(11, payload))
    assert committed() == 12


def test_an_entry_that_cannot_be_written_does_not_take_others_with_it(
    store: LocalStore, entry_of: Callable[..., Entry]
) -> None:
    """A caller's mistake in one entry is told; the batch is committed."""
    payload = store.encode(1)
    store.put(entry_of("bad", payload, parts={"code": object()}))
    store.put(entry_of("good", payload))
    store.flush()

    assert list(store.find([entry_of("good", payload).key, entry_of("bad", payload).key])) == [
        entry_of("good", payload).key
    ]
    assert [kind for kind, _ in store.take_notices()] == ["not-kept"]


def test_a_locked_database_delays_but_loses_nothing(
    store: LocalStore,
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries that the index did not take wait in the log, are found meanwhile, and are committed later."""
    connection = store.records.index.connection
    connection.execute("PRAGMA busy_timeout = 10")
    blocker = opened()
    blocking = blocker.records.index.connection
    blocking.execute("BEGIN IMMEDIATE")
    entry = entry_of(1, store.encode(1))
    store.put(entry)
    store.flush()

    assert store.find([entry.key]) == {entry.key: entry}
    assert [kind for kind, _ in store.take_notices()] == ["not-kept"]

    blocking.execute("ROLLBACK")
    store.put(entry_of(2, store.encode(2)))
    store.flush()
    assert len(blocker.find([key_of(1), key_of(2)])) == 2


def test_full_syncing_commits_before_put_returns(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """For those who would rather wait than compute twice."""
    store, other = opened(fsync="full"), opened()
    entry = entry_of(1, store.encode(b"x" * 5000))

    store.put(entry)

    assert other.find([entry.key]) == {entry.key: entry}


@pytest.mark.parametrize(("fsync", "synced"), [("off", 0), ("batch", 1), ("full", 1)])
def test_blobs_are_synced_before_the_entries_that_name_them(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    faulty_files: Callable[..., Any],
    fsync: str,
    synced: int,
) -> None:
    """The order of operations on the disk, as each policy promises it."""
    log: list[str] = []

    def note(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation in {"sync", "sync_path", "rename", "write"}:
            log.append(operation)

    files = faulty_files(lambda *_: None)
    store = opened(files=files, fsync=fsync)
    files.before = note
    payload = store.encode(b"x" * 5000)
    store.put(entry_of(1, payload))
    store.flush()

    first_write, last_write = log.index("write"), len(log) - 1 - log[::-1].index("write")
    assert first_write < last_write
    between = log[first_write:last_write]
    assert ("sync" in between or "sync_path" in between) == bool(synced)
    assert ("sync" in log[last_write:]) == bool(synced)


def test_a_process_that_may_have_no_more_maps_reads(
    opened: Callable[..., LocalStore], faulty_files: Callable[..., Any]
) -> None:
    """Linux gives a process 65,530 of them; a blob that cannot be mapped is not a blob that is lost."""

    def refuse(_: int, operation: str, __: tuple[Any, ...]) -> None:
        if operation == "map_private":
            raise OSError(12, "Cannot allocate memory")

    store = opened(files=faulty_files(refuse))
    value = bytes(range(256)) * 1000

    assert store.load(store.encode(value)) == value
    assert store.take_notices() == []
