"""Displays in notebooks: registered from outside, bounded, safe, and computing nothing."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

import flowlib as fl
from flowlib import notebook
from flowlib.views.html import LARGEST_FRAGMENT


@fl.task(version="2")
def load(n: int) -> list[int]:
    """Count to <b>n</b>."""
    return list(range(n))


@fl.task
def fit(data: list[int], *, lr: float, depth: int = 4) -> dict[str, float]:
    """Give numbers, or fail."""
    if depth == 5:
        raise ValueError("<script>alert('depth')</script>")
    return {"auc": lr * depth, "loss": 1 / lr}


def sweep() -> Any:
    """Return a fan-out with points that fail."""
    return fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2], depth=[4, 5]), on_error="keep")


def objects() -> dict[str, Any]:
    """Return one object of each kind that has a display."""
    jobs = sweep()
    late = fl.axis(depth=load(3))
    return {
        "Node": fit(load(3), lr=0.1),
        "Task": load,
        "FanOut": jobs,
        "late FanOut": fl.fan_out(fit, [1], over=late * fl.grid(lr=[0.1])),
        "Space": fl.grid(lr=[0.1, 0.2]),
        "late Space": late,
        "Plan": fl.plan(jobs),
        "Explanation": fl.why(jobs[0]),
        "SweepResult": fl.run(jobs),
        "Best": fl.run(fl.fan_in(jobs, fl.best(max="auc"))),
        "Top": fl.run(fl.fan_in(jobs, fl.top(2, min="loss"))),
        "Failed": fl.run(jobs).failed[0],
        "hit": fl.why(jobs[0]),
        "Run": fl.start(load(2)),
    }


NAMES = ("Node", "Task", "FanOut", "late FanOut", "Space", "late Space", "Plan", "Explanation", "SweepResult", "Best",
         "Top", "Failed", "hit", "Run")  # fmt: skip


@pytest.fixture
def show() -> Any:
    """Return what IPython shows as HTML once the extension is loaded."""
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    notebook.load_ipython_extension(shell)

    def show_object(value: object) -> str:
        return shell.display_formatter.format(value)[0].get("text/html", "")

    return show_object


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_has_a_bounded_display_without_script(show: Any, name: str) -> None:
    """What a task was named or an error said can only ever be text."""
    shown = show(objects()[name])

    assert shown.startswith('<div class="flowlib">')
    assert len(shown.encode()) <= LARGEST_FRAGMENT
    assert "<script" not in shown
    assert "<b>n</b>" not in shown


def test_displays_do_not_run_anything(show: Any) -> None:
    """Showing nodes, fan-outs and spaces is free."""
    ran = []

    @fl.task
    def tell(x: int) -> int:
        ran.append(x)
        return x

    show(tell(1))
    show(fl.fan_out(tell, over=fl.grid(x=[1, 2])))
    show(fl.plan(tell(1)))

    assert ran == []


def test_node_says_what_it_is_and_where_it_was_made(show: Any) -> None:
    """The call's line and arguments are there; the value is not."""
    shown = show(fit(load(3), lr=0.25))

    assert "test_notebook_display.py:" in shown
    assert "0.25" in shown
    assert "&lt;load&gt;" in shown
    assert "Not computed yet" in shown


def test_large_sweeps_show_their_beginning(show: Any) -> None:
    """Twenty points are shown and the others counted, of a result, a fan-out and a space alike."""
    space = fl.grid(n=range(300))
    jobs = fl.fan_out(load, over=space)

    for value in (space, jobs, fl.run(jobs)):
        shown = show(value)
        assert "and 280 more points" in shown
        assert len(shown) < 20_000


def test_sweep_shows_parameters_metrics_and_failures(show: Any) -> None:
    """One line for each point, with short numbers."""
    shown = show(fl.run(sweep()))

    for word in ("lr", "depth", "auc", "loss", "2 failed", "ValueError: &lt;script&gt;", "badge-failed"):
        assert word in shown


def test_best_shows_score_and_parameters(show: Any) -> None:
    """The winner at a glance, with what it was chosen from."""
    shown = show(fl.run(fl.fan_in(sweep(), fl.best(max="auc"))))

    assert "best of 2" in shown
    assert "2 failed" in shown
    assert "0.8" in shown


def test_plan_has_a_line_for_each_task(show: Any) -> None:
    """Counts by decision and the most frequent reasons."""
    shown = show(fl.plan(sweep()))

    assert "0 cached, 1 to run, 4 undecided" in shown
    assert "first seen" in shown


def test_explanation_folds_the_diff_away(show: Any) -> None:
    """The changed function is a line that opens."""
    globals_ = {"fl": fl, "__name__": "cell"}
    exec("@fl.task\ndef one() -> int:\n    return 1\n", globals_)
    fl.run(globals_["one"]())
    exec("@fl.task\ndef one() -> int:\n    return 2\n", globals_)
    shown = show(fl.why(globals_["one"]()))

    assert "<details><summary>" in shown
    assert shown.count("code changed") == 1


def test_unloading_takes_the_displays_back() -> None:
    """`%unload_ext` leaves IPython as it was."""
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    notebook.load_ipython_extension(shell)
    notebook.unload_ipython_extension(shell)
    notebook.unload_ipython_extension(shell)

    assert "text/html" not in shell.display_formatter.format(fl.grid(x=[1]))[0]


def test_registering_without_ipython_does_nothing(isolated: Path) -> None:
    """A script that never saw IPython does not import it for our sake."""
    code = "import sys; from flowlib.notebook import register_if_running as r; print(r(), 'IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False False\n"


def test_registering_inside_ipython(isolated: Path) -> None:
    """In a running shell, the displays are there after one call."""
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import flowlib as fl
from flowlib.notebook import register_if_running
assert register_if_running()
bundle, _ = shell.display_formatter.format(fl.grid(x=[1, 2]))
print(sorted(bundle))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"IPYTHONDIR": str(isolated), "PATH": ""},
    )

    assert done.stdout == "['text/html', 'text/plain']\n"
