"""The documents are true: their code runs and prints what they say, their commands exist, their lists are complete."""

import ast
import difflib
import doctest
import importlib
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from flowlib.cli.exits import MEANINGS
from flowlib.cli.main import main as flowlib_command
from flowlib.config import Settings
from flowlib.events import Event
from flowlib.graph.policy import OPTION_NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = {path.name: path.read_text("utf-8") for path in ROOT.glob("*.md")}
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NEEDS_EXTRA = {"flowlib.execution.on_dask": "distributed", "flowlib.execution.on_ray": "ray"}
"""Modules that cannot be imported without an extra; they have no examples."""
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "flowlib").rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TIME = re.compile(r"\d+(\.\d+)? (ms|s|min)\b|\d+ workers")
CUT = "----8<----"


def commands() -> list[list[str]]:
    """Return the words of every command line in the README."""
    lines = "\n".join(text for language, text in BLOCKS if language == "bash").splitlines()
    words = [shlex.split(line.partition("#")[0]) for line in lines]
    return [found for found in words if found]


def without_times(text: str) -> list[str]:
    """Return the lines of an output with durations, and the number of workers of this machine, left out."""
    return [re.sub(r"\s+$", "", TIME.sub("<time>", line)) for line in text.splitlines()]


def test_readme_python_prints_what_it_says(isolated: Path) -> None:
    """The README's Python blocks, top to bottom, are one program; each prints the text block below it, if there is one."""
    programs = [text for language, text in BLOCKS if language == "python"]
    said = [below if name == "text" else "" for (kind, _), (name, below) in pairwise(BLOCKS) if kind == "python"]
    (isolated / "tour.py").write_text(f'\nprint("{CUT}")\n'.join(programs), "utf-8")
    done = subprocess.run([sys.executable, "-W", "error", "tour.py"], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{CUT}\n")
    assert len(printed) == len(programs) == len(said)
    for program, expected, got in zip(programs, said, printed, strict=True):
        difference = list(difflib.unified_diff(without_times(expected), without_times(got), "README", "printed"))
        assert not difference, "\n".join([program, *difference])


def test_readme_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    """Every `flowlib` verb and option, file and extra in the README's commands is there."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert len(commands()) > 10
    for words in commands():
        for word in words:
            if "/" in word and word.endswith((".py", ".ipynb")):
                assert (ROOT / word).is_file(), f"no file {word}"
            for extra in re.findall(r"\[(\w+)\]", word):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"no extra {extra}"
        if words[0] == "flowlib":
            verbs = [str(ROOT / word) if word.endswith(".py") else word for word in words[1:3]]
            assert flowlib_command([*verbs, "--help"]) == 0, words
            described = capsys.readouterr().out
            for word in words:
                assert not word.startswith("--") or f"{word} " in described, f"{shlex.join(words)}: no option {word}"


def test_readme_lists_the_exit_codes() -> None:
    """The list of exit codes is the one the command uses."""
    listed = "".join(f"{int(code):>3}   {meaning}\n" for code, meaning in MEANINGS.items())

    assert ("text", listed) in BLOCKS


def test_readme_lists_every_option_and_setting() -> None:
    """Options of tasks and settings of runs are all in the tables, and nothing else is."""
    tables = re.findall(r"^\| (option|setting) \|.*?\n((?:\|.*\n)+)", README, re.MULTILINE)
    named = {kind: {name for row in rows.splitlines()[1:] for name in words(row)} for kind, rows in tables}

    assert named["option"] == OPTION_NAMES
    assert named["setting"] - {"FLOWLIB_CACHE_KEY"} == {f.name for f in attrs.fields(Settings)} - {"cache_key"}


def words(row: str) -> list[str]:
    """Return the names in the first column of a row of a Markdown table."""
    return re.findall(r"`(\w+)", row.split("|")[1])


def test_tests_named_as_evidence_exist() -> None:
    """Each guarantee names the tests behind it; a renamed test file leaves no empty promise."""
    rows = re.findall(r"^\| \d+ \| \*\*(.+?)\*\*.*\| (.*) \|$", README, re.MULTILINE)

    assert len(rows) >= 15
    for guarantee, evidence in rows:
        files = re.findall(r"`(\w+/test_\w+\.py)`", evidence)
        assert files, guarantee
        assert [name for name in files if not (ROOT / "tests" / name).is_file()] == [], guarantee


@pytest.mark.parametrize("path", [*EXAMPLES, *NOTEBOOKS], ids=lambda path: path.name)
def test_examples_and_notebooks_are_listed(path: Path) -> None:
    """A reader of the README finds every example."""
    assert f"{path.parent.name}/{path.name}" in README


def test_benchmarks_are_listed() -> None:
    """The list of benchmarks has a row for each file, and none for a file that is not there."""
    rows = re.findall(r"^\| `(bench_\w+\.py)` \|", (ROOT / "benchmarks" / "README.md").read_text("utf-8"), re.MULTILINE)

    assert rows == sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """A file that a document links to is in the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", DOCUMENTS[name])

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_decisions_have_one_shape() -> None:
    """Decisions are numbered without gaps, and each says context, choice, alternatives, consequence, date."""
    titles = re.findall(r"^## (\d+)\. ", DOCUMENTS["DECISIONS.md"], re.MULTILINE)
    entries = re.split(r"^## .*\n", DOCUMENTS["DECISIONS.md"], flags=re.MULTILINE)[1:]
    shape = ["Context", "Choice", "Alternatives", "Consequence", "Date"]

    assert titles == [str(number) for number in range(1, len(entries) + 1)]
    assert all(re.findall(r"^- \*\*(\w+)\*\*: ", entry, re.MULTILINE) == shape for entry in entries)
    assert all(len(entry.strip().splitlines()) == len(shape) for entry in entries)


def test_changelog_has_a_place_for_the_next_change() -> None:
    """What is not released yet comes first."""
    assert re.findall(r"^## \[(.*?)\]", DOCUMENTS["CHANGELOG.md"], re.MULTILINE)[0] == "Unreleased"


def test_events_say_when_they_happen() -> None:
    """Every kind of event has a docstring: observers are written against it."""
    assert all(kind.__doc__ for kind in Event.__args__)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstring_examples_run(name: str) -> None:
    """Each example in a docstring prints what it says."""
    if extra := NEEDS_EXTRA.get(name):
        pytest.importorskip(extra)
    failed, _ = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))

    assert failed == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_explain_themselves(path: Path) -> None:
    """An example's docstring says what it shows, and how to run it both ways."""
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""

    assert f"python examples/{path.name}" in doc
    assert f"flowlib run examples/{path.name}" in doc
