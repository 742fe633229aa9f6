"""The standard library's threads: one hop to a worker and back for each task that needs another."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.peers import bodies

REQUIRES = ()
WORKERS = 8


def flat(n: int, _directory: Path) -> int:
    with ThreadPoolExecutor(WORKERS) as pool:
        return bodies.total([future.result() for future in [pool.submit(bodies.inc, number) for number in range(n)]])


def chain(n: int, _directory: Path) -> int:
    value = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(n):
            value = pool.submit(bodies.inc, value).result()
    return value


def layers(n: int, _directory: Path) -> int:
    """Layer by layer, because a future that waits for another takes a thread."""
    with ThreadPoolExecutor(WORKERS) as pool:
        row = [future.result() for future in [pool.submit(bodies.inc, column) for column in range(bodies.WIDTH)]]
        for number in range(1, n // bodies.WIDTH):
            futures = [
                pool.submit(bodies.add, *[row[above] for above in bodies.dependencies_in(number, column)])
                for column in range(bodies.WIDTH)
            ]
            row = [future.result() for future in futures]
    return bodies.total(row)


def waits(n: int, _directory: Path) -> int:
    with ThreadPoolExecutor(WORKERS) as pool:
        return len(list(pool.map(bodies.wait, [bodies.WAIT_S] * n)))


def unbalanced(_n: int, _directory: Path) -> None:
    """Two threads, each told its branch by hand."""

    def branch(*seconds: float) -> Any:
        return [bodies.wait(each) for each in seconds]

    with ThreadPoolExecutor(WORKERS) as pool:
        both: list[Future[Any]] = [pool.submit(branch, 0.1, 0.3), pool.submit(branch, 0.3, 0.1)]
        bodies.wait(0.0, *[future.result() for future in both])
