"""Find and open the store of a run; one open store per directory and process.

Trouble with the directory never fails a run: it goes on without a cache and says so once.
"""

import os
import threading
from pathlib import Path

from flowlib.config import Settings, cache_directory, state_directory
from flowlib.errors import StoreTrouble
from flowlib.store.base import Store
from flowlib.store.local import LocalStore, StoreOptions, open_store


class OpenStores:
    """The stores this process has open. Leases and connections belong to a process, so a directory is opened once."""

    def __init__(self) -> None:
        self._stores: dict[tuple[int, str, str], LocalStore] = {}
        self._lock = threading.Lock()

    def get(self, directory: Path, settings: Settings) -> LocalStore:
        """Return the open store of a directory, opening it if needed.

        Raises:
            StoreTrouble: The directory cannot be used.
        """
        name = (os.getpid(), str(directory), settings.cache_key)
        with self._lock:
            store = self._stores.get(name)
            if store is None or not directory.is_dir():
                store = open_store(directory, store_options(settings))
                self._stores[name] = store
            return store


_open_stores = OpenStores()
"""The one list of open stores; see the class for why there is only one."""


def store_options(settings: Settings) -> StoreOptions:
    """Return what a store needs to know of the settings."""
    secret = settings.cache_key.encode() if settings.cache_key else None
    return StoreOptions(secret=secret, state_dir=state_directory(settings), fsync=settings.fsync)


def store_for(cache: str | os.PathLike[str] | Store | bool | None, settings: Settings) -> tuple[Store | None, str]:
    """Return the store of a run and, if it has to do without one, why.

    Args:
        cache: The argument of `run`: a path, a store, False, or None for the settings' choice.
        settings: The settings in force.
    """
    if cache is not None and not isinstance(cache, (str, os.PathLike, bool)):
        return cache, ""
    directory = cache_directory(settings)
    if directory is None:
        return None, ""
    try:
        return _open_stores.get(directory, settings), ""
    except StoreTrouble as trouble:
        return None, str(trouble)
