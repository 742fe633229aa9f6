"""The algebra of spaces against a model of plain lists and dicts."""

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlib.sweep.naming import label_points
from flowlib.sweep.space import Space, axis, cases, grid, zipped

Row = dict[str, Any]
VALUES = st.sampled_from([0, 1, 2, 1.0, True, 0.5, -0.0, "a", None])
NAMES = st.sampled_from(["a", "b", "c"])


class FakeNode:
    __flowlib_node__ = True


@attrs.frozen(kw_only=True)
class Pair:
    """A space and the list of points it should have; the same space with axes opened, and their values."""

    space: Space
    model: list[Row]
    late: Space
    values: dict[str, list[Any]]


def identity(row: Row) -> Any:
    """Return what makes two rows one point."""
    return frozenset((name, type(value), value) for name, value in row.items())


def once(rows: list[Row]) -> list[Row]:
    """Return the rows without repetitions, the first of each."""
    kept: dict[Any, Row] = {}
    for row in rows:
        kept.setdefault(identity(row), row)
    return list(kept.values())


@st.composite
def leaves(draw: st.DrawFn, name: str) -> Pair:
    """Draw one axis, or explicit cases, or a zip, over the given parameter."""
    values = draw(st.lists(VALUES, min_size=1, max_size=3, unique_by=lambda v: (type(v), v)))
    model = [{name: value} for value in values]
    kind = draw(st.sampled_from(["axis", "cases", "zip", "node"]))
    if kind == "cases":
        space = cases(*model)
        return Pair(space=space, model=model, late=space, values={})
    if kind == "zip":
        space = zipped(**{name: values, name + "z": list(range(len(values)))})
        model = [{name: value, name + "z": i} for i, value in enumerate(values)]
        return Pair(space=space, model=model, late=space, values={})
    late = axis(**{name: FakeNode()}) if kind == "node" else grid(**{name: values})
    return Pair(space=grid(**{name: values}), model=model, late=late, values={name: values} if kind == "node" else {})


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Draw an expression of up to three parameters with its model."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    pair = draw(leaves(names[0]))
    for name in names[1:]:
        other = draw(leaves(name))
        pair = draw(st.sampled_from([multiplied, joined]))(pair, other)
        pair = draw(st.sampled_from([lambda p: p, filtered, derived, sliced]))(pair)
    return pair


def multiplied(left: Pair, right: Pair) -> Pair:
    """Multiply two pairs."""
    return Pair(
        space=left.space * right.space,
        model=[{**a, **b} for a in left.model for b in right.model],
        late=left.late * right.late,
        values=left.values | right.values,
    )


def joined(left: Pair, right: Pair) -> Pair:
    """Join two pairs."""
    return Pair(
        space=left.space | right.space,
        model=once(left.model + right.model),
        late=left.late | right.late,
        values=left.values | right.values,
    )


def keep(a: Any = None, b: Any = None) -> bool:
    """Tell whether a row stays; some values of `a` and `b` go."""
    return not (a == 0.5 or b == "a")


def filtered(pair: Pair) -> Pair:
    """Filter a pair, unless nothing would be left."""
    model = [row for row in pair.model if keep(row.get("a"), row.get("b"))]
    if not model:
        return pair
    return attrs.evolve(pair, space=pair.space.where(keep), late=pair.late.where(keep), model=model)


def label(**row: Any) -> str:
    """Return a text of the whole row."""
    return repr(sorted(row.items(), key=lambda item: item[0]))


def derived(pair: Pair) -> Pair:
    """Derive a parameter, once."""
    if "tag" in pair.space.names:
        return pair
    return attrs.evolve(
        pair,
        space=pair.space.derive(tag=label),
        late=pair.late.derive(tag=label),
        model=[
            {**row, "tag": label(**{k: (0.0 if v == 0 and type(v) is float else v) for k, v in row.items()})}
            for row in pair.model
        ],
    )


def sliced(pair: Pair) -> Pair:
    """Cut a pair."""
    return attrs.evolve(pair, space=pair.space[:5:2], late=pair.late[:5:2], model=pair.model[:5:2])


def rows(space: Space) -> list[Row]:
    """Return the points' parameters as dicts."""
    return [dict(point.params) for point in space]


def same(found: list[Row], expected: list[Row]) -> bool:
    """Tell whether two lists hold the same points in the same order."""
    return [identity(row) for row in found] == [identity(row) for row in expected]


@settings(max_examples=150)
@given(pairs())
def test_spaces_enumerate_what_plain_lists_would(pair: Pair):
    """Order, values and length are those of comprehensions over lists."""
    assert same(rows(pair.space), pair.model)
    assert len(pair.space) == len(pair.model)
    assert all(pair.space[i] == point for i, point in enumerate(pair.space))
    assert [point.index for point in pair.space] == list(range(len(pair.model)))


@settings(max_examples=100)
@given(pairs())
def test_late_axes_change_nothing(pair: Pair):
    """Resolving an expression equals building it from the values."""
    late = pair.late.resolve(pair.values) if pair.values else pair.late

    assert same(rows(late), pair.model)


@settings(max_examples=100)
@given(pairs())
def test_generated_labels_are_unique(pair: Pair):
    """One label per point, all different, none too long."""
    labels = label_points(pair.space)

    assert len(set(labels)) == len(labels) == len(pair.model)
    assert max(map(len, labels), default=0) <= 60


@settings(max_examples=60)
@given(pairs())
def test_axes_hold_the_values_that_occur(pair: Pair):
    """Distinct values by name, in order of appearance."""
    expected: dict[str, list[Any]] = {}
    for row in pair.model:
        for name, value in row.items():
            column = expected.setdefault(name, [])
            if not any(type(value) is type(known) and value == known for known in column):
                column.append(value)

    assert {name: list(column) for name, column in pair.space.axes.items()} == expected


@settings(max_examples=60)
@given(leaves("a"), leaves("a"), leaves("b"))
def test_union_and_product_obey_their_laws(p: Pair, q: Pair, r: Pair):
    """Union is idempotent and associative; the product is associative and distributes over a union on its left."""
    laws: list[Callable[[], tuple[Space, Space]]] = [
        lambda: (p.space | p.space, p.space),
        lambda: ((p.space | q.space) | r.space, p.space | (q.space | r.space)),
        lambda: ((p.space | q.space) * r.space, (p.space * r.space) | (q.space * r.space)),
        lambda: (p.space | q.space[:0], p.space),
    ]
    for law in laws:
        left, right = law()
        assert same(rows(left), rows(right))


@settings(max_examples=60)
@given(leaves("a"), st.slices(6), st.slices(4))
def test_slices_compose_as_those_of_lists(pair: Pair, first: slice, second: slice):
    """A slice of a slice is what it is for the list of points."""
    if (first.step or 1) < 1 or (second.step or 1) < 1:
        return
    space = pair.space | grid(a=["x", "y", "z"])

    assert same(rows(space[first][second]), rows(space)[first][second])
