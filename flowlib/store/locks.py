"""Locks on numbered places of a few files: the right to write the index, to maintain a cache, and others (`leases`).

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
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from flowlib.store.files import Files

_WRITE = 0
MAINTENANCE = 1
"""The place that a collection or a repair holds."""
FIRST_FREE = 1 << 10
"""Places from here on mean what their users say."""
_WRITE_PATIENCE_S = 10.0
_PAUSE_S = 0.0005
_NAMES = "0123456789abcdef"


class LockTimeout(OSError):
    """The write lock stayed taken for longer than anyone should hold it."""


class LockTable:
    """The locks one process holds on the files of one directory."""

    def __init__(self, directory: Path, files: Files) -> None:
        self.pid = os.getpid()
        self._directory, self._files = directory, files
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
            if place in self._held or not self._lock(place):
                return False
            self._held.add(place)
            return True

    def give(self, place: int) -> None:
        """Give a place back."""
        if self.pid == os.getpid():
            with self._guard:
                if place in self._held:
                    self._held.discard(place)
                    self._unlock(place)

    def _lock(self, place: int, *, shared: bool = False) -> bool:
        """Lock a place against other processes, or change the kind of a lock of ours. Cost: a system call."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.lockf(self._descriptors[place % len(self._descriptors)], kind | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def _unlock(self, place: int) -> None:
        fcntl.lockf(self._descriptors[place % len(self._descriptors)], fcntl.LOCK_UN, 1, place)

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
