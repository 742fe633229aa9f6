"""redun on threads, its database in memory for what is not kept, in a file for what is."""

import logging
from pathlib import Path
from typing import Any

from redun import Scheduler, task
from redun.config import Config

from benchmarks.peers import bodies

REQUIRES = ("redun", "numpy")
WORKERS = 8
redun_namespace = "benchmarks"
logging.getLogger("redun").setLevel(logging.ERROR)

inc = task(name="inc")(bodies.inc)
total = task(name="total")(bodies.total)
add = task(name="add")(bodies.add)
wait = task(name="wait", cache=False)(bodies.wait)
make_array = task(name="make_array")(bodies.make_array)
sum_arrays = task(name="sum_arrays")(bodies.sum_arrays)


def _run(expression: Any, database: str = "sqlite:///:memory:") -> Any:
    executor = {"type": "local", "mode": "thread", "max_workers": str(WORKERS)}
    scheduler = Scheduler(config=Config({"backend": {"db_uri": database}, "executors.default": executor}))
    scheduler.load(migrate=True)
    return scheduler.run(expression)


def _kept(expression: Any, directory: Path) -> Any:
    directory.mkdir(parents=True, exist_ok=True)
    return _run(expression, f"sqlite:///{directory}/redun.db")


def flat(n: int, _directory: Path) -> int:
    return _run(total([inc(number) for number in range(n)]))


def cached(n: int, directory: Path) -> int:
    return _kept(total([inc(number) for number in range(n)]), directory)


def chain(n: int, _directory: Path) -> int:
    node = inc(0)
    for _ in range(n - 1):
        node = inc(node)
    return _run(node)


def layers(n: int, _directory: Path) -> int:
    return _run(total(bodies.build_layers(n, inc, add)))


def arrays(n: int, directory: Path) -> float:
    return _kept(sum_arrays([make_array(number) for number in range(n)]), directory)


def waits(n: int, _directory: Path) -> int:
    return len(_run([wait(bodies.WAIT_S + number * 1e-9) for number in range(n)]))


def unbalanced(_n: int, _directory: Path) -> None:
    _run(wait(0.0, wait(0.3, wait(0.1)), wait(0.1, wait(0.300001))))
