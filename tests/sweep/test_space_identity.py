"""Identity of points: canonical values, what is distinct, what is the same, and nodes as values."""

import enum
import math
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from flowlib.sweep.space import cases, grid
from flowlib.sweep.value import canonical, is_node


class FakeNode:
    """Behaves as badly as a node: any use but identity raises."""

    __flowlib_node__ = True
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a node was compared")

    def __bool__(self) -> bool:
        raise AssertionError("a node was used as a bool")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"attribute {name} of a node was touched")

    def __repr__(self) -> str:
        return "<node>"


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.str_("svm"), "svm"),
        (-0.0, 0.0),
        (np.float64(-0.0), 0.0),
        (7, 7),
        (None, None),
    ],
)
def test_scalars_have_one_python_form(given: object, expected: object):
    """Numpy scalars and negative zero become what a literal list would hold."""
    found = canonical(given)

    assert type(found) is type(expected)
    assert found == expected
    assert math.copysign(1, found) == 1 if isinstance(found, float) else True


def test_values_that_are_no_plain_numbers_stay_as_they_are():
    """Dates, long doubles, arrays and enums are not converted."""
    for value in (np.datetime64("2020-01-01", "ns"), np.longdouble(1), np.arange(3), Color.RED, Decimal(1), (1, 2)):
        assert canonical(value) is value


def test_tasks_receive_the_canonical_values():
    """The parameters of a point hold Python scalars, so they meet literals in the cache."""
    space = grid(lr=np.array([0.1, -0.0]), n=[np.int64(4)])

    assert [dict(p.params) for p in space] == [{"lr": 0.1, "n": 4}, {"lr": 0.0, "n": 4}]
    assert type(space[0].params["n"]) is int


def test_one_one_point_zero_and_true_are_three_points():
    """Equal numbers of different types are different parameters."""
    assert len(grid(x=[1, 1.0, True, 1, "1"])) == 4
    assert len(grid(x=[1]) | grid(x=[1.0]) | grid(x=[True])) == 3


def test_numpy_values_and_literals_are_one_point():
    """A union of a computed and a literal list drops the repetition."""
    assert len(grid(x=np.array([0.1, 0.5])) | grid(x=[0.1, 0.5, 0.9])) == 3


def test_not_a_number_is_one_value():
    """All NaN are the same parameter."""
    assert len(grid(x=[math.nan, float("nan"), np.float64("nan")])) == 1
    assert len(grid(x=[math.nan]) | grid(x=[-float("nan")])) == 1


def test_large_values_are_compared_by_content():
    """Equal lists and arrays are one point, different ones two."""
    assert len(grid(x=[[1, 2], [1, 2], [2, 1]])) == 2
    assert len(grid(x=[np.arange(3), np.arange(3), np.arange(4)])) == 2
    assert len(grid(x=[{"a": 1, "b": 2}, {"b": 2, "a": 1}])) == 1
    assert len(grid(x=[Color.RED, Color.BLUE, Color.RED])) == 2


def test_values_without_a_digest_are_only_the_same_as_themselves():
    """An object that cannot be identified is never dropped by mistake."""
    thing, other = object(), object()

    assert len(grid(x=[thing, other, thing])) == 2
    assert len(grid(x=[1, 2]).derive(y=lambda: object()) | grid(x=[1]).derive(y=lambda: object())) == 3


def test_functions_as_values_are_told_apart():
    """Two lambdas are two values."""
    assert len(grid(f=[lambda x: x, lambda x: x + 1])) == 2


def test_points_are_equal_by_parameters_alone():
    """Name, index and order of parameters do not count."""
    left = cases(base={"a": 1, "b": 2.0})[0]
    right = grid(b=[0.5, 2.0], a=[1])[1]

    assert left == right
    assert hash(left) == hash(right)
    assert left != grid(a=[1], b=[2])[0]
    assert pickle.loads(pickle.dumps(left)) == right


def test_nodes_as_values_are_never_compared_or_touched():
    """A parameter may be a node: it is passed on, and identified by being itself."""
    first, second = FakeNode(), FakeNode()
    space = (grid(data=[first, second, first], lr=[1, 2]) | grid(data=[second], lr=[3])) * cases(a={"m": first})
    kept = space.where(lambda lr: lr != 2).derive(double=lambda lr: 2 * lr)

    assert len(grid(data=[first, second, first])) == 2
    assert len(kept) == 3
    assert kept[0].params["data"] is first
    assert kept[0] == kept[0]
    assert kept[0] != kept[1]
    assert repr(space)
    assert space.is_static
    assert is_node(first)
    assert not is_node(FakeNode)
