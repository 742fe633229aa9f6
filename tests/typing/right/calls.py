"""What type checkers see of tasks and runs: ordinary calls of ordinary functions."""

from typing import NamedTuple, assert_type

import flowlib as fl


class Fit(NamedTuple):
    auc: float
    rounds: int


@fl.task
def load(path: str) -> list[float]:
    return [float(len(path))]


@fl.task(version="2", tags=["demo"])
def fit(data: list[float], *, lr: float, depth: int = 4) -> Fit:
    return Fit(sum(data) * lr, depth)


@fl.task
async def fetch(url: str) -> bytes:
    return url.encode()


class Model:
    @fl.task
    def score(self, data: list[float]) -> float:
        return sum(data)


data = load("train.csv")
assert_type(data, list[float])
assert_type(fit(data, lr=0.1), Fit)
assert_type(fit(load("a"), lr=0.1, depth=8).auc, float)
assert_type(fit.options(version="3")(data, lr=0.1), Fit)
assert_type(fit.fn(data, lr=0.1), Fit)
assert_type(fit.name, str)
assert_type(Model().score(data), float)

assert_type(fl.run(data), list[float])
assert_type(fl.run(fit(data, lr=0.1)), Fit)
assert_type(fl.run([fit(data, lr=0.1), fit(data, lr=0.2)]), list[Fit])
assert_type(fl.run({"fit": fit(data, lr=0.1)}), dict[str, Fit])
assert_type(fl.run((data, fit(data, lr=0.1))), tuple[list[float], Fit])
assert_type(fl.run(fit(data, lr=0.1), workers=2, cache=False), Fit)
