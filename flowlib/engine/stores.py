"""Find and open the store of a run; one open store per directory and process, and a bounded number of them.

Trouble with the directory never fails a run: it goes on without a cache and says so once.
"""

import gc
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import attrs

from flowlib.config import Settings, cache_directory, state_directory
from flowlib.store.base import Store
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.store.memory import MemoryStore

MOST_OPEN = 8
"""Directories kept open although nobody uses them: each holds a connection and sixteen lock files open."""


class Use:
    """Keeps a store open for as long as somebody refers to it."""

    __slots__ = ("__weakref__",)


@attrs.define(eq=False)
class _Open:
    store: LocalStore
    directory: tuple[int, int]
    """What tells the directory from another one that was made in its place."""
    use: "weakref.ref[Use]"
    """The use that all users share; dead when there is none."""


class OpenStores:
    """The stores this process has open. Leases and connections belong to a process, so a directory is opened once.

    Rules: a store is closed only when no run refers to its `Use`, so no descriptor is closed whose locks are in use (other
    stores of the same directory share the table of locks, which outlives this one's). What came through a fork is kept,
    because closing it would harm the parent.
    """

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str], _Open] = {}  # the least recently used first
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._inherited: list[Any] = []
        self._collect_from = 2 * MOST_OPEN

    def get(self, directory: Path, settings: Settings) -> tuple[LocalStore, Use]:
        """Return the open store of a directory, opening it if needed, and what keeps it open.

        Raises:
            StoreTrouble: The directory cannot be used.
        """
        if os.getpid() != self._pid:  # another thread may have held the lock when this process was forked
            self._inherited.append(self._stores)
            self._stores, self._lock, self._pid = {}, threading.Lock(), os.getpid()
        name = (str(directory), settings.cache_key)
        with self._lock:
            found = self._stores.pop(name, None)
            if found is None or found.directory != _identity(directory):
                store = open_store(directory, store_options(settings))
                found = _Open(store, _identity(directory), weakref.ref(Use()))
            use = found.use() or Use()
            found.use = weakref.ref(use)
            self._stores[name] = found
        if len(self._stores) > MOST_OPEN:
            self._close_surplus()
        return found.store, use

    def _close_surplus(self) -> None:
        self._close_unused()
        if len(self._stores) >= self._collect_from:  # runs that are over may wait for the garbage collector
            gc.collect()
            self._close_unused()
            self._collect_from = 2 * max(MOST_OPEN, len(self._stores))

    def _close_unused(self) -> None:
        with self._lock:
            for name in [name for name, found in self._stores.items() if found.use() is None]:
                if len(self._stores) > MOST_OPEN:
                    self._stores.pop(name).store.close()


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
) -> tuple[Store | None, str, Use | None]:
    """Return the store of a run; if it has to do without one, why; and what keeps the store open while it is referred to.

    Args:
        cache: The argument of `run`: a path, a store, False, or None for the settings' choice.
        settings: The settings in force.
        looking: Whether nothing will be stored, so that a directory that is not there is not made.
    """
    if cache is not None and not isinstance(cache, (str, os.PathLike, bool)):
        return cache, "", None
    directory = cache_directory(settings)
    if directory is None:
        return None, "", None
    if looking and not os.path.lexists(directory):
        return MemoryStore(), "", None
    try:
        store, use = _open_stores.get(directory, settings)
    except (OSError, ValueError) as trouble:  # `StoreTrouble` is one; others come from a path that cannot be looked at
        return None, str(trouble), None
    return store, "", use
