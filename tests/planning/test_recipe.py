"""Recipes: as good at telling things apart as keys, made without knowing any result."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowlib as fl
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.hashing.identity import Identity
from flowlib.ids import NodeId
from flowlib.planning import key as key_module
from flowlib.planning.key import KeyMaker
from flowlib.planning.recipe import Recipes


@attrs.frozen
class Config:
    """Settings that may hold a node."""

    data: Any
    lr: float = 0.1


@fl.task
def load(*values: Any) -> list[int]:
    return [1, 2]


@fl.task
def fit(data: Any, lr: Any = 0.1) -> float:
    return 0.5


@fl.task
def fit_otherwise(data: Any, lr: Any = 0.1) -> float:
    return 0.25


@fl.task(ignore=["verbose"])
def quiet(x: Any, verbose: Any = False) -> int:
    return 1


@fl.task(env=["MODE"])
def moody(data: Any) -> int:
    return 1


def square(x: int) -> int:
    return x * x


def recipe_of(
    target: Any, *, force: Collection[str] = (), environ: dict[str, str] | None = None, keys: KeyMaker | None = None
) -> str | None:
    """Return the recipe of a target's last node; None when it has none."""
    graph = Graph(targets_of(target))
    last = NodeId(len(graph) - 1)
    maker = KeyMaker(Identity(), environ or {}) if keys is None else keys
    return Recipes(graph, maker, force).of([last]).get(last)


DIFFERENT: list[Callable[[], Any]] = [
    lambda: fit(load(1)),
    lambda: fit(load(True)),
    lambda: fit(load(1.0)),
    lambda: fit(load("1")),
    lambda: fit(load(b"1")),
    lambda: fit(load(None)),
    lambda: fit(load(0.0)),
    lambda: fit(load(-0.0)),
    lambda: fit(load(2**40)),
    lambda: fit(load(1, 1)),
    lambda: fit(load((1,))),
    lambda: fit(load([1])),
    lambda: fit(load({1})),
    lambda: fit(load({1: 1})),
    lambda: fit(load(bytearray(b"1"))),
    lambda: fit(load(np.array([1]))),
    lambda: fit(load(np.array([1.0]))),
    lambda: fit(load(range(1))),
    lambda: fit(load(1j)),
    lambda: fit(load("x" * 500)),
    lambda: fit(load(1), lr=0.2),
    lambda: fit(load(1), lr=1),
    lambda: fit(load(1), lr=True),
    lambda: fit(load(1), lr=load(1)),
    lambda: fit(load(1), lr=load(2)),
    lambda: fit([load(1)]),
    lambda: fit((load(1),)),
    lambda: fit([load(1), load(2)]),
    lambda: fit([load(2), load(1)]),
    lambda: fit([load(1), 2]),
    lambda: fit([load(1), 2.0]),
    lambda: fit(load(load(1), 2)),
    lambda: fit(load(2, load(1))),
    lambda: fit(load(load(1), 2.0)),
    lambda: fit(load((load(1), 2))),
    lambda: fit({"a": load(1)}),
    lambda: fit({"b": load(1)}),
    lambda: fit({"a": load(1), "b": 1}),
    lambda: fit(fit(load(1))),
    lambda: fit(fit(fit(load(1)))),
    lambda: fit_otherwise(load(1)),
    lambda: fit(fit_otherwise(load(1))),
    lambda: fit.options(version="2")(load(1)),
    lambda: fit(load.options(version="2")(1)),
    lambda: fit(load(1)[0]),
    lambda: fit(load(1)[1]),
    lambda: fit(load(1)[0:1]),
    lambda: fl.fan_in(fl.fan_out(square, over=fl.grid(x=[1, 2])), fl.best(max="value")),
    lambda: fl.fan_in(fl.fan_out(square, over=fl.grid(x=[1, 3])), fl.best(max="value")),
    lambda: fl.fan_in(fl.fan_out(square, over=fl.grid(x=[1, 2])), fl.best(min="value")),
    lambda: fl.fan_in(fl.fan_out(square, over=fl.grid(x=[1, 2]), name="{x}!"), fl.best(max="value")),
]


def test_what_differs_has_different_recipes_and_what_is_equal_the_same() -> None:
    """Made twice, in graphs of their own, with nothing shared but the functions."""
    first = [recipe_of(make()) for make in DIFFERENT]
    second = [recipe_of(make()) for make in DIFFERENT]

    assert None not in first
    assert first == second
    assert len(set(first)) == len(DIFFERENT)


def test_what_does_not_lie_above_counts_for_nothing() -> None:
    """A target has the same recipe alone and beside others."""
    beside = Graph(targets_of([fit(load(7)), fit(load(1)), load(9)]))
    found = Recipes(beside, KeyMaker(Identity(), {}), ()).of(NodeId(n) for n in range(len(beside)))
    assert recipe_of(fit(load(1))) in found.values()


def test_the_environment_counts_where_a_task_says_so() -> None:
    """For the node itself and for what is above it."""
    recipes = [
        recipe_of(make(), environ=environ)
        for make in (lambda: moody(load(1)), lambda: fit(moody(load(1))))
        for environ in ({}, {"MODE": "a"}, {"MODE": "b"})
    ]
    assert len(set(recipes)) == 6
    assert recipe_of(fit(load(1))) == recipe_of(fit(load(1)), environ={"MODE": "a"})


def test_a_label_and_a_place_count_for_nothing() -> None:
    """They are for people."""
    assert recipe_of(fit(load(1))) == recipe_of(fit(
        load(1)
    ))  # fmt: skip


def test_an_ignored_argument_counts_for_nothing() -> None:
    """Whatever it is: it may have no digest. But a node in it would have to be decided, so then there is no recipe."""
    assert recipe_of(quiet(load(1), object())) == recipe_of(quiet(load(1), verbose=True)) is not None
    assert recipe_of(quiet(load(1), load(2))) is None
    assert recipe_of(quiet(load(1), [load(2)])) is None


@fl.task(cache=False)
def never(x: Any = 0) -> int:
    return 1


@fl.task(ttl=10)
def for_a_while(x: Any = 0) -> int:
    return 1


@fl.task(same=lambda new, old: True)
def about_the_same(x: Any = 0) -> int:
    return 1


class Odd:
    """Has no digest, or raises when asked for one."""

    def __flowlib_digest__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("make", [never, for_a_while, about_the_same, lambda: load(object()), lambda: load(Odd())])
def test_there_is_no_recipe_below_what_may_be_otherwise_another_time(make: Callable[[], Any]) -> None:
    """At any distance, whatever else there is."""
    assert recipe_of(make()) is None
    assert recipe_of(fit(make())) is None
    assert recipe_of(fit([load(1), fit(make())])) is None


def test_a_forced_task_has_no_recipe() -> None:
    """Nor has what is below it."""
    assert recipe_of(fit(load(1)), force=["fit"]) is None
    assert recipe_of(fit(load(1)), force=["load"]) is None
    assert recipe_of(fit(load(1)), force=["other"]) is not None


def test_a_file_counts_by_content(tmp_path: Path) -> None:
    """A missing one leaves no recipe; one inside a container with nodes is not followed."""
    path = tmp_path / "data.txt"
    assert recipe_of(fit(load(fl.File(path)))) is None
    recipes = []
    for text in ("one", "two"):
        path.write_text(text)
        recipes.append(recipe_of(fit(load(fl.File(path)))))
    assert len({*recipes, None}) == 3
    assert recipe_of(fit([load(1), fl.File(path)])) is None
    assert recipe_of(fit(Config(load(1)))) is None


def test_a_run_is_not_steady_when_an_argument_has_two_digests(tmp_path: Path) -> None:
    """The recipe is made first; the key must be made of the same content."""
    path = tmp_path / "data.txt"
    path.write_text("one")
    node: Any = load(fl.File(path), [1, 2])
    keys = KeyMaker(Identity(), {})
    assert recipe_of(node, keys=keys) is not None
    keys.key_of(node, lambda _: None)
    assert keys.is_steady

    path.write_text("something else")
    keys.key_of(node, lambda _: None)
    assert not keys.is_steady


def test_only_so_many_arguments_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no recipe; one object that many calls share counts once."""
    monkeypatch.setattr(key_module, "_MOST_WATCHED", 3)
    shared = [1, 2]
    assert recipe_of(fit([fit(shared) for _ in range(9)])) is not None
    assert recipe_of(fit([fit([number]) for number in range(9)])) is None


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.tuples(st.integers()),
)


@given(SCALARS, SCALARS)
def test_recipes_tell_apart_what_keys_tell_apart(one: Any, other: Any) -> None:
    """For a call that needs no other, both say the same about two arguments."""
    keys = KeyMaker(Identity(), {})
    same_key = keys.key_of(load(one), lambda _: None).key == keys.key_of(load(other), lambda _: None).key
    assert (recipe_of(load(one)) == recipe_of(load(other))) == same_key


def test_the_recipe_of_several_nodes_is_that_of_them_all() -> None:
    """In any order; not of fewer, not of one of them; none if one of them has none."""
    graph = Graph(targets_of([load(1), load(2), fit(load(3))]))
    recipes = Recipes(graph, KeyMaker(Identity(), {}), ())
    groups = [[NodeId(number) for number in numbers] for numbers in ([0, 1], [0], [0, 1, 3], [])]
    found = [recipes.together(group)[0] for group in groups]
    assert len({*found, *recipes.of(graph.ids).values()}) == len(groups) + len(graph)
    assert recipes.together(groups[0]) == recipes.together(groups[0][::-1])
    assert Recipes(graph, KeyMaker(Identity(), {}), ("fit",)).together(graph.ids) == ("", [])
