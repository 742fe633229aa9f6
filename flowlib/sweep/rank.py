"""Reducers that rank points by a metric: best, worst, top.

Rules:
    The direction must be said; there is no default. NaN ranks last in both directions: it is counted and never chosen.
    Equal scores go to the point that was enumerated first; the others are listed as ties. Infinities rank as numbers,
    but at least one score must be finite.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import attrs

from flowlib.errors import ReducerError
from flowlib.sweep.metric import Metric, metric_name, reader
from flowlib.sweep.reducer import FirstLabels, Item, ReduceContext, Reducer, no_answer
from flowlib.sweep.text import short_repr

R = TypeVar("R")

LISTED_TIES = 100
"""Labels of tied points that are kept; a constant metric would otherwise list the whole sweep."""
LISTED_NAN = 10


@attrs.frozen(kw_only=True)
class Goal:
    """A metric and whether more of it is better."""

    metric: Metric
    is_max: bool

    def __str__(self) -> str:
        return f"{'max' if self.is_max else 'min'} {metric_name(self.metric)}"


@attrs.frozen(kw_only=True, repr=False)
class Ranked(Generic[R]):
    """One point with the score that ranked it."""

    score: int | float
    params: dict[str, Any]
    value: R
    label: str
    index: int

    def __flowlib_metrics__(self) -> dict[str, object]:
        """Return what further reductions may rank by."""
        return {"score": self.score}

    def __repr__(self) -> str:
        return f"{self.label!r}: {self.score:.6g}"


@attrs.frozen(kw_only=True, repr=False)
class Best(Ranked[R]):
    """The point with the best score, and what it was chosen from."""

    ties: tuple[str, ...] = ()
    """Labels of the other points with the same score, in enumeration order, at most 100."""
    n_ties: int = 0
    n: int
    """Good points, NaN included."""
    n_nan: int = 0
    nan: tuple[str, ...] = ()
    """Labels of the points whose score is NaN, at most 10."""
    failed: tuple[str, ...] = ()
    """Labels of the points that failed."""

    def __repr__(self) -> str:
        parts = [f"score={self.score:.6g}", repr(self.label), f"params={short_repr(self.params, 80)}"]
        parts += [f"value={short_repr(self.value)}", f"n={self.n}", f"ties={self.n_ties}"]
        parts += _troubles(self.n_nan, self.failed)
        return f"Best({', '.join(parts)})"


@attrs.frozen(kw_only=True, repr=False)
class Top(Generic[R]):
    """The best points, the best first. Iterates over them; `values` are their values."""

    ranked: tuple[Ranked[R], ...]
    n: int
    """Good points, NaN included."""
    n_nan: int = 0
    nan: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def values(self) -> list[R]:
        """The values of the points, the best first."""
        return [point.value for point in self.ranked]

    @property
    def labels(self) -> list[str]:
        """The labels of the points, the best first."""
        return [point.label for point in self.ranked]

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, position: int) -> Ranked[R]:
        return self.ranked[position]

    def __repr__(self) -> str:
        more = ", ..." if len(self.ranked) > 5 else ""
        shown = ", ".join(map(repr, self.ranked[:5])) + more
        return f"Top({', '.join([f'[{shown}]', f'n={self.n}', *_troubles(self.n_nan, self.failed)])})"


def _troubles(n_nan: int, failed: tuple[str, ...]) -> list[str]:
    return ([f"n_nan={n_nan}"] if n_nan else []) + ([f"failed={len(failed)}"] if failed else [])


class _Scores:
    """What every ranking counts while points go by."""

    __slots__ = ("is_max", "n", "n_finite", "nan", "read")

    def __init__(self, goal: Goal) -> None:
        self.read: Callable[[Item[Any]], int | float] = reader(goal.metric)
        self.is_max = goal.is_max
        self.n = 0
        self.n_finite = 0
        self.nan = FirstLabels(LISTED_NAN)

    def score(self, item: Item[Any]) -> int | float | None:
        """Return the item's score, None for NaN."""
        score = self.read(item)
        self.n += 1
        if score != score:
            self.nan.add(item.index, item.label)
            return None
        if -math.inf < score < math.inf:
            self.n_finite += 1
        return score

    def check(self, goal: Goal, context: ReduceContext) -> None:
        """Raise ReducerError if no score is finite."""
        if self.n_finite:
            return
        facts: dict[str, object] = {"goal": str(goal), "good": self.n}
        if self.nan.n:
            facts["NaN"] = f"{self.nan.n} ({self.nan})"
        if self.n > self.nan.n:
            facts["infinite"] = self.n - self.nan.n
        hint = "Look at the failed points first." if context.failed else "Check the metric of a single point."
        raise no_answer("No point has a finite score, so none is best.", context, facts, hint)


class _Leader(_Scores):
    """The best item so far and the labels of those that equal it."""

    __slots__ = ("item", "ties", "top")

    def __init__(self, goal: Goal) -> None:
        super().__init__(goal)
        self.item: Item[Any] | None = None
        self.top: int | float = math.nan
        self.ties = FirstLabels(LISTED_TIES)

    def lead(self, item: Item[Any], score: int | float) -> None:
        self.item, self.top = item, score
        self.ties = FirstLabels(LISTED_TIES)

    def tie(self, item: Item[Any], score: int | float) -> None:
        """Take an item whose score equals the leading one; the one with the smaller index leads."""
        leader = self.item
        if leader is not None and item.index < leader.index:
            self.item, self.top, item = item, score, leader  # 1 and 1.0 are equal scores: keep the leader's own
        self.ties.add(item.index, item.label)


@attrs.frozen(kw_only=True, repr=False)
class BestOf(Reducer[Any, Best[Any]]):
    """Keeps the best point. See `best` and `worst`."""

    goal: Goal
    name: str = "best"

    def __repr__(self) -> str:
        return f"BestOf({'worst: ' if self.name == 'worst' else ''}{self.goal})"

    def __call__(self, values: Iterable[R], /) -> Best[R]:
        return super().__call__(values)

    def start(self) -> _Leader:
        return _Leader(self.goal)

    def add(self, accumulator: _Leader, item: Item[Any]) -> _Leader:
        score = accumulator.score(item)
        if score is None:
            return accumulator
        top = accumulator.top
        if score == top:
            accumulator.tie(item, score)
        elif top != top or (score > top) is accumulator.is_max:
            accumulator.lead(item, score)
        return accumulator

    def finish(self, accumulator: _Leader, context: ReduceContext) -> Best[Any]:
        accumulator.check(self.goal, context)
        item = accumulator.item
        assert item is not None
        return Best(
            score=accumulator.top,
            params=dict(item.params),
            value=item.value,
            label=item.label,
            index=item.index,
            ties=accumulator.ties.labels,
            n_ties=accumulator.ties.n,
            n=accumulator.n,
            n_nan=accumulator.nan.n,
            nan=accumulator.nan.labels,
            failed=context.failed_labels,
        )


class _Heap(_Scores):
    """The best items so far, the worst of them at the root."""

    __slots__ = ("entries",)

    def __init__(self, goal: Goal) -> None:
        super().__init__(goal)
        self.entries: list[tuple[int | float, int, Item[Any]]] = []


@attrs.frozen(kw_only=True, repr=False)
class TopOf(Reducer[Any, Top[Any]]):
    """Keeps the n best points. See `top`."""

    goal: Goal
    n: int

    @property
    def name(self) -> str:
        return "top"

    def __repr__(self) -> str:
        return f"TopOf({self.n}, {self.goal})"

    def __call__(self, values: Iterable[R], /) -> Top[R]:
        return super().__call__(values)

    def start(self) -> _Heap:
        return _Heap(self.goal)

    def add(self, accumulator: _Heap, item: Item[Any]) -> _Heap:
        score = accumulator.score(item)
        if score is None:
            return accumulator
        entry = (score if accumulator.is_max else -score, -item.index, item)
        if len(accumulator.entries) < self.n:
            heapq.heappush(accumulator.entries, entry)
        elif entry > accumulator.entries[0]:
            heapq.heapreplace(accumulator.entries, entry)
        return accumulator

    def finish(self, accumulator: _Heap, context: ReduceContext) -> Top[Any]:
        accumulator.check(self.goal, context)
        ranked = [
            Ranked(
                score=key if self.goal.is_max else -key,
                params=dict(item.params),
                value=item.value,
                label=item.label,
                index=item.index,
            )
            for key, _, item in sorted(accumulator.entries, reverse=True)
        ]
        return Top(
            ranked=tuple(ranked),
            n=accumulator.n,
            n_nan=accumulator.nan.n,
            nan=accumulator.nan.labels,
            failed=context.failed_labels,
        )


def goal_of(verb: str, example: str, maximum: Metric | None, minimum: Metric | None) -> Goal:
    """Return the goal said by exactly one of two metrics; raises ReducerError otherwise."""
    if (maximum is None) == (minimum is None):
        problem = "needs a direction" if maximum is None else "has two directions"
        raise ReducerError(
            f"{verb} {problem}.",
            {},
            f'Write {verb}({example}max="auc") if more is better, {verb}({example}min="loss") if less is. '
            'For plain numbers the metric is "value".',
        )
    metric = minimum if maximum is None else maximum
    if not isinstance(metric, str) and not callable(metric):
        raise ReducerError(
            f"{verb} needs a metric's name or a function of the value.",
            {"got": short_repr(metric)},
            'For plain numbers the metric is "value".',
        )
    return Goal(metric=metric, is_max=maximum is not None)


def best(*, max: Metric | None = None, min: Metric | None = None) -> BestOf:  # noqa: A002 (reads as said)
    """Choose the point with the highest (`max=`) or lowest (`min=`) metric.

    Args:
        max: metric to maximise: a name, a dotted path, or a function of the value; "value" for plain numbers.
        min: metric to minimise, instead.

    Returns:
        A reducer whose result is a `Best`: score, params, value, label, index, ties, n, n_nan, failed.

    Raises:
        ReducerError: No direction or two; when reducing: no such metric, or no finite score.

    Cost: holds one value; about 1 us per point.

    >>> best(max="auc")
    BestOf(max auc)
    """
    return BestOf(goal=goal_of("best", "", max, min))


def worst(*, max: Metric | None = None, min: Metric | None = None) -> BestOf:  # noqa: A002
    """Choose the point that `best` with the same direction would choose last (NaN is never chosen).

    The direction says what is good: `worst(max="auc")` is the point with the lowest auc.

    >>> worst(max="auc")
    BestOf(worst: min auc)
    """
    goal = goal_of("worst", "", max, min)
    return BestOf(goal=attrs.evolve(goal, is_max=not goal.is_max), name="worst")


def top(n: int, *, max: Metric | None = None, min: Metric | None = None) -> TopOf:  # noqa: A002
    """Choose the `n` best points, the best first; fewer if fewer have a score that is not NaN.

    Cost: holds `n` values; about 1 us per point.

    >>> top(5, min="loss")
    TopOf(5, min loss)
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ReducerError("top needs a number of points.", {"n": short_repr(n)}, 'Write top(5, max="auc").')
    return TopOf(goal=goal_of("top", "5, ", max, min), n=n)
