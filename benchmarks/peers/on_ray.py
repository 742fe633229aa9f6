"""ray on this machine: worker processes and an object store. It keeps nothing between processes."""

from pathlib import Path

import ray

from benchmarks.peers import bodies

REQUIRES = ("ray", "numpy")
WORKERS = 8


@ray.remote
def inc(x: int) -> int:
    return bodies.inc(x)


@ray.remote
def total(*xs: int) -> int:
    return bodies.total(xs)


@ray.remote
def add(*xs: int) -> int:
    return bodies.add(*xs)


@ray.remote
def wait(seconds: float, *after: float) -> float:
    return bodies.wait(seconds)


def start(_directory: Path) -> None:
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.get([wait.remote(0.2) for _ in range(WORKERS)])  # its workers are processes, started when first needed


def stop() -> None:
    ray.shutdown()


def flat(n: int, _directory: Path) -> int:
    return bodies.total(ray.get([inc.remote(number) for number in range(n)]))


def chain(n: int, _directory: Path) -> int:
    node = inc.remote(0)
    for _ in range(n - 1):
        node = inc.remote(node)
    return ray.get(node)


def layers(n: int, _directory: Path) -> int:
    return bodies.total(ray.get(bodies.build_layers(n, inc.remote, add.remote)))


def waits(n: int, _directory: Path) -> int:
    return len(ray.get([wait.remote(bodies.WAIT_S) for _ in range(n)]))


def unbalanced(_n: int, _directory: Path) -> None:
    a, c = wait.remote(0.1), wait.remote(0.3)
    ray.get(wait.remote(0.0, wait.remote(0.3, a), wait.remote(0.1, c)))
