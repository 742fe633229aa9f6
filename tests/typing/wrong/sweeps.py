"""Wrong sweeps that an editor should underline. Each wrong line ends with the marker."""

import flowlib as fl


@fl.task
def fit(data: list[float], *, lr: float) -> float:
    return sum(data) * lr


def longest(texts: list[str]) -> int:
    return max(map(len, texts))


jobs = fl.fan_out(fit, [1.0], over=fl.grid(lr=[0.1, 0.2]))

fl.fan_out(fit, [1.0])  # wrong: nothing to sweep over
fl.fan_out(fit, [1.0], over={"lr": [0.1]})  # wrong: a dict is not a space
fl.fan_out("fit", [1.0], over=fl.seeds(2))  # wrong: a name is not a function
fl.fan_in([fit([1.0], lr=0.1)], fl.collect())  # wrong: a list is not a fan-out
fl.fan_in(jobs, longest)  # wrong: the reducer takes other values
text: list[str] = fl.run(fl.fan_in(jobs, fl.collect()))  # wrong: type of the values
fl.top("two", max="auc")  # wrong: a number is wanted
fl.seeds("three")  # wrong: a number is wanted
