"""What editors see: right programs pass both type checkers, and both find exactly the marked wrong lines."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "typing"
Place = tuple[str, int]


def mypy_errors(folder: Path) -> set[Place]:
    """Return (file, line) of each error mypy reports for a folder."""
    arguments = ["--strict", "--output", "json", "--no-warn-unused-configs", str(folder)]
    done = subprocess.run([sys.executable, "-m", "mypy", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = map(json.loads, filter(None, done.stdout.splitlines()))
    return {(Path(error["file"]).name, error["line"]) for error in found if error["severity"] == "error"}


def pyright_errors(folder: Path) -> set[Place]:
    """Return (file, line) of each error pyright reports for a folder."""
    arguments = ["--outputjson", "--pythonpath", sys.executable, str(folder)]
    done = subprocess.run([sys.executable, "-m", "pyright", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {(Path(e["file"]).name, e["range"]["start"]["line"] + 1) for e in found if e["severity"] == "error"}


def marked_lines(folder: Path) -> set[Place]:
    """Return (file, line) of each line that carries the marker."""
    return {
        (path.name, number)
        for path in folder.glob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "# wrong: " in line
    }


@pytest.mark.parametrize("checker", [mypy_errors, pyright_errors])
def test_right_programs_pass(checker: Callable[[Path], set[Place]]) -> None:
    """Composition, runs and reductions keep their types without casts or ignores."""
    assert checker(FOLDER / "right") == set()


@pytest.mark.parametrize("checker", [mypy_errors, pyright_errors])
def test_wrong_lines_are_found(checker: Callable[[Path], set[Place]]) -> None:
    """Every marked mistake is reported, and nothing else is."""
    assert checker(FOLDER / "wrong") == marked_lines(FOLDER / "wrong")
