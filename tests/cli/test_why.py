"""`flowlib why`: what changed."""

from collections.abc import Callable
from pathlib import Path

Write = Callable[[str, str], Path]

HELPED = """
import flowlib as fl

def helper(x: int) -> int:
    return x + 1

@fl.task
def first(x: int) -> int:
    return helper(x)

@fl.task
def second(x: int) -> int:
    return x * 10

def pipeline(x: int = 1):
    return second(first(x))
"""


def test_changed_helper_is_shown_as_a_diff(command, write: Write) -> None:
    """The line that changed is what the user wants to see."""
    path = write("helped.py", HELPED)
    command("run", path)
    path.write_text(HELPED.replace("x + 1", "x + 2"))
    done = command("why", path)

    assert done.code == 0
    assert "-    return x + 1" in done.out
    assert "+    return x + 2" in done.out


def test_cached_result_says_when_it_was_computed(command, write: Write) -> None:
    """A hit names the run it came from."""
    path = write("helped.py", HELPED)
    command("run", path)
    done = command("why", path)

    assert "second at helped.py:16: cached, nothing would run" in done.out
    assert "computed" in done.out


def test_one_task_can_be_asked_about(command, write: Write) -> None:
    """`--task` explains a node inside the graph; a misspelt one gets the nearest."""
    path = write("helped.py", HELPED)
    command("run", path)

    assert command("why", path, "--task", "first").out.startswith("first at helped.py:16: cached")
    assert "Did you mean 'first'?" in command("why", path, "--task", "frist").err


def test_many_nodes_are_counted_not_listed(command, write: Write) -> None:
    """A fan-out of thousands does not flood the terminal."""
    text = HELPED.replace("second(first(x))", "fl.fan_out(first, over=fl.grid(x=range(x, 30)))")
    done = command("why", write("many.py", text))

    assert done.out.count("would run") == 5
    assert done.out.splitlines()[-1] == "and 24 more nodes not cached"


def test_explanation_as_json(command, write: Write) -> None:
    """Programs get reasons, changes and causes by name."""
    path = write("helped.py", HELPED)
    command("run", path)
    path.write_text(HELPED.replace("x + 1", "x + 2"))
    (node,) = command("why", path, "--json").document["nodes"]

    assert (node["task"], node["decision"]) == ("second", "undecided")
    (cause,) = node["causes"]
    assert [reason["kind"] for reason in cause["reasons"]] == ["code changed"]
    assert "+    return x + 2" in cause["changes"][0]["diff"]
