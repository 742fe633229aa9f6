"""W8: what keys cost: the version of a task that reaches 2,000 functions in 200 modules, and digests of arguments.

Goals: in a new process, an unchanged project pays at most a tenth of what it paid at first; small arguments at most 3x
`pickle.dumps` and SHA-256; a frame of a million rows, two of its ten columns text, at least 5x faster than `joblib.hash`
(and no slower than dask's `tokenize`, which `python -m benchmarks.peers` measures).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest

from benchmarks.compare import LARGE, compare, in_new_process, timed
from benchmarks.peers import on_floor, on_flowlib, projects

N_MODULES = 200 if LARGE else 50
N_FUNCTIONS = N_MODULES * projects.FUNCTIONS_IN_A_MODULE
N_ROWS = 1_000_000 if LARGE else 200_000
NOWHERE = Path()


@pytest.mark.benchmark(group="W8 code version of a project, us per function")
def test_unchanged_project(benchmark: Any, places: Iterator[Path]) -> None:
    """A new process and an unchanged project, beside a new process and an empty cache."""
    directory = next(places)
    in_new_process("keys", N_MODULES, directory)
    compare(
        benchmark,
        lambda: in_new_process("keys", N_MODULES, directory),
        {
            "first time": lambda: in_new_process("keys", N_MODULES, next(places)),
            "compiling": lambda: in_new_process("keys", N_MODULES, directory, peer="floor"),
        },
        n=N_FUNCTIONS,
        goals={"first time": 0.1},
        rounds=3,
    )


@pytest.mark.benchmark(group="W8 digest of small arguments")
def test_small_arguments(benchmark: Any) -> None:
    n = 2_000
    compare(
        benchmark,
        timed(lambda: on_flowlib.digest_small(n, NOWHERE)),
        {"pickle and SHA-256": timed(lambda: on_floor.digest_small(n, NOWHERE))},
        n=n,
        goals={"pickle and SHA-256": 3.0},
        rounds=15,
    )


@pytest.mark.benchmark(group="W8 digest of a frame, us per row")
def test_frame(benchmark: Any) -> None:
    frame = projects.make_frame(N_ROWS)
    compare(
        benchmark,
        timed(lambda: on_flowlib.frame(N_ROWS, NOWHERE)),
        {"joblib.hash": timed(lambda: joblib.hash(frame))},
        n=N_ROWS,
        goals={"joblib.hash": 0.2},
        rounds=3,
    )
