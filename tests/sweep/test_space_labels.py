"""Labels: short, unambiguous, unique, never identity."""

import enum
import pathlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import SpaceError
from flowlib.hashing.file import Dir, File
from flowlib.sweep.distributions import choice, uniform
from flowlib.sweep.naming import LABEL_WIDTH, _by_column, _from_template, _generated, label_points
from flowlib.sweep.point import Points
from flowlib.sweep.space import Space, cases, grid, sample, seeds


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def square(x: float) -> float:
    """Return the square."""
    return x * x


def test_only_axes_that_vary_are_shown():
    """Constants and derived parameters would repeat on every label."""
    space = grid(lr=[0.1, 1e-05], depth=[4, 8], model=["svm"]).derive(tag=lambda lr: f"t{lr}")

    assert label_points(space) == ["lr=0.1,depth=4", "lr=0.1,depth=8", "lr=1e-05,depth=4", "lr=1e-05,depth=8"]


def test_a_single_point_shows_all_its_parameters():
    """Where nothing varies, something must still be shown."""
    assert label_points(grid(lr=[0.1], depth=[4])) == ["lr=0.1,depth=4"]
    assert label_points(cases({})) == ["defaults"]


def test_parameters_that_some_points_do_not_set_are_shown_where_they_are_set():
    """A conditional parameter varies by being there."""
    assert label_points(grid(m=["svm"], C=[1.0]) | grid(m=["tree"], depth=[3])) == ["m=svm,C=1", "m=tree,depth=3"]


def test_values_that_look_alike_are_shown_in_full():
    """The short form is used only where it tells the values of its axis apart."""
    assert label_points(grid(x=[1, 1.0, "1", True])) == ["x=1", "x=1.0", "x='1'", "x=True"]
    assert label_points(grid(x=[0.1234567, 0.1234568, 0.5])) == ["x=0.1234567", "x=0.1234568", "x=0.5"]


def test_files_are_shown_by_name_and_by_path_where_names_are_equal():
    """The list of failed points of a sweep over files says which files."""
    for name in ("a/one.csv", "b/one.csv", "a/two.csv"):
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        pathlib.Path(name).write_text(name)

    assert label_points(grid(x=[File("a/one.csv"), File("a/two.csv"), Dir("b")])) == ["x=one.csv", "x=two.csv", "x=b"]
    assert label_points(grid(x=[File("a/one.csv"), File("b/one.csv")])) == ["x=a/one.csv", "x=b/one.csv"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Color.RED, Color.BLUE], ["x=RED", "x=BLUE"]),
        ([(64, 64), (128,)], ["x=(64, 64)", "x=(128,)"]),
        ([None, 2], ["x=None", "x=2"]),
        ([square, len], ["x=square", "x=len"]),
        ([pathlib.PurePosixPath("a/b"), 1], ["x=a/b", "x=1"]),
    ],
)
def test_each_kind_of_value_has_a_readable_text(values: list[Any], expected: list[str]):
    """Enums show names, functions theirs, small containers their content."""
    assert label_points(grid(x=values)) == expected


def test_large_values_show_type_and_digest():
    """An array is shown by a short digest of its content, not by its elements."""
    first, second = label_points(grid(x=[np.zeros(1000), np.ones(1000)]))

    assert first.startswith("x=ndarray:")
    assert first != second
    assert len(first) <= 30


def test_generated_labels_are_bounded_and_unique():
    """Long labels are cut; what then clashes gets a number."""
    long = ["a" * 100 + "1", "a" * 100 + "2"]
    labels = label_points(grid(**{f"parameter_{i}": long for i in range(3)}))

    assert len(set(labels)) == 8
    assert max(map(len, labels)) <= LABEL_WIDTH
    assert labels[1].endswith("~2")


def test_repeated_draws_get_numbers():
    """Equal points of a sample are told apart by position only."""
    assert label_points(sample(3, x=choice(["a"]))) == ["x=a", "x=a~2", "x=a~3"]


def test_names_given_by_the_user_stand_for_the_parameters_of_their_case():
    """What is multiplied to a case is added to its name."""
    assert label_points(cases(base={"lr": 0.1}, big={"lr": 0.2, "depth": 9})) == ["base", "big"]
    assert label_points(cases(base={"lr": 0.1}, big={"lr": 0.2}) * seeds(2)) == [
        "base,seed=0",
        "base,seed=1",
        "big,seed=0",
        "big,seed=1",
    ]
    assert label_points(cases(a={"x": 1}) * cases(b={"y": 2}, c={"y": 3})) == ["a,b", "a,c"]


def test_templates_format_parameters():
    """A template chooses what is shown and how."""
    space = grid(model=["svm", "tree"], lr=[0.1, 0.25])

    assert label_points(space, "{model}-{lr:.1g}{{}}")[0] == "svm-0.1{}"
    assert label_points(space, "{model!r}/{lr:>5}")[3] == "'tree'/ 0.25"
    assert label_points(grid(m=["a"]) | grid(m=["b"], d=[1]), "{m}-{d}") == ["a-default", "b-1"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{modle}-{lr}", "uses 'modle'"),
        ("{model.__class__}-{lr}", "more than parameter names"),
        ("{0}", "more than parameter names"),
        ("{lr:{model}}", "more than parameter names"),
        ("{model", "cannot be read"),
        ("{model:g}{lr}", "does not fit a value of 'model'"),
        ("{model}", "named 'svm'"),
    ],
)
def test_bad_templates_are_refused(template: str, message: str):
    """Only parameter names can be used, and the names must tell points apart."""
    with pytest.raises(SpaceError, match=message) as caught:
        label_points(grid(model=["svm", "tree"], lr=[0.1, 0.25]), template)
    assert caught.value.hint


def test_misspelt_template_names_suggest_near_ones():
    """The near miss is named."""
    with pytest.raises(SpaceError) as caught:
        label_points(grid(model=["svm", "tree"]), "{modle}")
    assert "'model'" in caught.value.hint


def test_labels_of_any_collection_of_points():
    """Points may come from a space, a list or an iterator."""
    space = grid(x=[1, 2], y=[3])

    assert label_points(list(space)) == label_points(iter(space)) == ["x=1", "x=2"]
    assert label_points([]) == []


def test_labels_of_many_points_are_all_different():
    """Thousands of floats keep distinct labels."""
    labels = label_points(sample(3000, x=uniform(0, 1), y=uniform(0, 1)))

    assert len(set(labels)) == 3000


VALUES = st.one_of(
    st.sampled_from([0.1, 0.1234567, 0.1234568, 1e-5, -0.0, 0.0, float("nan"), float("inf")]),
    st.sampled_from([1, 2, True, False, None, "1", "a,y=2", "é" * 70, b"b"]),
    st.floats(allow_nan=False),
    st.just([1]),
)
LISTS = st.lists(VALUES, min_size=1, max_size=4)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Return a space of one or several shapes, with and without names and derived parameters."""
    space = grid(**{name: draw(LISTS) for name in draw(st.sampled_from(["x", "xy", "yxz"]))})
    if draw(st.booleans()):
        space = space.derive(d=lambda x: repr(x))
    if draw(st.booleans()):
        space = space | grid(x=draw(LISTS), w=draw(LISTS))
    if draw(st.booleans()):
        space = space * cases(p={"q": 1}, r={"q": 2})
    return space


@given(spaces(), st.sampled_from([None, "{x}", "{x}-{y}", "run {x!r}", "{x:g}", "{x!s:>5}.{d}", "{nope}", "plain", ""]))
def test_labels_made_by_column_are_those_made_point_by_point(space: Space, template: str | None) -> None:
    """Where the short way answers, its answer is the long way's; where the long way raises, it leaves it to that."""
    points = Points.of(space)
    labels = _by_column(points, template)
    try:
        expected = _generated(points) if template is None else _from_template(points, template)
    except SpaceError as error:
        assert labels is None
        with pytest.raises(SpaceError, match=f"^{re.escape(error.what)}"):
            label_points(space, template)
        return

    assert labels is None or labels == expected
    assert label_points(space, template) == expected


def test_ordinary_grids_are_labelled_by_column():
    """The short way is taken where it matters."""
    points = Points.of(grid(lr=[0.1, 0.2], depth=[1, 2], model=["svm"]))

    assert _by_column(points, None) == ["lr=0.1,depth=1", "lr=0.1,depth=2", "lr=0.2,depth=1", "lr=0.2,depth=2"]
    assert _by_column(points, "{model}/{lr:.2f}/{depth}") is not None
