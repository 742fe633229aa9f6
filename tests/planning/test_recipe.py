"""Recipes: a call named by how its inputs are made; none where that says too little."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

import flowlib as fl
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Digest, Key
from flowlib.planning.key import KeyMaker
from tests.planning.test_key import FixedCode

OTHER_CODE = Digest("sha256-" + "beef" * 16 + "-100")


@fl.task
def load(n: Any) -> list[int]:
    return [n]


@fl.task
def fit(data: Any, lr: float = 0.1) -> float:
    return lr


@fl.task(ignore=["log"])
def quiet(x: Any, log: Any = None) -> Any:
    return x


@fl.task
def annotated(x: Any, log: Annotated[Any, fl.Ignore] = None) -> Any:
    return x


def recipe(target: Any, maker: KeyMaker | None = None) -> Key | None:
    """Return the recipe of a target: those of all nodes below it first."""
    maker = maker or KeyMaker(FixedCode(), {"MODE": "fast"})
    known: dict[Node, Key | None] = {}
    for node in Graph([target]).nodes:
        known[node] = maker.recipe_of(node, known.__getitem__)
    return known[target]


def test_recipes_are_pinned() -> None:
    """A change here makes every graph unrecognised once: it needs a new scheme in `planning/shared.py`."""
    assert recipe(fit(load(3))) == "c24eac28666ff795225fe4d7a4a6bfab336c112c43c5f487e1dd9bfd7bfcdf23"


def test_a_recipe_is_not_a_key() -> None:
    """A call without inputs has both, and they differ."""
    maker = KeyMaker(FixedCode(), {})
    node: Any = load(3)
    assert maker.recipe_of(node, lambda dep: None) != maker.key_of(node, lambda dep: None).key


def test_equal_programs_have_equal_recipes() -> None:
    """Nothing of the process or the place enters."""
    assert recipe(fit({"a": [load(3), 1]})) == recipe(fit(data={"a": [load(n=3), 1]}, lr=0.1)) is not None


@pytest.mark.parametrize(
    "other",
    [
        lambda: fit(load(4)),
        lambda: fit(load(True)),
        lambda: fit(load(3), lr=0.2),
        lambda: fit([load(3)]),
        lambda: fit(fit(load(3))),
        lambda: fit(load.options(version="2")(3)),
        lambda: fit(load.options(name="other")(3)),
        lambda: fit(load.options(env=["MODE"])(3)),
        lambda: fit.options(env=["MODE"])(load(3)),
        lambda: fit(load(3)[0]),
        lambda: fit("sha256-" + "abcd" * 16 + "-7"),
    ],
)
def test_whatever_is_anywhere_below_counts(other: Callable[[], Any]) -> None:
    """Unlike a key, a recipe changes with the way an input is made."""
    assert recipe(other()) not in (recipe(fit(load(3))), None)


def test_the_code_below_counts() -> None:
    """A changed helper of any task below is seen without running anything."""
    assert recipe(fit(load(3)), KeyMaker(FixedCode(OTHER_CODE), {})) != recipe(fit(load(3)))


def test_declared_variables_count_by_value() -> None:
    """As in keys."""
    target = fit(load.options(env=["MODE"])(3))
    assert recipe(target) != recipe(target, KeyMaker(FixedCode(), {"MODE": "exact"})) is not None


def test_files_count_by_content(tmp_path: Path) -> None:
    """Written anew with the same content, the graph is recognised; with another, it is not."""
    path = tmp_path / "data.csv"
    path.write_text("1")
    before = recipe(fit(load(fl.File(path))))
    path.write_text("2")
    changed = recipe(fit(load(fl.File(path))))
    path.write_text("1")
    assert before == recipe(fit(load(fl.File(path)))) != changed
    path.unlink()
    assert recipe(fit(load(fl.File(path)))) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: fit(load.options(cache=False)(3)),
        lambda: fit(fit([load.options(cache=False)(3)])),
        lambda: fit(load.options(ttl=60)(3)),
        lambda: fit.options(ttl=60)(load(3)),
        lambda: fit(load(threading.Lock())),
        lambda: quiet(1, log=load.options(cache=False)(3)),
        lambda: annotated(1, log=[load.options(ttl=60)(3)]),
    ],
)
def test_what_may_not_be_skipped_has_no_recipe_and_gives_none(make: Callable[[], Any]) -> None:
    """A task that always runs, a result that grows old, an argument without digest: on top of them, neither."""
    assert recipe(make()) is None


def test_ignored_values_do_not_count_but_ignored_nodes_do() -> None:
    """What an ignored argument says makes no difference; that it is a node to be run does."""
    assert recipe(quiet(1, log="a")) == recipe(quiet(1, log=threading.Lock())) is not None
    assert recipe(quiet(1, log=load(1))) != recipe(quiet(1, log=load(2)))


def test_sweeps_have_recipes() -> None:
    """A reduction over a fan-out counts its points and what it does with them."""

    def best(values: list[float], rule: Any) -> Key | None:
        return recipe(fl.fan_in(fl.fan_out(fit, load(1), over=fl.grid(lr=values)), rule))

    one = best([0.1, 0.2], fl.best(max="value"))
    assert one is not None
    assert one == best([0.1, 0.2], fl.best(max="value"))
    assert len({one, best([0.1, 0.3], fl.best(max="value")), best([0.1, 0.2], fl.best(min="value"))}) == 3
