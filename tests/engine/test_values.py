"""Which values stay in memory until their consumers come, and what becomes of the others."""

import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.testing import EventLog

np = pytest.importorskip("numpy")
N_BYTES = 256 * 1024
N = 10


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowlib.engine.values.ARRAYS_BYTES", 4 * N_BYTES)


class Arrays:
    """A task that makes arrays, and those of them that are in memory."""

    def __init__(self) -> None:
        self.made: list[Any] = []

        @fl.task(name="make")
        def make(number: int) -> Any:
            array = np.full(N_BYTES // 8, float(number))
            self.made.append(weakref.ref(array))
            return array

        self.nodes = [make(number) for number in range(N)]

    def in_memory(self) -> int:
        return sum(ref() is not None for ref in self.made)


def test_of_many_stored_arrays_only_some_stay_in_memory(tmp_path: Path) -> None:
    """The others are private maps of their files for whoever needs them."""
    arrays = Arrays()
    n_in_memory = []

    @fl.task
    def total(values: list[Any]) -> float:
        n_in_memory.append(arrays.in_memory())
        for value in values:
            value += 1  # its own, wherever it comes from
        return float(sum(value.sum() for value in values))

    found = fl.run(total(arrays.nodes), cache=tmp_path, executor="inline", progress=False)

    assert found == N_BYTES // 8 * sum(range(1, N + 1))
    assert n_in_memory == [4]


@pytest.mark.parametrize("how", ["not stored", "small", "targets"])
def test_what_cannot_be_mapped_or_is_wanted_anyway_stays(tmp_path: Path, how: str) -> None:
    """Without a cache there is no file; a small array is no burden; the user gets the very object."""
    arrays = Arrays()

    @fl.task
    def total(values: list[Any]) -> float:
        assert arrays.in_memory() == N
        return float(sum(value.sum() for value in values))

    target: Any = total(arrays.nodes)
    if how == "small":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flowlib.engine.values.MAP_FROM_BYTES", N_BYTES + 1)
            fl.run(target, cache=tmp_path, executor="inline", progress=False)
    elif how == "targets":
        fl.run([target, arrays.nodes], cache=tmp_path, executor="inline", progress=False)
    else:
        fl.run(target, cache=False, executor="inline", progress=False)


def test_an_array_whose_file_is_lost_is_made_again(tmp_path: Path) -> None:
    """Somebody empties the cache between the task that made it and the one that needs it."""
    arrays = Arrays()

    @fl.task(cache=False)
    def vandal(values: list[Any]) -> float:
        shutil.rmtree(tmp_path / "blobs")
        return float(sum(value[0] for value in values))

    @fl.task
    def total(values: list[Any], first: float) -> float:
        return float(sum(value[-1] for value in values)) + first

    log = EventLog()
    target = total(arrays.nodes, vandal(arrays.nodes))
    assert fl.run(target, cache=tmp_path, executor="inline", progress=False, observers=[log]) == 2 * sum(range(N))
    assert N + N - 4 <= log.ran.count("make") <= N + N
