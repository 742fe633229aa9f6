"""Things to measure with: a project of many modules, a frame, the peak of what Python allocated, memory of the process."""

import contextlib
import functools
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

FUNCTIONS_IN_A_MODULE = 10
PROJECT = "measured_project"


def write_project(directory: Path, n_modules: int) -> Path:
    """Write a package where `mod0.f0` reaches ten functions in each of many modules, unless it is there."""
    package = directory / PROJECT
    if not package.exists():
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        for number in range(n_modules):
            (package / f"mod{number}.py").write_text(_module(number, is_last=number + 1 == n_modules))
    return package


def _module(number: int, *, is_last: bool) -> str:
    """Write ten functions; each uses the next of its own module, the first one of the next module."""
    functions = []
    for place in range(FUNCTIONS_IN_A_MODULE):
        calls = [f"f{place + 1}(x)"] if place + 1 < FUNCTIONS_IN_A_MODULE else []
        calls += [] if is_last or place else [f"mod{number + 1}.f0(x)"]
        functions.append(
            f"def f{place}(x, scale={place}):\n    '''Do step {place}.'''\n    found = [x * n for n in range(scale)]\n"
            f"    for item in found:\n        if item > LIMIT:\n            x += item\n    return {' + '.join(['x', *calls])}\n"
        )
    head = "import math\n" if is_last else f"import math\nfrom . import mod{number + 1}\n"
    return f"{head}LIMIT = {number}\n\n" + "\n\n".join(functions)


@functools.cache
def make_frame(n_rows: int) -> Any:
    """Return a frame of ten columns, two of them text; made once."""
    import numpy as np
    import pandas as pd

    numbers = np.random.default_rng(0)
    columns: dict[str, Any] = {f"number {place}": numbers.random(n_rows) for place in range(8)}
    columns["city"] = [f"city {row % 5000}" for row in range(n_rows)]
    columns["note"] = [f"note {row}" for row in range(n_rows)]
    return pd.DataFrame(columns)


def peak_bytes(do: Callable[[], object]) -> int:
    """Return how much Python had allocated at the peak of a call, above what it had before."""
    do()  # what is imported and opened once is not counted
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        do()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def resident_bytes() -> int:
    """Return what of this process is in memory now, in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def forget_peak() -> None:
    """Let `peak_resident_bytes` begin again, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident_bytes() -> int:
    """Return the most that this process had in memory since `forget_peak`; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
