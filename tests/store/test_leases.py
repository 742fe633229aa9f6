"""Locks on places of one file: between threads, stores and processes, and through forks."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flowlib.ids import Key
from flowlib.store.files import Files
from flowlib.store.leases import LockTimeout, lock_table, take_lease
from flowlib.store.local import LocalStore


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
        assert take_lease(table, Key("0" * 64)) is not None
        del table
    gc.collect()

    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_waiting_for_the_write_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process that holds it delays others, but does not hang them."""
    monkeypatch.setattr("flowlib.store.leases._WRITE_PATIENCE_S", 0.01)
    table = lock_table(tmp_path / "lock", Files())

    with table.writing(), pytest.raises(LockTimeout), table.writing():
        pytest.fail("two writers at once")

    with table.writing():
        assert not table.take(0)
