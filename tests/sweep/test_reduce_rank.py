"""Reducers that rank: best, worst, top, pareto."""

import math
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from flowlib.errors import ReducerError
from flowlib.sweep.failed import Failed
from flowlib.sweep.reduce import Item, best, mean, pareto, reduce_items, top, worst

NAN = math.nan


def items(values: Iterable[Any]) -> list[Item[Any]]:
    """Return values as the items p0, p1, ..."""
    return [Item(value=v, params={"i": i}, label=f"p{i}", index=i) for i, v in enumerate(values)]


def failure(text: str = "bad lr") -> Failed:
    """Return a failed point's value."""
    return Failed.from_exception(ValueError(text))


def test_best_returns_the_point_with_all_that_belongs_to_it():
    """Score, value, parameters, label and index of the winner."""
    won = reduce_items(best(max="auc"), items([{"auc": 0.5}, {"auc": 0.9}, {"auc": 0.7}]))

    assert (won.score, won.value, won.params, won.label, won.index) == (0.9, {"auc": 0.9}, {"i": 1}, "p1", 1)
    assert (won.n, won.n_nan, won.ties, won.n_ties, won.failed) == (3, 0, (), 0, ())


def test_the_direction_decides():
    """Max and min choose opposite ends; worst chooses the other end of best."""
    points = items([3, 1, 2])

    assert reduce_items(best(max="value"), points).score == 3
    assert reduce_items(best(min="value"), points).score == 1
    assert reduce_items(worst(max="value"), points).score == 1
    assert reduce_items(worst(min="value"), points).score == 3


@pytest.mark.parametrize("make", [best, worst, lambda **k: top(2, **k)])
def test_the_direction_must_be_said_once(make: Any):
    """Neither a default nor two directions."""
    with pytest.raises(ReducerError, match="needs a direction") as caught:
        make()
    assert 'max="auc"' in caught.value.hint
    with pytest.raises(ReducerError, match="two directions"):
        make(max="a", min="b")
    with pytest.raises(ReducerError, match="name or a function"):
        make(max=3)


def test_ties_go_to_the_first_point_and_are_listed():
    """The order of enumeration decides, whatever the order of arrival."""
    points = items([1, 5, 5, 0, 5])
    for order in (points, points[::-1], [points[2], points[4], points[1], points[0], points[3]]):
        won = reduce_items(best(max="value"), order)
        assert (won.label, won.ties, won.n_ties) == ("p1", ("p2", "p4"), 2)


def test_only_the_first_ties_of_many_are_listed():
    """A constant metric would otherwise list the whole sweep."""
    won = reduce_items(best(max="value"), items([1] * 500))

    assert won.n_ties == 499
    assert won.ties == tuple(f"p{i}" for i in range(1, 101))
    assert len(repr(won)) < 300


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("reducer", "label"), [(best(max="value"), "p3"), (best(min="value"), "p1")])
def test_nan_ranks_last_in_both_directions(order: int, reducer: Any, label: str):
    """A NaN never wins, wherever it stands; it is counted and named."""
    won = reduce_items(reducer, items([NAN, 1.0, NAN, 2.0])[::order])

    assert (won.label, won.n, won.n_nan, won.nan) == (label, 4, 2, ("p0", "p2"))


def test_worst_never_chooses_nan():
    """The worst point is the worst that has a score."""
    assert reduce_items(worst(max="value"), items([2.0, NAN, 1.0])).label == "p2"


def test_infinities_rank_as_numbers():
    """A diverged loss is worse than any other."""
    assert reduce_items(best(min="value"), items([math.inf, 3.0])).score == 3.0
    assert reduce_items(best(max="value"), items([math.inf, 3.0])).score == math.inf


def test_failed_points_are_counted_and_listed():
    """Failures neither win nor vanish."""
    won = reduce_items(best(max="value"), items([1, failure(), 3, failure()]))

    assert (won.label, won.n, won.failed) == ("p2", 2, ("p1", "p3"))
    assert "failed=2" in repr(won)


def test_without_a_finite_score_the_error_says_why():
    """How many failed and of what, how many are NaN or infinite."""
    with pytest.raises(ReducerError, match="No point has a finite score") as caught:
        reduce_items(best(max="value"), items([NAN, failure("boom"), failure("boom"), math.inf]))

    facts = caught.value.facts
    assert facts["points"] == "4"
    assert facts["good"] == "2"
    assert facts["NaN"] == "1 (p0)"
    assert facts["infinite"] == "1"
    assert facts["failed"] == "2\n2 x ValueError: boom"


def test_no_points_have_no_best():
    """An empty sweep is told, not guessed about."""
    with pytest.raises(ReducerError):
        reduce_items(best(max="value"), [])
    with pytest.raises(ReducerError):
        reduce_items(top(3, max="value"), items([NAN]))


def test_top_returns_the_first_n_in_order():
    """Best first, ties by enumeration, NaN never."""
    found = reduce_items(top(3, max="value"), items([1, 3, NAN, 3, 2, 0])[::-1])

    assert found.labels == ["p1", "p3", "p4"]
    assert found.values == [3, 3, 2]
    assert [point.score for point in found] == [3, 3, 2]
    assert (len(found), found.n, found.n_nan) == (3, 6, 1)
    assert reduce_items(top(2, min="value"), items([1, 3, 0])).labels == ["p2", "p0"]
    assert reduce_items(top(9, min="value"), items([1, NAN, 0])).labels == ["p2", "p0"]


def test_top_breaks_ties_at_its_edge_by_enumeration():
    """Of equal points at the edge the first stay."""
    points = items([5, 5, 5, 5])
    for order in (points, points[::-1]):
        assert reduce_items(top(2, min="value"), order).labels == ["p0", "p1"]


def test_top_holds_only_its_points():
    """Memory does not grow with the sweep."""
    reducer = top(2, max="value")
    accumulator = reducer.start()
    for item in items(range(1000)):
        accumulator = reducer.add(accumulator, item)

    assert len(accumulator.entries) == 2


@pytest.mark.parametrize("n", [0, -1, True, 2.0, "3"])
def test_top_needs_a_number_of_points(n: Any):
    """A whole number from one up."""
    with pytest.raises(ReducerError, match="number of points"):
        top(n, max="value")


def test_results_can_be_ranked_again():
    """A reduction over groups is ranked by the numbers of the inner result."""
    groups = [reduce_items(mean("auc"), items([{"auc": a}, {"auc": b}])) for a, b in [(1, 2), (3, 5), (0, 9)]]

    assert reduce_items(best(max="auc.mean"), items(groups)).label == "p2"
    assert reduce_items(best(min="auc.std"), items(groups)).label == "p0"
    inner = [reduce_items(best(max="value"), items(scores)) for scores in ([1, 4], [2, 3])]
    assert reduce_items(best(max="score"), items(inner)).label == "p0"


def test_exact_integers_are_not_rounded():
    """Scores beyond 2**53 are compared exactly."""
    won = reduce_items(best(max="value"), items([2**60, 2**60 + 1]))

    assert (won.label, won.score) == ("p1", 2**60 + 1)


def test_pareto_keeps_what_nothing_beats():
    """As good everywhere and better somewhere is what beats; equals stay together."""
    values = [{"auc": a, "s": s} for a, s in [(0.9, 10), (0.8, 5), (0.7, 7), (0.9, 10), (0.95, 20), (NAN, 1)]]
    for order in (1, -1):
        front = reduce_items(pareto(max="auc", min="s"), items(values)[::order])

        assert [point.label for point in front] == ["p0", "p1", "p3", "p4"]
        assert front[1].scores == {"auc": 0.8, "s": 5}
        assert (front.n, front.n_nan, front.nan) == (6, 1, ("p5",))
        assert front.values[0] == values[0]
        assert repr(front).startswith("Pareto(4 of 6 points, max auc, min s")


def test_pareto_needs_metrics_and_scores():
    """No metric and no scores are errors."""
    with pytest.raises(ReducerError, match="needs metrics"):
        pareto()
    with pytest.raises(ReducerError, match="No point has all scores"):
        reduce_items(pareto(max=["a", "b"]), items([{"a": 1, "b": NAN}]))


def test_reducers_are_frozen_values():
    """Equal arguments make equal reducers; they cannot be changed."""
    assert best(max="auc") == best(max="auc")
    assert best(max="auc") != best(min="auc")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        best(max="auc").goal = None  # type: ignore[misc,assignment]
