"""Frozen code identity: a run uses one version of all code, whatever is edited or assigned while it goes on."""

from pathlib import Path

import pytest

from tests.engine.programs import Program, run_program

HELPER = "RATE = 2\n\n\ndef scale(x):\n    return x * RATE\n"
EDITED = HELPER.replace("x * RATE", "x * RATE + 100")

FLOW = """
import importlib
import sys
from pathlib import Path

import flowlib as fl
import helper
from flowlib.testing import EventLog

{tasks}

def go(target, **options):
    log = EventLog()
    print("value", fl.run(target, progress=False, observers=[log], **options), flush=True)
    print("ran", *log.ran, flush=True)
    print("cached", *log.cached, flush=True)
"""

TASKS = """
@fl.task(cache=False)
def pause(x):
    print("paused", flush=True)
    sys.stdin.readline()
    return x

@fl.task
def first(x):
    return helper.scale(x)

@fl.task
def later(x):
    import late
    return helper.scale(x) + late.add(x)

@fl.task
def grows(x):
    return [later(x), first(x)]
"""

GO = "\nif __name__ == '__main__':\n    go([first(1), later(pause(2)), later(pause(3))], workers=1)\n"
GO_GROWS = "\nif __name__ == '__main__':\n    go(grows(pause(2)), workers=1)\n"


@pytest.fixture
def work(isolated: Path) -> Path:
    """A directory with two modules that tasks use."""
    write(isolated, helper=HELPER, late="def add(x):\n    return 1000\n")
    return isolated


def write(work: Path, **texts: str) -> None:
    """Write modules; the interpreter must not take an old one from its own cache of the same second and size."""
    for name, text in texts.items():
        (work / f"{name}.py").write_text(text, "utf-8")


def flow(tasks: str, last: str) -> str:
    """Return the text of a program."""
    return FLOW.format(tasks=tasks) + last


def run(work: Path, text: str, say: str = "") -> list[str]:
    """Run a program in a process of its own and return what it said, pauses left out."""
    with Program(work / "flow.py", text, env={"PYTHONDONTWRITEBYTECODE": "1"}) as program:
        for _ in range(4):
            program.say(say)
        lines, errors = program.finish()
    assert errors == ""
    return [line for line in lines if line != "paused"]


def run_and_edit(work: Path, text: str, **edits: str) -> list[str]:
    """Run a program; edit modules when it first pauses, while the run goes on."""
    with Program(work / "flow.py", text, env={"PYTHONDONTWRITEBYTECODE": "1"}) as program:
        program.expect("paused")
        write(work, **edits)
        for _ in range(4):
            program.say()
        lines, errors = program.finish()
    assert errors == ""
    return [line for line in lines if line != "paused"]


def test_an_edit_during_a_run_does_not_mix_versions(work: Path) -> None:
    """The run ends with the code it began with; the next process sees the edit; the way back hits."""
    text = flow(TASKS, GO)
    during = run_and_edit(work, text, helper=EDITED, late="def add(x):\n    return 9000\n")
    after = run(work, text)
    write(work, helper=HELPER, late="def add(x):\n    return 1000\n")
    reverted = run(work, text)

    assert during[0] == "value [2, 1004, 1006]"
    assert after[0] == "value [102, 9104, 9106]"
    assert sorted(after[1].split()[1:]) == ["first", "later", "later", "pause", "pause"]
    assert reverted[0] == "value [2, 1004, 1006]"
    assert reverted[1:] == ["ran pause pause", "cached first later later"]


def test_nodes_that_join_during_a_run_use_its_version(work: Path) -> None:
    """A task that returns nodes after an edit: they are computed and filed with the code the run began with."""
    text = flow(TASKS, GO_GROWS)
    during = run_and_edit(work, text, helper=EDITED, late="def add(x):\n    return 9000\n")
    again = run(work, text)
    write(work, helper=HELPER, late="def add(x):\n    return 1000\n")
    reverted = run(work, text)

    assert during[:2] == ["value [1004, 4]", "ran pause grows later first"]
    assert again[0] == "value [9104, 104]"
    assert reverted == ["value [1004, 4]", "ran pause", "cached grows"]


def test_two_versions_live_side_by_side(work: Path) -> None:
    """Switching between them, as between branches, runs nothing twice."""
    text = flow(TASKS, GO)
    said = []
    for version in (HELPER, EDITED, HELPER, EDITED):
        write(work, helper=version)
        said.append(run(work, text))
    assert [lines[0] for lines in said] == ["value [2, 1004, 1006]", "value [102, 1104, 1106]"] * 2
    assert [lines[1] for lines in said[2:]] == ["ran pause pause"] * 2


def test_a_module_reloaded_by_a_task_is_seen_by_the_next_run(work: Path) -> None:
    """What ran after `importlib.reload` is used, but filed neither under the old code nor under the new."""
    tasks = """
@fl.task(cache=False)
def reload(x):
    Path("helper.py").write_text(sys.argv[1])
    importlib.reload(helper)
    return x

@fl.task
def after(x):
    return helper.scale(x)
"""
    last = "\nif __name__ == '__main__':\n    go(after(reload(1)), workers=1)\n    go(after(1), workers=1)\n"
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    lines, errors = run_program(work / "flow.py", flow(tasks, last), EDITED, env=env)
    assert [line for line in lines if line != "cached"] == ["value 102", "ran reload after", "value 102", "ran after"]
    assert "its code was replaced while the run went on" in errors

    write(work, helper=HELPER)
    lines, _ = run_program(work / "flow.py", flow(tasks, last), HELPER, env=env)
    assert lines[:2] == ["value 2", "ran reload after"]


CELLS = """
import threading
started, go_on = threading.Event(), threading.Event()

@fl.task(cache=False)
def gate(x):
    started.set()
    go_on.wait(30)
    return x

exec({cell!r})

@fl.task
def uses(x):
    return scale(x)
"""

GO_CELLS = """
if __name__ == "__main__":
    handle = fl.start([uses(gate(1)), uses(gate(2))])
    started.wait(30)
    exec({again!r})
    go_on.set()
    print("value", handle.result())
    exec({cell!r})
    go([uses(1), uses(2)])
"""


@pytest.mark.parametrize(
    ("again", "first", "ran"),
    [
        ("def scale(x): return x * 100", "value [100, 200]", "ran uses uses"),
        ("def scale(x): return x * 2", "value [2, 4]", "ran"),
        ("scale.__code__ = (lambda x: x * 100).__code__", "value [100, 200]", "ran uses uses"),
    ],
)
def test_a_cell_executed_again_during_a_run_in_the_background(work: Path, again: str, first: str, ran: str) -> None:
    """What new code gave is not filed under the old; the same code again changes nothing."""
    cell = "def scale(x): return x * 2"
    lines, _ = run_program(work / "flow.py", flow(CELLS.format(cell=cell), GO_CELLS.format(cell=cell, again=again)))

    assert [line for line in lines if not line.startswith("cached")] == [first, "value [2, 4]", ran]


GLOBALS = """
COUNT = 0
TABLE = {{"rate": 2}}

@fl.task
def count(x):
    global COUNT
    COUNT += 1
    TABLE["rate"] = COUNT
    return x

@fl.task
def uses(x):
    return x + COUNT * 0 + TABLE["rate"] * 0

@fl.task
def grows(x):
    return [uses(x), uses(x + 1)]
""".replace("{{", "{").replace("}}", "}")


def test_a_global_that_a_task_assigns_does_not_change_keys_during_the_run(work: Path) -> None:
    """Later nodes are filed with the value the run began with, so that the next process hits."""
    last = "\nif __name__ == '__main__':\n    go([uses(count(1)), uses(count(2)), uses(count(3))], workers=1)\n"
    text = flow(GLOBALS, last)
    first, second = run(work, text), run(work, text)

    assert sorted(first[1].split()[1:]) == ["count"] * 3 + ["uses"] * 3
    assert (first[0], second[0]) == ("value [1, 2, 3]", "value [1, 2, 3]")
    assert second[1:] == ["ran", "cached count count count uses uses uses"]


def test_a_global_that_a_task_assigns_does_not_change_keys_of_nodes_that_join(work: Path) -> None:
    """What a task reached when the run began was taken down with it."""
    text = flow(GLOBALS, "\nif __name__ == '__main__':\n    go(grows(count(1)), workers=1)\n")
    first, second = run(work, text), run(work, text)

    assert first[:2] == ["value [1, 2]", "ran count grows uses uses"]
    assert second == ["value [1, 2]", "ran", "cached count grows"]


def test_the_next_run_of_the_same_process_sees_the_new_value(work: Path) -> None:
    """Frozen is the run, not the process."""
    last = "\nif __name__ == '__main__':\n    go(uses(1))\n    COUNT = 5\n    go(uses(1))\n    COUNT = 0\n    go(uses(1))\n"
    said = run(work, flow(GLOBALS, last))

    assert [line for line in said if line.startswith(("ran", "cached"))] == [
        "ran uses",
        "cached",
        "ran uses",
        "cached",
        "ran",
        "cached uses",
    ]
