"""Votes: hard, weighted, soft; ties, abstentions, quorum; one question or many positions."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from flowlib.errors import ReducerError
from flowlib.sweep.failed import Failed
from flowlib.sweep.reduce import Item, Vote, reduce_items, vote


def items(values: Iterable[Any]) -> list[Item[Any]]:
    """Return values as the items p0, p1, ..."""
    return [Item(value=v, params={"i": i}, label=f"p{i}", index=i) for i, v in enumerate(values)]


def run(values: Iterable[Any], *args: Any, **options: Any) -> Vote:
    """Return the vote of values."""
    return reduce_items(vote(*args, **options), items(values))


def test_the_most_frequent_label_wins():
    """Counts, margin and winner."""
    found = run(["cat", "dog", "cat"])

    assert (found.winner, found.label, found.counts, found.margin) == ("cat", "cat", {"cat": 2, "dog": 1}, 1)
    assert (found.n, found.n_abstained, found.tied) == (3, 0, ())
    assert run(["a"]).margin == 1
    assert list(run(["dog", "cat", "cat"]).counts) == ["cat", "dog"]


def test_labels_are_found_by_name_or_function():
    """As metrics are, but of any kind."""
    assert run([{"label": "a"}, {"label": "a"}], "label").winner == "a"
    assert run([1, 2, 3], lambda v: v > 1).winner is True
    with pytest.raises(ReducerError, match="no metric 'label'"):
        run([{"lable": "a"}], "label")


def test_numpy_labels_and_equal_numbers_are_one_label():
    """Models of different libraries write the same class in different types."""
    found = run([np.int64(1), 1.0, 2, np.array(2), 1])

    assert found.counts == {1: 3, 2: 2}
    assert type(found.winner) is int


@pytest.mark.parametrize(
    ("tie", "winner"),
    [("first", "b"), ("smallest", "a"), ("abstain", None), (lambda tied: tied[-1], "a"), (lambda tied: None, None)],
)
def test_ties_are_broken_by_the_rule(tie: Any, winner: Any):
    """First in enumeration, smallest label, nobody, or the user's choice."""
    for order in (1, -1):
        found = reduce_items(vote(tie=tie), items(["b", "a", "c", "a", "b"])[::order])
        assert (found.winner, found.tied, found.margin) == (winner, ("b", "a"), 0)


def test_ties_may_be_errors():
    """By wish, by labels without an order, by a rule that chooses outside."""
    with pytest.raises(ReducerError, match="tied") as caught:
        run(["a", "b"], tie="error")
    assert caught.value.facts["tied"] == "'a', 'b'"
    with pytest.raises(ReducerError, match="cannot be ordered"):
        run(["a", 1], tie="smallest")
    with pytest.raises(ReducerError, match="not tied"):
        run(["a", "b"], tie=lambda tied: "c")
    with pytest.raises(ReducerError, match="not known") as caught:
        vote(tie="frist")  # type: ignore[arg-type]
    assert "'first'" in caught.value.hint


def test_abstentions_do_not_count():
    """None, NaN, and the value that means it."""
    found = run([None, "a", math.nan, np.nan, "?", "b", "a"], abstain="?")

    assert (found.winner, found.counts, found.n, found.n_abstained) == ("a", {"a": 2, "b": 1}, 7, 4)
    assert run([-1, -1, 3], abstain=-1).winner == 3
    with pytest.raises(ReducerError, match="Nobody voted"):
        run([None, None])
    with pytest.raises(ReducerError, match="Nobody voted"):
        run([])


def test_the_quorum_counts_all_points():
    """Abstaining and failed points are points."""
    values = ["a", "a", None, Failed.from_exception(ValueError("x"))]

    assert run(values, quorum=0.5).winner == "a"
    assert run(values, quorum=2).failed == ("p3",)
    for quorum in (0.51, 3):
        with pytest.raises(ReducerError, match="quorum is not reached"):
            run(values, quorum=quorum)
    for quorum in (-1, 1.5, True):
        with pytest.raises(ReducerError, match="neither a number of votes nor a share"):
            vote(quorum=quorum)


def test_weights_count_instead_of_heads():
    """A metric of the value, or a mapping by label; sums are exact, so is a tie."""
    values = [{"y": "a", "w": 0.1}, {"y": "a", "w": 0.2}, {"y": "b", "w": 0.35}]

    assert run(values, "y", weight="w").winner == "b"
    assert run(values, "y", weight={"p0": 1, "p1": 1, "p2": 1}).counts == {"a": 2.0, "b": 1.0}
    exact = run([{"y": y, "w": w} for y, w in [("a", 0.5), ("b", 0.25), ("b", 0.25)]], "y", weight="w")
    assert (exact.tied, exact.margin) == (("a", "b"), 0.0)
    with pytest.raises(ReducerError, match="weight of point 'p0'"):
        run([{"y": 1, "w": -1}], "y", weight="w")


def test_a_weight_of_zero_is_no_vote():
    """It can neither win nor make the quorum."""
    found = run([{"y": "a", "w": 0}, {"y": "b", "w": 1}], "y", weight="w")

    assert (found.counts, found.n_abstained) == ({"b": 1.0}, 1)


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_arrays_vote_on_each_position(kind: Any):
    """Every field has one entry per position."""
    found = run([kind([1, 2, 3]), kind([1, 3, 3]), kind([2, 2, 3])])

    assert found.winner == [1, 2, 3]
    assert found.counts == [{1: 2, 2: 1}, {2: 2, 3: 1}, {3: 3}]
    assert found.margin == [1, 1, 3]
    assert found.n_abstained == [0, 0, 0]
    assert found.tied == [(), (), ()]


def test_positions_may_be_abstained_from():
    """A position nobody votes on has no winner; the others do."""
    found = run([["a", None], ["a", None], ["b", None]])

    assert found.winner == ["a", None]
    assert found.n_abstained == [0, 3]
    assert found.margin == [1, 0]


def test_positions_must_agree():
    """Points that vote on different things are refused by name."""
    with pytest.raises(ReducerError, match="'p1' votes on 3 positions, others on 2"):
        run([[1, 2], [1, 2, 3]])
    with pytest.raises(ReducerError, match="'p1' votes on one question"):
        run([[1, 2], 1])
    with pytest.raises(ReducerError, match="not a label"):
        run([{"label": 1}])


def test_soft_votes_average_probabilities():
    """The class with the highest mean probability wins, though fewer points prefer it."""
    found = run([{"p": {"a": 0.9, "b": 0.1}}, {"p": {"b": 0.6, "a": 0.4}}, {"p": {"b": 0.6, "a": 0.4}}], proba="p")

    assert found.winner == "a"
    assert found.counts == pytest.approx({"a": 1.7 / 3, "b": 1.3 / 3})
    assert found.margin == pytest.approx(0.4 / 3)


def test_probabilities_may_be_lists_and_arrays():
    """Classes are numbered; rows are positions."""
    assert run([[0.2, 0.8], [0.4, 0.6]], proba="value").winner == 1
    rows = run([np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([[0.4, 0.6], [0.2, 0.8]])], proba=lambda v: v)
    assert rows.winner == [1, 0]
    assert rows.counts[0] == pytest.approx({1: 0.7, 0: 0.3})


def test_soft_votes_can_be_weighted_and_abstained_from():
    """Weights weigh the probabilities; None is no vote."""
    values = [{"p": [0.9, 0.1], "w": 1}, {"p": [0.1, 0.9], "w": 3}, {"p": None, "w": 9}]
    found = run(values, proba="p", weight="w")

    assert (found.winner, found.n_abstained) == (1, 1)
    assert found.counts == pytest.approx({1: 0.7, 0: 0.3})


def test_a_soft_tie_goes_to_the_first_class():
    """In the order of the classes, not of the points."""
    assert run([{"b": 0.5, "a": 0.5}], proba=lambda v: v).winner == "b"
    assert run([[0.0, 1.0], [1.0, 0.0]], proba=lambda v: v, tie="smallest").winner == 0


@pytest.mark.parametrize("value", [[0.5, -0.1], [math.nan], {"a": "x"}, 0.5, [[0.5, "y"]]])
def test_improper_probabilities_are_refused(value: Any):
    """Negative, NaN, texts: the error names the point."""
    with pytest.raises(ReducerError, match="'p0' cannot be averaged"):
        run([value], proba=lambda v: v)


def test_hard_and_soft_cannot_be_mixed():
    """Labels that are probabilities would be counted wrongly."""
    with pytest.raises(ReducerError, match="either hard or soft"):
        vote("label", proba="p")


def test_the_repr_is_bounded():
    """Thousands of positions print as a line."""
    assert repr(run(["a", "b"])) == "Vote('a', counts={'a': 1, 'b': 1}, margin=0, n=2, tied=('a', 'b'))"
    assert len(repr(run([list(range(5000))]))) < 200
