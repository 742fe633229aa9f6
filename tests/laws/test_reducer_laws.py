"""Laws of reducers: no result depends on the order of arrival, and exact sums are exact."""

import math
import pickle
import random
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlib.errors import ReducerError
from flowlib.hashing.canonical import digest_value
from flowlib.sweep.exact import from_units, root, to_units
from flowlib.sweep.failed import Failed
from flowlib.sweep.reduce import Item, best, collect, mean, pareto, reduce_items, top, vote, worst

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
FAILED = Failed.from_exception(ValueError("boom"))


def items(values: list[Any]) -> list[Item[Any]]:
    """Return values as the items p0, p1, ..."""
    return [Item(value=v, params={"i": i}, label=f"p{i}", index=i) for i, v in enumerate(values)]


def outcome(reducer: Any, points: list[Item[Any]]) -> Any:
    """Return the digest of the result, or the text of the error."""
    try:
        return digest_value(reduce_items(reducer, points))
    except ReducerError as error:
        return error.what


ROWS = st.fixed_dictionaries(
    {
        "x": st.one_of(FLOATS, st.integers(-3, 3), st.sampled_from([0.1, 0.2, 0.3])),
        "w": st.floats(0, 1e300),
        "y": st.sampled_from(["a", "b", 1, 1.0, None, math.nan]),
        "p": st.lists(st.floats(0, 1), min_size=2, max_size=2),
        "ys": st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=3),
    }
)
REDUCERS = {
    "best": best(max="x"),
    "worst": worst(max="x"),
    "top": top(3, min="x"),
    "mean": mean("x"),
    "mean skipping": mean("x", nan="skip"),
    "mean weighted": mean("x", weights="w"),
    "mean of all": mean(missing="skip"),
    "vote": vote("y", tie="first"),
    "vote weighted": vote("y", weight="w"),
    "vote soft": vote(proba="p", weight="w"),
    "vote positions": vote("ys", tie="smallest"),
    "pareto": pareto(max="x", min="w"),
    "collect": collect(),
}


@pytest.mark.parametrize("name", REDUCERS)
@settings(max_examples=40)
@given(values=st.lists(st.one_of(ROWS, st.just(FAILED)), max_size=8), seed=st.integers(0, 10**6))
def test_results_do_not_depend_on_the_order_of_arrival(name: str, values: list[Any], seed: int):
    """Any order gives the same digest, or the same error."""
    reducer = REDUCERS[name]
    points = items(values)
    shuffled = random.Random(seed).sample(points, len(points))

    assert outcome(reducer, shuffled) == outcome(reducer, points)


@settings(max_examples=100)
@given(st.lists(st.one_of(FINITE, st.integers(-(10**30), 10**30)), min_size=2, max_size=12))
def test_means_and_deviations_are_those_of_exact_arithmetic(values: list[float]):
    """The mean is the correctly rounded one; the deviation is right to a bit."""
    found = reduce_items(mean("value"), items(values))["value"]
    exact = [Fraction(value) for value in values]
    average = sum(exact) / len(exact)
    variance = sum((value - average) ** 2 for value in exact) / (len(exact) - 1)

    assert found.mean == float(average)
    assert math.isclose(found.std, root(variance), rel_tol=1e-15)
    assert (found.min, found.max) == (float(min(values)), float(max(values)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_deviation_agrees_with_the_standard_library(values: list[float]):
    """statistics.stdev is exact as well."""
    found = reduce_items(mean("value"), items(values))["value"].std

    assert math.isclose(found, statistics.stdev(values), rel_tol=1e-12, abs_tol=1e-160)


@given(st.lists(FINITE, max_size=10))
def test_sums_in_units_are_exact(values: list[float]):
    """Nothing is lost between a float and its count of smallest units."""
    assert from_units(sum(map(to_units, values))) == sum(map(Fraction, values))


@given(st.fractions(min_value=0))
def test_roots_are_right_to_the_last_bits(value: Fraction):
    """Squaring the root gives the number back, as far as a float can."""
    found = Fraction(root(value))

    assert abs(found * found - value) <= value * Fraction(1, 2**50)


@given(st.lists(st.one_of(FLOATS, st.integers(-3, 3)), min_size=1, max_size=12), st.booleans())
def test_best_and_top_agree_with_sorting(values: list[float], is_max: bool):
    """The model: sort the numbers that are not NaN by score, then by index."""
    goal: dict[str, Any] = {"max" if is_max else "min": "value"}
    numbers = [(value, i) for i, value in enumerate(values) if value == value]
    model = sorted(numbers, key=lambda pair: (-pair[0] if is_max else pair[0], pair[1]))
    if not any(math.isfinite(value) for value, _ in numbers):
        with pytest.raises(ReducerError):
            reduce_items(best(**goal), items(values))
        return
    won = reduce_items(best(**goal), items(values))
    ranked = reduce_items(top(4, **goal), items(values))

    assert won.index == model[0][1]
    assert won.ties == tuple(f"p{i}" for value, i in model[1:] if value == model[0][0])
    assert [point.index for point in ranked.ranked] == [i for _, i in model[:4]]
    assert won.n_nan == len(values) - len(numbers)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_dominates(pairs: list[tuple[int, int]]):
    """The model: compare each point with every other."""
    front = reduce_items(pareto(max=lambda v: v[0], min=lambda v: v[1]), items(pairs))
    expected = [
        i for i, (a, b) in enumerate(pairs) if not any(c >= a and d <= b and (c, d) != (a, b) for c, d in pairs)
    ]

    assert [point.index for point in front.points] == expected


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12))
def test_votes_agree_with_counting(labels: list[Any]):
    """The model: count, then take the first of the most frequent."""
    cast = [label for label in labels if label is not None]
    if not cast:
        with pytest.raises(ReducerError, match="Nobody voted"):
            reduce_items(vote(), items(labels))
        return
    found = reduce_items(vote(), items(labels))
    most = max(map(cast.count, cast))

    assert found.winner == next(label for label in cast if cast.count(label) == most)
    assert found.counts == {label: cast.count(label) for label in cast}
    assert found.n_abstained == len(labels) - len(cast)


@pytest.mark.parametrize("name", REDUCERS)
def test_reducers_and_results_survive_pickling(name: str):
    """They cross processes and go through the store."""
    values = [{"x": float(i), "w": 1.0, "y": "a", "p": [0.5, 0.5], "ys": [0, 1, 2]} for i in range(3)]
    reducer = pickle.loads(pickle.dumps(REDUCERS[name]))
    result = reduce_items(reducer, items(values))

    assert reducer == REDUCERS[name]
    assert pickle.loads(pickle.dumps(result)) == result
    assert len(repr(result)) < 600
