"""What a sweep gives back: one row per point, in enumeration order."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, overload

import attrs

from flowlib.errors import SpaceError, near_miss
from flowlib.sweep.failed import Failed
from flowlib.sweep.metric import metric_leaves
from flowlib.sweep.point import Point
from flowlib.sweep.reduce import Best, Item, ReduceContext, best

R = TypeVar("R")

_SHOWN = 5
_OUTCOME = ("status", "error")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SweepResult(Generic[R]):
    """The values of a sweep with the parameters they belong to. Failed points are `Failed` values in their places."""

    points: tuple[Point, ...]
    labels: tuple[str, ...]
    values: tuple[Any, ...]
    task: str

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[R]:
        return iter(self.values)

    @overload
    def __getitem__(self, which: int | str) -> R: ...
    @overload
    def __getitem__(self, which: slice) -> "SweepResult[R]": ...
    def __getitem__(self, which: int | str | slice) -> Any:
        """Return a value by position or label, or a part of the result by slice."""
        if isinstance(which, slice):
            return SweepResult(
                points=self.points[which], labels=self.labels[which], values=self.values[which], task=self.task
            )
        if isinstance(which, str):
            if which not in self.labels:
                raise SpaceError(
                    f"The sweep of {self.task!r} has no point {which!r}.", {}, near_miss(which, self.labels)
                )
            return self.values[self.labels.index(which)]
        return self.values[which]

    @property
    def good(self) -> tuple[R, ...]:
        """The values of the points that did not fail."""
        return tuple(value for value in self.values if type(value) is not Failed)

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The points that failed, with their parameters."""
        rows = zip(self.points, self.values, strict=True)
        return tuple(
            value.at(params=dict(point.params), index=point.index) for point, value in rows if type(value) is Failed
        )

    def best(self, *, max: Any = None, min: Any = None) -> Best[R]:  # noqa: A002 (reads as said)
        """Return the best point; see `flowlib.best`.

        Raises:
            ReducerError: No direction, no such metric, or nothing finite.
        """
        reducer: Any = best(max=max) if min is None else best(min=min) if max is None else best(max=max, min=min)
        accumulator = reducer.start()
        for position, value in enumerate(self.values):
            if type(value) is not Failed:
                item = Item(
                    value=value, params=self.points[position].params, label=self.labels[position], index=position
                )
                accumulator = reducer.add(accumulator, item)
        found: Best[R] = reducer.finish(accumulator, ReduceContext(n_total=len(self), failed=self.failed))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per point: its parameters, its metrics, `status` and `error`.

        A metric that has the name of a parameter, `status` or `error`, is called `value.<name>`, a parameter of such a name
        `params.<name>`; values that are plain numbers are `value`.
        """
        return [self._row(position) for position in range(len(self))]

    def frame(self) -> Any:
        """Return the rows as a pandas frame, a polars frame, or the list itself, by what is installed."""
        rows = self.rows()
        try:
            import pandas

            return pandas.DataFrame(rows, index=list(self.labels))
        except ImportError:
            pass
        try:
            import polars

            return polars.DataFrame([{"label": label, **row} for label, row in zip(self.labels, rows, strict=True)])
        except ImportError:
            return rows

    def _row(self, position: int) -> dict[str, Any]:
        params = self.points[position].params
        row = {f"params.{name}" if name in _OUTCOME else name: value for name, value in params.items()}
        value = self.values[position]
        if type(value) is Failed:
            return {**row, "status": "failed", "error": f"{value.error_type}: {value.message}"}
        for name, metric in metric_leaves(value).items():
            row[f"value.{name}" if name in row or name in _OUTCOME else name] = metric
        return {**row, "status": "ok", "error": None}

    def __repr__(self) -> str:
        lines = [f"SweepResult of {self.task}: {len(self)} points, {len(self.failed)} failed"]
        for label, value in list(zip(self.labels, self.values, strict=True))[:_SHOWN]:
            text = repr(value) if type(value) is not Failed else f"failed: {value.error_type}: {value.message}"
            lines.append(f"  {label}: {text[:80]}")
        if len(self) > _SHOWN:
            lines.append(f"  ... and {len(self) - _SHOWN} more")
        return "\n".join(lines)
