"""cashet: a blob per call and a row of SQLite; results are passed on by reference."""

from pathlib import Path

from cashet import Client

from benchmarks.peers import bodies

REQUIRES = ("cashet", "numpy")


def cached(n: int, directory: Path) -> int:
    """The total is one of its calls too, so that a warm run may load nothing else."""
    with Client(store_dir=directory) as client:
        return client.submit(bodies.total, [client.submit(bodies.inc, number) for number in range(n)]).load()


def chain_cached(n: int, directory: Path) -> int:
    with Client(store_dir=directory) as client:
        ref = client.submit(bodies.inc, 0)
        for _ in range(n - 1):
            ref = client.submit(bodies.inc, ref)
        return ref.load()


def arrays(n: int, directory: Path) -> float:
    with Client(store_dir=directory) as client:
        made = [client.submit(bodies.make_array, number) for number in range(n)]
        return client.submit(bodies.sum_arrays, made).load()
