"""dask.delayed on threads. It keeps nothing between processes."""

from pathlib import Path

import dask

from benchmarks.peers import bodies, projects

REQUIRES = ("dask", "numpy", "pandas")
WORKERS = 8

inc, total, add, wait = (dask.delayed(fn) for fn in (bodies.inc, bodies.total, bodies.add, bodies.wait))


def flat(n: int, _directory: Path) -> int:
    return total([inc(number) for number in range(n)]).compute(scheduler="sync")


def chain(n: int, _directory: Path) -> int:
    node = inc(0)
    for _ in range(n - 1):
        node = inc(node)
    return node.compute(scheduler="sync")


def layers(n: int, _directory: Path) -> int:
    return total(bodies.build_layers(n, inc, add)).compute(scheduler="sync")


def waits(n: int, _directory: Path) -> int:
    return len(dask.compute([wait(bodies.WAIT_S) for _ in range(n)], scheduler="threads", num_workers=WORKERS)[0])


def unbalanced(_n: int, _directory: Path) -> None:
    wait(0.0, wait(0.3, wait(0.1)), wait(0.1, wait(0.3))).compute(scheduler="threads", num_workers=WORKERS)


def before_frame(n: int, _directory: Path) -> None:
    projects.make_frame(n)


def frame(n: int, _directory: Path) -> None:
    from dask.base import tokenize

    tokenize(projects.make_frame(n))
