"""The reducer that averages metrics: n, mean, standard deviation, standard error, extremes of each.

Invariant: sums are exact, so the result has the same bits in whatever order points are added (`exact.py`).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import attrs

from flowlib.errors import ReducerError, near_miss
from flowlib.sweep.exact import Moments
from flowlib.sweep.metric import (
    MISSING,
    Metric,
    as_number,
    finder,
    metric_leaves,
    metric_name,
    reader,
    unreadable,
)
from flowlib.sweep.rank import LISTED_NAN
from flowlib.sweep.reducer import FirstLabels, Item, ReduceContext, Reducer, no_answer
from flowlib.sweep.text import cut

NanPolicy = Literal["propagate", "skip", "raise"]
MissingPolicy = Literal["error", "skip"]
Weights = Metric | Mapping[str, float]


@attrs.frozen(kw_only=True)
class Stat:
    """What is known about one metric over several points."""

    n: int
    """Numbers that went in."""
    mean: float
    std: float
    """Standard deviation with n - 1 in the denominator; NaN for a single number."""
    sem: float
    """Standard error of the mean."""
    min: float
    max: float
    n_nan: int = 0
    """Points whose metric is NaN, whether or not they went in."""

    def __repr__(self) -> str:
        spread = "" if math.isnan(self.std) else f" ± {self.std:.3g}"
        nan = f", {self.n_nan} NaN" if self.n_nan else ""
        return f"{self.mean:.6g}{spread} (n={self.n}{nan})"


@attrs.frozen(kw_only=True, repr=False)
class Mean:
    """Averages by metric: `result["auc"].mean`, or `result.auc.mean`.

    A metric named like a field of this class is reached by item only.
    """

    metrics: dict[str, Stat]
    n_points: int
    """Good points."""
    failed: tuple[str, ...] = ()
    """Labels of the points that failed."""

    def __getitem__(self, name: str) -> Stat:
        if name not in self.metrics:
            raise KeyError(f"no metric {name!r} was averaged. {near_miss(name, self.metrics)}")
        return self.metrics[name]

    def __getattr__(self, name: str) -> Stat:
        if not name.startswith("_") and name != "metrics" and name in self.metrics:  # unset while unpickling
            return self.metrics[name]
        raise AttributeError(f"no metric {name!r} was averaged", name=name, obj=self)

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    def __flowlib_metrics__(self) -> dict[str, Stat]:
        """Return what further reductions may rank by: "auc.mean", "auc.std", ..."""
        return self.metrics

    def __repr__(self) -> str:
        shown = cut(", ".join(f"{name}={stat!r}" for name, stat in self.metrics.items()), 200)
        failed = f", failed={len(self.failed)}" if self.failed else ""
        return f"Mean({shown}{failed})"


class _Column:
    """One metric while points go by."""

    __slots__ = ("moments", "n_nan", "n_present")

    def __init__(self, *, is_weighted: bool) -> None:
        self.moments = Moments(is_weighted=is_weighted)
        self.n_nan = 0
        self.n_present = 0


class _Columns:
    """All metrics while points go by."""

    __slots__ = ("by_name", "finders", "n", "nan", "skips_nan", "weigh")

    def __init__(self, reducer: "MeanOf") -> None:
        self.by_name = {metric_name(m): _Column(is_weighted=reducer.weights is not None) for m in reducer.metrics}
        self.finders: list[tuple[str, Metric, Callable[[Any], Any]]] = [
            (metric_name(metric), metric, finder(metric)) for metric in reducer.metrics
        ]
        self.weigh = None if reducer.weights is None else weigher(reducer.weights)
        self.n = 0
        self.nan = FirstLabels(LISTED_NAN)
        self.skips_nan = reducer.nan == "skip"


@attrs.frozen(kw_only=True)
class MeanOf(Reducer[Any, Mean]):
    """Averages metrics. See `mean`."""

    metrics: tuple[Metric, ...] = ()
    nan: NanPolicy = "propagate"
    missing: MissingPolicy = "error"
    weights: Weights | None = None

    @property
    def name(self) -> str:
        return "mean"

    def start(self) -> _Columns:
        return _Columns(self)

    def add(self, accumulator: _Columns, item: Item[Any]) -> _Columns:
        accumulator.n += 1
        weight = None if accumulator.weigh is None else accumulator.weigh(item)
        by_name = accumulator.by_name
        for name, number in self._numbers(accumulator, item).items():
            column = by_name.get(name)
            if column is None:
                column = by_name[name] = _Column(is_weighted=weight is not None)
            column.n_present += 1
            if number != number:
                column.n_nan += 1
                accumulator.nan.add(item.index, item.label)
                if accumulator.skips_nan:
                    continue
            if weight is None:
                column.moments.add(number)
            else:
                column.moments.add_weighted(number, weight)
        return accumulator

    def _numbers(self, columns: _Columns, item: Item[Any]) -> Mapping[str, int | float]:
        """Return the item's numbers by metric, all of them if none was named."""
        if not self.metrics:
            return metric_leaves(item.value)
        numbers: dict[str, int | float] = {}
        for name, metric, find in columns.finders:
            found = find(item.value)
            number = found if type(found) is float else as_number(found)
            if number is not None:
                numbers[name] = number
            elif self.missing == "error" or (found is not MISSING and found is not None):
                raise unreadable(metric, item, found)
        return numbers

    def finish(self, accumulator: _Columns, context: ReduceContext) -> Mean:
        self._check(accumulator, context)
        names = [metric_name(metric) for metric in self.metrics] or sorted(accumulator.by_name)
        stats = {name: _stat(accumulator.by_name[name], accumulator.skips_nan) for name in names}
        return Mean(metrics=stats, n_points=accumulator.n, failed=context.failed_labels)

    def _check(self, columns: _Columns, context: ReduceContext) -> None:
        if not any(column.n_present for column in columns.by_name.values()):
            facts = {"good": columns.n}
            hint = "Return a number, a dict or a dataclass with numbers, or name the metric."
            raise no_answer("There is nothing to average.", context, facts, hint)
        if self.nan == "raise" and columns.nan.n:
            raise no_answer("A metric is NaN.", context, {"NaN at": columns.nan}, 'Use nan="skip" to leave it out.')
        partial = sorted(name for name, column in columns.by_name.items() if column.n_present < columns.n)
        if self.missing == "error" and partial:
            present = {name: f"{columns.by_name[name].n_present} of {columns.n} points" for name in partial[:5]}
            hint = 'Use missing="skip" to average it where it is, or name the metrics: mean("auc").'
            raise no_answer(f"Metric {partial[0]!r} is missing at some points.", context, present, hint)


def _stat(column: _Column, skips_nan: bool) -> Stat:
    moments = column.moments
    mean, std, sem = moments.summary()
    is_unknown = moments.n == 0 or (column.n_nan > 0 and not skips_nan)
    low, high = (math.nan, math.nan) if is_unknown else moments.extremes()
    return Stat(n=moments.n, mean=mean, std=std, sem=sem, min=low, max=high, n_nan=column.n_nan)


def weigher(weights: Weights) -> Callable[[Item[Any]], int | float]:
    """Return a function that reads an item's weight: a metric of its value, or by its label in a mapping.

    The returned function raises ReducerError for a weight that is missing, negative or not finite.
    """
    read = _by_label(weights) if isinstance(weights, Mapping) else reader(weights)

    def weigh(item: Item[Any]) -> int | float:
        weight = read(item)
        if not 0 <= weight < math.inf:
            raise ReducerError(
                f"The weight of point {item.label!r} is {weight!r}.", {}, "Weights are finite and not negative."
            )
        return weight

    return weigh


def _by_label(weights: Mapping[str, float]) -> Callable[[Item[Any]], int | float]:
    def read(item: Item[Any]) -> int | float:
        if item.label not in weights:
            raise ReducerError(f"Point {item.label!r} has no weight.", {}, near_miss(item.label, weights))
        return weights[item.label]

    return read


def mean(
    *metrics: Metric,
    nan: NanPolicy = "propagate",
    missing: MissingPolicy = "error",
    weights: Weights | None = None,
) -> MeanOf:
    """Average metrics over points: n, mean, std, sem, min and max of each.

    Args:
        *metrics: names, dotted paths or functions of the value; all numbers found in the values if none is given.
        nan: what a NaN does: "propagate" to the result, "skip" (counted), or "raise".
        missing: whether a point without the metric is an "error" or left out ("skip").
        weights: a metric of the value, or a mapping from point labels to weights, finite and not negative.

    Returns:
        A reducer whose result is a `Mean`; "auc.mean" names a number of it for further reducers.

    Raises:
        ReducerError: A policy is unknown; when reducing: nothing to average, a metric missing or not a number.

    Cost: holds no values; about 2 us per point and metric.

    >>> mean("auc", nan="skip").metrics
    ('auc',)
    """
    if nan not in ("propagate", "skip", "raise"):
        raise ReducerError(f"nan={nan!r} is not known.", {}, near_miss(str(nan), ("propagate", "skip", "raise")))
    if missing not in ("error", "skip"):
        raise ReducerError(f"missing={missing!r} is not known.", {}, near_miss(str(missing), ("error", "skip")))
    names = [metric_name(metric) for metric in metrics]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ReducerError(
            f"Two metrics are named {repeated[0]!r}.", {}, "Name functions with def, or average each metric once."
        )
    return MeanOf(metrics=metrics, nan=nan, missing=missing, weights=weights)
