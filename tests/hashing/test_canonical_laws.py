"""Laws of value digests: equal recipes agree wherever and in whatever order they are built, any change is seen.

A recipe is a plan for a value, made of lists and texts that JSON can carry. Run as a script, this file reads recipes line
by line, builds each and answers with its digest: the tests keep a few such processes with other hash seeds.
"""

import json
import math
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowlib.hashing.canonical import digest_value

ROOT = Path(__file__).parents[2]
SEEDS = ("0", "1", "random")

Recipe = list[Any]


class Thing:
    """An object with the attributes it is given."""

    def __init__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@attrs.define
class Pair:
    """Two fields."""

    left: Any
    right: Any


LEAVES = {
    "none": lambda text: None,
    "bool": lambda text: text == "True",
    "int": int,
    "float": float.fromhex,
    "str": str,
    "bytes": bytes.fromhex,
    "decimal": Decimal,
    "float64": lambda text: np.float64(float.fromhex(text)),
    "float32": lambda text: np.float32(float.fromhex(text)),
    "array": lambda text: np.array(list(map(ord, text)), "i4"),
}
SEQUENCES = {"list": list, "tuple": tuple}
SETS = {"set": set, "frozenset": frozenset}
MAPPINGS = {"dict": dict, "ordered": OrderedDict, "thing": lambda pairs: Thing(dict(pairs))}


def build(recipe: Recipe, *, backwards: bool = False) -> Any:
    """Build a value; `backwards` fills unordered containers from the other end."""
    kind, content = recipe
    if kind in LEAVES:
        return LEAVES[kind](content)
    if kind in SEQUENCES:
        return SEQUENCES[kind](build(item, backwards=backwards) for item in content)
    if kind == "pair":
        return Pair(*(build(item, backwards=backwards) for item in content))
    turned = content[::-1] if backwards and kind != "ordered" else content
    if kind in SETS:
        return SETS[kind](build(item, backwards=backwards) for item in turned)
    return MAPPINGS[kind]([(build(k), build(v, backwards=backwards)) for k, v in turned])


def meaning(recipe: Recipe) -> Any:
    """Say what a recipe's value is in plain comparable terms: the oracle that digests are compared with."""
    kind, content = recipe
    if kind in LEAVES:
        if kind.startswith("float"):
            number = float(LEAVES[kind](content))
            return ("float32" if kind == "float32" else "float"), "nan" if math.isnan(number) else number.hex()
        return kind, str(LEAVES[kind](content)) if kind != "array" else content
    if kind in SETS:
        return kind, tuple(sorted({meaning(item) for item in content}))
    if kind in MAPPINGS:
        pairs = [(meaning(k), meaning(v)) for k, v in content]
        return kind, tuple(pairs if kind == "ordered" else sorted(pairs))
    return kind, tuple(map(meaning, content))


# ------------------------------------------------------------------------------------------------ drawing recipes

NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 0.5, 1.0])).map(float.hex)
SCALARS = st.one_of(
    st.tuples(st.just("none"), st.just("")),
    st.tuples(st.just("bool"), st.sampled_from(["True", "False"])),
    st.tuples(st.just("int"), st.one_of(st.integers(-3, 3), st.integers()).map(str)),
    st.tuples(st.just("float"), NUMBERS.filter(lambda text: text != "nan")),
    st.tuples(st.just("str"), st.text(st.characters(codec=None), max_size=5)),
    st.tuples(st.just("bytes"), st.binary(max_size=5).map(bytes.hex)),
).map(list)
LEAF = SCALARS | st.one_of(
    st.tuples(st.sampled_from(["float64", "float32", "float"]), st.sampled_from(["nan", "0x0p0", "-0x0p0", "0x1p-1"])),
    st.tuples(st.just("decimal"), st.sampled_from(["1", "1.0", "-0", "NaN", "1E+5"])),
    st.tuples(st.just("array"), st.text("ab", max_size=4)),
).map(list)
LONG = st.one_of(*(
    st.lists(leaf.map(list), min_size=14, max_size=18) for leaf in (
        st.tuples(st.sampled_from(["float", "float64"]), NUMBERS),
        st.tuples(st.just("int"), st.integers(-(1 << 65), 1 << 65).map(str)),
        st.tuples(st.just("str"), st.text(max_size=2)),
    )
))  # fmt: skip
KEY = SCALARS | st.lists(SCALARS, max_size=2).map(lambda items: ["tuple", items])


def distinct_keys(pairs: list[list[Recipe]]) -> list[list[Recipe]]:
    """Keep one of the keys that Python takes for equal: `1`, `True` and `1.0` cannot share a dict."""
    return [list(pair) for pair in {build(pair[0]): pair for pair in pairs}.values()]


def containers(inner: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
    """Draw a container of what `inner` draws."""
    several = st.lists(inner, max_size=4)
    pairs = st.lists(st.tuples(KEY, inner).map(list), max_size=4).map(distinct_keys)
    names = st.lists(st.tuples(st.sampled_from("abcd").map(lambda n: ["str", n]), inner).map(list), max_size=3)
    members = st.lists(KEY, max_size=5).map(lambda items: [pair[0] for pair in distinct_keys([[i, i] for i in items])])
    return st.one_of(
        st.tuples(st.sampled_from(sorted(SEQUENCES)), several | LONG),
        st.tuples(st.sampled_from(sorted(SETS)), members),
        st.tuples(st.sampled_from(["dict", "ordered"]), pairs),
        st.tuples(st.just("thing"), names.map(distinct_keys)),
        st.tuples(st.just("pair"), st.lists(inner, min_size=2, max_size=2)),
    ).map(list)


RECIPES = st.recursive(LEAF, containers, max_leaves=15)
SMALL = st.recursive(
    st.sampled_from([["int", "1"], ["bool", "True"], ["float", "0x1p0"], ["str", "1"], ["bytes", "31"], ["none", ""]]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["list", "tuple"]), st.lists(inner, max_size=2)).map(list),
        st.tuples(st.just("pair"), st.lists(inner, min_size=2, max_size=2)).map(list),
    ),
    max_leaves=4,
)


def leaves(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the leaves of a recipe: the very lists, so that they can be changed in place. Names of attributes are none."""
    kind, content = recipe
    if kind in LEAVES:
        yield recipe
    elif kind in MAPPINGS:
        for key, value in content:
            yield from (*(leaves(key) if kind != "thing" else ()), *leaves(value))
    else:
        for item in content:
            yield from leaves(item)


def branches(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the containers of a recipe."""
    kind, content = recipe
    if kind in LEAVES:
        return
    yield recipe
    for item in content:
        for part in item if kind in MAPPINGS else [item]:
            yield from branches(part)


def unchanged_copy(recipe: Recipe) -> Recipe:
    """Copy a recipe, so that a change of the copy leaves it alone."""
    return json.loads(json.dumps(recipe))


# ------------------------------------------------------------------------------------------------ laws


@given(RECIPES)
def test_a_value_is_the_same_in_whatever_order_it_was_filled(recipe: Recipe) -> None:
    """Dicts, sets and attributes have no order."""
    assert digest_value(build(recipe)) == digest_value(build(recipe, backwards=True))


@given(RECIPES | SMALL, RECIPES | SMALL)
def test_digests_agree_exactly_where_meanings_do(first: Recipe, second: Recipe) -> None:
    """Neither a collision nor a needless miss."""
    assert (digest_value(build(first)) == digest_value(build(second))) is (meaning(first) == meaning(second))


@given(SMALL, SMALL)
def test_small_values_meet_only_themselves(first: Recipe, second: Recipe) -> None:
    """Small enough to meet often."""
    assert (digest_value(build(first)) == digest_value(build(second))) is (meaning(first) == meaning(second))


@given(RECIPES, st.data())
def test_one_changed_leaf_is_seen(recipe: Recipe, data: st.DataObject) -> None:
    """Anywhere: in a key, in a set, in an attribute, in a long list; another content or another type."""
    changed = unchanged_copy(recipe)
    places = list(leaves(changed))
    assume(places)
    data.draw(st.sampled_from(places))[:] = data.draw(LEAF)
    try:
        value = build(changed)
    except TypeError:  # an array became a key
        assume(False)
    assume(meaning(changed) != meaning(recipe))

    assert digest_value(value) != digest_value(build(recipe))


@given(RECIPES, st.data())
def test_one_changed_container_type_is_seen(recipe: Recipe, data: st.DataObject) -> None:
    """List to tuple, set to frozenset, dict to OrderedDict."""
    other = {
        "list": "tuple",
        "tuple": "list",
        "set": "frozenset",
        "frozenset": "set",
        "dict": "ordered",
        "ordered": "dict",
    }
    changed = unchanged_copy(recipe)
    places = [branch for branch in branches(changed) if branch[0] in other]
    assume(places)
    branch = data.draw(st.sampled_from(places))
    branch[0] = other[branch[0]]
    try:
        value = build(changed)
    except TypeError:  # a list became a key
        assume(False)

    assert digest_value(value) != digest_value(build(recipe))


@given(RECIPES, st.data())
def test_the_order_of_a_sequence_is_seen(recipe: Recipe, data: st.DataObject) -> None:
    """Two items that change places, unless they are equal."""
    changed = unchanged_copy(recipe)
    places = [
        branch for branch in branches(changed) if branch[0] in ("list", "tuple", "ordered") and len(branch[1]) > 1
    ]
    assume(places)
    content = data.draw(st.sampled_from(places))[1]
    i = data.draw(st.integers(0, len(content) - 2))
    content[i], content[i + 1] = content[i + 1], content[i]

    same = meaning(changed) == meaning(recipe)
    assert (digest_value(build(changed)) == digest_value(build(recipe))) is same


@given(RECIPES)
def test_sharing_parts_changes_nothing(recipe: Recipe) -> None:
    """The same object at two places is two equal objects."""
    value = build(recipe)

    assert digest_value([value, (value, value)]) == digest_value([build(recipe), (build(recipe), build(recipe))])


# ------------------------------------------------------------------------------------------------ other processes


class Elsewhere:
    """A process with another hash seed that answers recipes with digests."""

    def __init__(self, seed: str, folder: Path) -> None:
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def digest(self, recipe: Recipe) -> str:
        """Build a recipe there and return its digest."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(recipe) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Elsewhere]]:
    """One process for each hash seed, for all examples."""
    processes = [Elsewhere(seed, tmp_path_factory.mktemp(f"seed-{seed}")) for seed in SEEDS]
    yield processes
    for process in processes:
        process.close()


@settings(max_examples=60)
@given(recipe=RECIPES)
def test_every_process_gives_the_same_digest(recipe: Recipe, elsewhere: list[Elsewhere]) -> None:
    """Hash seed, folder, time zone, locale, the order of building, and being `__main__` leave no trace."""
    here = digest_value(build(recipe))

    assert [process.digest(recipe) for process in elsewhere] == [here] * len(SEEDS)


if __name__ == "__main__":
    for line in sys.stdin:
        print(digest_value(build(json.loads(line), backwards=True)), flush=True)
