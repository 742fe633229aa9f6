"""The command as scripts and people meet it: exit codes, the two outputs, no traceback of ours."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import flowlib as fl
from flowlib.cli.exits import MEANINGS, Exit
from flowlib.cli.main import VERBS

FAILS = """
import flowlib as fl

@fl.task
def divide(x: int) -> float:
    return helper(x)

def helper(x):
    return 1 / x

def pipeline(x: int = 0):
    return divide(x)
"""

WAITS = """
import pathlib, signal, os
import flowlib as fl

@fl.task
def first() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return 1

@fl.task
def second(x: int) -> int:
    pathlib.Path("second-ran").touch()
    return x

def pipeline():
    return second(first())
"""


def test_value_is_the_only_thing_on_standard_output(process, flow: Path) -> None:
    """A shell can take the value from a pipe; progress, counts and notices are elsewhere."""
    done = process("run", flow, "--progress")

    assert (done.code, done.out) == (0, "adding up\n6.0\n")
    assert "2 done" in done.err


def test_json_keeps_prints_of_tasks_off_standard_output(process, flow: Path) -> None:
    """With --json, standard output is one document even if a task prints."""
    done = process("run", flow, "--json")

    assert (done.code, done.document) == (0, 6.0)
    assert "adding up" in done.err


def test_second_run_reads_everything_from_the_cache(command, flow: Path) -> None:
    """The command finds what an earlier one kept."""
    command("run", flow)
    again = command("run", flow, "--progress")

    assert again.out == "6.0\n"
    assert "2 cached" in again.err


def test_failing_task_exits_with_1_and_shows_the_users_frames(process, write: Callable[[str, str], Path]) -> None:
    """The traceback is the user's own, with the call that failed, and without a frame of flowlib."""
    done = process("run", write("fails.py", FAILS))

    assert (done.code, done.out) == (1, "")
    assert "in helper" in done.err
    assert "ZeroDivisionError: division by zero" in done.err
    assert "in task divide(x=0)" in done.err
    assert "called at fails.py:12" in done.err
    assert str(Path(fl.__file__).parent) not in done.err


def test_wrong_use_exits_with_2_and_one_sentence(process, flow: Path) -> None:
    """A misspelt option is answered with the nearest one."""
    done = process("run", flow, "--scael", "2")

    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == ["error: There is no option --scael.", "Did you mean '--scale'?"]


def test_file_that_cannot_be_imported_exits_with_3(process, write: Callable[[str, str], Path]) -> None:
    """The user's line and exception are shown, folded to the user's frames."""
    write("helper.py", "import no_such_package\n")
    done = process("run", write("broken.py", "import helper\n"))

    assert (done.code, done.out) == (3, "")
    assert "broken.py could not be imported" in done.err
    assert 'helper.py", line 1' in done.err
    assert "No module named 'no_such_package'" in done.err
    assert "importlib" not in done.err
    assert str(Path(fl.__file__).parent) not in done.err


def test_invalid_pipeline_exits_with_4(process, write: Callable[[str, str], Path]) -> None:
    """What flowlib refuses while the graph is built is told without a traceback."""
    text = FAILS.replace("return divide(x)", "return divide(x) if divide(1) else divide(2)")
    done = process("run", write("invalid.py", text))

    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: A node of task 'divide' cannot be used as true or false")
    assert "Traceback" not in done.err


def test_plan_check_exits_with_5_until_there_is_nothing_to_do(command, flow: Path) -> None:
    """CI asks with one command whether a run is needed."""
    before = command("plan", flow, "--check")
    command("run", flow)
    after = command("plan", flow, "--check")

    assert (before.code, after.code) == (5, 0)


def test_directory_that_is_no_cache_exits_with_6(command, isolated: Path) -> None:
    """A mistyped directory is not turned into a cache."""
    (isolated / "photos").mkdir()
    done = command("cache", "ls", "--cache", "photos")

    assert done.code == 6
    assert list((isolated / "photos").iterdir()) == []


def test_interrupt_exits_with_130_and_one_line(process, isolated: Path, write: Callable[[str, str], Path]) -> None:
    """Ctrl-C keeps what had finished, starts nothing new, and shows no traceback."""
    done = process("run", write("waits.py", WAITS), "--no-progress", "--executor", "inline")

    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted: what had finished is kept; run again to go on from here\n"
    assert not (isolated / "second-ran").exists()


def test_errors_are_json_documents_too(command, write: Callable[[str, str], Path]) -> None:
    """A program reads one document from standard output, whatever happened; people still get their text."""
    done = command("run", write("fails.py", FAILS), "--json")

    assert done.code == 1
    assert done.document["schema"] == "flowlib.error/1"
    assert done.document["exit_code"] == 1
    assert done.document["error"]["type"] == "ZeroDivisionError"
    assert done.document["error"]["at"] == "fails.py:9"
    assert "ZeroDivisionError" in done.err


def test_wrong_use_with_json_is_a_document(command, flow: Path) -> None:
    """Errors of the flowlib kind keep their facts and hint apart."""
    error = command("plan", flow, "--json", "--scael", "1").document["error"]

    assert (error["type"], error["hint"], error["traceback"]) == ("UsageError", "Did you mean '--scale'?", "")


def test_reader_that_goes_away_is_no_error(isolated: Path, write: Callable[[str, str], Path]) -> None:
    """`flowlib run big.py | head -1` ends quietly."""
    text = FAILS.replace("return 1 / x", r"return '\n'.join(['x' * 1000] * 10_000)")
    line = f"{sys.executable} -m flowlib run {write('big.py', text)} --no-progress | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=isolated)

    assert done.stdout == "x" * 1000 + "\n"
    assert done.stderr == ""


@pytest.mark.parametrize(("no_color", "has_colour"), [("1", False), ("", True)])
def test_colour_only_on_a_terminal_that_wants_it(isolated: Path, no_color: str, has_colour: bool) -> None:
    """NO_COLOR is respected; a terminal without it gets colour."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-m", "flowlib", "run", "nothing.py"], stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)

    assert done.returncode == 3
    assert ("\x1b[" in shown) is has_colour


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_root_help_names_every_command_and_exit_code(command, words: tuple[str, ...]) -> None:
    """The first page says all there is, within 80 columns."""
    done = command(*words)

    assert done.code == 0
    assert all(f"  {verb} " in done.out for verb in VERBS)
    assert all(f"{int(code)}   {meaning}" in done.out for code, meaning in MEANINGS.items())
    assert max(map(len, done.out.splitlines())) <= 80


def test_every_exit_code_has_a_meaning() -> None:
    """The list in the help is complete."""
    assert set(MEANINGS) == set(Exit)


def test_version_is_the_packages(command) -> None:
    """`flowlib --version` tells what to write into a report."""
    assert command("--version").out == f"flowlib {fl.__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rnu", "flow.py"], "Did you mean 'run'?"),
        (["flow.py", "--n", "3"], "Did you mean: flowlib run flow.py --n 3"),
        (["--n", "3"], "The command comes first"),
        (["run"], "flowlib run FILE[:NAME]"),
        (["run", "--n", "3", "flow.py"], "Options of the pipeline stand after the file."),
        (["run", "--worker", "3", "flow.py"], "Did you mean '--workers'?"),
        (["run", "flow.py", "--worker", "3"], "Did you mean '--workers'?"),
        (["run", "flow.py", "5"], "Options are written --name value"),
        (["run", "flow.py", "--workers", "-1"], "Give a whole number from 1 on."),
        (["run", "flow.py", "--workers", "0"], "Give a whole number from 1 on."),
        (["cache", "lss"], "Add --help"),
        (["cache", "ls", "--tas", "x"], "Add --help"),
    ],
)
def test_wrong_words_get_a_hint(command, flow: Path, words: list[str], hint: str) -> None:
    """Each likely slip is answered with what to write instead."""
    done = command(*words)

    assert done.code == 2
    assert hint in done.err
    assert "Traceback" not in done.err


def test_wrong_setting_in_the_environment_is_wrong_use(command, flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt FLOWLIB_ variable is the user's mistake, not the pipeline's."""
    monkeypatch.setenv("FLOWLIB_WORKRES", "3")
    done = command("run", flow)

    assert done.code == 2
    assert "workers" in done.err


def test_help_of_a_pipeline_shows_its_parameters(command, flow: Path) -> None:
    """Names, types, defaults and docstring of the function become its help."""
    done = command("run", flow, "--help")

    assert done.code == 0
    assert "Add up numbers." in done.out
    assert "--n " in done.out
    assert "How many numbers. [default: 4]" in done.out
    assert "--workers " in done.out


def test_help_of_a_missing_file_is_an_error(command) -> None:
    """`--help` does not hide that there is nothing to help with."""
    assert command("run", "nowhere.py", "--help").code == 3


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_command_needs_no_file(command, verb: str) -> None:
    """Each command explains itself."""
    done = command(verb, "--help")

    assert done.code == 0
    assert f"flowlib {verb}" in done.out


def test_signal_handler_is_left_as_it_was(command, flow: Path) -> None:
    """A command run inside another program does not keep Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    command("run", flow)

    assert signal.getsignal(signal.SIGINT) is before


def test_json_on_one_line_for_programs(process, flow: Path) -> None:
    """What is not a terminal gets a document a line reader can take."""
    process("run", flow)
    done = process("plan", flow, "--json")

    assert done.out.count("\n") == 1
    assert json.loads(done.out)["n_cached"] == 2


def test_closed_streams_are_no_reason_to_fail(flow: Path) -> None:
    """With `2>&-` there is no standard error to write to; the value comes out all the same, alone."""
    words = f'exec "{sys.executable}" -m flowlib run "{flow}" 2>&-'
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "adding up\n6.0\n")


@pytest.mark.parametrize(
    "words",
    ["run FILE --json", "plan FILE", "why FILE", "cache ls", "cache ls --json", "--help", "run --help"],
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_output_that_does_not_fit_is_said(flow: Path, words: str) -> None:
    """A full disk under a redirection: one sentence, a code of its own, and no traceback."""
    command = f'exec "{sys.executable}" -m flowlib {words.replace("FILE", str(flow))} >/dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    assert done.returncode == Exit.OUTPUT
    assert "error: The output cannot be written.\n  reason  No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "code"), [("run FILE", 0), ("run FILE --nope", 2), ("run nowhere.py", 3)])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_complaints_that_do_not_fit_change_no_exit_code(flow: Path, words: str, code: int) -> None:
    """With standard error on a full disk the command ends as it would have."""
    command = f'exec "{sys.executable}" -m flowlib {words.replace("FILE", str(flow))} 2>/dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (code, "" if code else "adding up\n6.0\n")


def test_a_removed_current_directory_is_said(flow: Path, tmp_path: Path) -> None:
    """A shell may stand in a directory that something has removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m flowlib run "{flow}"'
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=60)

    assert done.returncode == Exit.USAGE
    assert done.stderr.splitlines()[0] == "error: The current directory was removed."
