"""Prefect with a server of its own, started for the flow; results are kept, but each call is told to the server."""

import os
from pathlib import Path

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.peers import bodies

REQUIRES = ("prefect", "fastapi==0.139.2")  # a later fastapi fails at the import of prefect 3.8 and 3.9
WORKERS = 8

inc = task(bodies.inc, name="inc")
kept_inc = task(bodies.inc, name="kept_inc", persist_result=True)
wait = task(bodies.wait, name="wait")


def start(_directory: Path) -> None:
    flow(lambda: inc(1), name="first")()


@flow
def flat_flow(n: int) -> int:
    return bodies.total([inc(number) for number in range(n)])


@flow
def kept_flow(n: int) -> int:
    return bodies.total([kept_inc(number) for number in range(n)])


@flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
def unbalanced_flow() -> None:
    a, c = wait.submit(0.1), wait.submit(0.3)
    wait.submit(0.0, wait.submit(0.3, a), wait.submit(0.1, c)).result()


def flat(n: int, _directory: Path) -> int:
    return flat_flow(n)


def cached(n: int, directory: Path) -> int:
    os.environ["PREFECT_LOCAL_STORAGE_PATH"] = os.fspath(directory)
    return kept_flow(n)


def unbalanced(_n: int, _directory: Path) -> None:
    unbalanced_flow()
