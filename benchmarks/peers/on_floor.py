"""The floor: what the same work takes with nothing but Python, SQLite, XXH3 and files, written by hand for it.

`graphlib` orders and plain calls compute; results are rows of a bare table, in transactions of a thousand, the way
SQLite is quickest when it may not lose what it committed to a crash of the process; arrays are hashed, written, synced and
renamed. Nothing is keyed by code, checked, explained, locked, or run on threads.
"""

import graphlib
import marshal
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.peers import bodies, projects

REQUIRES = ("xxhash", "numpy")

Call = tuple[Callable[..., Any], Sequence[object], Sequence[int]]
"""A function, its first arguments, and the numbers of the calls whose results come after them."""


def run_in_order(calls: dict[int, Call]) -> dict[int, Any]:
    """Order calls by what they need, and call."""
    sorter = graphlib.TopologicalSorter({number: needs for number, (_, _, needs) in calls.items()})
    sorter.prepare()
    values: dict[int, Any] = {}
    while sorter.is_active():
        for number in sorter.get_ready():
            fn, args, needs = calls[number]
            values[number] = fn(*args, *[values[need] for need in needs])
            sorter.done(number)
    return values


def flat(n: int, _directory: Path) -> int:
    calls: dict[int, Call] = {number: (bodies.inc, (number,), ()) for number in range(n)}
    calls[n] = (lambda *xs: bodies.total(xs), (), range(n))
    return run_in_order(calls)[n]


def chain(n: int, _directory: Path) -> int:
    calls: dict[int, Call] = {0: (bodies.inc, (0,), ())}
    calls.update({number: (bodies.inc, (), (number - 1,)) for number in range(1, n)})
    return run_in_order(calls)[n - 1]


def layers(n: int, _directory: Path) -> int:
    calls: dict[int, Call] = {}

    def call(*needs: int) -> int:
        calls[len(calls)] = (bodies.add, (), needs)
        return len(calls) - 1

    def first(column: int) -> int:
        calls[column] = (bodies.inc, (column,), ())
        return column

    row = bodies.build_layers(n, first, call)
    calls[len(calls)] = (lambda *xs: bodies.total(xs), (), row)
    return run_in_order(calls)[len(calls) - 1]


def cached(n: int, directory: Path) -> int:
    """Look rows up five hundred at once; compute and insert what is missing."""
    import xxhash

    connection = _table(directory)
    names = [xxhash.xxh3_128_digest(b"inc" + marshal.dumps((number,), 2)) for number in range(n)]
    rows: dict[bytes, bytes] = {}
    for at in range(0, n, 500):
        some = names[at : at + 500]
        rows.update(connection.execute(f"SELECT * FROM t WHERE k IN ({','.join('?' * len(some))})", some).fetchall())
    missing = [(number, name) for number, name in enumerate(names) if name not in rows]
    new = [(name, marshal.dumps(bodies.inc(number), 2)) for number, name in missing]
    for at in range(0, len(new), 1000):
        with connection:
            connection.executemany("INSERT INTO t VALUES (?, ?)", new[at : at + 1000])
    connection.close()
    rows.update(new)
    return bodies.total(marshal.loads(rows[name]) for name in names)


def _table(directory: Path) -> sqlite3.Connection:
    directory.mkdir(exist_ok=True, parents=True)
    connection = sqlite3.connect(directory / "rows.db")
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE IF NOT EXISTS t(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
    return connection


def arrays(n: int, directory: Path) -> float:
    """Cold: hash, write and rename each, sync all at the end. Warm: read the one number that was asked for."""
    answer = directory / "answer"
    if answer.exists():
        return float(answer.read_text())
    directory.mkdir(parents=True, exist_ok=True)
    names, sums = [], []
    for number in range(n):
        array = bodies.make_array(number)
        names.append(_save(array, directory))
        sums.append(array.sum())
    for name in names:
        _sync(name)
    answer.write_text(repr(float(sum(sums))))
    return float(sum(sums))


def array(mb: int, directory: Path) -> float:
    """Cold: hash, write, sync, rename. Warm: map the file, look at each page."""
    import numpy as np

    names = list(directory.glob("*"))
    if names:
        return bodies.look_at(np.memmap(names[0], dtype="float64", mode="c"))
    directory.mkdir(parents=True, exist_ok=True)
    value = bodies.make_large_array(mb)
    _sync(_save(value, directory))
    return bodies.look_at(value)


def _save(value: Any, directory: Path) -> Path:
    import xxhash

    path = directory / xxhash.xxh3_128_hexdigest(value.data)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb", buffering=0) as file:
        file.write(value.data)
    return temporary.rename(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def start_up(n: int, _directory: Path) -> None:
    for _ in range(n):
        subprocess.run([sys.executable, "-c", "pass"], check=True)


def before_keys(n: int, directory: Path) -> None:
    projects.write_project(directory, n_modules=n)


def keys(_n: int, directory: Path) -> None:
    """Compile the source of a project: who has not read it cannot say that it is unchanged."""
    for path in (directory / projects.PROJECT).glob("*.py"):
        compile(path.read_bytes(), path.name, "exec")


def digest_small(n: int, _directory: Path) -> None:
    """Pickle and hash, which takes equal values for different ones and different ones for equal."""
    for number in range(n):
        sha256(pickle.dumps({"lr": number / 7, "depth": 4, "name": "baseline", "shuffle": True}, 5)).hexdigest()


def memory(n: int, _directory: Path) -> float:
    """Bytes a node of `flat` takes at the peak."""
    return projects.peak_bytes(lambda: flat(n, _directory)) / n
