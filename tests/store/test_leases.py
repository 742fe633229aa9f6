"""Leases: between threads, stores and processes, through forks, and for a process that is alone on a cache."""

import fcntl
import gc
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowlib.ids import Key
from flowlib.store.base import Holder
from flowlib.store.files import Files
from flowlib.store.leases import lock_table
from flowlib.store.local import LocalStore
from flowlib.store.locks import LockTimeout


def test_a_file_has_one_table_in_a_process(tmp_path: Path) -> None:
    """The kernel has one set of record locks for a process and a file; a second descriptor would drop them."""
    table = lock_table(tmp_path / "lock", Files())

    assert lock_table(tmp_path / "lock", Files()) is table
    assert lock_table(tmp_path / "other", Files()) is not table


def test_closing_one_store_keeps_the_leases_of_another(
    opened: Callable[..., LocalStore], key_of: Callable[[object], Key], in_child: Callable[..., int]
) -> None:
    """Seen from another process, where only the kernel's locks count."""
    one, two = opened(), opened()
    lease = one.lease(key_of("a"))
    two.close()
    del two
    gc.collect()

    def ask() -> None:
        assert opened().lease(key_of("a")) is None
        assert opened().lease(key_of("b")) is not None

    assert in_child(ask) == 0
    assert lease is not None
    lease.release()
    assert in_child(ask) != 0


def test_a_child_does_not_hold_what_its_parent_holds(
    store: LocalStore, key_of: Callable[[object], Key], in_child: Callable[..., int]
) -> None:
    """A lease does not multiply through a fork, and giving it back in the child changes nothing."""
    lease = store.lease(key_of("a"))
    assert lease is not None

    def in_the_child() -> None:
        lease.release()
        assert store.lease(key_of("a")) is None

    assert in_child(in_the_child) == 0

    def in_another() -> None:
        assert store.lease(key_of("a")) is None

    assert in_child(in_another) == 0


def test_the_table_closes_its_file_when_no_store_is_left(tmp_path: Path) -> None:
    """Many caches opened one after the other leave no descriptors behind."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number in range(20):
        table = lock_table(tmp_path / str(number), Files())
        assert table.take_keys([Key("0" * 64)], None) != [None]
        del table
    gc.collect()

    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_waiting_for_the_write_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process that holds it delays others, but does not hang them."""
    monkeypatch.setattr("flowlib.store.locks._WRITE_PATIENCE_S", 0.01)
    table = lock_table(tmp_path / "lock", Files())

    with table.writing(), pytest.raises(LockTimeout), table.writing():
        pytest.fail("two writers at once")

    with table.writing():
        assert not table.take(0)


@pytest.fixture
def other(opened: Callable[..., LocalStore]) -> Iterator[Callable[[Callable[[LocalStore], object]], bytes]]:
    """Run a function on a store of another process, which stays alive until the test ends; return what it printed."""
    pids: list[int] = []

    def run(function: Callable[[LocalStore], object]) -> bytes:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                kept = opened()
                os.write(writing, repr(function(kept)).encode())
                os.close(writing)
                signal.pause()
            finally:
                os._exit(0)
        pids.append(pid)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            return pipe.read()

    yield run
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def until(is_true: Callable[[], object]) -> bool:
    """Wait for something that another thread or process does; say whether it came to pass."""
    for _ in range(2000):
        if is_true():
            return True
        threading.Event().wait(0.005)
    return False


def asked_until_granted(store: LocalStore, key: Key) -> bool:
    """Ask as a run does that waits for a key."""
    return until(lambda: store.lease(key) is not None)


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_many_leases_cost_no_system_call_each(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is alone on a cache locks the house, and nothing else."""
    calls: list[tuple[Any, ...]] = []
    real = fcntl.lockf

    def lockf(*args: Any) -> None:
        calls.append(args)
        real(*args)

    monkeypatch.setattr(fcntl, "lockf", lockf)

    leases = store.lease_many([Key(f"{number:064x}") for number in range(1000)])
    for lease in leases:
        assert lease is not None
        lease.release()

    assert len(calls) == 1


def test_who_is_alone_lets_others_in_when_they_knock(
    store: LocalStore,
    key_of: Callable[[object], Key],
    other: Callable[[Callable[[LocalStore], object]], bytes],
) -> None:
    """What the first holds stays its own, whatever else there is goes to whoever asks; the first does nothing for it."""
    held = store.lease_many([key_of(number) for number in range(100)])
    assert None not in held

    def ask(its: LocalStore) -> object:
        first = its.lease(key_of("free"))
        granted = asked_until_granted(its, key_of("free"))
        return first, granted, its.lease_many([key_of(number) for number in range(100)]) == [None] * 100

    assert other(ask) == b"(None, True, True)"
    assert store.lease(key_of("free")) is None
    assert store.lease(key_of("another")) is not None


def test_what_was_held_alone_can_be_had_when_it_is_given_back(
    store: LocalStore, key_of: Callable[[object], Key], other: Callable[[Callable[[LocalStore], object]], bytes]
) -> None:
    """Also after others were let in meanwhile."""
    held = store.lease_many([key_of(number) for number in range(20)])
    assert other(lambda its: asked_until_granted(its, key_of("free"))) == b"True"

    for lease in held:
        assert lease is not None
        lease.release()

    assert other(lambda its: None not in its.lease_many([key_of(number) for number in range(20)])) == b"True"
    assert store.lease_many([key_of(number) for number in range(20)]) == [None] * 20


def test_an_idle_process_lets_go_of_the_house(
    store: LocalStore, key_of: Callable[[object], Key], in_child: Callable[..., int], opened: Callable[..., LocalStore]
) -> None:
    """A kernel that sleeps after a run keeps nobody from being alone; its thread is gone."""
    n_threads = threading.active_count()
    for lease in store.lease_many([key_of(number) for number in range(20)]):
        assert lease is not None
        lease.release()

    assert until(lambda: type(store.mark(Holder()).outside) is not int)
    assert until(lambda: threading.active_count() <= n_threads)

    def be_alone() -> None:
        its = opened()
        assert None not in its.lease_many([key_of(number) for number in range(20)])
        assert type(its.mark(Holder()).outside) is int

    assert in_child(be_alone) == 0


def test_closing_lets_go_of_the_house_at_once(
    store: LocalStore, key_of: Callable[[object], Key], in_child: Callable[..., int], opened: Callable[..., LocalStore]
) -> None:
    """The next process need not knock."""
    for lease in store.lease_many([key_of(number) for number in range(20)]):
        assert lease is not None
        lease.release()
    store.close()

    def ask() -> None:
        assert opened().lease(key_of("a")) is not None

    assert in_child(ask) == 0


def test_a_killed_process_is_not_alone_any_more(
    store: LocalStore, opened: Callable[..., LocalStore], key_of: Callable[[object], Key]
) -> None:
    """Its locks end with it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = store.lease_many([key_of(number) for number in range(100)])
        os.write(writing, b"y" if None not in kept else b"n")
        signal.pause()
    assert os.read(reading, 1) == b"y"
    assert store.lease(key_of("free")) is None

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert None not in store.lease_many([key_of(number) for number in range(100)])
    os.close(reading)
    os.close(writing)


def test_a_stopped_process_does_not_hold_up_others_for_ever(
    store: LocalStore, key_of: Callable[[object], Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not answer for long is passed over."""
    monkeypatch.setattr("flowlib.store.leases._DEAF_S", 0.2)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = store.lease_many([key_of(number) for number in range(100)])
        os.write(writing, b"y" if None not in kept else b"n")
        signal.pause()
    assert os.read(reading, 1) == b"y"
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)

    assert store.lease(key_of("free")) is None
    assert asked_until_granted(store, key_of("free"))
    assert store.lease(key_of("free")) is None

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def test_a_child_of_a_process_that_is_alone_is_another_process(
    store: LocalStore, key_of: Callable[[object], Key], in_child: Callable[..., int]
) -> None:
    """It knocks like any other, while the parent does nothing but wait for it."""
    held = store.lease_many([key_of(number) for number in range(20)])
    assert None not in held

    def in_the_child() -> None:
        store.release_many([lease for lease in held if lease is not None])
        assert asked_until_granted(store, key_of("free"))
        assert store.lease_many([key_of(number) for number in range(20)]) == [None] * 20

    assert in_child(in_the_child) == 0


def test_commits_of_other_processes_show(
    store: LocalStore,
    key_of: Callable[[object], Key],
    entry_of: Callable[..., object],
    opened: Callable[..., LocalStore],
    in_child: Callable[..., int],
) -> None:
    """Among others, a commit of theirs is noticed; ours is not one of theirs."""
    holder = Holder()
    mark = store.mark(holder)
    store.put(entry_of(1, store.encode(1)))  # type: ignore[arg-type]
    store.flush()
    assert not store.others_since(mark)

    def commit() -> None:
        its = opened()
        its.put(entry_of(2, its.encode(2)))  # type: ignore[arg-type]
        its.close()

    assert in_child(commit) == 0
    assert store.others_since(mark)
    assert not store.others_since(store.mark(holder))


def test_letting_others_in_ends_the_certainty_of_being_alone(
    store: LocalStore, key_of: Callable[[object], Key], other: Callable[[Callable[[LocalStore], object]], bytes]
) -> None:
    """A mark made alone says nothing about the time after."""
    holder = Holder()
    held = store.lease_many([key_of(number) for number in range(20)], holder)
    mark = store.mark(holder)
    assert not store.others_since(mark)

    assert other(lambda its: asked_until_granted(its, key_of("free"))) == b"True"

    assert store.others_since(mark)
    store.release_many([lease for lease in held if lease is not None])
    assert not store.others_since(store.mark(holder))


@pytest.mark.parametrize("n_rounds", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_processes_that_take_turns_at_being_alone_share_no_key(
    store: LocalStore,
    key_of: Callable[[object], Key],
    opened: Callable[..., LocalStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_rounds: int,
) -> None:
    """Three processes of two threads lease batches of overlapping keys, let in and let go all the time."""
    monkeypatch.setattr("flowlib.store.leases._TICK_S", 0.001)
    monkeypatch.setattr("flowlib.store.leases._BACK_OFF_S", 0.002)
    monkeypatch.setattr("flowlib.store.leases._TRY_AGAIN_S", 0.0)
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def work(process: int) -> None:
        its = opened()

        def run(thread: int) -> None:
            rng = random.Random(f"{process} {thread}")
            for _ in range(n_rounds):
                numbers = rng.sample(range(60), rng.choice([1, 3, 12, 30]))
                leases = its.lease_many([key_of(number) for number in numbers])
                got = {number: lease for number, lease in zip(numbers, leases, strict=True) if lease is not None}
                os.write(log, "".join(f"+{number}\n" for number in got).encode())
                threading.Event().wait(rng.choice([0.0, 0.001, 0.004]))
                os.write(log, "".join(f"-{number}\n" for number in got).encode())
                its.release_many(got.values())

        threads = [threading.Thread(target=run, args=(thread,)) for thread in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

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
    os.close(log)

    held: set[str] = set()
    lines = (tmp_path / "log").read_text().split()
    for line in lines:
        assert (line[1:] in held) == (line[0] == "-")
        (held.add if line[0] == "+" else held.discard)(line[1:])
    assert len(lines) > 100
    assert not held
