"""Where something was written."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowlib.graph.node import site_of
from flowlib.graph.site import Site, site_here
from flowlib.graph.task import task


@task
def load() -> Any:
    """Do nothing."""


def frame() -> Any:
    """Return the caller's frame."""
    return sys._getframe(1)


def test_a_call_knows_its_line_also_inside_a_statement_of_many() -> None:
    """The line of the call, not of the statement or the function."""
    first = frame().f_lineno
    nodes = [
        load(),
        load(),
    ]

    assert [site_of(node).line for node in nodes] == [first + 2, first + 3]
    assert site_of(nodes[0]).file == __file__


def test_a_site_is_read_only_when_shown() -> None:
    """It holds the code and an offset; making it costs no look-up."""
    here = frame()
    site, same = (Site(here.f_code, 0) for _ in range(2))

    assert site.code is here.f_code
    assert site == same


def test_below_the_current_directory_paths_are_relative(isolated: Path) -> None:
    """Short where that is clear, absolute elsewhere."""
    inside = compile("site_here(1)", str(isolated / "pipeline.py"), "eval")
    outside = compile("site_here(1)", "/somewhere/else.py", "eval")

    assert str(eval(inside, {"site_here": site_here})) == "pipeline.py:1"
    assert str(eval(outside, {"site_here": site_here})) == "/somewhere/else.py:1"


def test_a_directory_that_is_gone_is_no_trouble(isolated: Path) -> None:
    """An error message must not fail for want of a current directory."""
    (isolated / "gone").mkdir()
    import os

    os.chdir(isolated / "gone")
    (isolated / "gone").rmdir()
    site = eval(compile("site_here(1)", "/somewhere/else.py", "eval"), {"site_here": site_here})

    assert str(site) == "/somewhere/else.py:1"
    os.chdir(isolated)


def test_notebook_cells_are_named_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython gives cells made-up file names; people know their numbers."""
    name = "/tmp/ipykernel_42/1234567.py"
    shell = SimpleNamespace(compile=SimpleNamespace(_filename_map={name: 7}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    known = eval(compile("site_here(1)", name, "eval"), {"site_here": site_here})
    unknown = eval(compile("site_here(1)", "/tmp/ipykernel_42/89.py", "eval"), {"site_here": site_here})

    assert str(known) == "In[7]:1"
    assert str(unknown) == "89.py:1"


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_code_without_a_file_keeps_its_made_up_name(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `exec` and doctests; with IPython imported but not running, or an IPython of another shape."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    site = eval(compile("site_here(1)", "<string>", "eval"), {"site_here": site_here})

    assert str(site) == "<string>:1"


def test_flowlib_s_own_frames_are_skipped() -> None:
    """A call made by flowlib on somebody's behalf belongs to that somebody."""
    space: dict[str, Any] = {"__name__": "flowlib.somewhere", "site_here": site_here}
    exec("def inner():\n    return site_here(1)\ndef outer():\n    return inner()", space)

    assert space["outer"]().line == frame().f_lineno


def test_libraries_on_the_way_are_skipped() -> None:
    """Whoever handed a node to a library wants to see where."""
    library = eval(compile("lambda: site_here(1)", "/usr/lib/site-packages/x.py", "eval"), {"site_here": site_here})

    assert library().line == frame().f_lineno
    assert library().file == __file__


def test_a_program_that_is_flowlib_throughout_gets_the_outermost_frame() -> None:
    """There is always an answer."""
    space: dict[str, Any] = {"__name__": "flowlib.x", "site_here": site_here, "found": []}
    thread = threading.Thread(target=eval(compile("lambda: found.append(site_here(1))", "/x.py", "eval"), space))
    thread.start()
    thread.join()

    assert space["found"][0].file.endswith("threading.py")
