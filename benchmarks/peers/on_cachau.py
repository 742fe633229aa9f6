"""cachau with `persist=True`: a file and its description per call, both synced."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cachau import cache

from benchmarks.peers.eager import Eager

REQUIRES = ("cachau", "numpy")


def _remember(fn: Callable[..., Any], directory: Path) -> Callable[..., Any]:
    return cache(persist=os.fspath(directory))(fn)


_eager = Eager(_remember)
cached, chain_cached, arrays, array = _eager.cached, _eager.chain_cached, _eager.arrays, _eager.array
