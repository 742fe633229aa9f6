"""The plain functions that every peer runs, and the answers they must come to. As good as nothing to compute."""

import time
from collections.abc import Callable, Iterator
from typing import Any

WIDTH = 100
ARRAY_ITEMS = 131_072
"""Floats in 1 MiB."""
PAGE_ITEMS = 512
WAIT_S = 0.1


def inc(x: int) -> int:
    """The body of a task that does nothing."""
    return x + 1


def total(xs: Any) -> int:
    """The one task that needs all others."""
    return sum(xs)


def add(*xs: int) -> int:
    """A node of a layer; small, however deep."""
    return sum(xs) % 1009


def make_array(number: int) -> Any:
    """An array of 1 MiB; each is another."""
    import numpy as np

    return np.full(ARRAY_ITEMS, float(number))


def sum_arrays(arrays: Any) -> float:
    """Look at every element."""
    return float(sum(array.sum() for array in arrays))


def make_large_array(mb: int) -> Any:
    """One array of `mb` million bytes."""
    import numpy as np

    return np.arange(mb * 125_000, dtype="float64")


def look_at(array: Any) -> float:
    """Touch every page once: the least that reads all of a mapped file."""
    return float(array[::PAGE_ITEMS].sum())


def wait(seconds: float, *after: Any) -> float:
    """A task that waits for something that is not this processor."""
    time.sleep(seconds)
    return seconds


def dependencies_in(row: int, column: int) -> tuple[int, ...]:
    """Return which columns of the layer above a node of a layer needs: two or three. The first row needs none."""
    if row == 0:
        return ()
    return (column, (column + 7) % WIDTH, (column + 31) % WIDTH) if column % 2 else (column, (column + 7) % WIDTH)


def build_layers(n: int, first: Callable[[int], Any], node: Callable[..., Any]) -> list[Any]:
    """Build the graph of `layers` with a peer's own calls; return its last row."""
    row = [first(column) for column in range(WIDTH)]
    for number in range(1, n // WIDTH):
        row = [node(*[row[above] for above in dependencies_in(number, column)]) for column in range(WIDTH)]
    return row


def _answers(n: int) -> Iterator[tuple[str, Callable[[], float]]]:
    flat = lambda: n * (n + 1) // 2
    yield from ((name, flat) for name in ("flat", "cached", "final"))
    yield from ((name, lambda: n) for name in ("chain", "chain_cached", "waits"))
    yield "layers", lambda: total(build_layers(n, inc, add))
    yield "arrays", lambda: float(ARRAY_ITEMS * n * (n - 1) // 2)
    yield "array", lambda: float(sum(range(0, n * 125_000, PAGE_ITEMS)))


def answer_of(workload: str, n: int) -> float | None:
    """Return what a workload must come to; None where it returns a measurement, or nothing."""
    answer = dict(_answers(n)).get(workload)
    return answer() if answer else None
