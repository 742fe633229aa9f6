"""Locks on numbered places of a few files: the right to compute a key, and the right to write the index.

Theory of operation: a POSIX record lock on one byte costs about a microsecond, ends with its process however that
dies, and leaves nothing behind to clean up. The kernel keeps the locks of a file in a list that it walks for each, so
places are spread over sixteen files. It gives locks to processes, so a table in the process says which thread holds
what; and closing any descriptor of a file drops all of the process's locks on it, so a process has one table with one
descriptor for each file, shared by all stores of the directory and kept while any uses it.

Rules: after a fork the child makes a table of its own; the descriptors it inherited stay open, because closing one
would drop the locks taken through its successor.
"""

import contextlib
import fcntl
import hashlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from flowlib.ids import Key
from flowlib.store.files import Files

_WRITE = 0
MAINTENANCE = 1
"""The place that a collection or a repair holds."""
_FIRST_KEY = 1 << 10
_WRITE_PATIENCE_S = 10.0
_PAUSE_S = 0.0005
_NAMES = "0123456789abcdef"


class LockTimeout(OSError):
    """The write lock stayed taken for longer than anyone should hold it."""


class LockTable:
    """The locks one process holds on the files of one directory."""

    def __init__(self, directory: Path, files: Files) -> None:
        self.pid = os.getpid()
        self._descriptors: list[int] = []
        files.make_dir(directory)
        for name in _NAMES:
            self._descriptors.append(files.open_append(directory / name))
        self._guard = threading.Lock()
        self._held: set[int] = set()
        self._writing = threading.Lock()

    def __del__(self) -> None:
        if getattr(self, "pid", None) == os.getpid():
            for descriptor in self._descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def abandon(self) -> None:
        """Never close the descriptors: another thread made the table for this file first, and may hold locks."""
        self.pid = -1

    def take(self, place: int) -> bool:
        """Take a place; False while another thread or process holds it. Never waits."""
        with self._guard:
            if place in self._held:
                return False
            try:
                fcntl.lockf(self._file_of(place), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except OSError:
                return False
            self._held.add(place)
            return True

    def give(self, place: int) -> None:
        """Give a place back."""
        with self._guard:
            if place in self._held and self.pid == os.getpid():
                self._held.discard(place)
                fcntl.lockf(self._file_of(place), fcntl.LOCK_UN, 1, place)

    def _file_of(self, place: int) -> int:
        return self._descriptors[place % len(self._descriptors)]

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock of the index; re-entry from the same thread is an error of the caller.

        Raises:
            LockTimeout: Someone else held it for 10 seconds.
        """
        if not self._writing.acquire(timeout=_WRITE_PATIENCE_S):
            raise LockTimeout("the cache's write lock is taken by another thread")
        try:
            self._wait_for(_WRITE)
            try:
                yield
            finally:
                self.give(_WRITE)
        finally:
            self._writing.release()

    def _wait_for(self, place: int) -> None:
        pause = threading.Event()
        for _ in range(int(_WRITE_PATIENCE_S / _PAUSE_S)):
            if self.take(place):
                return
            pause.wait(_PAUSE_S)
        raise LockTimeout("the cache's write lock is taken by another process")


# The kernel keeps one set of record locks for a process and a file, so a process may have only one table for it.
_TABLES: "weakref.WeakValueDictionary[tuple[int, int, int], LockTable]" = weakref.WeakValueDictionary()


def lock_table(directory: Path, files: Files) -> LockTable:
    """Return this process's table for a directory of lock files, made on first use.

    Raises:
        OSError: A file cannot be opened, or is not an ordinary file.
    """
    with contextlib.suppress(FileNotFoundError):
        status = files.status(directory / _NAMES[0])
        table = _TABLES.get((os.getpid(), status.st_dev, status.st_ino))
        if table is not None:
            return table
    table = LockTable(directory, files)
    status = files.status(directory / _NAMES[0])
    shared = _TABLES.setdefault((os.getpid(), status.st_dev, status.st_ino), table)
    if shared is not table:
        table.abandon()
    return shared


class KeyLease:
    """The right to compute one key, held until `release` or the end of the process."""

    def __init__(self, table: LockTable, place: int) -> None:
        self._table, self._place = table, place
        self._released = False

    def release(self) -> None:
        """Give the right back. Calling it twice is harmless."""
        if not self._released:
            self._released = True
            self._table.give(self._place)


def take_lease(table: LockTable, key: Key) -> KeyLease | None:
    """Return the right to compute a key, or None while someone else holds it.

    Two keys share a place with probability 2**-56: then one waits for the other, nothing worse.
    """
    place = _FIRST_KEY + int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
    return KeyLease(table, place) if table.take(place) else None
