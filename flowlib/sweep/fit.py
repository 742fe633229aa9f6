"""Check that a space fits the task it is swept over, when the graph is built."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from flowlib.errors import SpaceError, near_miss
from flowlib.sweep.expression import NameSets
from flowlib.sweep.naming import label_points
from flowlib.sweep.point import Point


class Sweepable(Protocol):
    """What is asked of a space."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter name."""

    @property
    def is_static(self) -> bool:
        """Whether its points are known."""

    def name_sets(self) -> NameSets:
        """Return the sets of names that points may set."""

    def __iter__(self) -> Iterator[Point]: ...


def check_against(
    space: Sweepable,
    signature_params: Mapping[str, bool],
    given: Collection[str],
    task_name: str,
    site: str,
    *,
    takes_any_name: bool = False,
) -> None:
    """Raise SpaceError unless every point of the space, with the fixed arguments, is a complete call of the task.

    An unresolved space is checked as far as its parameter names tell.

    Args:
        space: the space to sweep.
        signature_params: the task's parameters: name -> whether a call must give it.
        given: names of the parameters that have a fixed argument.
        task_name: for the message.
        site: `file:line` of the call, for the message.
        takes_any_name: whether the task has `**kwargs`.

    Cost: O(axes); one enumeration if some points may lack a required parameter.

    >>> from flowlib.sweep.space import grid
    >>> check_against(grid(lr=[0.1]), {"data": True, "lr": True, "depth": False}, {"data"}, "fit", "train.py:3")
    """
    for name in space.names:
        if name not in signature_params and not takes_any_name:
            raise SpaceError(
                f"Task {task_name!r} has no parameter {name!r}.",
                {"call": site, "parameters": ", ".join(signature_params) or "none"},
                near_miss(name, signature_params),
            )
        if name in given:
            raise SpaceError(
                f"Parameter {name!r} is both fixed and swept.",
                {"call": site, "task": task_name},
                "Take it out of the arguments or out of the space.",
            )
    required = {name for name, must in signature_params.items() if must and name not in given}
    _check_complete(space, required, task_name, site)


def _check_complete(space: Sweepable, required: set[str], task_name: str, site: str) -> None:
    lacking = [required - names for names in space.name_sets() if required - names]
    if not lacking:
        return
    nowhere = required.difference(space.names)
    if nowhere:
        raise _incomplete("No point of the space sets", nowhere, task_name, site, {})
    if not space.is_static:
        return  # a filter may drop such points; checked again when the axes are known
    for point in space:
        missing = required.difference(point.shape.names)
        if missing:
            label = label_points(space)[point.index]
            raise _incomplete(f"Point {label!r} does not set", missing, task_name, site, {"point": repr(point)})


def _incomplete(start: str, missing: set[str], task_name: str, site: str, facts: dict[str, str]) -> SpaceError:
    names = ", ".join(map(repr, sorted(missing)))
    return SpaceError(
        f"{start} {names}, which task {task_name!r} requires.",
        {"call": site, **facts},
        "Pass it as a fixed argument, add it to the space, or give the parameter a default.",
    )
