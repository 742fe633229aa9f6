"""Settings: where they come from, which wins, and what is refused instead of ignored."""

import os
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.config import configure, load_settings
from flowlib.errors import ConfigError


@pytest.fixture(autouse=True)
def alone(isolated: Path) -> None:
    """Only what a test says is configured."""


def write(text: str | bytes) -> Path:
    """Write the project's file."""
    path = Path("pyproject.toml").absolute()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_later_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults < project < environment < configure < arguments."""
    found = [load_settings({}).workers]
    write("[tool.flowlib]\nworkers = 2\n")
    found.append(load_settings({}).workers)
    monkeypatch.setenv("FLOWLIB_WORKERS", "3")
    found.append(load_settings({}).workers)
    configure(workers=4)
    found.append(load_settings({}).workers)
    found.append(load_settings({"workers": 5}).workers)

    assert found == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[project]\nname = 'x'\n\n[tool.flowlib\nworkers = 2\n", 4),
        ("[tool.flowlib]\nworkers = \n", 2),
        ("[tool.flowlib]\nworkers = 2\nworkers = 3\n", 3),
        ("[tool.flowlib]\nfsync = 'off\n", 2),
        ('[tool.flowlib]\nstate_dir = """x\n', 2),
        (b"[tool.flowlib]\n# caf\xe9\nworkers = 2\n", 2),
    ],
)
def test_a_project_file_that_cannot_be_read_is_not_ignored(text: str | bytes, line: int) -> None:
    """What was written there would count for nothing, silently: file, line and reason instead."""
    path = write(text)

    with pytest.raises(ConfigError, match=r"The project's settings cannot be read\.") as raised:
        load_settings({})

    assert raised.value.facts["file"] == f"{path}:{line}"
    assert raised.value.facts["reason"]


@pytest.mark.parametrize("text", ["[tool]\nflowlib = 3\n", "tool = 'flowlib'\n", "[[tool.flowlib]]\nworkers = 1\n"])
def test_settings_that_are_no_table_are_refused(text: str) -> None:
    """The place of the settings has one form."""
    write(text)

    with pytest.raises(ConfigError, match="not a table"):
        load_settings({})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_project_file_that_may_not_be_read_is_not_ignored() -> None:
    """Nobody knows what it says."""
    write("[tool.flowlib]\nworkers = 2\n").chmod(0)

    with pytest.raises(ConfigError, match="Permission denied"):
        load_settings({})


def test_a_broken_file_that_does_not_name_flowlib_is_no_concern() -> None:
    """It holds no settings of ours; its own tools will complain."""
    write("[project\n")

    assert load_settings({}).workers == 0


@pytest.mark.parametrize("number", [0, -1, True, 2.0, "3"])
@pytest.mark.parametrize("name", ["workers", "max_nodes"])
def test_a_number_of_nothing_is_refused(name: str, number: Any) -> None:
    """Nothing can run on no workers; nobody means one of the machine's choice by 0."""
    with pytest.raises(ConfigError, match=f"Setting {name} cannot be"):
        load_settings({name: number})


def test_a_run_on_no_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every door says so: the argument, the environment, and `configure`."""
    node = fl.task(lambda: 1, name="one")()

    for verb in (fl.run, fl.plan, fl.start):
        with pytest.raises(ConfigError, match="Setting workers cannot be 0"):
            verb(node, workers=0)
    with pytest.raises(ConfigError, match="Setting workers cannot be 0"):
        configure(workers=0)
    monkeypatch.setenv("FLOWLIB_WORKERS", "0")
    with pytest.raises(ConfigError, match="Setting workers cannot be 0"):
        fl.run(node)


@pytest.mark.parametrize(
    ("name", "value"), [("cache", 3), ("strict", "yes"), ("log", 1), ("state_dir", False), ("cache", ["a"])]
)
def test_a_setting_of_another_type_is_refused(name: str, value: Any) -> None:
    """A file can hold any type; "no" for `strict` would count as yes."""
    with pytest.raises(ConfigError, match=f"Setting {name} cannot be"):
        configure(**{name: value})


def test_what_a_file_says_is_read_anew_and_shared_with_nobody(tmp_path: Path) -> None:
    """What one caller does with its settings, the next one does not see; an edit of the same size and time, it does."""
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.flowlib]\npools = {db = 2}\n")
    status = file.stat()
    load_settings({}, tmp_path).pools["db"] = 9  # type: ignore[index]
    assert load_settings({}, tmp_path).pools == {"db": 2}

    file.write_text("[tool.flowlib]\npools = {db = 3}\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_settings({}, tmp_path).pools == {"db": 3}
