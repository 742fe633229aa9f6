"""The reducer that keeps every point no other point beats in all metrics at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from flowlib.errors import ReducerError
from flowlib.sweep.metric import Metric, metric_name, reader
from flowlib.sweep.rank import LISTED_NAN, Goal
from flowlib.sweep.reducer import FirstLabels, Item, ReduceContext, Reducer, no_answer
from flowlib.sweep.text import listed

R = TypeVar("R")
Scores = tuple[int | float, ...]


@attrs.frozen(kw_only=True)
class FrontPoint(Generic[R]):
    """One point of the front with its scores by metric name."""

    scores: dict[str, int | float]
    params: dict[str, Any]
    value: R
    label: str
    index: int

    def __flowlib_metrics__(self) -> dict[str, int | float]:
        """Return what further reductions may rank by."""
        return self.scores


@attrs.frozen(kw_only=True, repr=False)
class Pareto(Generic[R]):
    """The points that are not dominated, in enumeration order."""

    points: tuple[FrontPoint[R], ...]
    goals: tuple[str, ...]
    n: int
    n_nan: int = 0
    nan: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def values(self) -> list[R]:
        """The values of the points, in enumeration order."""
        return [point.value for point in self.points]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, position: int) -> FrontPoint[R]:
        return self.points[position]

    def __repr__(self) -> str:
        shown = listed((repr(point.label) for point in self.points), len(self.points))
        return f"Pareto({len(self)} of {self.n} points, {', '.join(self.goals)}: {shown})"


class _Front:
    __slots__ = ("entries", "n", "nan", "readers")

    def __init__(self, goals: Sequence[Goal]) -> None:
        self.readers: list[tuple[Callable[[Item[Any]], int | float], int]] = [
            (reader(goal.metric), 1 if goal.is_max else -1) for goal in goals
        ]
        self.n = 0
        self.nan = FirstLabels(LISTED_NAN)
        self.entries: list[tuple[Scores, Item[Any]]] = []


@attrs.frozen(kw_only=True)
class ParetoOf(Reducer[Any, Pareto[Any]]):
    """Keeps the Pareto front. See `pareto`."""

    goals: tuple[Goal, ...]

    @property
    def name(self) -> str:
        return "pareto"

    def __call__(self, values: Iterable[R], /) -> Pareto[R]:
        return super().__call__(values)

    def start(self) -> _Front:
        return _Front(self.goals)

    def add(self, accumulator: _Front, item: Item[Any]) -> _Front:
        accumulator.n += 1
        scores = tuple([sign * read(item) for read, sign in accumulator.readers])
        if any(score != score for score in scores):
            accumulator.nan.add(item.index, item.label)
            return accumulator
        if any(_dominates(other, scores) for other, _ in accumulator.entries):
            return accumulator
        accumulator.entries = [entry for entry in accumulator.entries if not _dominates(scores, entry[0])]
        accumulator.entries.append((scores, item))
        return accumulator

    def finish(self, accumulator: _Front, context: ReduceContext) -> Pareto[Any]:
        if not accumulator.entries:
            facts = {"good": accumulator.n, "NaN": f"{accumulator.nan.n} ({accumulator.nan})"}
            raise no_answer("No point has all scores.", context, facts, "Check the metrics of a single point.")
        names = [metric_name(goal.metric) for goal in self.goals]
        signs = [1 if goal.is_max else -1 for goal in self.goals]
        entries = sorted(accumulator.entries, key=lambda entry: entry[1].index)
        points = [
            FrontPoint(
                scores={name: sign * score for name, sign, score in zip(names, signs, scores, strict=True)},
                params=dict(item.params),
                value=item.value,
                label=item.label,
                index=item.index,
            )
            for scores, item in entries
        ]
        return Pareto(
            points=tuple(points),
            goals=tuple(map(str, self.goals)),
            n=accumulator.n,
            n_nan=accumulator.nan.n,
            nan=accumulator.nan.labels,
            failed=context.failed_labels,
        )


def _dominates(left: Scores, right: Scores) -> bool:
    """Tell whether `left` is as good everywhere and better somewhere; more is better."""
    return left != right and all(mine >= other for mine, other in zip(left, right, strict=True))


def pareto(
    *,
    max: Metric | Sequence[Metric] = (),  # noqa: A002 (reads as said)
    min: Metric | Sequence[Metric] = (),  # noqa: A002
) -> ParetoOf:
    """Keep the points that no other point beats: as good in every metric and better in one.

    Points with equal scores are all kept; a point with a NaN is counted and left out.

    Args:
        max: one metric or several to maximise, as in `best`.
        min: one metric or several to minimise.

    Raises:
        ReducerError: No metric; when reducing: no such metric, or no point with all scores.

    Cost: holds the values of the front; a point is compared with each of them.

    >>> [str(goal) for goal in pareto(max="auc", min=["seconds", "size"]).goals]
    ['max auc', 'min seconds', 'min size']
    """
    goals = [Goal(metric=metric, is_max=True) for metric in _several(max)]
    goals += [Goal(metric=metric, is_max=False) for metric in _several(min)]
    if not goals:
        raise ReducerError("pareto needs metrics.", {}, 'Write pareto(max="auc", min="seconds").')
    return ParetoOf(goals=tuple(goals))


def _several(metrics: Metric | Sequence[Metric]) -> list[Metric]:
    if isinstance(metrics, str) or callable(metrics):
        return [metrics]
    return list(metrics)
