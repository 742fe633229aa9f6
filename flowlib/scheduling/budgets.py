"""Amounts that nodes compete for beside slots: of pools, of resources, of rates. Whole numbers, counted exactly.

One `Budgets` serves a run and every run inside its tasks, so that limits hold over all of them. Each has its own scheduler,
in its own thread; so everything here is one step under a lock, which the engine provides.

Invariant: what is taken is taken whole or not at all, so nobody holds a part while waiting for another.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Needs = tuple[tuple[str, int], ...]
"""How much of which budgets."""


class Budgets:
    """What there is, and what is left of it.

    Args:
        sizes: How much there is by name; more can be declared later.
        lock: Makes each step one; only needed where several threads use it.

    Attributes:
        n_given: How often something came back: whoever waits for more can tell whether to look again.

    >>> budgets = Budgets({"cpu": 2, "db": 1})
    >>> budgets.take((("cpu", 1), ("db", 1))), budgets.take((("cpu", 1), ("db", 1)))
    (None, 'db')
    >>> budgets.free("cpu")
    1
    """

    __slots__ = ("_free", "_lock", "_sizes", "n_given")

    def __init__(self, sizes: Mapping[str, int] | None = None, lock: AbstractContextManager[Any] | None = None) -> None:
        self._sizes = dict(sizes or {})
        self._free = dict(self._sizes)
        self._lock = lock or nullcontext()
        self.n_given = 0

    def declare(self, name: str, size: int) -> None:
        """Make a budget known. If two declarations of it differ, the smaller number holds: it satisfies both."""
        with self._lock:
            known = self._sizes.get(name)
            if known is None:
                self._sizes[name] = self._free[name] = size
            elif size < known:
                self._sizes[name] = size
                self._free[name] -= known - size

    def size(self, name: str) -> int | None:
        """Return how much there is; None for what was never declared."""
        return self._sizes.get(name)

    def free(self, name: str) -> int:
        """Return how much is left; less than nothing while a budget that has shrunk is still in use."""
        return self._free[name]

    def take(self, needs: Needs) -> str | None:
        """Take amounts, all or none; return the first name of which there is too little, None if all is well."""
        free = self._free
        with self._lock:
            for name, amount in needs:
                if amount > free[name]:
                    return name
            for name, amount in needs:
                free[name] -= amount
            return None

    def give(self, needs: Needs) -> None:
        """Give amounts back."""
        with self._lock:
            for name, amount in needs:
                self._free[name] += amount
            self.n_given += 1
