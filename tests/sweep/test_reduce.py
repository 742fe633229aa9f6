"""Reducers by name, collect, reduce, min_ok, failed points."""

import pickle
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from flowlib.errors import ReducerError
from flowlib.sweep import reduce as module
from flowlib.sweep.failed import Failed
from flowlib.sweep.reduce import (
    Fold,
    Item,
    Reducer,
    best,
    check_min_ok,
    collect,
    mean,
    reduce,
    reduce_items,
    reducer_from,
    top,
    vote,
    worst,
)


def items(values: Iterable[Any]) -> list[Item[Any]]:
    """Return values as the items p0, p1, ..."""
    return [Item(value=v, params={"i": i}, label=f"p{i}", index=i) for i, v in enumerate(values)]


def failure() -> Failed:
    """Return a failed point's value, raised in this file."""
    try:
        raise ValueError("bad lr\nsecond line")
    except ValueError as error:
        return Failed.from_exception(error, task="fit")


def test_collect_lists_values_in_enumeration_order():
    """Arrival does not matter."""
    assert reduce_items(collect(), items("abc")[::-1]) == ["a", "b", "c"]
    assert reduce_items(collect(), []) == []


def test_collect_may_include_failures_in_their_places():
    """By default only good values are listed."""
    points = items(["a", failure(), "c"])

    assert reduce_items(collect(), points) == ["a", "c"]
    found = reduce_items(collect(errors="include"), points)
    assert [type(value) for value in found] == [str, Failed, str]
    with pytest.raises(ReducerError, match="not known"):
        collect(errors="all")  # type: ignore[arg-type]


def test_reduce_folds_in_order_with_a_fresh_start():
    """A start value that can change is copied, a function is called."""
    listing = reduce([], lambda seen, value: [*seen, value])
    growing = reduce([], lambda seen, value: seen.append(value) or seen)

    assert reduce_items(listing, items("abc")) == ["a", "b", "c"]
    assert reduce_items(growing, items("ab")) == reduce_items(growing, items("ab")) == ["a", "b"]
    assert reduce_items(reduce(Counter, lambda seen, v: seen + Counter([v])), items("aab")) == Counter(a=2, b=1)
    assert reduce(0, max, max).merge is max
    with pytest.raises(ReducerError, match="needs functions"):
        reduce(0, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("collect", collect()),
        ("collect_all", collect()),
        ("collect:errors=include", collect(errors="include")),
        ("best:max=auc", best(max="auc")),
        ("best_metric:max=auc.mean", best(max="auc.mean")),
        ("worst_metric: min = loss", worst(min="loss")),
        ("top:5,min=loss", top(5, min="loss")),
        ("top:n=5,min=loss", top(5, min="loss")),
        ("mean", mean()),
        ("average_metrics:auc,loss,nan=skip", mean("auc", "loss", nan="skip")),
        ("majority_vote", vote()),
        ("vote:label,tie=smallest,quorum=0.5", vote("label", tie="smallest", quorum=0.5)),
    ],
)
def test_reducers_have_names(text: str, expected: Reducer[Any, Any]):
    """A name with arguments is the call it abbreviates."""
    assert reducer_from(text) == expected


@pytest.mark.parametrize("text", ["best", "best_metric", "worst", "top:3"])
def test_names_need_their_direction_too(text: str):
    """A name without a direction says how to write it."""
    with pytest.raises(ReducerError, match="needs a direction"):
        reducer_from(text)


def test_unknown_names_suggest_near_ones():
    """So do arguments that do not fit."""
    with pytest.raises(ReducerError, match="no reducer 'colect'") as caught:
        reducer_from("colect")
    assert "'collect'" in caught.value.hint
    with pytest.raises(ReducerError, match="cannot be made"):
        reducer_from("best:auc")
    with pytest.raises(ReducerError, match="cannot be made"):
        reducer_from("top")


def test_reducers_and_functions_are_taken_as_they_are():
    """A function of the list of values is a reducer; a maker that was not called is a mistake."""
    reducer = mean("a")

    assert reducer_from(reducer) is reducer
    assert reducer_from(sum) is sum
    with pytest.raises(ReducerError, match="made by a call") as caught:
        reducer_from(best)
    assert "best(...)" in caught.value.hint
    with pytest.raises(ReducerError, match="not a reducer"):
        reducer_from(3)


def test_long_names_are_the_same_functions():
    """Aliases, not copies."""
    assert module.best_metric is best
    assert module.worst_metric is worst
    assert module.average_metrics is mean
    assert module.majority_vote is vote
    assert module.collect_all is collect


def test_every_reducer_has_a_short_name():
    """The name shows on nodes."""
    made = [collect(), best(max="a"), worst(max="a"), top(2, max="a"), mean(), vote(), reduce(0, max)]

    assert [one.name for one in made] == ["collect", "best", "worst", "top", "mean", "vote", "reduce"]
    assert isinstance(made[-1], Fold)


@pytest.mark.parametrize(
    ("n_ok", "n_total", "min_ok"), [(9, 10, 0.9), (7, 100, 0.07), (5, 9, 5), (0, 0, 1.0), (0, 3, None), (3, 3, 1.0)]
)
def test_enough_good_points_pass(n_ok: int, n_total: int, min_ok: Any):
    """A share of all points, or a number of them."""
    check_min_ok(n_ok, n_total, min_ok)


@pytest.mark.parametrize(
    ("n_ok", "n_total", "min_ok", "needed"),
    [
        (8, 10, 0.9, "9 (0.9 of 10)"),
        (4, 9, 5, "5"),
        (2, 3, 1.0, "3 (1 of 3)"),
        (0, 3, 1, "1"),
        (3, 7, 0.5, "4 (0.5 of 7)"),
    ],
)
def test_too_few_good_points_are_refused(n_ok: int, n_total: int, min_ok: Any, needed: str):
    """The error says how many would be needed; 1 is one point, 1.0 is all."""
    with pytest.raises(ReducerError, match=f"{n_ok} of {n_total}") as caught:
        check_min_ok(n_ok, n_total, min_ok)
    assert caught.value.facts["needed"] == needed


@pytest.mark.parametrize("min_ok", [True, -1, 1.5, -0.1])
def test_an_impossible_min_ok_is_refused(min_ok: Any):
    """Neither a number of points nor a share."""
    with pytest.raises(ReducerError, match="neither a number of points nor a share"):
        check_min_ok(1, 1, min_ok)


def test_a_failed_point_tells_what_happened_in_words():
    """Type, message, place and traceback, without keeping the exception."""
    failed = failure().at(params={"lr": 9}, index=3, label="lr=9")

    assert (failed.error_type, failed.message, failed.task) == ("ValueError", "bad lr\nsecond line", "fit")
    assert (failed.params, failed.index, failed.label) == ({"lr": 9}, 3, "lr=9")
    assert failed.where.partition(":")[0] == __file__
    assert "raise ValueError" in failed.traceback
    assert repr(failed) == "Failed('lr=9': ValueError: bad lr)"
    assert pickle.loads(pickle.dumps(failed)) == failed


def test_a_failed_point_counts_by_what_went_wrong():
    """Neither place nor traceback belong to its identity as an input."""
    first = Failed.from_exception(ValueError("x"), task="t")

    assert first.__flowlib_digest__() == failure_digest("x")
    assert failure().__flowlib_digest__() != failure_digest("x")


def failure_digest(message: str) -> object:
    """Return the digest form of an exception raised nowhere."""
    return Failed.from_exception(ValueError(message), task="t", label="other").__flowlib_digest__()


def test_a_broken_message_does_not_hide_the_failure():
    """An exception whose text cannot be made is still a failure."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert Failed.from_exception(Broken()).message == "(its message raised RuntimeError)"


def test_merge_folds_in_chunks_with_the_same_result() -> None:
    """With merge, no accumulator sees more than a chunk, and the result is that of one long fold."""
    largest = [0]

    def add(seen: list[int], value: int) -> list[int]:
        largest[0] = max(largest[0], len(seen))
        return [*seen, value]

    items = [Item(value=v, params={}, label=str(v), index=v) for v in range(3000)]
    folded = reduce_items(reduce(list, add, merge=lambda left, right: left + right), items)

    assert folded == list(range(3000))
    assert largest[0] < 1024


def test_a_reducer_is_a_function_of_values():
    """Called with plain values it gives what it would give for the points that made them."""
    assert best(max="value")([3, 5, 4]).value == 5
    assert top(2, min="value")([3, 5, 4]).values == [3, 4]
    assert collect()(iter("ab")) == ["a", "b"]
    assert mean()([1.0, 2.0])["value"].mean == 1.5
    assert best(max="value")([3, failure()]).failed == ("1",)
