"""W4: the flat workload with the cache on: computed, found again by a new process, and its last value alone.

Floor: rows of a bare SQLite table in transactions of a thousand, looked up five hundred at a time, written by hand for this
one function; nothing knows the code, checks a row or waits for another process. The goals of this workload are ratios to
peers (a third of checkpointer cold, a quarter warm, a tenth of diskcache for the last value alone): `python -m
benchmarks.peers` measures those, RESULTS.md shows them. Warm and last value run in new processes, whose start is not counted.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, in_new_process, sizes, timed
from benchmarks.peers import on_floor, on_flowlib

SIZES = sizes(1_000, 10_000, large=(100_000,))


@pytest.mark.benchmark(group="W4 cached, cold")
@pytest.mark.parametrize("n", SIZES)
def test_cold(benchmark: Any, n: int, places: Iterator[Path]) -> None:
    """Every result is new: keyed, called, digested, kept for good."""
    compare(
        benchmark,
        timed(lambda: on_flowlib.cached(n, next(places))),
        {"bare rows": timed(lambda: on_floor.cached(n, next(places)))},
        n=n,
        goals={},
        rounds=3,
    )


@pytest.mark.benchmark(group="W4 cached, warm, new process")
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("workload", ["cached", "final"])
def test_warm(benchmark: Any, n: int, workload: str, tmp_path: Path) -> None:
    """`cached` asks for every value, so every entry is checked and decoded; `final` for the total alone."""
    in_new_process("cached", n, tmp_path / "ours")
    in_new_process("cached", n, tmp_path / "floor", peer="floor")
    compare(
        benchmark,
        lambda: in_new_process(workload, n, tmp_path / "ours"),
        {"bare rows": lambda: in_new_process("cached", n, tmp_path / "floor", peer="floor")},
        n=n,
        goals={},
        rounds=3,
    )


def test_the_floor_keeps_what_it_computed(tmp_path: Path) -> None:
    """A floor that did less than it says would make every ratio look worse."""
    on_floor.cached(50, tmp_path)
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        ((n_rows,),) = connection.execute("SELECT count(*) FROM t").fetchall()
    connection.close()

    assert n_rows == 50
