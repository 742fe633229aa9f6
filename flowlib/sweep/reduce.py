"""Reducers by name, the ones that need no file of their own, and what turns names and functions into reducers.

`collect` and `reduce` are here; `best`, `worst`, `top` (`rank.py`), `mean`, `vote` and `pareto` are offered from here
as well, under their short and their long names.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import attrs

from flowlib.errors import ReducerError, near_miss
from flowlib.sweep.mean import Mean, MeanOf, Stat, mean
from flowlib.sweep.pareto import Pareto, ParetoOf, pareto
from flowlib.sweep.rank import Best, BestOf, Ranked, Top, TopOf, best, top, worst
from flowlib.sweep.reducer import Item, ReduceContext, Reducer, check_min_ok, reduce_items
from flowlib.sweep.text import short_repr
from flowlib.sweep.vote import Vote, VoteOf, vote

R = TypeVar("R")

__all__ = [
    "Best",
    "BestOf",
    "Collect",
    "Fold",
    "Item",
    "Mean",
    "MeanOf",
    "Pareto",
    "ParetoOf",
    "Ranked",
    "ReduceContext",
    "Reducer",
    "Stat",
    "Top",
    "TopOf",
    "Vote",
    "VoteOf",
    "average_metrics",
    "best",
    "best_metric",
    "check_min_ok",
    "collect",
    "collect_all",
    "majority_vote",
    "mean",
    "pareto",
    "reduce",
    "reduce_items",
    "reducer_from",
    "top",
    "vote",
    "worst",
    "worst_metric",
]


@attrs.frozen(kw_only=True)
class Collect(Reducer[Any, list[Any]]):
    """Lists the values. See `collect`."""

    errors: Literal["exclude", "include"] = "exclude"

    @property
    def name(self) -> str:
        return "collect"

    @property
    def wants_failed(self) -> bool:  # type: ignore[override]  # a constant for all other reducers
        return self.errors == "include"

    def __call__(self, values: Iterable[R], /) -> list[R]:
        return super().__call__(values)

    def start(self) -> list[tuple[int, Any]]:
        return []

    def add(self, accumulator: list[tuple[int, Any]], item: Item[Any]) -> list[tuple[int, Any]]:
        accumulator.append((item.index, item.value))
        return accumulator

    def finish(self, accumulator: list[tuple[int, Any]], context: ReduceContext) -> list[Any]:
        return [value for _, value in sorted(accumulator, key=lambda pair: pair[0])]


def collect(errors: Literal["exclude", "include"] = "exclude") -> Collect:
    """List the values in enumeration order.

    Args:
        errors: "exclude" leaves failed points out, "include" puts a `Failed` in their places.

    Cost: holds every value.

    >>> collect().errors
    'exclude'
    """
    if errors not in ("exclude", "include"):
        raise ReducerError(f"errors={errors!r} is not known.", {}, near_miss(str(errors), ("exclude", "include")))
    return Collect(errors=errors)


@attrs.frozen(kw_only=True)
class Fold(Reducer[Any, Any]):
    """Folds values with the user's functions. See `reduce`."""

    initial: Any
    step: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None = None

    @property
    def name(self) -> str:
        return "reduce"

    def start(self) -> "_Folded":
        return _Folded(current=self._fresh())

    def add(self, accumulator: "_Folded", item: Item[Any]) -> "_Folded":
        if self.merge is not None and accumulator.n_in_chunk == _CHUNK:
            accumulator.chunks = [self._merged(accumulator)]
            accumulator.current, accumulator.n_in_chunk = self._fresh(), 0
        accumulator.current = self.step(accumulator.current, item.value)
        accumulator.n_in_chunk += 1
        return accumulator

    def finish(self, accumulator: "_Folded", context: ReduceContext) -> Any:
        return self._merged(accumulator)

    def _fresh(self) -> Any:
        return self.initial() if callable(self.initial) else copy.deepcopy(self.initial)

    def _merged(self, accumulator: "_Folded") -> Any:
        if self.merge is None or not accumulator.chunks:
            return accumulator.current
        return self.merge(accumulator.chunks[0], accumulator.current)


@attrs.define(kw_only=True)
class _Folded:
    """What a fold has so far: earlier chunks merged into one, and the chunk that is being folded."""

    current: Any
    chunks: list[Any] = attrs.field(factory=list)
    n_in_chunk: int = 0


def reduce(start: Any, add: Callable[[Any, Any], Any], merge: Callable[[Any, Any], Any] | None = None) -> Fold:
    """Fold the values with your own functions, in enumeration order, holding only what they hold.

    Args:
        start: the first accumulator: a function that makes it (as `Counter`), or a value, which is copied.
        add: function of accumulator and value that returns the accumulator to go on with.
        merge: function of two accumulators, of earlier and later points, that returns one. With it, points are folded in
            chunks of 1,024 that are merged in order, so an `add` that copies its accumulator copies a small one.

    >>> from collections import Counter
    >>> items = [Item(value=v, params={}, label=v, index=i) for i, v in enumerate("abba")]
    >>> sorted(reduce_items(reduce(Counter, lambda seen, v: seen + Counter([v])), items).items())
    [('a', 2), ('b', 2)]
    """
    if not callable(add) or not (merge is None or callable(merge)):
        raise ReducerError(
            "reduce needs functions.",
            {"add": short_repr(add), "merge": short_repr(merge)},
            "Write reduce(start=0, add=lambda total, value: total + value).",
        )
    return Fold(initial=start, step=add, merge=merge)


best_metric = best
worst_metric = worst
average_metrics = mean
majority_vote = vote
collect_all = collect

_CHUNK = 1024
"""Points folded before their accumulator is merged into the earlier ones."""

_MAKERS: Mapping[str, Callable[..., Reducer[Any, Any]]] = {
    "collect": collect,
    "collect_all": collect,
    "best": best,
    "best_metric": best,
    "worst": worst,
    "worst_metric": worst,
    "top": top,
    "mean": mean,
    "average": mean,
    "average_metrics": mean,
    "vote": vote,
    "majority_vote": vote,
    "pareto": pareto,
}


def reducer_from(reducer: object) -> Any:
    """Return the reducer that is meant by a reducer, a name, a task or a function of the list of values.

    Names may carry arguments after a colon, as they would be written in a call but without quotes:
    `"best:max=auc"`, `"top:5,min=loss"`, `"mean:auc,loss"`, `"vote:label,tie=smallest"`.

    Returns:
        A `Reducer`; tasks and functions come back as they are.

    Raises:
        ReducerError: An unknown name, a name without the direction or metric it needs, or another kind of object.

    >>> reducer_from("best_metric:max=auc")
    BestOf(max auc)
    """
    if isinstance(reducer, Reducer):
        return reducer
    if isinstance(reducer, str):
        return _named(reducer)
    if any(reducer is maker for maker in (*_MAKERS.values(), reduce)):
        raise ReducerError(
            "A reducer is made by a call.",
            {"got": short_repr(reducer)},
            f"Write {getattr(reducer, '__name__', 'it')}(...), with parentheses.",
        )
    if callable(reducer):
        return reducer
    raise ReducerError(
        "This is not a reducer.",
        {"got": short_repr(reducer), "type": type(reducer).__name__},
        'Use best(max="auc"), mean("auc"), vote(), collect(), reduce(start, add), a task, or a function of a list.',
    )


def _named(text: str) -> Reducer[Any, Any]:
    name, _, rest = text.partition(":")
    maker = _MAKERS.get(name.strip())
    if maker is None:
        raise ReducerError(f"There is no reducer {name!r}.", {}, near_miss(name, _MAKERS))
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for piece in filter(None, map(str.strip, rest.split(","))):
        key, equals, word = piece.partition("=")
        if equals:
            kwargs[key.strip()] = _literal(word.strip())
        else:
            args.append(_literal(piece))
    try:
        return maker(*args, **kwargs)
    except TypeError as error:
        hint = (
            f'For example "{name}:max=auc".' if maker in (best, worst) else 'For example "top:5,max=auc", "mean:auc".'
        )
        raise ReducerError(f"Reducer {text!r} cannot be made.", {"reason": error}, hint) from None


def _literal(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
