"""diskcache's `memoize`, without eviction: rows of SQLite. Its key has the function's name, no code."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache

from benchmarks.peers.eager import Eager

REQUIRES = ("diskcache", "numpy")


def _remember(fn: Callable[..., Any], directory: Path) -> Callable[..., Any]:
    return diskcache.Cache(os.fspath(directory), eviction_policy="none", size_limit=2**40).memoize()(fn)


_eager = Eager(_remember)
cached, chain_cached, arrays, array = _eager.cached, _eager.chain_cached, _eager.arrays, _eager.array
