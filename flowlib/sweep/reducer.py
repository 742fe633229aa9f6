"""What a reducer is: a frozen value that folds a stream of points into one result.

Theory of operation: `start` makes an accumulator, `add` takes one point at a time, `finish` makes the result. Points
come in enumeration order and are let go after each, so a reducer decides how much is held. Failed points are counted
in the context of `finish`; only a reducer that wants them gets them in `add`.

Invariant: built-in results do not depend on the order in which points are added; ties go by the points' index. The
reducer never changes, so its digest says what it computes; all state is in the accumulator.
"""

from abc import ABC, abstractmethod
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from flowlib.errors import ReducerError
from flowlib.sweep.failed import Failed
from flowlib.sweep.point import Row
from flowlib.sweep.text import listed, short_repr

R = TypeVar("R")
S = TypeVar("S")


class Item(Generic[R]):
    """One point with its value. A plain class: one is made for every point of a sweep.

    Args:
        value: What the task returned.
        params: The point's parameters by name, or its row, of which they are made when they are asked for.
        label: The point's label.
        index: Position in the enumeration; different for every item of a sweep.
        key: The point's key, if known.

    >>> Item(value=3, params={"x": 1}, label="x=1", index=0).params["x"]
    1
    """

    __slots__ = ("_params", "index", "key", "label", "value")

    def __init__(
        self, value: R, params: Mapping[str, object] | Row, label: str, index: int, key: str | None = None
    ) -> None:
        self.value = value
        self._params = params
        self.label = label
        self.index = index
        self.key = key

    @property
    def params(self) -> Mapping[str, object]:
        """The point's parameters by name."""
        params = self._params
        return dict(zip(params[0].names, params[1], strict=True)) if isinstance(params, tuple) else params

    def __repr__(self) -> str:
        return f"Item({self.label!r}, value={short_repr(self.value)}, index={self.index})"


@attrs.frozen(kw_only=True)
class ReduceContext:
    """What a reducer is told beside the items it was given."""

    n_total: int
    """Points of the sweep, good and failed."""
    failed: tuple[Failed, ...] = ()

    @property
    def failed_labels(self) -> tuple[str, ...]:
        """Labels of the failed points, in enumeration order."""
        return tuple(failure.label for failure in self.failed)


class Reducer(ABC, Generic[R, S]):
    """Folds points with values of type R into a result of type S. Subclasses are frozen attrs classes."""

    __slots__ = ()

    wants_failed = False
    """Whether `add` is called for failed points too, with a `Failed` as the item's value."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, as in `best`."""

    @abstractmethod
    def start(self) -> Any:
        """Return a new accumulator."""

    @abstractmethod
    def add(self, accumulator: Any, item: Item[Any]) -> Any:
        """Take one point; return the accumulator to go on with, which may be the same object, changed."""

    @abstractmethod
    def finish(self, accumulator: Any, context: ReduceContext) -> S:
        """Return the result.

        Raises:
            ReducerError: There is no honest answer.
        """

    def __call__(self, values: Iterable[R], /) -> S:
        """Reduce plain values, as `fan_in` would reduce the points that gave them.

        >>> from flowlib.sweep.reduce import best
        >>> best(max="value")([3, 5, 4]).label
        '1'
        """
        return reduce_items(
            self, (Item(value=value, params={}, label=str(i), index=i) for i, value in enumerate(values))
        )


def reduce_items(reducer: Reducer[R, S], items: Iterable[Item[Any]]) -> S:
    """Fold items in one pass; values that are `Failed` count as failed points.

    >>> from flowlib.sweep.reduce import best
    >>> reduce_items(best(max="value"), [Item(value=v, params={}, label=str(v), index=v) for v in range(3)]).score
    2
    """
    accumulator = reducer.start()
    failed: list[Failed] = []
    n_total = 0
    for item in items:
        n_total += 1
        if isinstance(item.value, Failed):
            failed.append(item.value.at(params=item.params, index=item.index, label=item.label))
            if not reducer.wants_failed:
                continue
        accumulator = reducer.add(accumulator, item)
    failed.sort(key=lambda failure: failure.index)
    return reducer.finish(accumulator, ReduceContext(n_total=n_total, failed=tuple(failed)))


def refuse_odd_min_ok(min_ok: object) -> None:
    """Raise ReducerError for what is neither None, a number of points, nor a share of them."""
    is_count = isinstance(min_ok, int) and not isinstance(min_ok, bool) and min_ok >= 0
    is_share = isinstance(min_ok, float) and 0 <= min_ok <= 1
    if min_ok is not None and not is_count and not is_share:
        raise ReducerError(
            f"min_ok={min_ok!r} is neither a number of points nor a share.",
            {},
            "Write min_ok=5 for five points, min_ok=0.9 for nine of ten.",
        )


def check_min_ok(n_ok: int, n_total: int, min_ok: int | float | None) -> None:
    """Raise ReducerError when fewer points are good than asked for.

    Args:
        n_ok: good points.
        n_total: all points.
        min_ok: a number of points (int) or a share of them (float from 0 to 1); None asks for nothing.

    >>> check_min_ok(9, 10, 0.9)
    """
    if min_ok is None:
        return
    refuse_odd_min_ok(min_ok)
    is_share = isinstance(min_ok, float)
    needed = min_ok * n_total if is_share else min_ok
    if n_ok < needed and not (is_share and n_ok >= round(needed, 9)):  # 0.07 * 100 is a little more than 7
        share = f" ({min_ok:.6g} of {n_total})" if is_share else ""
        raise ReducerError(
            f"Too few points are good for a reduction: {n_ok} of {n_total}.",
            {"needed": f"{-int(-round(needed, 9) // 1) if is_share else min_ok}{share}"},
            "Look at .failed of the sweep's result for the reasons, or lower min_ok.",
        )


def no_answer(what: str, context: ReduceContext, facts: Mapping[str, object], hint: str) -> ReducerError:
    """Make an error for a reduction without an answer; its facts say how many points failed, and of what."""
    shown: dict[str, object] = {"points": context.n_total, **facts}
    if context.failed:
        reasons = Counter(f"{failure.error_type}: {failure.message[:80]}" for failure in context.failed)
        texts = [f"{count} x {reason}" for reason, count in reasons.most_common(3)]
        shown["failed"] = f"{len(context.failed)}\n" + "\n".join(texts)
    return ReducerError(what, shown, hint)


class FirstLabels:
    """The labels of the points with the smallest indexes, at most `limit` of them, and how many there are in all."""

    __slots__ = ("_limit", "_pairs", "n")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pairs: list[tuple[int, str]] = []
        self.n = 0

    def add(self, index: int, label: str) -> None:
        """Count a point and keep its label if it is among the first."""
        self.n += 1
        if len(self._pairs) < self._limit or index < self._pairs[-1][0]:
            insort(self._pairs, (index, label))
            del self._pairs[self._limit :]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels kept, in enumeration order."""
        return tuple(label for _, label in self._pairs)

    def __str__(self) -> str:
        return listed(self.labels, self.n)
