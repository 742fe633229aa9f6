"""Fan a task out over a space of points, and in again through reducers.

A fan-out is a container of ordinary nodes: one per point, keyed by the task's code and the point's parameters, never by
position, label or sweep. So growing a space runs only the new points. A fan-out over an axis that is itself a node is
*late*: it is one node that returns the fan-out once the axis has a value.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import attrs

from flowlib.errors import SpaceError, TaskMisused, near_miss
from flowlib.graph.args import Composite
from flowlib.graph.node import Node
from flowlib.graph.policy import OnError, Policy, Pool, policy_with
from flowlib.graph.site import Site
from flowlib.graph.task import Task
from flowlib.sweep.failed import Failed
from flowlib.sweep.point import Point
from flowlib.sweep.reduce import Reducer, check_min_ok, reducer_from
from flowlib.sweep.reduction import ReduceTask, SweepPoints
from flowlib.sweep.result import SweepResult
from flowlib.sweep.space import Space, check_against, label_points

R = TypeVar("R")
S = TypeVar("S")

Along = str | Sequence[str] | None


@attrs.frozen(kw_only=True, eq=False)
class FanOutOptions:
    """How a fan-out treats its points."""

    name: str | None = None
    limit: int | None = None
    on_error: OnError | None = None
    min_ok: int | float | None = None


class FanOut(Composite, Generic[R]):
    """The nodes of a sweep, one per point, in enumeration order.

    Running it gives a `SweepResult`; passing it to a task gives the list of its good values.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        points: Sequence[Point],
        labels: Sequence[str],
        *,
        task: str,
        min_ok: int | float | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.points = tuple(points)
        self.labels = tuple(labels)
        self.task = task
        self.min_ok = min_ok

    # ---- a container of nodes

    def member_nodes(self) -> Iterable[Node]:
        """Return the nodes, in enumeration order."""
        return self.nodes

    def assemble(self, values: list[Any]) -> SweepResult[R]:
        """Return the result of the sweep: what `flowlib.run` gives."""
        return SweepResult(points=self.points, labels=self.labels, values=tuple(values), task=self.task)

    def argument(self, values: list[Any]) -> Any:
        """Return the good values: what a task receives. Raises ReducerError when fewer than `min_ok` are good."""
        good = [value for value in values if type(value) is not Failed]
        check_min_ok(len(good), len(values), self.min_ok)
        return good

    # ---- looking and choosing

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[R]:
        return iter(self.nodes)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, which: int | str) -> R: ...
    @overload
    def __getitem__(self, which: slice) -> "FanOut[R]": ...
    def __getitem__(self, which: int | str | slice) -> Any:
        """Return the node of a point by position or label, or a smaller fan-out by slice."""
        if isinstance(which, slice):
            return self._chosen(range(len(self))[which])
        if isinstance(which, str):
            if which not in self.labels:
                raise SpaceError(f"The sweep of {self.task!r} has no point {which!r}.", {}, near_miss(which, self.labels))
            return self.nodes[self.labels.index(which)]
        return self.nodes[which]

    def sel(self, **params: object) -> "FanOut[R]":
        """Return the points with these parameter values.

        Raises:
            SpaceError: No point has them.
        """
        chosen = [
            position
            for position, point in enumerate(self.points)
            if all(name in point.params and _equal(point.params[name], value) for name, value in params.items())
        ]
        if not chosen:
            wanted = ", ".join(f"{name}={value!r}" for name, value in params.items())
            raise SpaceError(f"The sweep of {self.task!r} has no point with {wanted}.", {}, "Look at .labels.")
        return self._chosen(chosen)

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:3]) + (", ..." if len(self) > 3 else "")
        return f"<fan-out of {self.task} over {len(self)} points: {shown}>"

    def _chosen(self, positions: Iterable[int]) -> "FanOut[R]":
        chosen = list(positions)
        return FanOut(
            [self.nodes[p] for p in chosen],
            [self.points[p] for p in chosen],
            [self.labels[p] for p in chosen],
            task=self.task,
            min_ok=self.min_ok,
        )


def fan_out(
    fn: Callable[..., R],
    *fixed: Any,
    over: Space,
    name: str | None = None,
    limit: int | None = None,
    on_error: OnError | None = None,
    min_ok: int | float | None = None,
    **unavailable: object,
) -> FanOut[R]:
    """Call a task once for each point of a space; nothing runs yet.

    Args:
        fn: The task, or a plain function to make one of.
        *fixed: Positional arguments that are the same for every point; nodes are computed once.
        over: The space; its parameter names are checked against the task's signature now.
        name: Template of the labels, such as "{model}-{lr:g}". Labels are for people, never part of the identity.
        limit: How many points may run at once.
        on_error: "stop" (start nothing new), "continue" (other branches go on), "keep" (failed points stay as `Failed`
            values), or a function that makes the value to go on with.
        min_ok: How many points (int) or which share of them (float) must be good for a reduction.

    Raises:
        SpaceError: A parameter is unknown to the task, missing or given twice; the space is empty; two points share a
            label that was asked for.

    Cost: one node per point, about 5 us each.

    >>> from flowlib.graph.task import task
    >>> from flowlib.sweep.space import grid
    >>> @task
    ... def fit(data: list[int], lr: float, depth: int = 2) -> float:
    ...     return sum(data) * lr / depth
    >>> fan_out(fit, [1, 2], over=grid(lr=[0.1, 0.2]))
    <fan-out of fit over 2 points: lr=0.1, lr=0.2>
    """
    frame = sys._getframe(1)
    site = Site(frame.f_code, frame.f_lasti)
    task = fn if isinstance(fn, Task) else Task(fn)
    if unavailable:
        policy_with(task.policy, dict(unavailable), task=task.name, parameters=())
        raise TaskMisused(f"fan_out has no option {next(iter(unavailable))!r}.", {}, "Vary parameters with over=.")
    if not isinstance(over, Space):
        raise SpaceError(f"over= needs a space, not {type(over).__name__!r}.", {}, "Write over=fl.grid(lr=[0.1, 0.2]).")
    options = FanOutOptions(name=name, limit=limit, on_error=on_error, min_ok=min_ok)
    _check_names(task, fixed, over, site)
    if over.is_static:
        return build_fan_out(task, fixed, over, options, site)
    from flowlib.sweep.late import late_fan_out  # late fan-outs are built from static ones

    return late_fan_out(task, fixed, over, options, site)


def build_fan_out(
    task: Task[..., R], fixed: tuple[Any, ...], space: Space, options: FanOutOptions, site: Site
) -> FanOut[R]:
    """Make the nodes of a space whose points are known."""
    points = tuple(space)
    if not points:
        raise SpaceError(f"The space of {task.name!r} has no points.", {"at": site}, "Give every axis a value.")
    labels = tuple(label_points(space, options.name))
    policy = _policy(task, options)
    nodes = [
        task.node((*task.bound, *fixed), dict(point.params), policy, site.code, site.offset, label)
        for point, label in zip(points, labels, strict=True)
    ]
    return FanOut(nodes, points, labels, task=task.name, min_ok=options.min_ok)


def _policy(task: Task[..., Any], options: FanOutOptions) -> Policy:
    changes: dict[str, Any] = {}
    if options.limit is not None:
        if options.limit < 1:
            raise TaskMisused(f"limit={options.limit} lets no point of {task.name!r} run.", {}, "Give at least 1.")
        changes["pool"] = Pool(name=f"{task.name} limit {id(options)}", slots=options.limit)
    if options.on_error is not None:
        changes["on_error"] = options.on_error
    return policy_with(task.policy, changes, task=task.name, parameters=task.signature.names)


def _check_names(task: Task[..., Any], fixed: tuple[Any, ...], space: Space, site: Site) -> None:
    signature = task.signature
    if signature.takes_any_name:
        return
    given = set(signature.names[: len(task.bound) + len(fixed)])
    check_against(space, signature.required, given, task.name, str(site))


def _equal(left: object, right: object) -> bool:
    return type(left) is type(right) and bool(left == right) or (isinstance(left, (int, float)) and left == right)


@overload
def fan_in(jobs: FanOut[R], reducer: Reducer[R, S], /, *, min_ok: int | float | None = None) -> S: ...
@overload
def fan_in(
    jobs: FanOut[R], reducer: Reducer[R, S], /, *, along: str | Sequence[str], min_ok: int | float | None = None
) -> FanOut[S]: ...
@overload
def fan_in(jobs: FanOut[R], reducer: Callable[[list[R]], S], /, *, min_ok: int | float | None = None) -> S: ...
@overload
def fan_in(jobs: FanOut[R], reducer: str, /, *, along: Along = None, min_ok: int | float | None = None) -> Any: ...
@overload
def fan_in(
    jobs: FanOut[R], /, *, along: Along = None, min_ok: int | float | None = None, **named: Reducer[R, Any]
) -> dict[str, Any]: ...
def fan_in(
    jobs: FanOut[Any],
    reducer: Any = None,
    /,
    *,
    along: Along = None,
    min_ok: int | float | None = None,
    **named: Any,
) -> Any:
    """Reduce the points of a fan-out; nothing runs yet.

    Args:
        jobs: The fan-out.
        reducer: A reducer (`best(max="auc")`, `mean("auc")`, ...), its name, or any task or function of the list of
            values. Reducers see points in enumeration order, so the result does not depend on who finished first.
        along: Names of the parameters to reduce; the others stay, and the result is a smaller fan-out.
        min_ok: How many points (int) or which share of them (float) must be good; the fan-out's own unless given.
        **named: Several reducers in one pass; the result is a dict.

    Raises:
        ReducerError: A reducer is unknown or lacks what it needs, such as a direction.
        SpaceError: `along` names a parameter the points do not have.

    >>> from flowlib.sweep.reduce import best
    >>> from flowlib.sweep.space import grid
    >>> def square(x: int) -> int:
    ...     return x * x
    >>> fan_in(fan_out(square, over=grid(x=[1, 2, 3])), best(max="value"))  # doctest: +ELLIPSIS
    <node best(square)(...) made at ...>
    """
    frame = sys._getframe(1)
    site = Site(frame.f_code, frame.f_lasti)
    if not isinstance(jobs, FanOut):
        raise TaskMisused(
            f"fan_in needs a fan-out, not {type(jobs).__name__!r}.", {}, "Write fl.fan_in(fl.fan_out(...), ...)."
        )
    if (reducer is None) == (not named):
        raise TaskMisused("fan_in needs a reducer, or several by name.", {}, 'Write fl.fan_in(jobs, fl.best(max="auc")).')
    chosen: Any = {name: reducer_from(one) for name, one in named.items()} if named else reducer_from(reducer)
    from flowlib.sweep.late import LateFanOut, late_fan_in  # late fan-ins are built from static ones

    if isinstance(jobs, LateFanOut):
        return late_fan_in(jobs, chosen, along, min_ok, site)
    return build_fan_in(jobs, chosen, along, min_ok, site)


def build_fan_in(jobs: FanOut[Any], reducer: Any, along: Along, min_ok: int | float | None, site: Site) -> Any:
    """Make the nodes that reduce a fan-out whose points are known."""
    wanted = jobs.min_ok if min_ok is None else min_ok
    if along is None:
        return _reduce_node(jobs, reducer, wanted, site)
    names = (along,) if isinstance(along, str) else tuple(along)
    known = dict.fromkeys(name for point in jobs.points for name in point.params)
    for name in names:
        if name not in known:
            raise SpaceError(f"The sweep of {jobs.task!r} has no parameter {name!r}.", {}, near_miss(name, known))
    groups: dict[Any, list[int]] = {}
    for position, point in enumerate(jobs.points):
        groups.setdefault(point.without(names).identity, []).append(position)
    parts = [jobs._chosen(positions) for positions in groups.values()]
    points = [
        attrs.evolve(part.points[0].without(names), index=index) for index, part in enumerate(parts)
    ]
    labels = label_points(points, None)
    nodes = [_reduce_node(part, reducer, wanted, site, label) for part, label in zip(parts, labels, strict=True)]
    return FanOut(nodes, points, labels, task=nodes[0]._fl_task.name)


def _reduce_node(
    jobs: FanOut[Any], reducer: Any, min_ok: int | float | None, site: Site, label: str = ""
) -> Node:
    if not isinstance(reducer, (Reducer, dict)):
        task = reducer if isinstance(reducer, Task) else Task(reducer)
        whole = FanOut[Any](jobs.nodes, jobs.points, jobs.labels, task=jobs.task, min_ok=min_ok)
        return task.node((*task.bound, whole), {}, task.policy, site.code, site.offset, label)
    task = ReduceTask.of(reducer, jobs.task)
    points = SweepPoints(jobs.nodes, jobs.points, jobs.labels)
    return task.node((reducer, points, min_ok), {}, task.policy, site.code, site.offset, label)

