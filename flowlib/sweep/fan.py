"""Fan a task out over a space of points, and in again through reducers.

A fan-out is a container of ordinary nodes: one per point, keyed by the task's code and the point's parameters, never by
position, label or sweep. So growing a space runs only the new points. A fan-out over an axis that is itself a node is
*late*: it is one node that returns the fan-out once the axis has a value.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from flowlib.errors import SpaceError, TaskMisused
from flowlib.graph.policy import OnError, policy_with
from flowlib.graph.retry import Retry
from flowlib.graph.site import Site
from flowlib.graph.task import Task
from flowlib.sweep.group import Along, FanOut, FanOutOptions, build_fan_in, build_fan_out
from flowlib.sweep.late import LateFanOut, late_fan_in, late_fan_out
from flowlib.sweep.reduce import Reducer, reducer_from
from flowlib.sweep.reducer import refuse_odd_min_ok
from flowlib.sweep.space import Space, check_against

R = TypeVar("R")
S = TypeVar("S")


def fan_out(
    fn: Callable[..., R],
    *fixed: Any,
    over: Space,
    name: str | None = None,
    limit: int | None = None,
    on_error: OnError | None = None,
    min_ok: int | float | None = None,
    retries: int | Retry | None = None,
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
            values), a node whose value takes the place of a missing one, or a function: of the error, which makes the value
            to go on with, or of the error and the number of attempts, which returns one of these.
        min_ok: How many points (int) or which share of them (float) must be good for a reduction.
        retries: How often a failed point is tried again: a number, or a `Retry`.
        **unavailable: Options that are not there; each is refused by name.

    Raises:
        SpaceError: A parameter is unknown to the task, missing or given twice; the space is empty; two points share a
            label that was asked for.

    Cost: about 0.4 us and 100 bytes a point of a grid of plain values. What makes it a node, 2 us, 160 bytes and 100 more in a
    graph, comes when the nodes are asked for: by a run, a reduction, an index.

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
    refuse_odd_min_ok(min_ok)
    options = FanOutOptions(name=name, limit=limit, on_error=on_error, min_ok=min_ok, retries=retries)
    _check_names(task, fixed, over, site)
    if over.is_static:
        return build_fan_out(task, fixed, over, options, site)
    return late_fan_out(task, fixed, over, options, site)


def _check_names(task: Task[..., Any], fixed: tuple[Any, ...], space: Space, site: Site) -> None:
    signature = task.signature
    if signature.takes_any_name:
        return
    given = set(signature.names[: len(task.bound) + len(fixed)])
    check_against(space, signature.required, given, task.name, str(site))


# A reducer can be called with a list of values, as a task or a function can; so one shape of type covers them all.
@overload
def fan_in(jobs: FanOut[R], reducer: Callable[[list[R]], S], /, *, min_ok: int | float | None = None) -> S: ...
@overload
def fan_in(
    jobs: FanOut[R],
    reducer: Callable[[list[R]], S],
    /,
    *,
    along: str | Sequence[str],
    min_ok: int | float | None = None,
) -> FanOut[S]: ...
@overload
def fan_in(jobs: FanOut[Any], reducer: str, /, *, along: Along = None, min_ok: int | float | None = None) -> Any: ...
@overload
def fan_in(
    jobs: FanOut[Any], /, *, along: None = None, min_ok: int | float | None = None, **named: Reducer[Any, Any] | str
) -> dict[str, Any]: ...
@overload
def fan_in(
    jobs: FanOut[Any],
    /,
    *,
    along: str | Sequence[str],
    min_ok: int | float | None = None,
    **named: Reducer[Any, Any] | str,
) -> FanOut[dict[str, Any]]: ...
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
        raise TaskMisused(
            "fan_in needs a reducer, or several by name.", {}, 'Write fl.fan_in(jobs, fl.best(max="auc")).'
        )
    refuse_odd_min_ok(min_ok)
    chosen: Any = _several(named) if named else reducer_from(reducer)
    if isinstance(jobs, LateFanOut):
        return late_fan_in(jobs, chosen, along, min_ok, site)
    return build_fan_in(jobs, chosen, along, min_ok, site)


def _several(named: dict[str, Any]) -> dict[str, Reducer[Any, Any]]:
    """Return reducers by name; a task or function wants all values at once, so it cannot share a pass with others."""
    chosen = {name: reducer_from(one) for name, one in named.items()}
    for name, one in chosen.items():
        if not isinstance(one, Reducer):
            raise TaskMisused(
                f"{name!r} is not a reducer, so it cannot share a pass with others.",
                {"got": one},
                "Reduce with a task or function alone: fl.fan_in(jobs, fn); or write fl.reduce(start, add).",
            )
    return chosen
