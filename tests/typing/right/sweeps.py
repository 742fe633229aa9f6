"""What type checkers see of sweeps: the task's return type, carried through fan-out and reduction."""

from typing import NamedTuple, assert_type

import flowlib as fl


class Fit(NamedTuple):
    auc: float


@fl.task
def fit(data: list[float], *, lr: float, depth: int = 4) -> Fit:
    return Fit(sum(data) * lr * depth)


@fl.task
def stack(fits: list[Fit]) -> str:
    return f"{len(fits)} models"


def widest(fits: list[Fit]) -> float:
    return max(fit.auc for fit in fits)


space = fl.grid(lr=[0.01, 0.1], depth=[4, 8])
assert_type(space, fl.Space)
assert_type(space * fl.seeds(3), fl.Space)
assert_type(space | fl.cases(baseline={"lr": 1.0}), fl.Space)
assert_type(len(space), int)

jobs = fl.fan_out(fit, [1.0], over=space)
assert_type(jobs, fl.FanOut[Fit])
assert_type(fl.run(jobs), fl.SweepResult[Fit])

assert_type(fl.fan_in(jobs, fl.best(max="auc")), fl.Best[Fit])
assert_type(fl.fan_in(jobs, fl.worst(max="auc")), fl.Best[Fit])
assert_type(fl.fan_in(jobs, fl.collect()), list[Fit])
assert_type(fl.fan_in(jobs, fl.top(2, max="auc")), list[fl.Best[Fit]])
assert_type(fl.fan_in(jobs, stack), str)
assert_type(fl.fan_in(jobs, widest), float)
assert_type(fl.run(fl.fan_in(jobs, fl.best(max="auc"))).value, Fit)
assert_type(fl.run(fl.fan_in(jobs, fl.best(max="auc"))).score, float)
