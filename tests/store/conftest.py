"""A store in a fresh directory, entries to put in it, and an operating system that fails on purpose."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowlib.ids import Digest, Key, RunId
from flowlib.store.base import Entry, Payload
from flowlib.store.files import Files
from flowlib.store.local import LocalStore, StoreOptions, open_store

_OPERATIONS = [name for name, member in vars(Files).items() if callable(member) and not name.startswith("_")]


class FaultyFiles(Files):
    """Calls `before(number, operation, arguments)` in front of every file operation; what that raises, happens."""

    def __init__(self, before: Callable[[int, str, tuple[Any, ...]], None]) -> None:
        self.n_operations = 0
        self.before = before


def _faulty(name: str) -> Callable[..., Any]:
    real = getattr(Files, name)

    def operation(self: FaultyFiles, *args: Any) -> Any:
        self.n_operations += 1
        self.before(self.n_operations, name, args)
        return real(self, *args)

    return operation


for _name in _OPERATIONS:
    setattr(FaultyFiles, _name, _faulty(_name))


@pytest.fixture
def faulty_files() -> type[FaultyFiles]:
    """The class of file operations that can be made to fail."""
    return FaultyFiles


@pytest.fixture
def options() -> StoreOptions:
    """Options of a store whose key is known, and that waits for no disk."""
    return StoreOptions(secret=b"the user's key", fsync="off", flush_after_s=1e9)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the cache directory is, or will be."""
    return tmp_path / ".flowlib"


@pytest.fixture
def opened(root: Path, options: StoreOptions) -> Iterator[Callable[..., LocalStore]]:
    """Open the store of `root`, with changed options if any are given; closed after the test."""
    stores: list[LocalStore] = []

    def open_with(**changes: Any) -> LocalStore:
        stores.append(open_store(root, attrs.evolve(options, **changes)))
        return stores[-1]

    yield open_with
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., LocalStore]) -> LocalStore:
    """A new store."""
    return opened()


@pytest.fixture
def key_of() -> Callable[[object], Key]:
    """Make a key from anything with a short `repr`."""
    return lambda name: Key(hashlib.sha256(repr(name).encode()).hexdigest())


@pytest.fixture
def entry_of(key_of: Callable[[object], Key]) -> Callable[..., Entry]:
    """Make an entry for a payload; everything else can be given."""

    def make(name: object, payload: Payload, **fields: Any) -> Entry:
        known: dict[str, Any] = {
            "key": key_of(name),
            "task": "fit",
            "output": payload.content,
            "payload": payload,
            "parts": {"code": Digest("sha256-" + "0" * 64 + "-1"), "arg:x": Digest("sha256-" + "1" * 64 + "-2")},
            "previews": {"arg:x": repr(name)[:80]},
            "run": RunId("20260101-000000-00000000"),
            "created_at": 1000.0,
            "duration_s": 2.0,
        }
        return Entry(**{**known, **fields})

    return make
