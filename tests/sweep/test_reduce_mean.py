"""The mean: exact, with spread, NaN and missing metrics by rule."""

import math
import pickle
import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import ReducerError
from flowlib.sweep.exact import Moments
from flowlib.sweep.failed import Failed
from flowlib.sweep.metric import metric_leaves
from flowlib.sweep.reduce import Item, Mean, Stat, mean, reduce_items

NAN = math.nan


def items(values: Iterable[Any]) -> list[Item[Any]]:
    """Return values as the items p0, p1, ..."""
    return [Item(value=v, params={"i": i}, label=f"p{i}", index=i) for i, v in enumerate(values)]


def stat(values: Iterable[float], **options: Any) -> Stat:
    """Return the mean of plain numbers."""
    return reduce_items(mean("value", **options), items(values))["value"]


def test_mean_gives_the_usual_numbers():
    """n, mean, std with n - 1, sem, min, max, as the statistics module has them."""
    values = [0.1, 0.2, 0.4, 0.8]
    found = stat(values)

    assert found.n == 4
    assert found.mean == statistics.mean(values)
    assert found.std == statistics.stdev(values)
    assert math.isclose(found.sem, statistics.stdev(values) / 2)
    assert (found.min, found.max, found.n_nan) == (0.1, 0.8, 0)


def test_all_numbers_of_the_values_are_averaged_when_none_is_named():
    """Nested numbers have dotted names; texts and bools are left out."""
    found = reduce_items(
        mean(), items([{"auc": 1, "t": {"fit": 2}, "m": "svm"}, {"auc": 3, "t": {"fit": 4}, "m": "x"}])
    )

    assert list(found) == ["auc", "t.fit"]
    assert found.auc.mean == 2.0
    assert found["t.fit"].mean == 3.0
    assert reduce_items(mean(), items([1, 2])).value.mean == 1.5


def test_functions_are_metrics_by_their_name():
    """A named function gives its name to the metric."""

    def half(value: float) -> float:
        return value / 2

    assert reduce_items(mean(half, "value"), items([2, 4]))["half"].mean == 1.5
    with pytest.raises(ReducerError, match="Two metrics are named"):
        mean(half, half)


def test_cancellation_loses_nothing():
    """Sums are exact: what a float sum would lose stays."""
    assert stat([1e100, 1.0, -1e100]).mean == 1 / 3
    assert stat([1e16, 1.0, -1e16, 1.0]).mean == 0.5
    assert stat([1e9 + 0.1, 1e9 + 0.2]).std == statistics.stdev([1e9 + 0.1, 1e9 + 0.2])


def test_extreme_numbers_keep_their_spread():
    """Squares that no float can hold do not spoil the deviation."""
    assert math.isclose(stat([1e300, 3e300]).std, 2e300 / math.sqrt(2))
    assert math.isclose(stat([1e-300, 3e-300]).std, 2e-300 / math.sqrt(2))
    assert stat([1.7e308, 1.7e308]).mean == 1.7e308
    assert stat([5e-324, 5e-324]).mean == 5e-324


def test_one_number_has_no_deviation():
    """Spread of a single point is unknown, not zero."""
    found = stat([2.0])

    assert found.mean == 2.0
    assert math.isnan(found.std)
    assert math.isnan(found.sem)
    assert repr(found) == "2 (n=1)"


def test_nan_propagates_unless_told_otherwise():
    """By default it shows; it can be skipped, counted, or refused with the points' names."""
    shown = stat([1.0, NAN, 3.0])
    skipped = stat([1.0, NAN, 3.0], nan="skip")

    assert math.isnan(shown.mean)
    assert math.isnan(shown.min)
    assert (shown.n, shown.n_nan) == (3, 1)
    assert (skipped.mean, skipped.min, skipped.n, skipped.n_nan) == (2.0, 1.0, 2, 1)
    with pytest.raises(ReducerError, match="is NaN") as caught:
        stat([1.0, NAN], nan="raise")
    assert caught.value.facts["NaN at"] == "p1"
    assert math.isnan(stat([NAN], nan="skip").mean)


def test_infinities_follow_arithmetic():
    """One sign gives infinity, both give NaN."""
    assert stat([math.inf, 1.0]).mean == math.inf
    assert stat([-math.inf, 1.0]).mean == -math.inf
    assert math.isnan(stat([math.inf, -math.inf]).mean)


def test_a_metric_missing_somewhere_is_an_error_unless_skipped():
    """Named or found: a mean over some of the points is not passed off as one over all."""
    values = items([{"a": 1, "b": 2}, {"a": 3}])

    with pytest.raises(ReducerError, match="Point 'p1' has no metric 'b'"):
        reduce_items(mean("b"), values)
    with pytest.raises(ReducerError, match="'b' is missing at some points") as caught:
        reduce_items(mean(), values)
    assert caught.value.facts["b"] == "1 of 2 points"
    assert reduce_items(mean("a", "b", missing="skip"), values).b.n == 1
    assert reduce_items(mean(missing="skip"), values).a.n == 2


def test_weights_are_a_metric_or_a_mapping():
    """A weighted mean, with the deviation of reliability weights; equal weights change nothing."""
    values = items([{"x": 1.0, "w": 1}, {"x": 4.0, "w": 3}])

    assert reduce_items(mean("x", weights="w"), values).x.mean == 3.25
    assert reduce_items(mean("x", weights={"p0": 3, "p1": 1}), values).x.mean == 1.75
    plain, equal = reduce_items(mean("x"), values).x, reduce_items(mean("x", weights=lambda v: 0.7), values).x
    assert (equal.mean, equal.n) == (plain.mean, plain.n)
    assert math.isclose(equal.std, plain.std)
    assert math.isclose(equal.sem, plain.sem)


def test_zero_weights_leave_a_point_out_of_the_mean():
    """All weights zero have no mean."""
    assert stat([1.0, 5.0], weights=lambda v: v == 5.0).mean == 5.0
    assert math.isnan(stat([1.0], weights=lambda v: 0).mean)


@pytest.mark.parametrize("weights", [lambda v: -1, lambda v: NAN, lambda v: math.inf, {"p9": 1}, "w"])
def test_bad_weights_are_refused(weights: Any):
    """Missing, negative or not finite: the error names the point."""
    with pytest.raises(ReducerError, match="'p0'"):
        reduce_items(mean("value", weights=weights), items([1.0]))


def test_nothing_to_average_is_an_error():
    """No points, no numbers, nothing but failures."""
    for values in ([], ["text"], [Failed.from_exception(ValueError("boom"))]):
        with pytest.raises(ReducerError, match="nothing to average"):
            reduce_items(mean(), items(values))


def test_unknown_policies_suggest_near_ones():
    """Misspelt options are found when the reducer is made."""
    with pytest.raises(ReducerError) as caught:
        mean("a", nan="skp")  # type: ignore[arg-type]
    assert "'skip'" in caught.value.hint
    with pytest.raises(ReducerError):
        mean("a", missing="no")  # type: ignore[arg-type]


def test_failed_points_are_listed():
    """The result says over how many points it is, and which failed."""
    found = reduce_items(mean("value"), items([1, Failed.from_exception(ValueError("x")), 3]))

    assert (found.n_points, found.failed, found.value.n) == (2, ("p1",), 2)


def test_a_mean_is_a_value_with_named_parts():
    """Items, attributes, iteration, pickling, metrics of its own."""
    found = reduce_items(mean("a", "b"), items([{"a": 1, "b": 2}, {"a": np.float64(2), "b": 2}]))

    assert isinstance(found, Mean)
    assert pickle.loads(pickle.dumps(found)) == found
    assert len(found) == 2
    assert metric_leaves(found)["a.mean"] == 1.5
    assert repr(found) == "Mean(a=1.5 ± 0.707 (n=2), b=2 ± 0 (n=2))"
    with pytest.raises(KeyError, match="no metric 'c'"):
        found["c"]
    with pytest.raises(AttributeError, match="no metric 'c'"):
        _ = found.c


def test_memory_does_not_grow_with_the_points():
    """The exact sums stay a few hundred bytes, whatever goes in."""
    reducer = mean("value")
    accumulator = reducer.start()
    for item in items([1e300, 1e-300, 0.1] * 300):
        accumulator = reducer.add(accumulator, item)

    assert len(pickle.dumps(accumulator.by_name["value"].moments._sum)) < 600


@given(st.lists(st.floats() | st.integers(-(10**30), 10**30)), st.randoms())
def test_sums_in_growing_units_are_those_in_the_smallest_unit(numbers: list[float], dice: Any) -> None:
    """Weighted sums count 2**-1074 from the start: with weights of 1 they give the same bits, in any order."""
    plain, weighted = Moments(), Moments(is_weighted=True)
    for number in numbers:
        weighted.add_weighted(number, 1)
    dice.shuffle(numbers)
    for number in numbers:
        plain.add(number)

    assert repr(plain.summary()) == repr(weighted.summary())
    assert repr(plain.extremes()) == repr(weighted.extremes())
    assert plain.n == weighted.n


def test_numbers_beyond_every_float_are_infinite():
    """The mean of huge integers overflows to infinity, as sums of floats do; it is no error."""
    assert stat([10**400, 1]).mean == math.inf
    assert stat([-(10**400), 1]).mean == -math.inf
