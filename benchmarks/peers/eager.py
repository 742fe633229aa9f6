"""Workloads of the eager memoizers: each call computes or loads at once, so a decorator is all that they differ in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers import bodies

Remember = Callable[[Callable[..., Any], Path], Callable[..., Any]]
"""Return a function that keeps its results in a directory."""


class Eager:
    """The workloads of one memoizer. Peers' modules give its methods their names."""

    def __init__(self, remember: Remember) -> None:
        self._remember = remember

    def cached(self, n: int, directory: Path) -> int:
        inc = self._remember(bodies.inc, directory)
        return bodies.total([inc(number) for number in range(n)])

    def chain_cached(self, n: int, directory: Path) -> int:
        inc, value = self._remember(bodies.inc, directory), 0
        for _ in range(n):
            value = inc(value)
        return value

    def arrays(self, n: int, directory: Path) -> float:
        make_array = self._remember(bodies.make_array, directory)
        return bodies.sum_arrays(make_array(number) for number in range(n))

    def array(self, mb: int, directory: Path) -> float:
        return bodies.look_at(self._remember(bodies.make_large_array, directory)(mb))
