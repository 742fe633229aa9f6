"""Every benchmark runs in an empty directory, with no flowlib settings and a state directory of its own."""

import os
from pathlib import Path

import pytest


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
