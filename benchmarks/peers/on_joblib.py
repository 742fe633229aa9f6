"""joblib.Memory: a folder per call. Its key has the function's source, not that of what the function calls."""

from pathlib import Path
from typing import Any

import joblib

from benchmarks.peers import projects
from benchmarks.peers.eager import Eager

REQUIRES = ("joblib", "numpy", "pandas")

_eager = Eager(lambda fn, directory: joblib.Memory(directory, verbose=0).cache(fn))
cached, chain_cached, arrays, array = _eager.cached, _eager.chain_cached, _eager.arrays, _eager.array


def before_frame(n: int, _directory: Path) -> None:
    projects.make_frame(n)


def frame(n: int, _directory: Path) -> Any:
    joblib.hash(projects.make_frame(n))
