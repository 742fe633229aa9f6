"""What the calls of a run share: named slots, amounts of a machine's resources, and how many may start in a time."""

import math
import re
from collections.abc import Mapping
from typing import Any

import attrs

from flowlib.errors import TaskMisused

CPU_PARTS = 1000
"""Amounts are counted in whole thousandths, so that 0.1 of a CPU taken ten times is one CPU."""

_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@attrs.frozen(kw_only=True)
class Pool:
    """A named set of slots: at most `slots` nodes that name the same pool run at once.

    >>> Pool(name="db", slots=2)
    Pool(name='db', slots=2)
    """

    name: str
    slots: int = attrs.field()

    @slots.validator
    def _check_slots(self, attribute: object, slots: object) -> None:
        if type(slots) is not int or slots < 1:
            raise TaskMisused(f"Pool {self.name!r} has slots={slots!r}.", {}, "Give a whole number, at least 1.")


@attrs.frozen
class Rate:
    """At most `n` of the nodes that name the same rate start within any `per_s` seconds. Made by `rate`."""

    name: str
    n: int
    per_s: float


def rate(name: str, limit: str) -> Rate:
    """Return a limit on how many calls start in a time: `pool=fl.rate("api", "10/s")`. What waits for it holds no slot.

    Args:
        name: What is protected; all tasks that name it share it.
        limit: A number of starts, and s, min, h or d: at most so many in any such time, not only on average.

    Raises:
        TaskMisused: The limit is not written like that.

    >>> rate("api", "600/min")
    Rate(name='api', n=600, per_s=60.0)
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d*)\s*(s|min|h|d)\s*", limit) if isinstance(limit, str) else None
    if found is None or int(found[1]) < 1 or (found[2].strip("0") == "" and found[2]):
        raise TaskMisused(f"Rate {name!r} has the limit {limit!r}.", {}, 'Write "10/s", "600/min" or "5/10s".')
    return Rate(name, int(found[1]), int(found[2] or 1) * _PERIODS[found[3]])


@attrs.frozen
class Resources:
    """How much of a machine a call takes while it runs.

    >>> resources_from({"cpu": 0.5, "memory": "2 GB"}, "fit")
    Resources(amounts=(('cpu', 500), ('memory', 2000000000)))
    """

    amounts: tuple[tuple[str, int], ...]
    """By name; thousandths, but of memory bytes. Of all machines the same, so that runs can be compared."""

    @property
    def memory_bytes(self) -> int | None:
        """How much memory it may use; None if that was not said."""
        return dict(self.amounts).get("memory")


Shared = Pool | Rate | str


def pool_from(value: Any, task: str) -> Shared | tuple[Shared, ...] | None:
    """Return what `pool=` means: the name of a pool, a `Pool`, a `Rate`, several of them, or None.

    Raises:
        TaskMisused: It is none of these.
    """
    if value is None or isinstance(value, Pool | Rate) or (isinstance(value, str) and value):
        return value
    if isinstance(value, list | tuple) and all(
        isinstance(one, Pool | Rate) or (isinstance(one, str) and one) for one in value
    ):
        return tuple(value) or None
    hint = 'Write pool="db", and how large it is in the settings, or pool=fl.Pool(name="db", slots=2).'
    raise TaskMisused(f"Task {task!r} has pool={value!r}.", {}, hint)


def shared_by(pool: Shared | tuple[Shared, ...] | None) -> tuple[Shared, ...]:
    """Return what a task's `pool` names, one by one."""
    return () if pool is None else pool if isinstance(pool, tuple) else (pool,)


def resources_from(value: Any, task: str) -> Resources | None:
    """Return what `resources=` means: amounts by name, memory in bytes or words such as "2 GB".

    Raises:
        TaskMisused: A name or an amount means nothing.
    """
    if value is None or isinstance(value, Resources):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        hint = 'Write resources={"cpu": 2, "memory": "2 GB"}; other names are sized in the settings.'
        raise TaskMisused(f"Task {task!r} has resources={value!r}.", {}, hint)
    amounts = {name: amount_from(name, amount, f"Task {task!r}") for name, amount in value.items()}
    asked_for = tuple(sorted((name, amount) for name, amount in amounts.items() if amount))
    return Resources(asked_for) if asked_for else None


def amount_from(name: str, value: Any, who: str) -> int:
    """Return an amount of a resource as whole parts: thousandths, but of memory bytes.

    Args:
        name: Of the resource.
        value: A number; of memory also words.
        who: Who says so, for the error.

    Raises:
        TaskMisused: It is no amount.
    """
    if name == "memory" and isinstance(value, str):
        from flowlib.text import parse_bytes

        size_bytes = parse_bytes(value)
        if size_bytes is not None:
            return size_bytes
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return round(value) if name == "memory" else math.ceil(value * CPU_PARTS - 1e-9)
    hint = 'Give bytes, or words such as "2 GB".' if name == "memory" else "Give a number, not negative."
    raise TaskMisused(f"{who} has {name}={value!r} in its resources.", {}, hint)
