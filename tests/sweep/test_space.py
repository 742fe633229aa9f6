"""Spaces: constructors, the algebra, their order, their length, and what they refuse."""

from typing import Any

import numpy as np
import pytest

from flowlib.errors import SpaceError
from flowlib.sweep.distributions import choice, logspace, uniform
from flowlib.sweep.point import Point
from flowlib.sweep.space import Space, axis, cases, grid, sample, seeds, zipped


def params(space: Space) -> list[dict[str, Any]]:
    """Return the points' parameters as dicts."""
    return [dict(point.params) for point in space]


def test_a_grid_enumerates_the_product_with_the_last_axis_fastest():
    """The order is that of itertools.product over the keywords."""
    space = grid(lr=[0.1, 1.0], depth=[4, 8])

    assert params(space) == [
        {"lr": 0.1, "depth": 4},
        {"lr": 0.1, "depth": 8},
        {"lr": 1.0, "depth": 4},
        {"lr": 1.0, "depth": 8},
    ]
    assert space.names == ("lr", "depth")
    assert space.axes == {"lr": (0.1, 1.0), "depth": (4, 8)}
    assert space.is_static


def test_points_know_their_index_and_have_no_name_of_their_own():
    """Generated points are unnamed; the index is the position in the enumeration."""
    points = list(grid(x=[5, 6, 7]))

    assert [point.index for point in points] == [0, 1, 2]
    assert [point.name for point in points] == [None, None, None]


def test_points_cannot_be_changed():
    """A point is a value: neither its fields nor the parameters behind it can be changed."""
    point = grid(x=[1])[0]
    with pytest.raises(AttributeError):
        point.index = 3  # type: ignore[misc]

    point.params["x"] = 9  # type: ignore[index]  # a new mapping each time

    assert point.params == {"x": 1}


def test_zipped_pairs_values_in_lock_step():
    """The n-th value of each list makes the n-th point."""
    assert params(zipped(width=[64, 128], batch=[512, 256])) == [
        {"width": 64, "batch": 512},
        {"width": 128, "batch": 256},
    ]


def test_a_zip_composes_with_a_product():
    """A zip is one factor of a product, not a second language."""
    space = zipped(width=[64, 128], batch=[512, 256]) * grid(lr=[1, 2])

    assert len(space) == 4
    assert params(space)[1] == {"width": 64, "batch": 512, "lr": 2}


def test_cases_are_explicit_points_with_names():
    """A keyword names its case; positional cases are unnamed; each sets only its own parameters."""
    space = cases({"model": "svm"}, big={"model": "tree", "depth": 9})

    assert [(point.name, dict(point.params)) for point in space] == [
        (None, {"model": "svm"}),
        ("big", {"model": "tree", "depth": 9}),
    ]
    assert space.names == ("model", "depth")


def test_seeds_are_the_first_integers():
    """Asking for more seeds adds to the ones there were."""
    assert [p["seed"] for p in params(seeds(5))] == [0, 1, 2, 3, 4]
    assert [p["s"] for p in params(seeds(2, name="s"))] == [0, 1]


def test_seeds_per_point_depend_on_the_other_parameters():
    """Different points get different seeds, the same point the same ones, whatever the other points are."""
    small = grid(lr=[0.1, 0.2]) * seeds(2, per_point=True)
    large = grid(lr=[0.2, 0.3, 0.1]) * seeds(3, per_point=True)

    seen = [p["seed"] for p in params(small)]
    assert len(set(seen)) == 4
    assert all(0 <= seed < 2**32 for seed in seen)
    assert {tuple(p.items()) for p in params(small)} <= {tuple(p.items()) for p in params(large)}


def test_brackets_do_not_matter_for_seeds_per_point():
    """A product is flat: seeds see all of its other parameters."""
    a, b, s = grid(a=[1, 2]), grid(b=[3, 4]), seeds(2, per_point=True)

    assert params((a * b) * s) == params(a * (b * s))
    assert sorted(p["seed"] for p in params(a * s)) == sorted(p["seed"] for p in params(s * a))


def test_seeds_per_point_reach_filters_and_indexing():
    """Once the product is made the seeds are plain integers."""
    space = grid(a=[1, 2]) * seeds(2, per_point=True)

    assert len(space.where(lambda seed: isinstance(seed, int))) == 4
    assert space[3] == list(space)[3]
    assert isinstance(params(seeds(1, per_point=True))[0]["seed"], int)


def test_the_product_varies_its_right_side_fastest():
    """`a * b` is the nested loop `for a: for b`."""
    space = grid(a=[1, 2]) * grid(b=["x", "y"])

    assert [tuple(p.values()) for p in params(space)] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_the_union_keeps_the_first_of_equal_points():
    """Points met again are dropped and counted; order of parameters does not make a point."""
    space = grid(a=[1, 2], b=[0]) | grid(b=[0], a=[2, 3])

    assert [p["a"] for p in params(space)] == [1, 2, 3]
    assert space.n_dropped == 1
    assert "1 duplicates dropped" in repr(space)


def test_a_grid_of_repeated_values_counts_them_once():
    """A repeated value is one point; how many were left out is known."""
    space = grid(lr=[0.1, 0.2, 0.1])

    assert len(space) == 2
    assert space.n_dropped == 1
    assert zipped(a=[1, 1, 1], b=[2, 3, 2]).n_dropped == 1
    assert cases({"a": 1}, again={"a": 1}).n_dropped == 1


def test_conditional_parameters_are_a_union_of_grids():
    """Each branch has its own parameters; shared factors multiply both."""
    linear = grid(model=["svm"], C=logspace(1e-2, 1e2, 5))
    tree = grid(model=["tree"], depth=[3, 6, 9])
    space = (linear | tree) * grid(scale=[True, False])

    assert len(space) == 16
    assert space.names == ("model", "C", "depth", "scale")
    assert space.name_sets() == {frozenset({"model", "C", "scale"}), frozenset({"model", "depth", "scale"})}
    assert "depth" not in space[0].params


def test_where_takes_the_parameters_it_names():
    """A filter still works when an axis is added."""
    space = grid(a=[1, 2, 3], b=[1, 2, 3]).where(lambda a, b: a < b)

    assert [tuple(p.values()) for p in params(space)] == [(1, 2), (1, 3), (2, 3)]
    assert len(space * grid(c=[1, 2])) == 6
    assert len(grid(a=[1, 2], b=[3]).where(lambda **everything: everything == {"a": 1, "b": 3})) == 1
    assert len(grid(a=[1, 2]).where(lambda a, limit=2: a < limit)) == 1


def test_where_uses_defaults_for_parameters_some_points_do_not_set():
    """A conditional parameter needs a default in the filter; without one the error says so."""
    space = grid(model=["svm"]) | grid(model=["tree"], depth=[3, 9])

    assert len(space.where(lambda depth=None: depth != 9)) == 2
    with pytest.raises(SpaceError, match="some points do not set") as caught:
        len(space.where(lambda depth: depth == 9))
    assert "lambda depth=None" in caught.value.hint


def test_derive_adds_parameters_and_may_use_earlier_ones():
    """Derived parameters are computed in order, from those before."""
    space = grid(w=[2, 3]).derive(area=lambda w: w * w, double=lambda area: 2 * area)

    assert params(space) == [{"w": 2, "area": 4, "double": 8}, {"w": 3, "area": 9, "double": 18}]
    assert space[1].params == {"w": 3, "area": 9, "double": 18}


def test_derive_replaces_a_parameter_only_from_itself():
    """Overwriting without looking is refused; a function of the old value is meant."""
    assert params(grid(lr=[-1, -2]).derive(lr=lambda lr: 10.0**lr)) == [{"lr": 0.1}, {"lr": 0.01}]
    with pytest.raises(SpaceError, match="would overwrite 'lr'"):
        grid(lr=[1], b=[2]).derive(lr=lambda b: b)


def test_slices_are_spaces_and_indexes_are_points():
    """Slicing cuts the enumeration as it cuts a list; points are numbered anew."""
    space = grid(a=range(4), b=range(3))
    everything = params(space)

    assert params(space[2:5]) == everything[2:5]
    assert params(space[1:-1:4]) == everything[1:-1:4]
    assert params(space[-3:]) == everything[-3:]
    assert [point.index for point in space[2:5]] == [0, 1, 2]
    assert params(space.head(2)) == everything[:2]
    assert len(space[10:99]) == 2
    assert len(space[5:5]) == 0
    assert dict(space[-1].params) == everything[-1]
    with pytest.raises(IndexError):
        space[12]


def test_backward_slices_are_refused():
    """The enumeration order is the tie-break everywhere."""
    with pytest.raises(SpaceError, match="backwards"):
        grid(a=[1, 2])[::-1]


def test_spaces_are_values_that_never_change():
    """Every operation returns a new space."""
    space = grid(a=[1, 2])
    space * grid(b=[1])
    space.where(lambda a: a > 1)
    with pytest.raises(AttributeError):
        space.max_points = 3  # type: ignore[misc]

    assert len(space) == 2


def test_axis_values_may_come_from_ranges_arrays_and_generators():
    """Anything that lists values in order will do; numpy numbers become Python numbers."""
    assert params(grid(x=range(2))) == params(grid(x=np.arange(2))) == params(grid(x=(i for i in range(2))))
    assert type(grid(x=np.linspace(0, 1, 3))[1].params["x"]) is float


def test_enumerating_too_many_points_is_refused_with_their_number():
    """The guard looks at what must be enumerated; lengths and slices of a huge grid are fine."""
    space = grid(a=range(2000), b=range(2000))

    assert len(space) == 4_000_000
    assert len(list(space[:3])) == 3
    with pytest.raises(SpaceError, match="4,000,000 points"):
        iter(space)
    with pytest.raises(SpaceError, match="too large"):
        len(space.where(lambda a: a))
    assert next(iter(space.with_max_points(5_000_000))).params == {"a": 0, "b": 0}


def test_enumeration_holds_no_points():
    """The first point of a large product comes before the others are made."""
    calls = []
    space = grid(a=range(1000), b=range(1000)).where(lambda a: calls.append(a) is None)
    next(iter(space))

    assert len(calls) == 1


def test_the_repr_is_short_for_any_space():
    """Small spaces show their points, large ones their axes, huge ones their size."""
    assert repr(grid(lr=[0.1, 0.2])) == "Space(2 points: 'lr=0.1', 'lr=0.2')"
    assert len(repr(grid(a=range(100), b=[list(range(10_000))]))) < 300
    assert repr(grid(a=range(1000), b=range(1000))) == "Space(up to 1000000 points, a, b)"
    assert repr(grid(a=[1]).where(lambda a: a > 1)) == "Space(a; .where drops every point.)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(), "at least one parameter"),
        (lambda: grid(lr=[]), "'lr' has no values"),
        (lambda: grid(lr=0.1), "'lr' are not a list"),
        (lambda: grid(model="svm"), "'model' are not a list"),
        (lambda: grid(model={"b", "a"}), "'model' are not a list"),
        (lambda: grid(model={"a": 1}), "'model' are not a list"),
        (lambda: grid(lr=uniform(0, 1)), "'lr' are not a list"),
        (lambda: axis(a=[1], b=[2]), "exactly one parameter"),
        (lambda: zipped(), "at least one parameter"),
        (lambda: len(zipped(a=[1, 2], b=[1, 2, 3])), "differ in length"),
        (lambda: cases(), "no points"),
        (lambda: cases(a=3), "'a' is not a mapping"),  # type: ignore[arg-type]
        (lambda: cases([{"a": 1}]), "is not a mapping"),  # type: ignore[arg-type]
        (lambda: grid(a=[1], b=[1]) * grid(b=[2]), "Both sides of a product set 'b'"),
        (lambda: seeds(0), "whole number of seeds, at least one"),
        (lambda: seeds(2.5), "whole number of seeds"),  # type: ignore[arg-type]
        (lambda: sample(0, x=uniform(0, 1)), "whole number of points, at least one"),
        (lambda: sample(2.5, x=uniform(0, 1)), "whole number of points"),  # type: ignore[arg-type]
        (lambda: sample(3), "no distributions"),
        (lambda: sample(3, x=0.5), "'x' of sample is not a distribution"),
        (lambda: logspace(-2, 2, 5), "positive, finite ends"),
        (lambda: logspace(1, 2, 0), "at least one value"),
        (lambda: choice([]), "no values"),
        (lambda: grid(a=[1]).where(3), "needs a function"),  # type: ignore[arg-type]
        (lambda: grid(a=[1]).derive(b=3), "needs a function"),  # type: ignore[arg-type]
        (lambda: list(grid(a=[1, 2]).where(lambda a: a > 5)), "drops every point"),
        (lambda: len(grid(a=[1, 2]).where(lambda a: a > 5)), "drops every point"),
    ],
)
def test_mistakes_are_refused_with_advice(make: Any, message: str):
    """Each likely mistake has its own message and says what to do."""
    with pytest.raises(SpaceError, match=message) as caught:
        make()
    assert caught.value.hint


def test_unequal_zips_say_all_lengths():
    """The error names each list with its length."""
    with pytest.raises(SpaceError) as caught:
        zipped(width=[1, 2], batch=[1, 2, 3])

    assert caught.value.facts == {"width": "2 values", "batch": "3 values"}


def test_unknown_parameters_in_functions_suggest_near_ones():
    """A misspelt name in a filter is found when the filter is written."""
    with pytest.raises(SpaceError, match="asks for 'dept'") as caught:
        grid(depth=[1], lr=[2]).where(lambda dept: dept)
    assert "'depth'" in caught.value.hint
    with pytest.raises(SpaceError, match="asks for 'dept'"):
        grid(depth=[1]).derive(x=lambda dept: dept)
    with pytest.raises(SpaceError, match="are unknown"):
        grid(depth=[1]).where(min)


def test_errors_inside_a_filter_name_the_point():
    """The user's own exception passes through, with a note that says where."""
    with pytest.raises(ZeroDivisionError) as caught:
        list(grid(a=[1, 0]).where(lambda a: 1 / a))

    assert caught.value.__notes__ == ["Raised in .where at the point a=0"]


def test_two_points_with_one_given_name_are_refused():
    """Names given by the user must tell points apart; the same point twice is no clash."""
    with pytest.raises(SpaceError, match="named 'a'"):
        list(cases(a={"x": 1}) | cases(a={"x": 2}))

    assert len(cases(a={"x": 1}) | cases(a={"x": 1})) == 1
    assert len(cases(a={"x": 1}) * seeds(3)) == 3


def test_points_lose_parameters_for_reductions_along_axes():
    """What is left identifies the group; a name stays while it stands for what is left."""
    points = list(cases(base={"lr": 1}) * seeds(2))

    assert points[0].without(["seed"]) == points[1].without(["seed"])
    assert points[0].without(["seed"]).name == "base"
    assert points[0].without(["lr"]).name is None
    assert points[1].without(["lr"]).params == {"seed": 1}


def test_only_spaces_multiply_and_join_with_spaces():
    """Anything else is the TypeError of an unsupported operand."""
    with pytest.raises(TypeError):
        grid(a=[1]) * 3  # type: ignore[operator]
    with pytest.raises(TypeError):
        grid(a=[1]) | {"a": [2]}  # type: ignore[operator]


def test_points_print_as_they_are_written():
    """The repr of a point shows its name and parameters."""
    assert repr(cases(base={"lr": 0.1})[0]) == "Point('base', lr=0.1)"
    assert isinstance(hash(grid(x=[[1, 2]])[0]), int)
    assert grid(x=[1])[0] != 1
    assert isinstance(grid(x=[1])[0], Point)
