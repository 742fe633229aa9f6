"""Wrong calls that an editor should underline. Each wrong line ends with the marker."""

import flowlib as fl


@fl.task
def load(path: str) -> list[float]:
    return [float(len(path))]


@fl.task(version="2")
def fit(data: list[float], *, lr: float, depth: int = 4) -> str:
    return f"{data} {lr} {depth}"


load(1)  # wrong: type of an argument
load()  # wrong: missing argument
load("a", "b")  # wrong: too many arguments
fit(load("a"))  # wrong: missing keyword
fit(load("a"), lr="0.1")  # wrong: type of a keyword
fit(load("a"), 0.1)  # wrong: keyword passed by position
fit(load("a"), lr=0.1, dept=8)  # wrong: misspelt keyword
fit(fit(load("a"), lr=0.1), lr=0.1)  # wrong: type of a node
fit.options(version="3")(load("a"))  # wrong: options keep the signature
number: int = fl.run(load("a"))  # wrong: type of a result
