"""`flowlib run`: flowlib's own options and what becomes of the value."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str, str], Path]

SWEEP = """
import flowlib as fl

@fl.task
def invert(x: int) -> float:
    return 1 / x

def pipeline(low: int = -1, *, words: bool = False):
    jobs = fl.fan_out(invert, over=fl.grid(x=range(low, 3)))
    return jobs
"""


def test_cache_off_keeps_nothing(command, flow: Path, isolated: Path) -> None:
    """`--cache off` runs without a cache directory."""
    done = command("run", flow, "--cache", "off")

    assert done.out == "adding up\n6.0\n"
    assert not (isolated / ".flowlib").exists()


def test_cache_directory_is_used(command, flow: Path, isolated: Path) -> None:
    """`--cache DIR` keeps results there and nowhere else."""
    command("run", flow, "--cache", "kept")

    assert command("run", flow, "--cache", "kept").out == "6.0\n"
    assert not (isolated / ".flowlib").exists()


def test_unusable_cache_is_said_and_the_run_goes_on(command, flow: Path, isolated: Path) -> None:
    """The cache can only save time; without progress its trouble is still told."""
    (isolated / "kept").write_text("a file")
    done = command("run", flow, "--cache", "kept", "--no-progress")

    assert (done.code, done.out) == (0, "adding up\n6.0\n")
    assert done.err.startswith("note: The cache directory cannot be used.")


def test_forced_task_runs_again(command, flow: Path) -> None:
    """`--force TASK` runs it whatever is stored, and nothing else."""
    command("run", flow)

    assert command("run", flow, "--force", "total").out == "adding up\n6.0\n"
    assert command("run", flow, "--force", "load").out == "6.0\n"


def test_forcing_an_unknown_task_is_told(command, flow: Path) -> None:
    """A misspelt task would otherwise silently force nothing; it may still appear while the run grows."""
    done = command("run", flow, "--force", "totl", "--no-progress")

    assert done.code == 0
    assert "note: there is no task 'totl' so far. Did you mean 'total'?" in done.err


def test_tags_are_stored_with_the_run(command, flow: Path, isolated: Path) -> None:
    """A tag is found in the log of the run."""
    command("run", flow, "--tag", "nightly", "--tag", "ci")
    (log,) = (isolated / ".flowlib" / "runs").iterdir()

    assert json.loads(log.read_text().splitlines()[0])["tags"] == ["nightly", "ci"]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_executor_and_workers_are_passed_on(command, write: Write, executor: str) -> None:
    """The choice reaches the run: inline tasks see the main thread."""
    text = "import threading\nimport flowlib as fl\n\n@fl.task\ndef where() -> bool:\n"
    text += "    return threading.current_thread() is threading.main_thread()\n"
    done = command("run", write("where.py", text), "--executor", executor, "--workers", "1")

    assert done.out == f"{executor == 'inline'}\n"


def test_on_error_keep_shows_failed_points(command, write: Write) -> None:
    """A sweep that keeps failures ends well and says which point failed."""
    path = write("sweep.py", SWEEP)
    done = command("run", path, "--on-error", "keep")

    assert done.code == 0
    assert done.out.splitlines()[0] == "invert: 4 points, 1 failed"
    assert "failed: ZeroDivisionError: division by zero" in done.out


def test_several_failures_are_grouped(command, write: Write) -> None:
    """All failures are summed up, and the traceback of the first follows."""
    text = SWEEP.replace("1 / x", "1 / (x - x)")
    done = command("run", write("sweep.py", text), "--on-error", "continue")

    assert done.code == 1
    assert "error: 4 nodes failed, with 1 different error." in done.err
    assert "The first of them:\nTraceback (most recent call last):" in done.err


def test_sweep_as_json_has_one_row_for_each_point(command, write: Write) -> None:
    """Labels, parameters, values and failures are data."""
    points = command("run", write("sweep.py", SWEEP), "--on-error", "keep", "--json").document["points"]

    assert points[0] == {"label": "x=-1", "params": {"x": -1}, "status": "ok", "value": -1.0}
    assert points[1]["status"] == "failed"
    assert points[1]["error"] == "ZeroDivisionError: division by zero"


def test_value_without_json_is_refused_with_the_path(command, write: Write) -> None:
    """What JSON cannot say is not shown by its repr."""
    text = "import flowlib as fl\n\n@fl.task\ndef make() -> dict:\n    return {'a': [1, object()]}\n"
    done = command("run", write("made.py", text), "--json")

    assert done.code == 2
    assert done.document["error"]["facts"]["where"] == "the value['a'][1]"


def test_task_that_exits_is_a_failed_task(command, write: Write) -> None:
    """`sys.exit()` in a task does not decide how the command ends."""
    text = "import sys\nimport flowlib as fl\n\n@fl.task\ndef leave() -> None:\n    sys.exit(0)\n"

    assert command("run", write("leave.py", text)).code == 1


def test_progress_is_shown_when_asked_for(command, flow: Path) -> None:
    """The title is the file; `--no-progress` leaves standard error empty."""
    assert command("run", flow, "--progress").err.splitlines()[0] == "flow: 2 nodes"
    assert command("run", flow, "--no-progress").err == ""
