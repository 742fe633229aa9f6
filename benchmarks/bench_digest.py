"""What a digest costs, beside pickling, joblib's hash and the raw speed of XXH3-128.

Pickling is the floor of whatever has to look at each item. Run `pytest benchmarks/bench_digest.py --benchmark-group-by=group --benchmark-columns=min,median`.
"""

import functools
import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import xxhash

from flowlib.hashing.canonical import digest_value

MILLION = 1_000_000


@functools.cache
def value_of(group: str) -> Any:
    """Return the value of a group, made once."""
    if group == "digest 1M floats":
        return np.random.default_rng(0).random(MILLION).tolist()
    if group == "digest 1M ints":
        return list(range(MILLION))
    if group == "digest 1M large ints":
        return np.random.default_rng(0).integers(-(1 << 60), 1 << 60, MILLION).tolist()
    if group == "digest 1M texts":
        return [f"item {i}" for i in range(MILLION)]
    if group == "digest 100 MB array":
        return np.random.default_rng(0).random(100_000_000 // 8)
    if group == "small dict":
        return {"lr": 0.1, "depth": 4, "name": "baseline", "shuffle": True}
    texts = [f"city {i % 5000}" for i in range(200_000)]
    return pd.DataFrame({"id": np.arange(200_000), "city": texts, "note": [text[::-1] for text in texts]})


def dump(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)


def raw(value: Any) -> bytes:
    return xxhash.xxh3_128_digest(value)


GROUPS = {
    "digest 1M floats": [digest_value, dump, joblib.hash],
    "digest 1M ints": [digest_value, dump, joblib.hash],
    "digest 1M large ints": [digest_value, dump, joblib.hash],
    "digest 1M texts": [digest_value, dump, joblib.hash],
    "digest 100 MB array": [digest_value, dump, joblib.hash, raw],
    "small dict": [digest_value, dump, joblib.hash],
    "frame with text columns": [digest_value, dump, joblib.hash],
}
CASES = [pytest.param(group, way, id=f"{group}: {way.__name__}") for group, ways in GROUPS.items() for way in ways]


@pytest.mark.parametrize(("group", "way"), CASES)
def test_digest(benchmark: Any, group: str, way: Callable[[Any], object]) -> None:
    """One way to get at all of a value."""
    benchmark.group = group
    value = value_of(group)
    if group == "small dict":
        benchmark(way, value)
    else:
        benchmark.pedantic(way, (value,), rounds=5, warmup_rounds=1)
