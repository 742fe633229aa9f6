"""What the benchmark of executors lets others do: a module of its own, so that every kind of worker can import it."""

import time
from typing import Any


def nothing(x: int) -> int:
    """Cost no time worth mentioning."""
    return x


def spin(seconds: float, x: int = 0) -> int:
    """Compute for so many processor seconds, whatever else the machine does."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        for _ in range(200):
            x = (x * 31 + 7) % 1009
    return x


def large(mb: int) -> Any:
    """Make an array of so many megabytes."""
    import numpy as np

    return np.ones(mb * 125_000)


def first(array: Any) -> float:
    """Look at one number of an array."""
    return float(array[0])


def end(how: int) -> None:
    """End this process by a signal."""
    import os

    os.kill(os.getpid(), how)
