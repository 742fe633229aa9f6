"""Commands in this process and in one of their own, and files to give them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowlib.cli.main import main

FLOW = '''
import flowlib as fl

@fl.task
def load(n: int) -> list[int]:
    return list(range(n))

@fl.task
def total(numbers: list[int], *, scale: float = 1.0) -> float:
    print("adding up")
    return sum(numbers) * scale

def pipeline(n: int = 4, *, scale: float = 1.0):
    """Add up numbers.

    Args:
        n: How many numbers.
        scale: What the sum is multiplied by.
    """
    return total(load(n), scale=scale)
'''


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def write(isolated: Path) -> Callable[[str, str], Path]:
    """Return a function that writes a file beside the test."""

    def write_file(name: str, text: str) -> Path:
        path = isolated / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write_file


@pytest.fixture
def flow(write: Callable[[str, str], Path]) -> Path:
    """Write the pipeline that most tests use."""
    return write("flow.py", FLOW)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs a command in this process; what it imports is forgotten after each."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a file within a second look alike to it

    def run_command(*words: object) -> Done:
        path, modules = list(sys.path), set(sys.modules)
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        finally:
            sys.path[:] = path
            here = os.getcwd() + os.sep
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(here):
                    del sys.modules[name]
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def process(isolated: Path) -> Command:
    """Return a function that runs a command in a process of its own."""

    def run_process(*words: object, **options: Any) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "flowlib", *map(str, words)], capture_output=True, text=True, cwd=isolated, **options
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run_process
