"""The round-trip law, and what pickles may not hold."""

import io
import itertools
from typing import Any

import attrs
import numpy as np
import pytest

from flowlib.hashing.identity import digest
from flowlib.store.base import BlobLost, NotKept
from flowlib.store.codec import round_trips
from flowlib.store.local import LocalStore


@attrs.define
class Fit:
    """A user's result."""

    weights: Any
    name: str = "m"


class Forgetful:
    """Loses state when pickled."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __getstate__(self) -> dict[str, int]:
        return {"n": 0}


VALUES = [
    1, "a\r\n", b"x" * 9000, {"a": [1.5, float("nan")]}, np.arange(5.0), np.arange(10_000).reshape(100, 100).T,
    Fit(np.ones(2000)), {"m": Fit(np.arange(3), "x")}, {1, 2, 3}, (None, True, -0.0),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_comes_back_has_the_same_digest(store: LocalStore, value: Any) -> None:
    """The law that makes a stored value a value."""
    assert round_trips(value, store.encode(value), store.load, digest)


def test_a_value_that_loses_state_is_found_out(store: LocalStore) -> None:
    """So that the worker does not keep it."""
    value = Forgetful(5)

    assert not round_trips(value, store.encode(value), store.load, lambda found: digest(found.n))


def raise_on_load() -> Any:
    """Fail."""
    raise RuntimeError("no such thing any more")


class Gone:
    """Cannot be loaded again."""

    def __reduce__(self) -> Any:
        return raise_on_load, ()


def test_a_value_that_cannot_be_loaded_counts_as_lost(store: LocalStore) -> None:
    """A class that is gone is a reason to compute again, not an error of the run."""
    payload = store.encode(Gone())

    with pytest.raises(BlobLost, match="no such thing any more"):
        store.load(payload)


ONCE = [iter([1]), iter({1: 2}), zip([1], [2], strict=True), map(str, [1]), filter(None, [1]), enumerate([1]),
        itertools.count(), itertools.chain([1]), reversed([1]), iter("ab"), (i for i in [1])]  # fmt: skip


@pytest.mark.parametrize("value", ONCE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("hidden", [False, True])
def test_what_can_be_read_only_once_is_refused(store: LocalStore, value: Any, hidden: bool) -> None:
    """Also inside an object, and also where another part needs cloudpickle."""
    with pytest.raises(NotKept):
        store.encode(Fit([value, lambda: 1] if hidden else value))


def test_an_open_file_is_never_snapshotted(store: LocalStore) -> None:
    """The last codec would copy what is left to read."""
    with open(__file__) as file, pytest.raises(NotKept, match="TextIOWrapper"):
        store.encode({"f": file, "g": lambda: 1})
    buffer = io.BytesIO(b"abc")
    buffer.read(1)
    loaded: Any = store.load(store.encode(buffer))
    assert (loaded.getvalue(), loaded.tell()) == (b"abc", 1)


class Raising:
    """Fails in a way of its own."""

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("while pickling")


def test_any_failure_while_pickling_is_a_reason(store: LocalStore) -> None:
    """User code runs there; whatever it raises is told with the place."""
    with pytest.raises(NotKept, match=r"Raising .*\['a'\].weights.*ZeroDivisionError: while pickling"):
        store.encode({"a": Fit(Raising())})


def test_endless_nesting_is_a_reason(store: LocalStore) -> None:
    """No recursion error reaches a run."""
    deep: Any = Fit(None)
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(NotKept):
        store.encode(deep)
    while type(deep) is list:
        deep = deep.pop()
