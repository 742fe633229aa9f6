"""Every test starts in an empty directory, with no flowlib settings and a state directory of its own."""

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flowlib.config import configure

# Deterministic by default: a red run is red again on the next machine. `FLOWLIB_TEST_SEED=random` explores.
settings.register_profile("fixed", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("explore" if os.environ.get("FLOWLIB_TEST_SEED") == "random" else "fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the long programmes the time they take."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("oracle"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(autouse=True)
def isolated(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Move to `tmp_path/work` and hide the user's settings; return that directory. Forget what the test configured."""
    for name in [name for name in os.environ if name.startswith("FLOWLIB_")]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("FLOWLIB_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("FLOWLIB_PROGRESS", "off")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    configure()
    yield work
    configure()


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], int]:
    """Run a function in a forked child and return its exit code: 0 if it returned, 70 if it raised, -n if killed."""

    def run(function: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                function()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run
