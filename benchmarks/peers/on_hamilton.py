"""Hamilton: nodes are functions with names; many of them are made by `parameterize`."""

import types
import uuid
from pathlib import Path
from typing import Any

from hamilton import ad_hoc_utils, driver
from hamilton.function_modifiers import group, inject, parameterize, source, value
from hamilton.plugins.h_threadpool import FutureAdapter

from benchmarks.peers import bodies

REQUIRES = ("sf-hamilton", "numpy")
WORKERS = 8


def _module(*functions: Any) -> types.ModuleType:
    """Make a module of some functions; its name may not have been used before."""
    return ad_hoc_utils.create_temporary_module(*functions, module_name=f"measured_{uuid.uuid4().hex}")


def _flat_module(n: int) -> types.ModuleType:
    @parameterize(**{f"inc_{number}": {"x": value(number)} for number in range(n)})
    def inc(x: int) -> int:
        return bodies.inc(x)

    @inject(xs=group(*[source(f"inc_{number}") for number in range(n)]))
    def total(xs: list[int]) -> int:
        return bodies.total(xs)

    return _module(inc, total)


def flat(n: int, _directory: Path) -> int:
    return driver.Builder().with_modules(_flat_module(n)).build().execute(["total"])["total"]


def cached(n: int, directory: Path) -> int:
    built = driver.Builder().with_modules(_flat_module(n)).with_cache(path=directory).build()
    return built.execute(["total"])["total"]


def chain(n: int, _directory: Path) -> int:
    steps: dict[str, Any] = {f"inc_{number}": {"x": source(f"inc_{number - 1}")} for number in range(1, n)}

    @parameterize(inc_0={"x": value(0)}, **steps)
    def inc(x: int) -> int:
        return bodies.inc(x)

    module = _module(inc)
    return driver.Builder().with_modules(module).build().execute([f"inc_{n - 1}"])[f"inc_{n - 1}"]


def layers(n: int, _directory: Path) -> int:
    two: dict[str, Any] = {}
    three: dict[str, Any] = {}

    def node(*above: str) -> str:
        name = f"add_{len(two) + len(three)}"
        (two if len(above) == 2 else three)[name] = {f"x{place}": source(each) for place, each in enumerate(above)}
        return name

    row = bodies.build_layers(n, lambda column: f"inc_{column}", node)

    @parameterize(**{f"inc_{column}": {"x": value(column)} for column in range(bodies.WIDTH)})
    def inc(x: int) -> int:
        return bodies.inc(x)

    @parameterize(**two)
    def add_two(x0: int, x1: int) -> int:
        return bodies.add(x0, x1)

    @parameterize(**three)
    def add_three(x0: int, x1: int, x2: int) -> int:
        return bodies.add(x0, x1, x2)

    @inject(xs=group(*[source(name) for name in row]))
    def total(xs: list[int]) -> int:
        return bodies.total(xs)

    module = _module(inc, add_two, add_three, total)
    return driver.Builder().with_modules(module).build().execute(["total"])["total"]


def arrays(n: int, directory: Path) -> float:
    @parameterize(**{f"made_{number}": {"x": value(number)} for number in range(n)})
    def make(x: int) -> object:
        return bodies.make_array(x)

    @inject(xs=group(*[source(f"made_{number}") for number in range(n)]))
    def answer(xs: list[object]) -> float:
        return bodies.sum_arrays(xs)

    module = _module(make, answer)
    return driver.Builder().with_modules(module).with_cache(path=directory).build().execute(["answer"])["answer"]


def waits(n: int, _directory: Path) -> int:
    @parameterize(**{f"wait_{number}": {"x": value(bodies.WAIT_S)} for number in range(n)})
    def wait(x: float) -> float:
        return bodies.wait(x)

    module = _module(wait)
    built = driver.Builder().with_modules(module).with_adapters(FutureAdapter(max_workers=WORKERS)).build()
    return len(built.execute([f"wait_{number}" for number in range(n)]))


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

    module = _module(a, b, c, d, join)
    driver.Builder().with_modules(module).with_adapters(FutureAdapter(max_workers=WORKERS)).build().execute(["join"])
