"""Every benchmark runs in an empty directory, with no flowlib settings and a state directory of its own."""

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(
    0, str(Path(__file__).parents[1])
)  # so that `pytest` finds what the files share, as `python -m pytest` does
from benchmarks.compare import lines_of


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move away from the checkout and hide the user's settings."""
    for name in [name for name in os.environ if name.startswith("FLOWLIB_")]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("FLOWLIB_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("FLOWLIB_PROGRESS", "off")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """Directories that nobody has used."""
    return (tmp_path / f"place {number}" for number in count())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each ratio beside its goal."""
    session = getattr(config, "_benchmarksession", None)
    found = [bench for bench in getattr(session, "benchmarks", []) if "ratios" in bench.extra_info]
    if found and not config.getoption("benchmark_disable"):
        terminalreporter.section("ratios to floors, medians of rounds in turns")
        for bench in found:
            for line in lines_of(f"{bench.group}: {bench.name}", bench.extra_info):
                terminalreporter.write_line(line)
