"""The documents are true: their code runs, their commands exist, their lists are complete."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "flowlib").rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def code(*languages: str) -> str:
    """Return the README's blocks in the given languages, joined in order."""
    return "\n".join(text for language, text in BLOCKS if language in languages)


def test_readme_python_runs(isolated: Path) -> None:
    """The README's Python blocks, read from top to bottom, are one program that works."""
    (isolated / "tour.py").write_text(code("python"), "utf-8")
    done = subprocess.run([sys.executable, "-W", "error", "tour.py"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_readme_commands_name_things_that_exist() -> None:
    """Every `flowlib` verb, file and extra in the README's commands is there."""
    help_text = subprocess.run([sys.executable, "-m", "flowlib", "--help"], capture_output=True, text=True).stdout
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for line in filter(None, (line.partition("#")[0].strip() for line in code("bash", "console").splitlines())):
        words = shlex.split(line.removeprefix("$ "))
        for before, word in pairwise(words):
            if Path(before).name == "flowlib":
                assert word in help_text, f"no verb {word}"
            if word.endswith(".py") and "/" in word:
                assert (ROOT / word).is_file(), f"no file {word}"
            for extra in re.findall(r"\[(\w+)\]", word):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"no extra {extra}"


@pytest.mark.parametrize("path", [*EXAMPLES, *sorted((ROOT / "notebooks").glob("*.ipynb"))], ids=lambda path: path.name)
def test_examples_and_notebooks_are_listed(path: Path) -> None:
    """A reader of the README finds every example."""
    assert f"{path.parent.name}/{path.name}" in README


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_and_reruns(path: Path, isolated: Path) -> None:
    """Each example works in an empty folder, and its second run says that nothing had to run."""
    first, second = (
        subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True) for _ in range(2)
    )

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "nothing ran" not in first.stdout
    assert "nothing ran" in second.stdout


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstring_examples_run(name: str) -> None:
    """Each example in a docstring prints what it says."""
    failed, _ = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))

    assert failed == 0
