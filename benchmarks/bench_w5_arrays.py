"""W4big and W5: a thousand arrays of 1 MB that feed one number, and one large array.

Goals: cold, the thousand at most 1.3x of plainly hashing and saving the same arrays with the same syncing; in a new process
the number is there at once, and memory grows by at most 5 MB, because no array is read. The large array is kept at 70 % or
more of the speed of hash-then-write (at most 1.43x the time), and given back as a private map of the file: the first touch
verifies it, at 80 % or more of the raw speed of XXH3-128 (at most 1.25x of mapping and hashing).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

import flowlib as fl
from benchmarks.compare import LARGE, compare, in_new_process, timed
from benchmarks.peers import bodies, on_floor, on_flowlib

N_ARRAYS = 1_000 if LARGE else 100
LARGE_MB = 400 if LARGE else 100
MB = 1e6


@pytest.mark.benchmark(group="W4big arrays of 1 MB, cold")
def test_arrays_cold(benchmark: Any, places: Iterator[Path]) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.arrays(N_ARRAYS, next(places))),
        {"hash and save": timed(lambda: on_floor.arrays(N_ARRAYS, next(places)))},
        n=N_ARRAYS,
        goals={"hash and save": 1.3},
        rounds=3,
    )


@pytest.mark.benchmark(group="W4big arrays of 1 MB, warm, new process")
def test_arrays_warm(benchmark: Any, tmp_path: Path) -> None:
    """Only the number is wanted."""
    in_new_process("arrays", N_ARRAYS, tmp_path)
    grown_mb = in_new_process("arrays", N_ARRAYS, tmp_path, "grown") / MB
    compare(benchmark, lambda: in_new_process("arrays", N_ARRAYS, tmp_path), {}, n=N_ARRAYS, goals={})
    benchmark.extra_info["grown MB"] = round(grown_mb, 1)
    assert grown_mb < N_ARRAYS / 2, "arrays were read"


@pytest.mark.benchmark(group="W5 one array, cold, us per MB")
def test_large_array_cold(benchmark: Any, places: Iterator[Path]) -> None:
    compare(
        benchmark,
        timed(lambda: on_flowlib.array(LARGE_MB, next(places))),
        {"hash, write, sync": timed(lambda: on_floor.array(LARGE_MB, next(places)))},
        n=LARGE_MB,
        goals={"hash, write, sync": 1 / 0.7},
        rounds=3,
    )


@pytest.mark.benchmark(group="W5 one array, warm, new process, us per MB")
def test_large_array_warm(benchmark: Any, tmp_path: Path) -> None:
    """Opened, and one number of each page summed."""
    in_new_process("array", LARGE_MB, tmp_path / "ours")
    in_new_process("array", LARGE_MB, tmp_path / "floor", peer="floor")
    compare(
        benchmark,
        lambda: in_new_process("array", LARGE_MB, tmp_path / "ours"),
        {"map, unverified": lambda: in_new_process("array", LARGE_MB, tmp_path / "floor", peer="floor")},
        n=LARGE_MB,
        goals={},
    )


@pytest.mark.benchmark(group="W5 one array, verified, us per MB")
def test_verified_first_touch(benchmark: Any, tmp_path: Path) -> None:
    """The array is there and every byte of it was compared with its digest."""
    node = on_flowlib.make_large_array(LARGE_MB)
    load = lambda: bodies.look_at(fl.run(node, cache=tmp_path / "cache", progress=False))
    load()
    path = max((tmp_path / "cache").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)

    def map_and_hash() -> None:
        mapped = np.memmap(path, dtype="uint8", mode="c")
        xxhash.xxh3_128_digest(mapped.data)

    compare(benchmark, timed(load), {"map and hash": timed(map_and_hash)}, n=LARGE_MB, goals={"map and hash": 1.25})
