"""What editors see: right programs pass both type checkers, and both find exactly the marked wrong lines."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "typing"
MARK = "# wrong: "
Messages = dict[tuple[str, int], str]


def checked(tool: str, *arguments: str) -> str:
    """Return what a type checker says about the folder; fail, never skip, if it could not do its work."""
    command = [sys.executable, "-m", tool, *arguments, str(FOLDER.relative_to(ROOT))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode in (0, 1) and done.stdout.strip():
        return done.stdout
    hint = f'{tool} did not run. Install the test tools: pip install -e ".[test]".'
    if tool == "pyright":
        hint += " It needs Node.js and its npm package, which it fetches once: try `node --version` and the network."
    pytest.fail(f"{hint}\n{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)


def place(path: str | Path, line: int) -> tuple[str, int]:
    """Return where a message belongs, as `right/calls.py` and a line."""
    return Path(path).resolve().relative_to(FOLDER).as_posix(), line


@cache
def mypy_errors() -> Messages:
    """Return the message of each error mypy reports, by file and line."""
    output = checked("mypy", "--strict", "--explicit-package-bases", "--output", "json")
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {place(ROOT / e["file"], e["line"]): e["message"] for e in found if e["severity"] == "error"}


@cache
def pyright_errors() -> Messages:
    """Return the message of each error pyright reports, by file and line."""
    output = checked("pyright", "--outputjson", "--pythonpath", sys.executable)
    found: list[dict[str, Any]] = json.loads(output)["generalDiagnostics"]
    errors = [e for e in found if e["severity"] == "error"]
    return {place(e["file"], e["range"]["start"]["line"] + 1): e["message"] for e in errors}


def marked_lines() -> set[tuple[str, int]]:
    """Return file and line of each line that carries the marker."""
    files = {path: path.read_text("utf-8").splitlines() for path in FOLDER.glob("*/*.py")}
    return {place(path, n) for path, lines in files.items() for n, line in enumerate(lines, 1) if MARK in line}


CHECKERS = pytest.mark.parametrize("errors", [mypy_errors, pyright_errors], ids=["mypy", "pyright"])


@CHECKERS
def test_right_programs_pass(errors: Callable[[], Messages]) -> None:
    """Composition, runs and reductions keep their types without casts or ignores."""
    assert {at: message for at, message in errors().items() if at[0].startswith("right/")} == {}


@CHECKERS
def test_wrong_lines_are_found(errors: Callable[[], Messages]) -> None:
    """Every marked mistake is reported, and nothing else is."""
    assert marked_lines()
    assert {at for at in errors() if at[0].startswith("wrong/")} == marked_lines()
