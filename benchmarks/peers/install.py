"""A virtual environment for each peer, because some of them do not agree on versions; kept outside the checkout."""

import os
import subprocess
import sys
from pathlib import Path

IN_THIS_PROCESS = ("flowlib", "floor", "futures")
PEERS = (
    *IN_THIS_PROCESS,
    "checkpointer",
    "diskcache",
    "joblib",
    "cachau",
    "cashet",
    "pipefunc",
    "hamilton",
    "dask",
    "redun",
    "ray",
    "prefect",
)


def default_home() -> Path:
    """Return where the environments are: the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowlib-peers"


def requirements_of(name: str) -> tuple[str, ...]:
    """Read what a peer's module asks pip for, without importing it: its peer is not installed here."""
    import ast

    tree = ast.parse((Path(__file__).parent / f"on_{name}.py").read_text("utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "REQUIRES":
            return tuple(ast.literal_eval(statement.value))
    raise ValueError(f"on_{name}.py has no REQUIRES")


def python_of(name: str, home: Path) -> Path:
    """Return the interpreter of a peer, made and filled if it is not there.

    Raises:
        InstallFailed: pip could not; the text is the end of what it said.
    """
    if name in IN_THIS_PROCESS:
        return Path(sys.executable)
    python, wanted = home / name / "bin" / "python", requirements_of(name)
    stamp = home / name / "installed.txt"
    if not stamp.exists() or stamp.read_text().split() != list(wanted):
        _call([sys.executable, "-m", "venv", str(home / name)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
        stamp.write_text(" ".join(wanted))
    return python


class InstallFailed(Exception):
    """A peer is not to be had on this machine."""


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallFailed((done.stderr or done.stdout).strip().splitlines()[-1][:300])


def version_of(name: str, python: Path) -> str:
    """Return the version of a peer, as its own environment says."""
    if name in ("floor", "futures"):
        return "Python " + sys.version.split()[0]
    distribution = name if name == "flowlib" else requirements_of(name)[0]
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"
