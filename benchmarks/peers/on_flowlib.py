"""flowlib, through its public names only, as a user would write it."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import flowlib as fl
from benchmarks.peers import bodies, projects

REQUIRES = ()
WORKERS = 8

inc = fl.task(bodies.inc)
total = fl.task(bodies.total)
add = fl.task(bodies.add)
make_array = fl.task(bodies.make_array)
sum_arrays = fl.task(bodies.sum_arrays)
make_large_array = fl.task(bodies.make_large_array)
wait = fl.task(cache=False)(bodies.wait)


@fl.task
def score(x: int) -> dict[str, float]:
    """A point of a sweep."""
    return {"auc": x / 7, "loss": 1.0}


@fl.task
def ten_kilobytes(x: int) -> bytes:
    """A result that is not small."""
    return x.to_bytes(8, "big") * 1250


def flat(n: int, _directory: Path) -> int:
    return fl.run(total([inc(number) for number in range(n)]), cache=False, progress=False)


def _last_of_chain(n: int) -> int:
    node = inc(0)
    for _ in range(n - 1):
        node = inc(node)
    return node


def chain(n: int, _directory: Path) -> int:
    return fl.run(_last_of_chain(n), cache=False, progress=False)


def chain_cached(n: int, directory: Path) -> int:
    return fl.run(_last_of_chain(n), cache=directory, progress=False)


def layers(n: int, _directory: Path) -> int:
    return fl.run(total(bodies.build_layers(n, inc, add)), cache=False, progress=False)


def cached(n: int, directory: Path) -> int:
    """Every value is asked for, so every entry is looked up, authenticated and decoded."""
    nodes = [inc(number) for number in range(n)]
    return fl.run((total(nodes), nodes), cache=directory, progress=False)[0]


def final(n: int, directory: Path) -> int:
    return fl.run(total([inc(number) for number in range(n)]), cache=directory, progress=False)


def arrays(n: int, directory: Path) -> float:
    return fl.run(sum_arrays([make_array(number) for number in range(n)]), cache=directory, progress=False)


def array(mb: int, directory: Path) -> float:
    return bodies.look_at(fl.run(make_large_array(mb), cache=directory, progress=False))


def waits(n: int, _directory: Path) -> int:
    return len(fl.run([wait(bodies.WAIT_S) for _ in range(n)], cache=False, workers=WORKERS, progress=False))


def unbalanced(_n: int, _directory: Path) -> None:
    join = wait(0.0, wait(0.3, wait(0.1)), wait(0.1, wait(0.3)))
    fl.run(join, cache=False, workers=WORKERS, progress=False)


def start_up(n: int, _directory: Path) -> None:
    for _ in range(n):
        subprocess.run([sys.executable, "-c", "import flowlib"], check=True)


def ready(n: int, _directory: Path) -> None:
    """As `start_up`, and what every program names is loaded: names of flowlib are imported when they are first used."""
    for _ in range(n):
        subprocess.run([sys.executable, "-c", "import flowlib; flowlib.task, flowlib.run"], check=True)


def memory(n: int, _directory: Path) -> float:
    """Bytes a node of `flat` takes at the peak of its run, the graph included."""
    return projects.peak_bytes(lambda: flat(n, _directory)) / n


def memory_of_points(n: int, _directory: Path) -> float:
    """Bytes a point of a fan-out takes that has not started."""
    return projects.peak_bytes(lambda: fl.fan_out(score, over=fl.grid(x=range(n)))) / n


def growth(n: int, directory: Path) -> float:
    """Bytes by which the process grows in a fan-out over n points of 10 kB each, reduced to a number."""
    fl.run(
        fl.fan_in(fl.fan_out(ten_kilobytes, over=fl.grid(x=range(n, n + 9))), _lengths()),
        cache=directory,
        progress=False,
    )
    before = projects.resident_bytes()
    fl.run(fl.fan_in(fl.fan_out(ten_kilobytes, over=fl.grid(x=range(n))), _lengths()), cache=directory, progress=False)
    return max(projects.peak_resident_bytes() - before, 0)


def _lengths() -> Any:
    return fl.reduce(0, _add_length, _add)


def _add_length(so_far: int, value: bytes) -> int:
    return so_far + len(value)


def _add(left: int, right: int) -> int:
    return left + right


def keys(n: int, directory: Path) -> None:
    """Run one task that reaches ten functions in each of n modules."""
    entry = sys.modules[f"{projects.PROJECT}.mod0"].f0
    fl.run(fl.task(entry)(1), cache=directory / "cache", progress=False)


def before_keys(n: int, directory: Path) -> None:
    """Import the project and open the cache, which is not what `keys` measures."""
    projects.write_project(directory, n_modules=n)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    for number in reversed(
        range(n)
    ):  # from the last: each imports the next, and 200 imports in one another are too deep
        importlib.import_module(f"{projects.PROJECT}.mod{number}")
    fl.run(inc(1), cache=directory / "cache", progress=False)


def digest_small(n: int, _directory: Path) -> None:
    for number in range(n):
        fl.digest({"lr": number / 7, "depth": 4, "name": "baseline", "shuffle": True})


def before_frame(n: int, _directory: Path) -> None:
    projects.make_frame(n)


def frame(n: int, _directory: Path) -> None:
    fl.digest(projects.make_frame(n))


def sweep(n: int, directory: Path) -> None:
    """Every point of a sweep, asked for."""
    fl.run(fl.fan_out(score, over=fl.grid(x=range(n))), cache=directory, progress=False)


def sweep_grown(n: int, directory: Path) -> None:
    """The same sweep with one new point in a hundred."""
    sweep(n + n // 100, directory)


def sweep_best(n: int, directory: Path) -> None:
    fl.run(fl.fan_in(fl.fan_out(score, over=fl.grid(x=range(n))), fl.best(max="auc")), cache=directory, progress=False)


def sweep_mean(n: int, directory: Path) -> None:
    fl.run(fl.fan_in(fl.fan_out(score, over=fl.grid(x=range(n))), fl.mean()), cache=directory, progress=False)


def sweep_top(n: int, directory: Path) -> None:
    jobs = fl.fan_out(score, over=fl.grid(x=range(n)))
    fl.run(fl.fan_in(jobs, fl.top(10, max="auc")), cache=directory, progress=False)
