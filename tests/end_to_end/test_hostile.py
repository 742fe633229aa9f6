"""Programs that do what no manual recommends get the right value or a clear error, never a wrong one or a hang."""

import os
from pathlib import Path

import pytest

import flowlib as fl


@fl.task
def square(x: int) -> int:
    """Return a number the reader knows."""
    return x * x


@fl.task(cache=False)
def square_in_a_fork(x: int, cache: str) -> str:
    """Run a task in a process forked here, and return what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(fl.run(square(x), cache=cache, progress=False)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return said.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_by_a_task_runs_on_its_own(tmp_path: Path) -> None:
    """The child has none of the threads of the run it was forked in, so it neither joins it nor waits for it."""
    cache = str(tmp_path / "cache")
    nodes = [square_in_a_fork(n, cache) for n in range(3)]
    assert fl.run(nodes, cache=cache, progress=False) == ["0", "1", "4"]
    assert fl.run([square(n) for n in range(3)], cache=cache, progress=False) == [0, 1, 4]
