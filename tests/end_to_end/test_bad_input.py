"""What people get wrong: each mistake has its own error, says where it was made and what to do, and loses nothing."""

import ctypes
import importlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flowlib as fl
from flowlib.testing import EventLog
from tests.engine.programs import Program, run_program

HERE = Path(__file__).name


@fl.task
def load(n: int) -> list[int]:
    return list(range(n))


@fl.task
def fit(data: Any, *, lr: float = 0.1, depth: int = 4) -> dict[str, float]:
    return {"auc": lr * depth}


@fl.task
def fragile(n: int) -> dict[str, float]:
    if n > 2:
        raise ValueError(f"bad {n}")
    return {"auc": float("nan")}


@fl.task
def numbers(n: int) -> Any:
    yield from range(n)


@fl.task
def endless(n: int) -> Any:
    return endless(n + 1)


@fl.task
def read(path: Any) -> int:
    return 1


class Box:
    """Something flowlib does not look into."""

    def __init__(self, content: Any) -> None:
        self.content = content


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def refused(call: Callable[[], Any], kind: type[Exception], first: str, *hints: str) -> str:
    """Check the class, the first line and what else is said; return the whole text, notes included."""
    with pytest.raises(kind) as caught:
        call()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert text.splitlines()[0] == first
    for hint in hints:
        assert hint in text, text
    assert issubclass(kind, fl.FlowError) and caught.type is kind
    return text


def runs(target: Any, cache: Any, **options: Any) -> list[str]:
    """Run and return the names of the tasks that ran."""
    log = EventLog()
    fl.run(target, cache=cache, progress=False, observers=[log], **options)
    return log.ran


def line_after(marker: str) -> str:
    """Return `file:line` of the line of this file that ends with a marker."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return f"{HERE}:{number}"


# ---- spaces


def test_unknown_parameter_of_a_space() -> None:
    """Found when the graph is built, with the nearest name and the line."""
    refused(
        lambda: fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1], dept=[2])),  # here: unknown parameter
        fl.SpaceError,
        "Task 'fit' has no parameter 'dept'.",
        "Did you mean 'depth'?",
        "data, lr, depth",
        line_after("here: unknown parameter"),
    )


def test_missing_parameter_of_a_space() -> None:
    """Neither fixed, nor in the space, nor with a default."""
    refused(
        lambda: fl.fan_out(fit, over=fl.grid(lr=[0.1])),
        fl.SpaceError,
        "No point of the space sets 'data', which task 'fit' requires.",
        HERE,
        "give the parameter a default",
    )


@pytest.mark.parametrize(
    ("call", "first", "hint"),
    [
        (lambda: fl.fan_out(fit, 1, over=fl.grid(lr=[1]), limt=3), "Task 'fit' has no option 'limt'.", "Known: "),
        (lambda: fit.options(tll=3), "Task 'fit' has no option 'tll'.", "Did you mean 'ttl'?"),
        (lambda: fl.task(versoin="2")(len), "Task 'len' has no option 'versoin'.", "Did you mean 'version'?"),
    ],
)
def test_unknown_option_of_a_task(call: Callable[[], Any], first: str, hint: str) -> None:
    """Refused, not ignored."""
    refused(call, fl.TaskMisused, first, hint)


def test_unknown_setting() -> None:
    """In configure, in the environment, in an argument."""
    refused(lambda: fl.configure(max_node=3), fl.ConfigError, "There is no setting 'max_node'.", "'max_nodes'?")
    refused(
        lambda: fl.run(load(1), executor="thread", cache=False),  # type: ignore[arg-type]
        fl.ConfigError,
        "Setting executor cannot be 'thread'.",
    )
    with pytest.raises(TypeError, match="'worker'"):
        fl.start(load(1), worker=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "first"),
    [
        (lambda: fl.grid(lr=[]), "Axis 'lr' has no values."),
        (lambda: fl.grid(), "A grid needs at least one parameter."),
        (lambda: fl.fan_out(fit, 1, over=fl.grid(lr=[1]).where(lambda lr: False)), ".where drops every point."),
    ],
)
def test_empty_space(call: Callable[[], Any], first: str) -> None:
    """An empty sweep is a mistake that is said before anything runs."""
    refused(call, fl.SpaceError, first)


def test_space_that_turns_out_empty(cache: Path) -> None:
    """An axis from a node: said at run time, with the line of the fan-out; the axis is kept."""
    jobs = fl.fan_out(fit, 1, over=fl.axis(lr=load(0)))  # here: empty axis
    where = line_after("here: empty axis")
    refused(lambda: runs(jobs, cache), fl.SpaceError, "The space of 'fit' has no points.", where)
    assert runs(load(0), cache) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: fl.fan_out(fit, 1, over=fl.grid(lr=[0.11, 0.12]), name="run-{lr:.1f}"),
        lambda: len(fl.cases(**{"run-0.1": {"lr": 0.1}}) | fl.cases(**{"run-0.1": {"lr": 0.2}})),
    ],
)
def test_two_points_of_one_name(call: Callable[[], Any]) -> None:
    """A label that stands for two points would point at the wrong one."""
    refused(call, fl.SpaceError, "Two different points are named 'run-0.1'.", "lr=", "own name")


# ---- reductions


@pytest.mark.parametrize(
    "call", [lambda: fl.best(), lambda: fl.fan_in(fl.fan_out(fit, over=fl.grid(data=[1])), "best")]
)
def test_best_without_a_direction(call: Callable[[], Any]) -> None:
    """Whether more is better is not guessed."""
    refused(call, fl.ReducerError, "best needs a direction.", 'best(max="auc")', 'best(min="loss")')


def test_missing_metric(cache: Path) -> None:
    """The point and the metrics it has are named, with the line of the reduction; the points are kept."""
    jobs = fl.fan_out(fit, 1, over=fl.grid(lr=[0.1, 0.2]))
    top = fl.fan_in(jobs, fl.best(max="auk"))  # here: missing metric
    where = line_after("here: missing metric")
    hints = ("Did you mean 'auc'?", "in task best(fit)", where)
    refused(lambda: runs(top, cache), fl.ReducerError, "Point 'lr=0.1' has no metric 'auk'.", *hints)
    assert runs(fl.fan_in(jobs, fl.best(max="auc")), cache) == ["best(fit)"]


def test_no_point_with_a_score(cache: Path) -> None:
    """All NaN or failed: there is no best, and both are counted. Good points hit next time."""
    jobs = fl.fan_out(fragile, over=fl.grid(n=[1, 2, 3, 4]), on_error="keep")
    text = refused(
        lambda: runs(fl.fan_in(jobs, fl.best(max="auc")), cache),
        fl.ReducerError,
        "No point has a finite score, so none is best.",
        "NaN     2 (n=1, n=2)",
        "failed  2",
        "1 x ValueError: bad 3",
        HERE,
    )
    assert not re.search(r"flowlib/(?!tests/)", text)
    assert runs(jobs, cache) == ["fragile", "fragile"]


def test_sweep_where_everything_failed(cache: Path) -> None:
    """Grouped by what went wrong, with one call of each group."""
    jobs = fl.fan_out(fragile, over=fl.grid(n=[3, 4]), on_error="continue")
    first = "2 nodes failed, with 2 different errors."
    refused(lambda: runs(jobs, cache), fl.SweepFailed, first, "ValueError: bad 3", "fragile(n=4)", HERE)


# ---- nodes


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (bool, "used as true or false (if, and, or, not, assert, while)"),
        (list, "iterated over: how many values it holds is not known yet"),
        (len, "asked for its length"),
        (lambda node: f"{node}", "put into text (f-string or format)"),
        (lambda node: 3 in node, "searched with 'in'"),
        (int, "converted to int"),
        (float, "converted to float"),
        (lambda node: setattr(node, "x", 1), "changed: .x = ..."),
        (lambda node: [1, 2][node], "used as an index or a count"),
    ],
)
def test_node_used_as_its_value(use: Callable[[Any], Any], what: str) -> None:
    """The line that did it, the line that made the node, and the two ways out."""
    node = load(3)  # here: the node
    where = ("used at", line_after("here: the node"), "pass it to a task", "flowlib.run(node)")
    refused(lambda: use(node), fl.NodeMisused, f"A node of task 'load' cannot be {what}.", *where)


def test_node_used_as_its_value_inside_a_task(cache: Path) -> None:
    """The same error comes out of the run, with the call; what came before is kept."""

    @fl.task
    def decides(data: Any, n: int) -> int:
        return 1 if load(n) else 2

    first = "A node of task 'load' cannot be used as true or false (if, and, or, not, assert, while)."
    refused(lambda: runs(decides(load(4), 3), cache), fl.NodeMisused, first, "in task decides(data=<load>, n=3)", HERE)
    assert runs(load(4), cache) == []


@pytest.mark.parametrize(
    ("hide", "path"),
    [
        (lambda node: Box(node), "argument 'data'.content"),
        (lambda node: {"a": [Box({"b": node})]}, "argument 'data'['a'][0].content['b']"),
    ],
)
def test_node_inside_a_foreign_object(hide: Callable[[Any], Any], path: str) -> None:
    """It would never be replaced by its value, so the path to it is named."""
    text = refused(lambda: fit(hide(load(3))), fl.HiddenNode, f"A node of task 'load' is hidden inside {path}.", HERE)
    assert "dataclasses" in text


def test_task_instead_of_a_call_of_it() -> None:
    """Forgotten parentheses."""
    for look in (fl.run, fl.plan, fl.why):
        refused(lambda look=look: look(load), fl.TaskMisused, "Task 'load' was given, not a call of it.", "load(...)")


# ---- calls


@pytest.mark.parametrize(
    ("call", "first", "hint"),
    [
        (lambda: fit(1, lrr=2), "got an unexpected keyword argument 'lrr'", "Did you mean 'lr'?"),
        (lambda: fit(), "missing a required argument: 'data'", "Give every parameter without a default"),
        (lambda: fit(1, 2), "too many positional arguments", "fit(data: "),
        (lambda: fit(1, data=2), "multiple values for argument 'data'", "each once"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], first: str, hint: str) -> None:
    """Found at the call, where the traceback still shows the user's line."""
    refused(call, fl.TaskMisused, f"Task 'fit' cannot be called like this: {first}.", hint, "signature")
    with pytest.raises(fl.TaskMisused) as caught:
        call()
    assert Path(str(caught.traceback[1].path)).name == HERE


def test_generator_as_result(cache: Path) -> None:
    """It can be read once only: refused, with the fix; what it was made of is kept."""
    first = "Task 'numbers' returned a generator, which can be read only once."
    refused(lambda: runs(numbers(load(3)[2]), cache), fl.TaskMisused, first, "Return list(...)", HERE)
    assert runs(load(3), cache) == []


def test_generator_as_argument() -> None:
    """The same, at the call."""
    first = "A generator cannot be used as argument 'data'{}: it can be read only once."
    refused(lambda: fit(n for n in range(3)), fl.TaskMisused, first.format(""), "list(...)")
    refused(lambda: fit({"a": [0, (n for n in [1])]}), fl.TaskMisused, first.format("['a'][1]"))


def test_argument_without_a_digest(cache: Path) -> None:
    """The call runs uncached and says so once: the path, the type, the line, what to do. The rest is kept."""

    def call() -> Any:
        return [fit({"model": [0, threading.Lock()]}), load(2)]  # here: no digest

    with pytest.warns(fl.FlowWarning) as caught:
        assert fl.run(call(), cache=cache, progress=False) == [{"auc": 0.4}, [0, 1]]
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith("Task 'fit' cannot be cached: argument 'data' has no stable digest: data['model'][1]")
    assert "(_thread.lock)" in message and "flowlib.register_digest" in message
    assert line_after("here: no digest") in message
    assert Path(warning.filename).name == HERE
    assert ".." not in message
    with pytest.warns(fl.FlowWarning):
        assert runs(call(), cache) == ["fit"]


def test_result_that_cannot_be_stored(cache: Path) -> None:
    """It is used, and said once that it was not kept."""

    @fl.task
    def connect(n: int) -> Any:
        return [n, threading.Lock()]

    with pytest.warns(fl.FlowWarning, match=r"The result of task 'connect' was not kept: .*the value\[1\]"):
        assert fl.run(connect(7), cache=cache, progress=False)[0] == 7


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (fl.File("data/none.csv"), "There is no file at 'data/none.csv'."),
        ([1, fl.Dir("none")], "There is no directory at 'none'."),
        (fl.File("."), "There is no file at '.'."),
    ],
)
def test_declared_file_that_does_not_exist(cache: Path, path: Any, what: str) -> None:
    """The call fails before it starts: running it uncached would end in the same error without the words."""
    target = [load(5), read(path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hints = ("absolute", str(Path.cwd()), "in task read(path=", HERE)
        text = refused(lambda: runs(target, cache, on_error="continue"), fl.FileMissing, what, *hints)
    assert "()" not in text and ".." not in text.replace("(...)", "")
    assert issubclass(fl.FileMissing, FileNotFoundError)
    assert runs(load(5), cache) == []
    assert "file missing: " in str(fl.plan(target, cache=cache))


def test_file_that_comes_later(cache: Path) -> None:
    """The same pipeline runs once the file is there."""
    target = lambda: read(fl.File("late.csv"))
    with pytest.raises(fl.FileMissing):
        runs(target(), cache)
    Path("late.csv").write_text("1")
    assert runs(target(), cache) == ["read"]
    assert runs(target(), cache) == []


def test_operation_that_does_not_fit(cache: Path) -> None:
    """`node["k"]` on a list: Python's own error, with the line, without frames of ours."""
    with pytest.raises(TypeError, match="list indices") as caught:
        runs(load(3)["k"], cache)  # type: ignore[call-overload]  # here: wrong key
    (note,) = caught.value.__notes__
    assert note.splitlines()[0] == "in task getitem(owner=<load>, key='k')"
    assert line_after("here: wrong key") in note
    assert runs(load(3), cache) == []


# ---- the cache directory


def spoil_with_a_file(cache: Path) -> None:
    """Put a file where the directory would be."""
    cache.write_text("a file")


def spoil_with_a_lost_parent(cache: Path) -> None:
    """Put a file where its parent would be."""
    cache.parent.joinpath("file").write_text("")
    cache.symlink_to(cache.parent / "file" / "inside")


def spoil_with_open_doors(cache: Path) -> None:
    """Let everyone write to it."""
    cache.mkdir()
    cache.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_with_a_file, "it is a file"),
        (spoil_with_a_lost_parent, "Not a directory"),
        (spoil_with_open_doors, "others may write to it"),
    ],
)
def test_cache_that_cannot_be_used(cache: Path, spoil: Callable[[Path], None], reason: str) -> None:
    """The run goes on without it and says so once, with the directory, the reason and what to do."""
    spoil(cache)
    with pytest.warns(fl.FlowWarning, match="The cache directory cannot be used") as caught:
        assert fl.run(fit(load(3)), cache=cache, progress=False) == {"auc": 0.4}
    (warning,) = caught
    assert str(cache) in str(warning.message) and reason in str(warning.message)
    assert "choose another directory" in str(warning.message) or "chmod" in str(warning.message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_cache_that_may_not_be_written(cache: Path) -> None:
    """A read-only directory is no reason to fail."""
    cache.mkdir(mode=0o500)
    with pytest.warns(fl.FlowWarning, match="The cache directory cannot be used"):
        assert fl.run(load(3), cache=cache, progress=False) == [0, 1, 2]


def test_cache_of_someone_else(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others wrote is neither read nor trusted."""
    cache.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(fl.FlowWarning, match="it belongs to user .*, not to you"):
        assert fl.run(load(3), cache=cache, progress=False) == [0, 1, 2]
    assert list(cache.iterdir()) == []


# ---- code


def imported(name: str, source: bytes) -> ModuleType:
    """Write a module and import it from the current directory."""
    Path(f"{name}.py").write_bytes(source)
    sys.path.insert(0, os.getcwd())
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)
        sys.modules.pop(name)


@pytest.fixture
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep imports from writing files."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.usefixtures("no_bytecode")
@pytest.mark.parametrize(
    "source",
    [
        "# -*- coding: latin-1 -*-\ndef f(x):\n    return 'é' + x\n".encode("latin-1"),
        "\ufeffdef f(x):\n    return 'é' + x\n".encode(),
        "def f(x):\r\n    return 'é' + x\r\n".encode(),
    ],
)
def test_source_in_another_encoding(cache: Path, source: bytes) -> None:
    """What Python can read has a code version, and hits again."""
    made = fl.task(imported("encoded", source).f)
    assert fl.run(made("!"), cache=cache, progress=False) == "é!"
    assert runs(made("!"), cache) == []


@pytest.mark.usefixtures("no_bytecode")
@pytest.mark.parametrize("after", [b"# \xe9\xff\ndef f(x): return x\n", b"def f(x:\n", b"", None])
def test_source_that_became_unreadable(cache: Path, after: bytes | None) -> None:
    """The loaded code counts: not UTF-8 any more, not Python any more, gone; the function runs and hits."""
    made = fl.task(imported("spoilt", b"def f(x):\n    return x + 1\n").f)
    if after is None:
        Path("spoilt.py").unlink()
    else:
        Path("spoilt.py").write_bytes(after)
    assert fl.run(made(1), cache=cache, progress=False) == 2
    assert runs(made(1), cache) == []
    assert "cached" in str(fl.why(made(1), cache=cache))


def test_code_without_source(cache: Path) -> None:
    """`exec`, built-ins and compiled functions are run; what has no code version is not cached, and says so."""
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec("def f(x): return x * 2", scope)
    assert fl.run(fl.task(scope["f"])(4), cache=cache, progress=False) == 8
    assert runs(fl.task(scope["f"])(4), cache) == []
    assert fl.run(fl.task(max)(3, 4), cache=cache, progress=False) == 4
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", fl.FlowWarning
        )  # whether C functions of the process have a version is their matter
        assert fl.run(fl.task(ctypes.CDLL(None).abs)(-3), cache=cache, progress=False) == 3


def test_code_that_cannot_be_identified(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no key: the call runs, uncached, and the reason is said with the line."""
    from flowlib.hashing.identity import Identity

    def refuse(self: Identity, fn: object) -> Any:
        raise fl.CodeNotFound("The code of 'load' cannot be found.")

    monkeypatch.setattr(Identity, "code_version", refuse)
    with pytest.warns(fl.FlowWarning) as caught:
        assert fl.run(load(3), cache=cache, progress=False) == [0, 1, 2]  # here: no code
    message = str(caught[0].message)
    assert message.startswith("Task 'load' cannot be cached: The code of 'load' cannot be found (called at ")
    assert line_after("here: no code") in message


@pytest.mark.parametrize(("made", "what"), [(dict, "the class 'dict'"), (3, "an object of type 'int'")])
def test_task_of_no_function(made: Any, what: str) -> None:
    """Only functions have code that can be followed."""
    refused(lambda: fl.task(made), fl.TaskMisused, f"@task needs a function, not {what}.", "Decorate a function")


# ---- recursion


def test_recursion_without_end(cache: Path) -> None:
    """The limit, and who returned whom, with lines; what had finished hits."""
    fl.configure(max_nodes=30)
    text = refused(
        lambda: runs([load(6), endless(0)], cache, workers=1),
        fl.ExpansionLimit,
        "Task 'endless' keeps returning new nodes: 31 nodes, 29 levels deep.",
        "max_nodes=30",
        "returned by endless",
        "Give the recursion an end",
    )
    assert text.count(f"{HERE}:") >= 6
    assert runs(load(6), cache) == []


def test_task_that_returns_a_call_of_itself(cache: Path) -> None:
    """No limit has to be reached to see that this never ends."""

    @fl.task
    def selfish(n: int) -> Any:
        return selfish(n)

    first = "Task 'selfish' asks for its own result while it is being computed."
    refused(lambda: runs(selfish(1), cache), fl.ExpansionLimit, first, "selfish(n=1)", HERE)


def test_task_that_runs_itself_without_end(cache: Path) -> None:
    """Python's own limit: its error comes out, with a few notes and not with hundreds."""

    @fl.task
    def again(n: int) -> int:
        return 1 + fl.run(again(n + 1))

    with pytest.raises(RecursionError) as caught:
        runs(again(0), cache)
    assert len(caught.value.__notes__) <= 5
    assert all(HERE in note for note in caught.value.__notes__)


# ---- Ctrl-C

INTERRUPTED = """
import sys
import flowlib as fl

@fl.task
def load(n):
    return n

@fl.task
def step(x, n):
    print("step", n, flush=True)
    sys.stdin.readline()
    return x + n

def target():
    return [load(1), step(load(2), 0), step(load(3), 1), step(load(4), 2)]

if __name__ == "__main__":
    print("result", fl.run(target(), workers=1), flush=True)
"""


@pytest.mark.parametrize("n_finished", [0, 1, 2])
def test_interrupt_in_a_task(isolated: Path, n_finished: int) -> None:
    """What runs is finished and kept, nothing new starts, the next run goes on from there."""
    with Program(isolated / "flow.py", INTERRUPTED) as program:
        for n in range(n_finished):
            program.expect(f"step {n}")
            program.say()
        program.expect(f"step {n_finished}")
        program.process.send_signal(signal.SIGINT)
        program.say()
        lines, errors = program.finish(code=-signal.SIGINT)
    assert [line for line in lines if line.startswith("step")] == [f"step {n}" for n in range(n_finished + 1)]
    assert "KeyboardInterrupt" in errors and "finished results are kept" in errors

    with Program(isolated / "flow.py", INTERRUPTED) as program:
        for _ in range(3):
            program.say()
        again, errors = program.finish()
    assert [line for line in again if line.startswith("step")] == [f"step {n}" for n in range(n_finished + 1, 3)]
    assert (again[-1], errors) == ("result [1, 2, 4, 6]", "")


ANY_MOMENT = """
import signal
import sys
import flowlib as fl

@fl.task
def square(n):
    return n * n

@fl.task
def total(values):
    return sum(values)

def target():
    return total([square(n) for n in range(200)])

if __name__ == "__main__":
    lines = int(sys.argv[1])
    seen = 0

    def trace(frame, event, arg):
        global seen
        seen += 1
        if seen == lines:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    if lines:
        sys.settrace(trace)
    try:
        print("result", fl.run(target(), workers=2, progress=False))
    except KeyboardInterrupt:
        print("interrupted")
    finally:
        sys.settrace(None)
"""


@pytest.mark.parametrize("n_lines", [1, 50, 1_000, 4_000, 12_000, 40_000, 90_000])
def test_interrupt_at_any_line_of_the_engine(isolated: Path, n_lines: int) -> None:
    """Wherever it strikes: the run ends, its directory is sound, and the next run gives the right value."""
    lines, errors = run_program(isolated / "flow.py", ANY_MOMENT, n_lines)
    assert (lines, errors) == (["interrupted"], "")
    again, errors = run_program(isolated / "flow.py", ANY_MOMENT, 0)
    assert (again[0], errors) == (f"result {sum(n * n for n in range(200))}", "")
