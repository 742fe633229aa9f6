"""A fan-out whose points are known: a container of ordinary nodes, and how it and its reductions are built."""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Generic, TypeVar, overload

import attrs

from flowlib.errors import SpaceError, TaskMisused, near_miss
from flowlib.graph.args import ATOMS, Composite, nodes_in
from flowlib.graph.budget import Pool, shared_by
from flowlib.graph.node import Node, new_node
from flowlib.graph.policy import OnError, Policy, policy_with
from flowlib.graph.site import Site
from flowlib.graph.task import Task
from flowlib.sweep.failed import Failed
from flowlib.sweep.once import Once
from flowlib.sweep.point import Point, Points, Shape, row_identity
from flowlib.sweep.reduce import Reducer, check_min_ok
from flowlib.sweep.reduction import ReduceTask, SweepPoints
from flowlib.sweep.result import SweepResult
from flowlib.sweep.space import Space, label_points

R = TypeVar("R")

Along = str | Sequence[str] | None


@attrs.frozen(kw_only=True, eq=False)
class FanOutOptions:
    """How a fan-out treats its points."""

    name: str | None = None
    limit: int | None = None
    on_error: OnError | None = None
    min_ok: int | float | None = None
    retries: Any = None


class FanOut(Composite, Generic[R]):
    """The nodes of a sweep, one per point, in enumeration order.

    Running it gives a `SweepResult`; passing it to a task gives the list of its good values. Nodes and labels may be
    made when somebody asks for them: until then a point is its values.
    """

    def __init__(
        self,
        nodes: Sequence[Node] | Once[tuple[Node, ...]],
        points: Sequence[Point],
        labels: Sequence[str] | Once[tuple[str, ...]],
        *,
        task: str,
        min_ok: int | float | None = None,
    ) -> None:
        self._nodes = nodes if isinstance(nodes, Once) else Once.of(tuple(nodes))
        self._labels = labels if isinstance(labels, Once) else Once.of(tuple(labels))
        self.points = Points.of(points)
        self.task = task
        self.min_ok = min_ok

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in enumeration order."""
        return self._nodes()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the points, in the same order."""
        return self._labels()

    # ---- a container of nodes

    def member_nodes(self) -> Iterable[Node]:
        """Return the nodes, in enumeration order."""
        return self.nodes

    def assemble(self, values: list[Any]) -> SweepResult[R]:
        """Return the result of the sweep: what `flowlib.run` gives."""
        return SweepResult(points=tuple(self.points), labels=self.labels, values=tuple(values), task=self.task)

    def argument(self, values: list[Any]) -> Any:
        """Return the good values: what a task receives. Raises ReducerError when fewer than `min_ok` are good."""
        good = [value for value in values if type(value) is not Failed]
        check_min_ok(len(good), len(values), self.min_ok)
        return good

    # ---- looking and choosing

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[R]:
        return iter(self.nodes)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, which: int | str) -> R: ...
    @overload
    def __getitem__(self, which: slice) -> "FanOut[R]": ...
    def __getitem__(self, which: int | str | slice) -> Any:
        """Return the node of a point by position or label, or a smaller fan-out by slice."""
        if isinstance(which, slice):
            return self.chosen(range(len(self))[which])
        if isinstance(which, str):
            if which not in self.labels:
                raise SpaceError(
                    f"The sweep of {self.task!r} has no point {which!r}.", {}, near_miss(which, self.labels)
                )
            return self.nodes[self.labels.index(which)]
        return self.nodes[which]

    def sel(self, **params: object) -> "FanOut[R]":
        """Return the points with these parameter values.

        Raises:
            SpaceError: No point has them.
        """
        chosen = [
            position
            for position, point in enumerate(self.points.params())
            if all(name in point and _equal(point[name], value) for name, value in params.items())
        ]
        if not chosen:
            wanted = ", ".join(f"{name}={value!r}" for name, value in params.items())
            raise SpaceError(f"The sweep of {self.task!r} has no point with {wanted}.", {}, "Look at .labels.")
        return self.chosen(chosen)

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:3]) + (", ..." if len(self) > 3 else "")
        return f"<fan-out of {self.task} over {len(self)} points: {shown}>"

    def chosen(self, positions: Iterable[int]) -> "FanOut[R]":
        """Return the points at some positions, in that order."""
        chosen = list(positions)
        return FanOut(
            [self.nodes[p] for p in chosen],
            self.points.chosen(chosen),
            [self.labels[p] for p in chosen],
            task=self.task,
            min_ok=self.min_ok,
        )


def build_fan_out(
    task: Task[..., R], fixed: tuple[Any, ...], space: Space, options: FanOutOptions, site: Site
) -> FanOut[R]:
    """Make the nodes of a space whose points are known."""
    points = _points_of(space)
    if not points:
        raise SpaceError(f"The space of {task.name!r} has no points.", {"at": site}, "Give every axis a value.")
    labels = Once(lambda: tuple(label_points(points, options.name)))
    if options.name is not None:
        labels()  # now, because what is wrong with a template is told to its author
    policy = _policy(task, options)
    calls = _calls(task, (*task.bound, *fixed), points)
    code, offset = site.code, site.offset
    nodes = Once(
        lambda: tuple(map(new_node, repeat(task), *calls(), repeat(code), repeat(offset), repeat(policy), labels()))
    )
    return FanOut(nodes, points, labels, task=task.name, min_ok=options.min_ok)


def _points_of(space: Space) -> Points:
    """Enumerate a space, without a row of its own for each point."""
    shapes: list[Shape] = []
    values: list[tuple[object, ...]] = []
    for shape, row in space.rows():
        shapes.append(shape)
        values.append(row)
    return Points(shapes, values)


_Calls = Callable[[], tuple[Iterable[tuple[Any, ...]], Iterable[tuple[Node, ...]]]]
"""Gives the bound arguments, and the nodes in them, of each point."""


def _calls(task: Task[..., Any], fixed: tuple[Any, ...], points: Points) -> _Calls:
    """Bind the call of each point, fixed arguments by position and parameters by name; what is wrong is told now.

    Points that set the same names are bound alike. Nothing can be wrong with plain values beside the first, and they add
    no nodes to the fixed arguments', so those are bound when they are asked for. Without fixed arguments, a point's
    values in the order of the parameters are its arguments, kept once.
    """
    signature, describe = task.signature, task.signature.describe
    shape = points.shape()
    lane = None if shape is None else signature.lane(len(fixed), shape.names)
    if lane is not None and ATOMS.issuperset(map(type, chain.from_iterable(points.values))):
        deps = nodes_in(lane.of(fixed, points.values[0]), describe)
        return lambda: (map(lane.of, repeat(fixed), points.values), repeat(deps))
    bound: Iterable[tuple[Any, ...]]
    if lane is not None:
        bound = map(lane.of, repeat(fixed), points.values)
    else:
        bound = (signature.bind(fixed, params, task.name) for params in points.params())
    made = [(args, nodes_in(args, describe)) for args in bound]
    return lambda: ([args for args, _ in made], [deps for _, deps in made])


def _policy(task: Task[..., Any], options: FanOutOptions) -> Policy:
    changes: dict[str, Any] = {}
    if options.limit is not None:
        if not isinstance(options.limit, int) or options.limit < 1:
            hint = "Give a whole number, at least 1."
            raise TaskMisused(f"limit={options.limit!r} is not a number of points of {task.name!r}.", {}, hint)
        own = Pool(name=f"{task.name} limit {os.urandom(6).hex()}", slots=options.limit)  # shared with nobody
        changes["pool"] = (*shared_by(task.policy.pool), own)
    for name in ("on_error", "retries"):
        if (value := getattr(options, name)) is not None:
            changes[name] = value
    return policy_with(task.policy, changes, task=task.name, parameters=task.signature.names)


def _equal(left: object, right: object) -> bool:
    return (type(left) is type(right) and bool(left == right)) or (isinstance(left, (int, float)) and left == right)


def build_fan_in(jobs: FanOut[Any], reducer: Any, along: Along, min_ok: int | float | None, site: Site) -> Any:
    """Make the nodes that reduce a fan-out whose points are known."""
    wanted = jobs.min_ok if min_ok is None else min_ok
    if along is None:
        return _reduce_node(jobs, reducer, wanted, site)
    names = (along,) if isinstance(along, str) else tuple(along)
    known = dict.fromkeys(name for shape in dict.fromkeys(jobs.points.shapes) for name in shape.names)
    for name in names:
        if name not in known:
            raise SpaceError(f"The sweep of {jobs.task!r} has no parameter {name!r}.", {}, near_miss(name, known))
    groups = _groups(jobs.points, frozenset(names))
    parts = [jobs.chosen(positions) for positions in groups]
    points = [attrs.evolve(part.points[0].without(names), index=index) for index, part in enumerate(parts)]
    labels = label_points(points, None)
    nodes = [_reduce_node(part, reducer, wanted, site, label) for part, label in zip(parts, labels, strict=True)]
    return FanOut(nodes, points, labels, task=nodes[0]._fl_task.name)


def _groups(points: Points, dropped: frozenset[str]) -> list[list[int]]:
    """Return the positions of the points that are one point when some parameters are taken away."""
    rests = {shape: shape.without(dropped) for shape in dict.fromkeys(points.shapes)}
    kept = {shape: [i for i, name in enumerate(shape.names) if name not in dropped] for shape in rests}
    groups: dict[Hashable, list[int]] = {}
    memo: dict[int, tuple[object, Hashable]] = {}
    for position, (shape, values) in enumerate(points.rows()):
        row = rests[shape], tuple([values[i] for i in kept[shape]])
        groups.setdefault(row_identity(row, memo), []).append(position)
    return list(groups.values())


def _reduce_node(jobs: FanOut[Any], reducer: Any, min_ok: int | float | None, site: Site, label: str = "") -> Node:
    if not isinstance(reducer, (Reducer, dict)):
        task = reducer if isinstance(reducer, Task) else Task(reducer)
        whole = FanOut[Any](jobs.nodes, jobs.points, jobs.labels, task=jobs.task, min_ok=min_ok)
        return task.node((*task.bound, whole), {}, task.policy, site.code, site.offset, label)
    task = ReduceTask.of(reducer, jobs.task)
    points = SweepPoints(jobs.nodes, jobs.points, jobs.labels)
    return task.node((reducer, points, min_ok), {}, task.policy, site.code, site.offset, label)
