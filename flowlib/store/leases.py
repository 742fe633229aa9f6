"""The right to compute a key: free of system calls for a process that is alone on a cache.

Theory of operation: there is one lock for the whole cache, the *house*, beside one for each key. A process with few
leases is in the house *among* others: it holds the house shared, and each of its keys. A process that wants more tries
to have the house *alone*, exclusively; if it gets it, its own table of keys is all there is to know, and a lease costs a
dict entry. Others cannot enter then: they are told that the key is taken, and *knock* (they touch a file). A thread of
the process that is alone looks at that file every 20 ms; when somebody knocked it locks each key it holds, and only
then lets others in by making its lock of the house a shared one. When no key was held for a while it leaves.

Rules: a knock that is not answered for 5 seconds means that the process is stopped (or deaf, inside foreign code that
holds the interpreter): leases are then granted unprotected, so that nobody hangs for ever; at worst a result is
computed twice. After letting others in, a process does not try to be alone for a second. All locks are the kernel's:
they end with the process however it dies, and a fork inherits none.

Invariant: who holds a protected lease holds the house exclusively, or holds the house shared and the key's own place;
so no two processes hold one key. Who is alone knows that no other process holds any.
"""

import contextlib
import hashlib
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowlib.clock import SystemClock
from flowlib.ids import Key
from flowlib.store.base import Holder
from flowlib.store.files import Files
from flowlib.store.locks import FIRST_FREE, LockTable

_HOUSE = 16
_DOOR = "0"
"""The file whose time stamp is a knock."""
_FEW = 8
"""Fewer leases than this are not worth being alone."""
_TICK_S = 0.02
_DEAF_S = 5.0
_BACK_OFF_S = 1.0
_TRY_AGAIN_S = 0.1


class LeaseTable(LockTable):
    """The locks and leases one process holds on one cache, for all its stores and threads. Made by `lock_table`."""

    def __init__(self, directory: Path, files: Files) -> None:
        super().__init__(directory, files)
        self._now = SystemClock.monotonic
        self._keys: dict[Key, bool] = {}  # what is held -> whether its own place is locked
        self._is_inside = self._is_alone = self._was_used = False
        self._alone_from = 0.0
        self._refused_from = self._refused_at = -_DEAF_S
        self._epoch = 0
        self._n_released = 0
        self._last_knock = 0
        self._left = threading.Event()

    # ---- taking and giving back

    def take_keys(self, keys: Sequence[Key], holder: Holder | None) -> "list[KeyLease | None]":
        """Return a lease for each key, None where another holds it. Cost: 0.5 us a key when alone, else 2 us."""
        with self._guard:
            if not self._is_alone and len(self._keys) + len(keys) >= _FEW:
                self._try_alone()
            self._was_used = True
            return [KeyLease(self, key, holder) if self._take_key(key) else None for key in keys]

    def _take_key(self, key: Key) -> bool:
        if key in self._keys:
            return False
        is_locked = False
        if not self._is_alone:
            if self._enter():
                is_locked = self._lock(place_of(key))
                if not is_locked:
                    self._leave_if_idle()
                    return False
            elif self._refused_at - self._refused_from < _DEAF_S:
                return False
        self._keys[key] = is_locked
        return True

    def give_keys(self, leases: "Iterable[KeyLease]") -> None:
        """Release leases of this table."""
        if self.pid != os.getpid():
            return  # a child of a fork holds nothing of its parent's, not even the guard
        with self._guard:
            for lease in leases:
                if not lease.is_released:
                    lease.is_released = True
                    self._give_key(lease)
            if not self._is_alone:
                self._leave_if_idle()

    def _give_key(self, lease: "KeyLease") -> None:
        if self._keys.pop(lease.key, False):
            self._unlock(place_of(lease.key))
        self._n_released += 1
        if lease.holder is not None:
            lease.holder.n_released += 1

    def moment(self, holder: Holder) -> tuple[int, int | None]:
        """Return how many leases all but one holder have released, and which time of being alone this is, if any."""
        with self._guard:
            return self._n_released - holder.n_released, self._epoch if self._is_alone else None

    # ---- the house

    def _enter(self) -> bool:
        """Be in the house, among others or alone; False, and a knock, while another is alone in it."""
        if not self._is_inside:
            self._is_inside = self._lock(_HOUSE, shared=True)
            if not self._is_inside:
                now = self._now()
                if now - self._refused_at >= _DEAF_S:
                    self._refused_from = now  # nobody asked for a while: this is another wait
                self._refused_at = now
                with contextlib.suppress(OSError):
                    self._files.freshen(self._directory / _DOOR)
        return self._is_inside

    def _leave_if_idle(self) -> None:
        if self._is_inside and not self._keys:
            self._is_inside = self._is_alone = False
            self._unlock(_HOUSE)
            self._left.set()

    def _try_alone(self) -> None:
        now = self._now()
        if now < self._alone_from:
            return
        self._last_knock = self._knock()  # before the lock: nobody who is refused because of it goes unheard
        self._alone_from = now + _TRY_AGAIN_S
        if not self._lock(_HOUSE):
            return
        self._is_inside = self._is_alone = True
        self._epoch += 1
        self._left = threading.Event()
        try:
            threading.Thread(target=_answer, args=(weakref.ref(self), self._left), daemon=True).start()
        except RuntimeError:  # no thread can be had: nobody would answer
            self._let_in()

    def _knock(self) -> int:
        try:
            return self._files.status(self._directory / _DOOR).st_mtime_ns
        except OSError:
            return -1

    def answer(self) -> bool:
        """Let others in if one knocked, leave if nothing is held; say whether this process is still alone."""
        with self._guard:
            if self._is_alone:
                if self._knock() != self._last_knock:
                    self._let_in()
                elif not self._keys and not self._was_used:
                    self._leave_if_idle()
                self._was_used = False
            return self._is_alone

    def _let_in(self) -> None:
        for key, is_locked in self._keys.items():
            if not is_locked and not self._lock(place_of(key)):
                return  # the kernel is out of locks: stay alone, and try at the next knock
            self._keys[key] = True
        if self._keys and not self._lock(_HOUSE, shared=True):
            return
        self._is_alone = False
        self._alone_from = self._now() + _BACK_OFF_S
        self._leave_if_idle()

    def settle(self) -> None:
        """Leave at once if nothing is held: the caller needs no lease in the near future."""
        if self.pid == os.getpid():
            with self._guard:
                self._leave_if_idle()


def _answer(table_of: "weakref.ref[LeaseTable]", left: threading.Event) -> None:
    """Answer knocks for as long as a process is alone."""
    while not left.wait(_TICK_S):
        table = table_of()
        if table is None or not table.answer():
            return
        del table


class KeyLease:
    """The right to compute one key, held until `release` or the end of the process."""

    __slots__ = ("holder", "is_released", "key", "table")

    def __init__(self, table: LeaseTable, key: Key, holder: Holder | None) -> None:
        self.table, self.key, self.holder = table, key, holder
        self.is_released = False

    def release(self) -> None:
        """Give the right back. Calling it twice is harmless."""
        if not self.is_released:
            self.table.give_keys((self,))


def place_of(key: Key) -> int:
    """Return the place of a key. Two keys share one with probability 2**-56: then one may be computed twice."""
    return FIRST_FREE + int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")


# The kernel keeps one set of record locks for a process and a file, so a process may have only one table for it.
_TABLES: "weakref.WeakValueDictionary[tuple[int, int, int], LeaseTable]" = weakref.WeakValueDictionary()


def lock_table(directory: Path, files: Files) -> LeaseTable:
    """Return this process's table for a directory of lock files, made on first use.

    Raises:
        OSError: A file cannot be opened, or is not an ordinary file.
    """
    with contextlib.suppress(FileNotFoundError):
        status = files.status(directory / _DOOR)
        table = _TABLES.get((os.getpid(), status.st_dev, status.st_ino))
        if table is not None:
            return table
    table = LeaseTable(directory, files)
    status = files.status(directory / _DOOR)
    shared = _TABLES.setdefault((os.getpid(), status.st_dev, status.st_ino), table)
    if shared is not table:
        table.abandon()
    return shared
