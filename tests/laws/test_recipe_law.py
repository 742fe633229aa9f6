"""With recipes or without, every run gives the same value and leaves the same results in its cache.

Two caches go through the same random life: edited arguments and code, tasks that get something else from the world each
time, forced tasks, removed results, lost values, runs of one target, of several, or of every call, which are noted
together. One of them has no notes.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.ids import Key
from flowlib.planning import recognition
from flowlib.planning.recognition import Recognition
from flowlib.store import maintain
from flowlib.store.base import Entry
from flowlib.store.contents import entries_of
from flowlib.store.local import LocalStore, StoreOptions, open_store

pytestmark = pytest.mark.filterwarnings("ignore::flowlib.errors.FlowWarning")

WORLD = "THE_WORLD"


@fl.task
def fetch(*values: Any) -> int:
    """Depends on what no key knows."""
    return sum(map(number_of, values)) + int(os.environ[WORLD])


@fl.task
def add(*values: Any) -> int:
    return sum(map(number_of, values)) % 101


@fl.task
def coarse(*values: Any) -> int:
    return sum(map(number_of, values)) % 2


@fl.task
def spread(*values: Any) -> list[int]:
    return [sum(map(number_of, values)) % (n + 2) for n in range(3)]


@fl.task
def grow(*values: Any) -> Any:
    n = sum(map(number_of, values)) % 3
    return [add(n, i) for i in range(n)]


@fl.task(cache=False)
def never(*values: Any) -> int:
    return sum(map(number_of, values)) + int(os.environ[WORLD])


@fl.task(ttl=1e9)
def for_a_while(*values: Any) -> int:
    return sum(map(number_of, values))


def number_of(value: Any) -> int:
    """Return a number for whatever a task gives."""
    return sum(value) if isinstance(value, list) else int(value)


TASKS: list[Any] = [fetch, fetch, add, add, add, coarse, spread, grow]
RARE: list[Any] = [never, for_a_while]


class Life:
    """A program that is edited, and the two caches that it is run with."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        tasks = TASKS + RARE if self.rng.random() < 0.3 else TASKS
        n_nodes = self.rng.randint(3, 10)
        self.calls = [
            (
                self.rng.choice(tasks) if n else fetch,
                [self.rng.randrange(n) for _ in range(self.rng.randint(0, 2))] if n else [],
                self.rng.randint(0, 3),
            )
            for n in range(n_nodes)
        ]
        self.versions: dict[str, int] = {}
        self.stores = [
            open_store(folder / name, StoreOptions(secret=b"secret", fsync="off")) for name in ("with", "without")
        ]
        self.n_recognised = {False: 0, True: 0}
        """By whether every call was a target."""

    def build(self) -> list[Any]:
        nodes: list[Any] = []
        for task, above, number in self.calls:
            version = self.versions.get(task.name, 0)
            versioned = task.options(version=str(version)) if version else task
            nodes.append(versioned(*[nodes[n] for n in above], number))
        return nodes

    def step(self) -> None:
        """Do one random thing to both caches, then run something."""
        edits = [self.edit, self.edit_code, self.change_world, self.remove, self.lose]
        self.rng.choice([*edits, *[self.change_world] * 2, *[self.idle] * 7])()
        last = range(len(self.calls))[-3:]
        is_whole = self.rng.random() < 0.3
        wanted = range(len(self.calls)) if is_whole else self.rng.sample(last, self.rng.choice([1, 1, 1, 2, 3]))
        force = [self.rng.choice(["fetch", self.rng.choice(self.calls)[0].name])] if self.rng.random() < 0.2 else []
        values = []
        for store, has_recipes in zip(self.stores, (True, False), strict=True):
            nodes = self.build()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(recognition, "_TOGETHER_FROM", 2)
                patch.setattr(
                    Recognition, "entries", self.counted(is_whole) if has_recipes else lambda self, targets: None
                )
                values.append(
                    fl.run([nodes[n] for n in wanted], cache=store, progress=False, force=force, executor="inline")
                )
        assert values[0] == values[1]
        assert results_of(self.stores[0]) == results_of(self.stores[1])

    def counted(self, is_whole: bool) -> Any:
        """Return `Recognition.entries`, counting how often it finds all."""
        real = Recognition.entries

        def entries(recognition: Recognition, targets: Any) -> Any:
            found = real(recognition, targets)
            self.n_recognised[is_whole] += found is not None
            return found

        return entries

    def idle(self) -> None:
        """Nothing changes."""

    def edit(self) -> None:
        place = self.rng.randrange(len(self.calls))
        task, above, _ = self.calls[place]
        self.calls[place] = (task, above, self.rng.randint(0, 3))

    def edit_code(self) -> None:
        name = self.rng.choice(self.calls)[0].name
        self.versions[name] = self.rng.randint(0, 1)

    def change_world(self) -> None:
        os.environ[WORLD] = str(self.rng.randint(0, 9))

    def remove(self) -> None:
        name = self.rng.choice(self.calls)[0].name
        for store in self.stores:
            maintain.rm(store, task=name)

    def lose(self) -> None:
        """Make a value unloadable: the entry stays, as if its blob were gone."""
        keys = sorted(results_of(self.stores[0]))
        if keys:
            key = self.rng.choice(keys)
            for store in self.stores:
                entry = store.find([key])[key]
                assert entry.payload.content  # what is looked for and not found
                entry.payload.inline = None
                store.put(entry)
                store.flush()


def results_of(store: LocalStore) -> dict[Key, str]:
    """Return the outputs of everything that is kept."""
    store.flush()
    return {entry.key: entry.output for _, entry in entries_of(store) if isinstance(entry, Entry)}


@given(seed=st.integers(0, 10**9))
@settings(max_examples=8, deadline=None)
def test_a_cache_with_recipes_lives_like_one_without(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """After every step of the same life."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WORLD, "1")
        life = Life(seed, tmp_path_factory.mktemp("caches"))
        for _ in range(15):
            life.step()
        for store in life.stores:
            store.close()


def _live(folder: Path, seeds: range) -> dict[bool, int]:
    n_recognised = {False: 0, True: 0}
    for seed in seeds:
        life = Life(seed, folder / str(seed))
        for _ in range(15):
            life.step()
        for store in life.stores:
            store.close()
        for is_whole, n in life.n_recognised.items():
            n_recognised[is_whole] += n
    return n_recognised


@pytest.fixture
def first_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world as it is before a test."""
    monkeypatch.setenv(WORLD, "1")


@pytest.mark.usefixtures("first_world")
def test_many_of_these_runs_are_recognised(tmp_path: Path) -> None:
    """Otherwise the law would say little."""
    n_recognised = _live(tmp_path, range(12))
    assert n_recognised[False] > 5
    assert n_recognised[True] > 5


@pytest.mark.usefixtures("first_world")
@pytest.mark.parametrize("broken", ["forced before", "removed", "forced now"])
def test_the_law_catches_a_recipe_that_outlives_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Each of the rules is needed: without it, some life goes wrong."""
    if broken == "forced before":
        monkeypatch.setattr(Recognition, "set_aside", lambda self: None)
    elif broken == "removed":
        monkeypatch.setattr(LocalStore, "_noted", lambda self: [])
    else:
        real = recognition.Recipes
        monkeypatch.setattr(recognition, "Recipes", lambda graph, keys, force: real(graph, keys, ()))
    with pytest.raises(AssertionError):
        _live(tmp_path, range(60))
