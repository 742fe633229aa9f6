"""A reduction as a task: its points come one at a time, in enumeration order, and are let go after each."""

from collections.abc import Iterable, Sequence
from typing import Any

from flowlib.graph.args import Composite
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.sweep.failed import Failed
from flowlib.sweep.point import Point, Points
from flowlib.sweep.reduce import Item, ReduceContext, Reducer, check_min_ok

REDUCTION_VERSION = "fan-in-2"
"""Code version of every reduction; changes only if the meaning of one does, or the form in which points enter its key."""


class SweepPoints(Composite):
    """The points of a fan-out as a reduction needs them: their nodes, parameters and labels."""

    def __init__(self, nodes: Sequence[Node], points: Iterable[Point], labels: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        self.points = Points.of(points)
        self.labels = tuple(labels)

    def member_nodes(self) -> Iterable[Node]:
        """Return the nodes, in enumeration order."""
        return self.nodes

    def identity(self) -> Any:
        """Return what a reduction's result shows beside values: parameters and labels."""
        return (*self.points.columns(), list(self.labels))

    def assemble(self, values: list[Any]) -> Any:
        """Return the values; reductions stream them instead."""
        return values


class ReduceTask(Task[..., Any]):
    """The task behind `fan_in`."""

    streams = True
    own_code = REDUCTION_VERSION

    @classmethod
    def of(cls, reducer: Any, task: str) -> "ReduceTask":
        """Return the task that applies a reducer, or a dict of them, to the points of a task."""
        names = [one.name for one in reducer.values()] if isinstance(reducer, dict) else [reducer.name]
        return cls(_reduce, Policy(name=f"{'+'.join(names)}({task})"))

    def begin(self, args: tuple[Any, ...]) -> "Reduction":
        """Return a new reduction over the points in `args`."""
        reducer, points, min_ok = args
        return Reduction(reducer, points, min_ok)


def _reduce(reducer: Any, points: list[Any], min_ok: int | float | None) -> Any:
    """Give a reduction its parameters; the values come through `ReduceTask.begin`."""


class Reduction:
    """One pass over the points of a sweep.

    Attributes:
        nodes: The points' nodes, in the order in which `add` must be called.
    """

    def __init__(self, reducer: Any, points: SweepPoints, min_ok: int | float | None) -> None:
        self.nodes = points.nodes
        self._is_single = not isinstance(reducer, dict)
        self._reducers: dict[str, Reducer[Any, Any]] = {"": reducer} if self._is_single else reducer
        self._accumulators = {name: one.start() for name, one in self._reducers.items()}
        self._shapes = points.points.shapes
        self._values = points.points.values
        self._labels = points.labels
        self._min_ok = min_ok
        self._failed: list[Failed] = []

    def add(self, position: int, value: Any) -> None:
        """Take the value of the point at a position."""
        item = Item(value, (self._shapes[position], self._values[position]), self._labels[position], position)
        reducers = self._reducers
        if type(value) is Failed:
            item.value = value.at(params=item.params, index=position)
            self._failed.append(item.value)
            reducers = {name: one for name, one in reducers.items() if one.wants_failed}
        accumulators = self._accumulators
        for name, reducer in reducers.items():
            accumulators[name] = reducer.add(accumulators[name], item)

    def finish(self) -> Any:
        """Return the result.

        Raises:
            ReducerError: Too few points are good, or a reducer has no honest answer.
        """
        n_total = len(self.nodes)
        check_min_ok(n_total - len(self._failed), n_total, self._min_ok)
        context = ReduceContext(n_total=n_total, failed=tuple(self._failed))
        results = {name: one.finish(self._accumulators[name], context) for name, one in self._reducers.items()}
        return results[""] if self._is_single else results
