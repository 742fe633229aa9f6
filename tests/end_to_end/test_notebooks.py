"""Notebooks: the ones in the repository run, and a real kernel edits, reverts and restarts without losing the cache."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.kernel

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    """Every notebook in the repository runs from top to bottom without an error."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert all(output.output_type != "error" for cell in notebook.cells for output in cell.get("outputs", ()))


def test_the_quickstart_shows_what_it_says(tmp_path: Path) -> None:
    """Growing the grid runs three points, editing the helper re-runs prepare, reverting it hits everything."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    plans = [text for text in map(_printed, notebook.cells) if text.startswith("Plan:")]
    assert "4 cached, 3 to run" in plans[0]
    assert "prepare" in plans[1]
    assert "code changed" in plans[1]
    assert "0 to run" in plans[-1]


def _printed(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", ()) if output.output_type == "stream")


class Kernel:
    """One Jupyter kernel; `run` executes a cell and returns what it printed."""

    def __init__(self, directory: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(cwd=str(directory), env=dict(os.environ))

    def run(self, code: str) -> str:
        printed: list[str] = []

        def keep(message: Any) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=keep)
        assert reply["content"]["status"] == "ok", reply["content"].get("traceback")
        return "".join(printed).strip()

    def shows_html(self, code: str) -> bool:
        """Execute a cell and say whether its last line was displayed as HTML."""
        found: list[Any] = []
        self.client.execute_interactive(code, timeout=60, output_hook=found.append)
        return any("text/html" in message["content"].get("data", ()) for message in found)

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernels() -> Iterator[list[Kernel]]:
    """Kernels that a test has started; they are stopped after it."""
    started: list[Kernel] = []
    yield started
    for kernel in started:
        kernel.stop()


SETUP = """
import flowlib as fl
from flowlib.testing import EventLog
def ran(node):
    log = EventLog()
    value = fl.run(node, cache="cache", progress=False, observers=[log])
    print(value, log.ran)
"""
HELPER = "def helper(x):\n    return x + 1"
TASK = "@fl.task\ndef work(x):\n    return helper(x) * 2"


def test_kernel_redefine_edit_revert_restart(tmp_path: Path, kernels: list[Kernel]) -> None:
    """Same code in a new cell hits; an edited helper cell misses; reverting hits; a new kernel hits."""
    first = Kernel(tmp_path)
    kernels.append(first)
    for cell in (SETUP, HELPER, TASK):
        first.run(cell)

    assert first.run("ran(work(1))") == "4 ['work']"
    first.run(TASK)
    assert first.run("ran(work(1))") == "4 []", "redefined with the same code"
    first.run("# a comment\n" + HELPER + "  # another")
    assert first.run("ran(work(1))") == "4 []", "only comments changed"
    first.run(HELPER.replace("+ 1", "+ 10"))
    assert first.run("ran(work(1))") == "22 ['work']", "the helper changed"
    first.run(HELPER)
    assert first.run("ran(work(1))") == "4 []", "reverted"

    second = Kernel(tmp_path)
    kernels.append(second)
    for cell in ("x = 1", SETUP, TASK, HELPER):
        second.run(cell)
    assert second.run("ran(work(1))") == "4 []", "a new kernel, other cell numbers, another order"


def test_kernel_runs_inside_the_running_loop(tmp_path: Path, kernels: list[Kernel]) -> None:
    """The kernel's event loop is running: run works, async tasks work, await arun works."""
    kernel = Kernel(tmp_path)
    kernels.append(kernel)
    kernel.run(SETUP)
    kernel.run("import asyncio\n@fl.task\nasync def fetch(x):\n    await asyncio.sleep(0)\n    return x")
    assert kernel.run("print(fl.run(fetch(1), progress=False), await fl.arun(fetch(2)))") == "1 2"
    assert kernel.run("print(fl.run(fetch(3), progress=False, executor='inline'))") == "3"


def test_kernel_loads_the_extension(tmp_path: Path, kernels: list[Kernel]) -> None:
    """`%load_ext flowlib` brings the displays where they were taken away; so does the first import of flowlib."""
    kernel = Kernel(tmp_path)
    kernels.append(kernel)

    kernel.run("%load_ext flowlib")
    kernel.run("import flowlib as fl")
    assert kernel.shows_html("fl.grid(x=[1, 2])")
    kernel.run("%unload_ext flowlib")
    assert not kernel.shows_html("fl.grid(x=[1, 2])")
    kernel.run("%load_ext flowlib")
    assert kernel.shows_html("fl.grid(x=[1, 2])")
