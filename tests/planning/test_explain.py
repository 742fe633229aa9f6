"""Explanations: the changed line of a helper two files away, the upstream cause, and texts that read well."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.look import explain_target
from flowlib.engine.run import RunOptions, execute, options_from
from flowlib.planning.explain import CodeChange, Explanation
from flowlib.store.memory import MemoryStore
from tests.engine.programs import run_program


@fl.task
def load(n: int) -> list[int]:
    return list(range(n))


@fl.task
def fit(data: Any, lr: float = 0.1) -> dict[str, float]:
    return {"auc": lr}


@fl.task
def report(result: Any) -> str:
    return str(result)


@pytest.fixture
def options() -> RunOptions:
    """A store and a clock that stands still in 1970."""
    clock = FrozenClock(0.0)
    return options_from({}, cache=MemoryStore(clock), clock=clock)


def told(target: Any, options: RunOptions) -> str:
    """Return the whole printed explanation of the last node, with what differs from run to run replaced."""
    text = str(explain_target(target, options)[-1])
    text = re.sub(r"\S*test_explain\.py:\d+", "FILE:LINE", text)
    return re.sub(r"\b[0-9a-f]{64}\b", "KEY", re.sub(r"\d{8}-\d{6}-[0-9a-f]{8}", "RUN", text))


# ---- whole texts


def test_text_of_a_cached_node(options: RunOptions) -> None:
    """When it was made, by which run, under which key."""
    execute(fit([1]), options)
    assert told(fit([1]), options) == (
        "fit at FILE:LINE: cached, nothing would run\n  computed 1970-01-01 00:00:00 UTC in 0 s by run RUN\n  key KEY"
    )


def test_text_of_a_node_never_seen(options: RunOptions) -> None:
    """One word is enough."""
    assert told(load(3), options) == "load at FILE:LINE: would run\n  first seen"


def test_text_of_changed_arguments(options: RunOptions) -> None:
    """One line for each, old and new."""
    execute(fit("a.csv", lr=0.1), options)
    assert told(fit("b.csv", lr=0.5), options) == (
        "fit at FILE:LINE: would run\n  argument changed: data: 'a.csv' -> 'b.csv'\n  argument changed: lr: 0.1 -> 0.5"
    )


def test_text_of_an_undecided_node(options: RunOptions) -> None:
    """The cause is named, not the nodes between."""
    execute(report(fit(load(3))), options)
    assert told(report(fit(load(4))), options) == (
        "report at FILE:LINE: undecided until these have run (results equal to earlier ones would be hits)\n"
        "  load at FILE:LINE: would run\n"
        "    argument changed: n: 3 -> 4"
    )


def test_text_of_an_argument_without_a_digest(options: RunOptions) -> None:
    """The exact path inside the argument."""
    assert told(fit({"model": [0, threading.Lock()]}), options) == (
        "fit at FILE:LINE: would run\n"
        "  not cached: argument 'data' has no stable digest: data['model'][1] (_thread.lock): "
        "its state is hidden in a compiled class"
    )


def test_text_of_a_sweeps_new_point(options: RunOptions) -> None:
    """The label says which point."""
    execute(fl.fan_out(fit, "a", over=fl.grid(lr=[0.1, 0.2])), options)
    assert told(fl.fan_out(fit, "a", over=fl.grid(lr=[0.1, 0.2, 0.3])), options) == (
        "fit [lr=0.3] at FILE:LINE: would run\n  new arguments"
    )


def test_text_of_a_missing_file(options: RunOptions) -> None:
    """The path as the user wrote it."""
    assert told(fit(fl.File("data/train.csv")), options) == (
        "fit at FILE:LINE: would run\n  file missing: data/train.csv"
    )


def test_text_of_the_second_of_two_equal_calls(options: RunOptions) -> None:
    """It waits for the first."""
    assert told([load(3), load(3)], options) == (
        "load at FILE:LINE: undecided until these have run (results equal to earlier ones would be hits)\n"
        "  load at FILE:LINE: would run\n"
        "    first seen"
    )


def test_flags_of_a_stored_result_are_said(options: RunOptions) -> None:
    """How long it is valid, and what it was made of."""

    @fl.task(ttl=60)
    def grow(n: int) -> Any:
        return [load(n), n]

    execute(fit.options(ttl=90)([1]), options)
    assert told(fit.options(ttl=90)([1]), options).endswith("  valid until 1970-01-01 00:01:30 UTC")
    execute(grow(2), options)
    assert "  the task returned nodes; their values were put together\n" in told(grow(2), options)


def test_many_causes_are_bounded(options: RunOptions) -> None:
    """A reduction over thousands of points names a few of them."""
    top = fl.fan_in(fl.fan_out(fit, "a", over=fl.grid(lr=[i / 10 for i in range(100)])), fl.best(max="auc"))
    assert told(top, options).count("would run") == 5


def test_long_differences_are_cut_and_counted() -> None:
    """Forty lines, then how many more."""
    diff = "\n".join(["--- before", "+++ now", "@@ -1,3 +1,99 @@", *(f"+line {i}" for i in range(60))])
    lines = list(CodeChange(name="helper", diff=diff).lines())
    assert lines[:2] == ["changed: helper", "  +line 0"]
    assert (len(lines), lines[-1]) == (42, "  ... and 20 more lines")


def test_explanation_of_a_structure_is_one_for_each_node(options: RunOptions) -> None:
    """In the order of the target; without a node there is nothing to explain."""
    found = explain_target({"a": load(1), "b": [fit(load(2))]}, options)
    assert [(one.task, one.word) for one in found] == [("load", "run"), ("fit", "undecided")]
    assert all(isinstance(one, Explanation) for one in found)
    with pytest.raises(fl.FlowError, match="There is no node to explain"):
        explain_target([1, 2], options)


# ---- changed code

FAR = "LIMIT = 3\n\n\ndef scale(x):\n    y = x * 2\n    return y\n"
NEAR = "from shop import far\n\n\ndef clean(x):\n    return far.scale(x) + far.LIMIT\n"
FLOW = """\
import flowlib as fl
from shop.near import clean

@fl.task
def load(n):
    return n

@fl.task
def fit(x):
    return clean(x)

@fl.task
def report(x):
    return f"{x}"

def target():
    return report(fit(load(3)))
"""
ACT = """
import sys
import flowlib as fl
from shop.flow import *
for line in str(eval(sys.argv[1])).splitlines():
    print(line)
"""


class Shop:
    """A small package, looked at by a fresh process each time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.write(far=FAR, near=NEAR, flow=FLOW, __init__="")

    def write(self, **texts: str) -> None:
        """Write modules."""
        for name, text in texts.items():
            path = self._root / "shop" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")

    def ask(self, expression: str) -> str:
        """Return what an expression is, printed by a process of its own."""
        lines, errors = run_program(self._root / "act.py", ACT, expression)
        assert errors == ""
        return "\n".join(lines)


@pytest.fixture
def shop(isolated: Path) -> Shop:
    """The package after its first run."""
    shop = Shop(isolated)
    assert shop.ask("fl.run(target())") == "9"
    return shop


def test_a_helper_two_hops_away_is_shown_as_a_diff(shop: Shop) -> None:
    """report <- fit -> near.clean -> far.scale: the line that was edited, and the upstream cause by name."""
    shop.write(far=FAR.replace("x * 2", "x * 3"))

    assert shop.ask("fl.why(target())") == (
        "report at shop/flow.py:17: undecided until these have run (results equal to earlier ones would be hits)\n"
        "  fit at shop/flow.py:17: would run\n"
        "    code changed\n"
        "    changed: shop.far.scale\n"
        "       def scale(x):\n"
        "      -    y = x * 2\n"
        "      +    y = x * 3\n"
        "           return y"
    )


def test_what_is_new_and_what_is_gone_is_said(shop: Shop) -> None:
    """A helper that came, a constant that nobody reads any more."""
    near = (
        "from shop import far\n\n\ndef clean(x):\n    return twice(far.scale(x))\n\n\ndef twice(x):\n    return 2 * x\n"
    )
    shop.write(near=near)

    assert shop.ask("fl.why(fit(load(3)))").splitlines()[1:] == [
        "  code changed",
        "  changed: shop.near.clean",
        "     def clean(x):",
        "    -    return far.scale(x) + far.LIMIT",
        "    +    return twice(far.scale(x))",
        "  gone: shop.far.LIMIT",
        "  new: shop.near.twice",
        "    +def twice(x):",
        "    +    return 2 * x",
    ]


def test_a_changed_constant_is_named(shop: Shop) -> None:
    """A global that the helper reads is a part of its own."""
    shop.write(far=FAR.replace("LIMIT = 3", "LIMIT = 4"))
    assert shop.ask("fl.why(fit(load(3)))").splitlines()[1:] == ["  code changed", "  changed: shop.far.LIMIT"]


def test_comments_and_reverted_edits_change_nothing(shop: Shop) -> None:
    """What the code does is what counts, and an old version is still known."""
    shop.write(far=f"# new words\n{FAR}")
    assert "cached, nothing would run" in shop.ask("fl.why(target())")
    shop.write(far=FAR.replace("x * 2", "x * 3"))
    assert shop.ask("fl.run(target())") == "12"
    shop.write(far=FAR)
    assert "cached, nothing would run" in shop.ask("fl.why(target())")


def test_two_far_edits_are_shown_as_two_places(shop: Shop) -> None:
    """Between them, three dots."""
    body = "".join(f"    y = y + {i}\n" for i in range(12))
    long = f"LIMIT = 3\n\n\ndef scale(x):\n    y = x\n{body}    return y\n"
    shop.write(far=long)
    shop.ask("fl.run(target())")
    shop.write(far=long.replace("y + 0\n", "y + 100\n").replace("y + 11\n", "y + 111\n"))

    lines = shop.ask("fl.why(fit(load(3)))").splitlines()
    assert lines.count("    ...") == 1
    assert [line.strip() for line in lines if "+    y" in line] == ["+    y = y + 100", "+    y = y + 111"]
