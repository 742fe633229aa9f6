"""Wrong calls that an editor should underline. Each wrong line ends with the marker."""

import flowlib as fl


@fl.task
def load(path: str) -> list[float]:
    return [float(len(path))]


@fl.task(version="2")
def fit(data: list[float], *, lr: float, depth: int = 4) -> str:
    return f"{data} {lr} {depth}"


@fl.task
def split(data: list[float]) -> tuple[list[float], list[float]]:
    return data[:1], data[1:]


class Model:
    @fl.task
    def score(self, data: list[float]) -> float:
        return sum(data)


load(1)  # wrong: type of an argument
load()  # wrong: missing argument
load("a", "b")  # wrong: too many arguments
fit(load("a"))  # wrong: missing keyword
fit(load("a"), lr="0.1")  # wrong: type of a keyword
fit(load("a"), 0.1)  # wrong: keyword passed by position
fit(load("a"), lr=0.1, dept=8)  # wrong: misspelt keyword
fit(fit(load("a"), lr=0.1), lr=0.1)  # wrong: type of a node
fit.options(version="3")(load("a"))  # wrong: options keep the signature
fit.fn(load("a"))  # wrong: the plain function has the same signature
Model().score("a")  # wrong: type of a method's argument
load("a").auc  # wrong: the value has no such attribute
load("a") + 1  # wrong: the value has no such operator
one, two, three = split(load("a"))  # wrong: two values, three names
fl.task("load")  # wrong: a name is not a function

number: int = fl.run(load("a"))  # wrong: type of a result
fl.run(load("a"), worker=2)  # wrong: misspelt option of a run
fl.run(load("a"), executor=4)  # wrong: no name, and nothing that takes calls
fl.run(load("a"), on_error="ignore")  # wrong: unknown policy
fl.start(load("a"), worker=2)  # wrong: misspelt option of a background run
word: str = fl.start(load("a")).result()  # wrong: type of a background result
load("a").run()  # wrong: a node has no verbs
fl.plan(load("a")).rows.append(1)  # wrong: a plan does not change
fl.File(1)  # wrong: a number is not a path
