"""Find and open the store of a run; one open store per directory and process.

Trouble with the directory never fails a run: it goes on without a cache and says so once.
"""

import os
import threading
from pathlib import Path

from flowlib.config import Settings, cache_directory, state_directory
from flowlib.store.base import Store
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.store.memory import MemoryStore


class OpenStores:
    """The stores this process has open. Leases and connections belong to a process, so a directory is opened once."""

    def __init__(self) -> None:
        self._stores: dict[tuple[int, str, str], tuple[LocalStore, tuple[int, int]]] = {}
        self._lock, self._pid = threading.Lock(), os.getpid()

    def get(self, directory: Path, settings: Settings) -> LocalStore:
        """Return the open store of a directory, opening it if needed.

        Raises:
            StoreTrouble: The directory cannot be used.
        """
        pid = os.getpid()
        if pid != self._pid:  # another thread may have held the lock when this process was forked
            self._lock, self._pid = threading.Lock(), pid
        name = (pid, str(directory), settings.cache_key)
        with self._lock:
            store, there = self._stores.get(name, (None, None))
            if store is None or there != _identity(directory):
                store = open_store(directory, store_options(settings))
                self._stores[name] = (store, _identity(directory))
            return store


def _identity(directory: Path) -> tuple[int, int]:
    """Return what tells a directory from another one that was made in its place."""
    try:
        status = directory.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


_open_stores = OpenStores()
"""The one list of open stores; see the class for why there is only one."""


def store_options(settings: Settings) -> StoreOptions:
    """Return what a store needs to know of the settings."""
    secret = settings.cache_key.encode() if settings.cache_key else None
    return StoreOptions(secret=secret, state_dir=state_directory(settings), fsync=settings.fsync)


def store_for(
    cache: str | os.PathLike[str] | Store | bool | None, settings: Settings, *, looking: bool = False
) -> tuple[Store | None, str]:
    """Return the store of a run and, if it has to do without one, why.

    Args:
        cache: The argument of `run`: a path, a store, False, or None for the settings' choice.
        settings: The settings in force.
        looking: Whether nothing will be stored, so that a directory that is not there is not made.
    """
    if cache is not None and not isinstance(cache, (str, os.PathLike, bool)):
        return cache, ""
    directory = cache_directory(settings)
    if directory is None:
        return None, ""
    if looking and not os.path.lexists(directory):
        return MemoryStore(), ""
    try:
        return _open_stores.get(directory, settings), ""
    except OSError as trouble:  # `StoreTrouble` is one; others come from a path that cannot even be looked at
        return None, str(trouble)
