"""pipefunc: many equal tasks are a map over an array, its own form of them; chains are pipelines of many functions."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipefunc import PipeFunc, Pipeline

from benchmarks.peers import bodies

REQUIRES = ("pipefunc", "numpy")
WORKERS = 8


def _total(made: Any) -> int:
    return int(bodies.total(made))


def _sum_arrays(made: Any) -> float:
    return bodies.sum_arrays(made)


def _wait(x: float) -> float:
    return bodies.wait(x)


def _make_array(x: int) -> Any:
    return bodies.make_array(x)


def _mapped(body: Any, reduced: Any) -> Pipeline:
    return Pipeline([PipeFunc(body, "made", mapspec="x[i] -> made[i]"), PipeFunc(reduced, "answer")])


def flat(n: int, _directory: Path) -> int:
    return _mapped(bodies.inc, _total).map({"x": list(range(n))}, parallel=False, storage="dict")["answer"].output


def cached(n: int, directory: Path) -> int:
    return _resumed(_mapped(bodies.inc, _total), n, directory)


def arrays(n: int, directory: Path) -> float:
    return _resumed(_mapped(_make_array, _sum_arrays), n, directory)


def _resumed(pipeline: Pipeline, n: int, directory: Path) -> Any:
    found = pipeline.map({"x": list(range(n))}, run_folder=directory, parallel=False, resume=True, storage="file_array")
    return found["answer"].output


def waits(n: int, _directory: Path) -> int:
    with ThreadPoolExecutor(WORKERS) as pool:
        pipeline = Pipeline([PipeFunc(_wait, "made", mapspec="x[i] -> made[i]")])
        made = pipeline.map({"x": [bodies.WAIT_S] * n}, executor=pool, storage="dict", chunksizes=1)["made"].output
    return len(made)


def unbalanced(_n: int, _directory: Path) -> None:
    def a() -> float:
        return bodies.wait(0.1)

    def b(a: float) -> float:
        return bodies.wait(0.3)

    def c() -> float:
        return bodies.wait(0.3)

    def d(c: float) -> float:
        return bodies.wait(0.1)

    def join(b: float, d: float) -> float:
        return 0.0

    pipeline = Pipeline([PipeFunc(fn, fn.__name__) for fn in (a, b, c, d, join)])
    with ThreadPoolExecutor(WORKERS) as pool:
        pipeline.map({}, executor=pool, storage="dict", scheduling_strategy="eager")
