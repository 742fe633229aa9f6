"""What a digest costs, beside pickling, joblib's hash, dask's tokenize (if it is installed) and the raw speed of XXH3-128.

Pickling is the floor of whatever has to look at each item; of a small argument set, pickling with a SHA-256. Run `pytest benchmarks/bench_digest.py --benchmark-group-by=group --benchmark-columns=min,median`.
"""

import functools
import hashlib
import importlib.util
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
SCALARS: dict[str, Any] = {"an int": 1234, "a float": 0.37, "a text": "item 1234", "small tuple": (1234, "a", 0.5)}


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
    if group in SCALARS:
        return SCALARS[group]
    frame = wide_frame()
    return frame.astype({"city": object, "note": object}) if group == "frame with object columns" else frame


def wide_frame() -> pd.DataFrame:
    """Return ten columns of a million rows, two of them texts."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{i}": random.random(MILLION) for i in range(5)}
    columns |= {f"i{i}": random.integers(0, 1000, MILLION) for i in range(3)}
    columns["city"] = [f"city {i % 5000}" for i in range(MILLION)]
    columns["note"] = [f"note {i} of the day" for i in range(MILLION)]
    return pd.DataFrame(columns)


def dump(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)


def dump_and_hash(value: Any) -> str:
    return hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()


def tokenize(value: Any) -> str:
    from dask.tokenize import tokenize

    return str(tokenize(value))


def raw(value: Any) -> bytes:
    return xxhash.xxh3_128_digest(value)


GROUPS = {
    "digest 1M floats": [digest_value, dump, joblib.hash],
    "digest 1M ints": [digest_value, dump, joblib.hash],
    "digest 1M large ints": [digest_value, dump, joblib.hash],
    "digest 1M texts": [digest_value, dump, joblib.hash],
    "digest 100 MB array": [digest_value, dump, joblib.hash, raw],
    "small dict": [digest_value, dump_and_hash, joblib.hash],
    "small tuple": [digest_value, dump_and_hash, joblib.hash],
    "an int": [digest_value, dump_and_hash, joblib.hash],
    "a float": [digest_value, dump_and_hash, joblib.hash],
    "a text": [digest_value, dump_and_hash, joblib.hash],
    "frame with text columns": [digest_value, dump, joblib.hash],
    "frame with object columns": [digest_value, dump],
}
if importlib.util.find_spec("dask") is not None:
    for group in ("small dict", "digest 100 MB array", "frame with text columns", "frame with object columns"):
        GROUPS[group].append(tokenize)
CASES = [pytest.param(group, way, id=f"{group}: {way.__name__}") for group, ways in GROUPS.items() for way in ways]


@pytest.mark.parametrize(("group", "way"), CASES)
def test_digest(benchmark: Any, group: str, way: Callable[[Any], object]) -> None:
    """One way to get at all of a value."""
    benchmark.group = group
    value = value_of(group)
    if group == "small dict" or group in SCALARS:
        benchmark(way, value)
    else:
        benchmark.pedantic(way, (value,), rounds=5, warmup_rounds=1)
