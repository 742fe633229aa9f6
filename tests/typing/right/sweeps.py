"""What type checkers see of sweeps: the task's return type, carried through fan-out and reduction."""

from collections.abc import Sequence
from typing import Any, NamedTuple, assert_type

import flowlib as fl


class Fit(NamedTuple):
    auc: float


@fl.task
def load(path: str) -> list[float]:
    return [float(len(path))]


@fl.task
def fit(data: list[float], *, lr: float, depth: int = 4) -> Fit:
    return Fit(sum(data) * lr * depth)


@fl.task
def stack(fits: list[Fit]) -> str:
    return f"{len(fits)} models"


@fl.task
def report(best: fl.Best[Fit], others: list[Fit]) -> str:
    return f"{best.score} of {len(others)}"


def plain(data: list[float], lr: float) -> float:
    return sum(data) * lr


def widest(fits: list[Fit]) -> float:
    return max(fit.auc for fit in fits)


def count(values: Sequence[object]) -> int:
    return len(values)


# Spaces are values with algebra.

space = fl.grid(lr=[0.01, 0.1], depth=[4, 8])
assert_type(space, fl.Space)
assert_type(space * fl.seeds(3), fl.Space)
assert_type(space | fl.cases(baseline={"lr": 1.0}), fl.Space)
assert_type(space[:2], fl.Space)
assert_type(space.where(lambda lr, depth: lr * depth < 1), fl.Space)
assert_type(fl.sample(8, lr=fl.loguniform(1e-4, 1e-1), depth=fl.randint(2, 8), seed=0), fl.Space)
assert_type(fl.zipped(lr=[0.1, 0.2], depth=[2, 4]) * fl.axis(data=load("folds")), fl.Space)
assert_type(len(space), int)
assert_type(next(iter(space)), fl.Point)

# Fan-outs are containers of nodes.

jobs = fl.fan_out(fit, [1.0], over=space)
assert_type(jobs, fl.FanOut[Fit])
assert_type(fl.fan_out(fit, load("a"), over=space, name="{lr:g}", limit=2, on_error="keep", min_ok=0.9), fl.FanOut[Fit])
assert_type(fl.fan_out(plain, [1.0], over=fl.grid(lr=[0.1])), fl.FanOut[float])
assert_type(jobs[0], Fit)
assert_type(jobs["lr=0.1"].auc, float)
assert_type(jobs[:2], fl.FanOut[Fit])
assert_type(jobs.sel(lr=0.1), fl.FanOut[Fit])
assert_type(len(jobs), int)
assert_type([one.auc for one in jobs], list[float])

# Running one gives a result with a row for each point.

done = fl.run(jobs)
assert_type(done, fl.SweepResult[Fit])
assert_type(done[0], Fit)
assert_type(done["lr=0.1"], Fit)
assert_type(done[:2], fl.SweepResult[Fit])
assert_type(done.good, tuple[Fit, ...])
assert_type(done.failed, tuple[fl.Failed, ...])
assert_type(done.best(max="auc"), fl.Best[Fit])
assert_type(done.rows(), list[dict[str, Any]])
assert_type(fl.start(jobs).result(), fl.SweepResult[Fit])


async def inside_a_loop() -> None:
    assert_type(await fl.arun(jobs), fl.SweepResult[Fit])


# Reducers: each has a type of its own, with the points' type inside.

best = fl.fan_in(jobs, fl.best(max="auc"))
assert_type(best, fl.Best[Fit])
assert_type(best.value.auc, float)
assert_type(fl.fan_in(jobs, fl.worst(max="auc"), min_ok=2), fl.Best[Fit])
assert_type(fl.fan_in(jobs, fl.collect()), list[Fit])
assert_type(fl.fan_in(jobs, fl.top(2, max="auc")), fl.Top[Fit])
assert_type(fl.fan_in(jobs, fl.top(2, max="auc"))[0].value, Fit)
assert_type(fl.fan_in(jobs, fl.pareto(max="auc", min="depth")).values, list[Fit])
assert_type(fl.fan_in(jobs, fl.mean("auc"))["auc"].mean, float)
assert_type(fl.fan_in(jobs, fl.vote("auc", tie="smallest")), fl.Vote)
assert_type(fl.fan_in(jobs, stack), str)
assert_type(fl.fan_in(jobs, widest), float)
assert_type(fl.fan_in(jobs, count), int)
assert_type(fl.fan_in(jobs, lambda fits: fits[0].auc), float)
assert_type(fl.fan_in(jobs, "best:max=auc"), Any)
assert_type(fl.fan_in(jobs, first=fl.best(max="auc"), mean=fl.mean("auc")), dict[str, Any])
assert_type(report(best, fl.fan_in(jobs, fl.collect())), str)

# Reducing some axes keeps the others; the result can be reduced again.

by_lr = fl.fan_in(jobs, fl.best(max="auc"), along="depth")
assert_type(by_lr, fl.FanOut[fl.Best[Fit]])
assert_type(fl.fan_in(by_lr, fl.best(max="score")), fl.Best[fl.Best[Fit]])
assert_type(fl.fan_in(jobs, stack, along=["depth"]), fl.FanOut[str])
assert_type(fl.run(by_lr), fl.SweepResult[fl.Best[Fit]])

# What `run` gives is what `fan_in` promised.

assert_type(fl.run(best), fl.Best[Fit])
assert_type(fl.run(best).value, Fit)
assert_type(fl.run(best).score, int | float)
assert_type(fl.run(best).params, dict[str, Any])
assert_type(fit([1.0], **fl.run(best).params), Fit)

# A reducer is a function of values, too.

assert_type(fl.best(max="auc")([Fit(0.5)]), fl.Best[Fit])
assert_type(fl.collect()([Fit(0.5)]), list[Fit])
