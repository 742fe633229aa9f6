"""Killed at any moment: what was acknowledged is there, nothing is wrong, and nobody repairs anything by hand."""

import os
import random
import shutil
import signal
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlib.ids import Key
from flowlib.store.base import GENERATION, BlobLost, Entry
from flowlib.store.files import Files
from flowlib.store.index import IndexBusy
from flowlib.store.local import LocalStore
from flowlib.store.maintain import gc, verify

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def value_of(number: int) -> Any:
    """A value that says which one it is: inline, blob, or several parts."""
    return [number, {"n": number}, b"%08d" % number * 1000][number % 3]


def put_values(store: LocalStore, entry_of: Callable[..., Entry], numbers: range) -> None:
    """Put and flush some values."""
    for number in numbers:
        store.put(entry_of(number, store.encode(value_of(number))))
    store.put_texts({f"text {numbers}": "x" * 100})
    store.flush()


def read_values(store: LocalStore, key_of: Callable[[object], Key], numbers: range) -> set[int]:
    """Read whatever is there of some values; fail on a wrong one."""
    keys = {key_of(number): number for number in numbers}
    seen = set()
    for key, entry in store.find(list(keys)).items():
        try:
            assert store.load(entry.payload) == value_of(keys[key])
        except BlobLost:
            continue
        seen.add(keys[key])
    return seen


def crash_plan(at: int, how: str) -> Callable[[int, str, tuple[Any, ...]], None]:
    """End the process in front of file operation number `at`; `torn` writes half of a write first."""

    def before(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if number != at:
            return
        if how == "torn" and operation == "write":
            whole = b"".join(args[1])
            Files().write(args[0], [whole[: len(whole) // 2]])
        os._exit(9)

    return before


@pytest.fixture
def template(opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], root: Path, tmp_path: Path) -> Path:
    """A closed cache with twelve values, to begin each attempt from."""
    store = opened()
    put_values(store, entry_of, range(12))
    store.close()
    return Path(root.rename(tmp_path / "template"))


EVERY = [7, pytest.param(1, marks=pytest.mark.slow)]
"""Each seventh operation by default, every one in the long run."""


@pytest.mark.parametrize("step", EVERY)
@pytest.mark.parametrize(("how", "fsync"), [("torn", "batch"), ("clean", "batch"), ("torn", "full"), ("torn", "off")])
def test_a_crash_at_every_file_operation_of_a_put_costs_only_that_put(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    faulty_files: Callable[..., Files],
    in_child: Callable[[Callable[[], object]], int],
    template: Path,
    root: Path,
    how: str,
    fsync: str,
    step: int,
) -> None:
    """Opening, encoding, flushing and closing are cut off at each operation in turn; the next start is clean."""
    old, new = range(12), range(12, 18)
    for at in range(1, 1000, step):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)

        def cut_off(at: int = at) -> None:
            files = faulty_files(crash_plan(at, how))
            writer = opened(files=files, fsync=fsync)
            put_values(writer, entry_of, new)
            writer.close()

        ended = in_child(cut_off)
        store = opened()
        assert read_values(store, key_of, old) == set(old)
        assert read_values(store, key_of, new) == set(new) or ended != 0
        put_values(store, entry_of, new)
        assert store.take_notices() == []
        store.close()
        again = opened()
        assert read_values(again, key_of, range(100)) == {*old, *new}
        gc(again, grace_s=0.0)
        assert verify(again).is_sound
        assert list((root / "tmp").iterdir()) == []
        assert again.take_notices() == []
        again.close()
        if ended == 0:
            assert at > 40
            return


@pytest.mark.parametrize("step", EVERY)
def test_a_crash_at_every_file_operation_of_a_collection_loses_nothing_kept(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    faulty_files: Callable[..., Files],
    in_child: Callable[[Callable[[], object]], int],
    template: Path,
    root: Path,
    step: int,
) -> None:
    """Removal, blob deletion and the rewriting of packs are cut off at each operation in turn."""
    for at in range(1, 1000, step):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        store = opened()
        for number in range(12, 24):
            store.put(entry_of(number, store.encode(value_of(number)), created_at=1.0))
        store.close()

        def cut_off(at: int = at) -> None:
            collector = opened(files=faulty_files(crash_plan(at, "torn")))
            gc(collector, older_than_s=collector.options.clock.now() - 500.0, grace_s=0.0)
            collector.close()

        ended = in_child(cut_off)
        again = opened()
        assert read_values(again, key_of, range(12)) == set(range(12))
        read_values(again, key_of, range(12, 24))
        again.close()
        if ended == 0:
            shutil.rmtree(root / "index")
            assert read_values(opened(), key_of, range(24)) == set(range(12))
            assert at > 30
            return


def write_until_killed(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], pipe: int, first: int
) -> None:
    """Put values for ever, saying after each flush how far it got."""
    store = opened(fsync="off")
    number = first
    while True:
        for _ in range(5):
            store.put(entry_of(number, store.encode(value_of(number))))
            number += 1
        store.flush()
        os.write(pipe, struct.pack("<Q", number))


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_a_kill(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    n_kills: int,
) -> None:
    """SIGKILL after a random 1 to 20 ms of writing: 0 lost, 0 wrong, and the next start finds no fault."""
    rng = random.Random(n_kills)
    first = 0
    opened().close()
    for _ in range(n_kills):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                write_until_killed(opened, entry_of, writing, first)
            finally:
                os._exit(70)
        os.close(writing)
        acknowledged = os.read(reading, 8)
        threading.Event().wait(rng.uniform(0.001, 0.020))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        while more := os.read(reading, 1 << 20):
            acknowledged += more
        os.close(reading)
        (last,) = struct.unpack("<Q", acknowledged[-8:])

        store = opened()
        assert read_values(store, key_of, range(first, last)) == set(range(first, last))
        read_values(store, key_of, range(last, last + 100))
        assert store.take_notices() == []
        store.close()
        first = last + 100

    store = opened()
    gc(store, grace_s=0.0)
    assert verify(store).is_sound
    assert list((store.root / "tmp").iterdir()) == []


def test_a_lease_ends_with_its_process(
    store: LocalStore, opened: Callable[..., LocalStore], key_of: Callable[[object], Key]
) -> None:
    """Nothing has to be cleaned up after a killed holder."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = store.lease(key_of("a"))
        os.write(writing, b"y" if held else b"n")
        signal.pause()
    assert os.read(reading, 1) == b"y"
    assert store.lease(key_of("a")) is None

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert store.lease(key_of("a")) is not None
    os.close(reading)
    os.close(writing)


def test_two_processes_of_four_threads_share_each_lease(
    store: LocalStore, key_of: Callable[[object], Key], tmp_path: Path
) -> None:
    """Of all that compute a key, exactly one does so at a time; every key is computed."""
    log = tmp_path / "log"
    log.touch()

    def work(process: int) -> None:
        def compute(thread: int) -> None:
            for number in range(30):
                key = key_of(number)
                while (lease := store.lease(key)) is None:
                    threading.Event().wait(0.0001)
                descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
                os.write(descriptor, f"+{number}\n".encode())
                threading.Event().wait(0.0001)
                os.write(descriptor, f"-{number}\n".encode())
                os.close(descriptor)
                lease.release()

        threads = [threading.Thread(target=compute, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pids = []
    for process in range(2):
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                work(process)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]

    open_for: set[str] = set()
    lines = log.read_text().split()
    for line in lines:
        if line[0] == "+":
            assert line[1:] not in open_for
            open_for.add(line[1:])
        else:
            open_for.remove(line[1:])
    assert len(lines) == 2 * 2 * 4 * 30


def test_a_forked_child_uses_the_store_beside_its_parent(
    store: LocalStore,
    entry_of: Callable[..., Entry],
    key_of: Callable[[object], Key],
    in_child: Callable[[Callable[[], object]], int],
) -> None:
    """The child starts afresh: it neither commits its parent's waiting entries nor disturbs its connections."""
    put_values(store, entry_of, range(3))
    store.put(entry_of(50, store.encode(value_of(50))))

    def use() -> None:
        assert read_values(store, key_of, range(3)) == {0, 1, 2}
        assert store.find([key_of(50)]) == {}
        put_values(store, entry_of, range(100, 106))

    assert in_child(use) == 0

    put_values(store, entry_of, range(3, 6))
    assert read_values(store, key_of, range(200)) == {0, 1, 2, 3, 4, 5, 50, *range(100, 106)}
    assert verify(store).is_sound


@pytest.mark.parametrize("n_rounds", [4, pytest.param(150, marks=pytest.mark.slow)])
def test_processes_and_threads_share_one_cache(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], key_of: Callable[[object], Key], n_rounds: int
) -> None:
    """Three processes of two threads put, find, flush and collect at once: nothing wrong, lost or locked."""
    opened().close()

    def work(process: int) -> None:
        store = opened(fsync="off")

        def run(thread: int) -> None:
            rng = random.Random(f"{process} {thread}")
            for _ in range(n_rounds):
                put_values(store, entry_of, range(start := rng.randrange(60), start + 3))
                assert read_values(store, key_of, range(start, start + 3)) == set(range(start, start + 3))
                if thread == process == 0:
                    gc(store)

        threads = [threading.Thread(target=run, args=(thread,)) for thread in range(2)]
        failures: list[BaseException] = []
        threading.excepthook = lambda args: failures.append(args.exc_value or RuntimeError())
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.take_notices() == []
        store.close()

    pids = []
    for process in range(3):
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                work(process)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]

    assert verify(opened()).is_sound


@pytest.mark.parametrize(("number", "is_known"), [(1, False), (2, True)])
def test_a_replay_that_replaces_a_result_makes_notes_about_recipes_unknown(
    opened: Callable[..., LocalStore],
    entry_of: Callable[..., Entry],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    is_known: bool,
) -> None:
    """Killed between log and index: what was noted about a replaced result does not count, a new result changes nothing."""
    store = opened()
    store.put(entry_of(1, store.encode("old")))
    store.flush()
    store.put_notes({GENERATION: b"1"})

    def busy(change: object) -> None:
        raise IndexBusy("killed")

    killed = opened()
    killed.put(entry_of(number, killed.encode("new")))
    monkeypatch.setattr(killed.records.index, "commit", busy)
    killed.flush()

    assert opened().notes([GENERATION]) == ({GENERATION: b"1"} if is_known else {})
    assert killed.take_notices() != []
