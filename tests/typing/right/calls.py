"""What type checkers see of tasks and runs: ordinary calls of ordinary functions."""

import functools
from pathlib import Path
from typing import Annotated, NamedTuple, assert_type

import flowlib as fl


class Fit(NamedTuple):
    auc: float
    rounds: int


@fl.task
def load(path: str) -> list[float]:
    return [float(len(path))]


@fl.task(version="2", tags=["demo"], pool=fl.Pool(name="gpu", slots=1))
def fit(data: list[float], *, lr: float, depth: int = 4) -> Fit:
    return Fit(sum(data) * lr, depth)


@fl.task
def split(data: list[float], *, share: float = 0.5) -> tuple[list[float], list[float]]:
    middle = int(len(data) * share)
    return data[:middle], data[middle:]


@fl.task(outputs=2)
def ends(data: list[float]) -> list[float]:
    return [data[0], data[-1]]


@fl.task
async def fetch(url: str) -> bytes:
    return url.encode()


@fl.task
def count(text: fl.File, *, below: fl.Dir | None = None, verbose: Annotated[bool, fl.Ignore] = False) -> int:
    return len(text.read_text())


@fl.task
def grow(n: int) -> int:
    return n if n > 9 else grow(n + 1)


class Model:
    @fl.task
    def score(self, data: list[float]) -> float:
        return sum(data)

    @fl.task(version="2")
    def scaled(self, data: list[float], *, by: float = 1.0) -> float:
        return sum(data) * by


# Calls: the function's own return type, composed as plain functions are.

data = load("train.csv")
assert_type(data, list[float])
assert_type(fit(data, lr=0.1), Fit)
assert_type(fit(load("a"), lr=0.1, depth=8).auc, float)
assert_type(fit(data, lr=0.1).auc * 2 + 1, float)
assert_type(data[0], float)
assert_type(grow(1), int)
assert_type(count(fl.File(Path("a.txt"))), int)
assert_type(count(fl.File("a.txt"), below=fl.Dir("b"), verbose=True), int)

train, test = split(data)
assert_type(train, list[float])
assert_type(fit(test, lr=0.1), Fit)
first, last = ends(data)
assert_type(first, float)

# Tasks: options keep the signature; the plain function stays at hand.

assert_type(fit.options(version="3")(data, lr=0.1), Fit)
assert_type(fit.fn(data, lr=0.1), Fit)
assert_type(fit.name, str)
assert_type(Model().score(data), float)
assert_type(Model().scaled(data, by=2.0), float)
assert_type(fl.task(functools.partial(fit.fn, lr=0.1))(data), Fit)

with fl.eager():
    assert_type(fit(data, lr=0.1), Fit)

# Runs: any shape comes back as it went in.

assert_type(fl.run(data), list[float])
assert_type(fl.run(fit(data, lr=0.1)), Fit)
assert_type(fl.run([fit(data, lr=0.1), fit(data, lr=0.2)]), list[Fit])
assert_type(fl.run({"fit": fit(data, lr=0.1)}), dict[str, Fit])
assert_type(fl.run((data, fit(data, lr=0.1))), tuple[list[float], Fit])
assert_type(
    fl.run(
        fit(data, lr=0.1), workers=2, executor="inline", cache=Path("cache"), on_error="keep", progress="plain",
        deadline=60.0, tags=["night"], force=["load"], observers=[],
    ),
    Fit,
)  # fmt: skip
assert_type(fl.run(data, cache=False, progress=False), list[float])

background = fl.start(fit(data, lr=0.1), workers=2)
assert_type(background, fl.Run[Fit])
assert_type(background.result(), Fit)
background.pause()
background.resume()
background.cancel()


async def inside_a_loop() -> None:
    assert_type(await fl.arun(data, workers=2), list[float])


# Looking: nothing runs.

assert_type(fl.plan(data), fl.Plan)
assert_type(fl.plan([data, data], cache="cache", force=["load"]).n_to_run, int)
assert_type(fl.why(fit(data, lr=0.1)), fl.Explanation)
assert_type(str(fl.digest({"lr": 0.1})), str)
fl.configure(workers=4, cache="cache")
