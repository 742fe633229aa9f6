"""Wrong sweeps that an editor should underline. Each wrong line ends with the marker."""

import flowlib as fl


@fl.task
def fit(data: list[float], *, lr: float) -> float:
    return sum(data) * lr


@fl.task
def join(texts: list[str]) -> str:
    return ", ".join(texts)


def longest(texts: list[str]) -> int:
    return max(map(len, texts))


space = fl.grid(lr=[0.1, 0.2])
jobs = fl.fan_out(fit, [1.0], over=space)

fl.fan_out(fit, [1.0])  # wrong: nothing to sweep over
fl.fan_out(fit, [1.0], over={"lr": [0.1]})  # wrong: a dict is not a space
fl.fan_out("fit", [1.0], over=fl.seeds(2))  # wrong: a name is not a function
fl.fan_out(fit, [1.0], over=space, limit="two")  # wrong: a number is wanted
fl.fan_out(fit, [1.0], over=space, on_error="ignore")  # wrong: unknown policy
fl.grid([0.1, 0.2])  # wrong: an axis has a name
space + space  # wrong: the union is written |
fl.seeds("three")  # wrong: a number is wanted

fl.fan_in([fit([1.0], lr=0.1)], fl.collect())  # wrong: a list is not a fan-out
fl.fan_in(jobs, fl.best)  # wrong: a reducer is made by a call
fl.fan_in(jobs, longest)  # wrong: the function takes other values
fl.fan_in(jobs, join)  # wrong: the task takes other values
fl.fan_in(jobs, fl.collect(), along=1)  # wrong: an axis is a name
fl.fan_in(jobs, first=len)  # wrong: several reducers, and one is not a reducer
fl.best("auc")  # wrong: a direction is said by name
fl.top("two", max="auc")  # wrong: a number is wanted
fl.vote(tie="last")  # wrong: unknown rule for ties
fl.mean("auc", nan="drop")  # wrong: unknown rule for NaN
fl.collect("only")  # wrong: unknown rule for errors

texts: list[str] = fl.run(fl.fan_in(jobs, fl.collect()))  # wrong: type of the values
number: float = fl.run(jobs)  # wrong: a sweep gives a result with many values
word: str = fl.run(jobs)[0]  # wrong: type of one value
score: str = fl.run(fl.fan_in(jobs, fl.best(max="value"))).value  # wrong: type of the best value
fl.run(jobs).values.append(1.0)  # wrong: a result does not change
