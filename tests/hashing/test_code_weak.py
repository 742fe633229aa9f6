"""Globals that cannot be digested count by the code that defines them, and are named."""

from pathlib import Path

import pytest

from tests.hashing.code_project import Project, open_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


# name -> (main module, edit of what defines the thing, names that are weak)
WEAK = {
    "open file": ("import os\nF = open(os.devnull, 'rb', buffering=0)\nF.close()\ndef entry(): return F", ("'rb'", "'wb'"), "F"),
    "in a list": ("import threading\nL = [threading.Lock(), 1]\ndef entry(): return L", (", 1]", ", 2]"), "L"),
    "function that makes it": (
        "import threading\ndef make(n): return [threading.Lock(), n]\nL = make(1)\ndef entry(): return L", ("Lock(), n", "Lock(), -n"), "L"),
    "constant it is made of": (
        "import threading\nN = 1\nL = [threading.Lock(), N]\ndef entry(): return L", ("N = 1", "N = 2"), "L"),
    "class of the instance": (
        ("import threading\nclass A:\n def __init__(self): self.lock = threading.Lock()\n def go(self): return 1\na = A()\n"
        "def entry(): return a.go()"), ("return 1", "return 2"), "a"),
    "imported from another module": ("from .util import L\ndef entry(): return L", None, "L"),
    "imported with a star": ("from .util import *\ndef entry(): return L", None, "L"),
    "imported under another name": ("from .util import L as M\ndef entry(): return M", None, "M"),
    "made by a class decorator": (
        "import threading\ndef d(c):\n c.L = [threading.Lock(), c.N]\n return c\n@d\nclass A:\n N = 1\ndef entry(): return A.L",
        ("N = 1", "N = 2"), "L"),
    "reached through another module": ("from . import util\ndef entry(): return util.L", None, "L"),
    "in a closure": (
        "import threading\ndef make(n):\n lock = [threading.Lock(), n * 1]\n return lambda: lock\nentry = make(3)",
        ("n * 1", "n * 2"), "lock"),
    "default": ("import threading\ndef entry(x=[threading.Lock(), 1]): return x", (", 1]", ", 2]"), "x="),
    "class attribute": (
        "import threading\nclass A:\n L = [threading.Lock(), 1]\ndef entry(): return A.L", (", 1]", ", 2]"), "L"),
    "filled by a call": (
        "import threading\nL = [threading.Lock()]\nL.append(1)\ndef entry(): return L", ("append(1)", "append(2)"), "L"),
    "made under a condition": (
        "import threading\nif True:\n L = [threading.Lock(), 1]\nelse:\n L = None\ndef entry(): return L", (", 1]", ", 2]"), "L"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEAK)
def test_an_undigestible_global_counts_by_its_definition(project: Project, name: str) -> None:
    """The defining statement, what it refers to, and the class all count; the name is listed as weak."""
    main, edit, weak = WEAK[name]
    util = "import threading\nL = [threading.Lock(), 1]\n"
    before = project.version(main, util=util)

    assert len(before.weak) == 1
    assert before.weak[0].endswith(weak)
    assert project.digest(main, util=util) == before.digest
    assert project.digest(main, util="# moved\n\n" + util) == before.digest
    if edit is None:
        assert project.digest(main, util=util.replace(", 1]", ", 2]")) != before.digest
    else:
        assert edit[0] in main
        assert project.digest(main.replace(*edit), util=util) != before.digest


def test_loggers_and_locks_are_not_weak(project: Project) -> None:
    """Nothing that a logger or a lock holds can reach a result."""
    text = "import logging, threading\nlog = logging.getLogger('a')\nlock = threading.Lock()\ndef entry():\n with lock: log.info('x')"
    version = project.version(text)

    assert version.weak == ()
    assert project.digest(text.replace("'a'", "'b'")) == version.digest


def test_an_object_whose_digest_method_fails_is_weak(project: Project) -> None:
    """Trouble in a user's hook stops no run."""
    text = "class A:\n def __flowlib_digest__(self): raise RuntimeError('no')\na = A()\ndef entry(): return a"

    assert [name.endswith("main.a") for name in project.version(text).weak] == [True]


def test_paths_beside_the_module_do_not_tie_a_version_to_a_folder(project: Project) -> None:
    """Moving a project keeps its versions, also when globals hold its paths; paths elsewhere count as they are."""
    text = (
        "import os\nfrom pathlib import Path\nROOT = Path(__file__).resolve().parent\nDATA = os.path.join(str(ROOT), 'data')\n"
        "ELSEWHERE = Path('/srv/data')\ndef entry(): return ROOT, DATA, ELSEWHERE, __file__, __name__"
    )

    assert project.digest(text) == project.digest(text)
    assert project.differ(text, text.replace("'data'", "'other'"))
    assert project.differ(text, text.replace("/srv/data", "/srv/other"))


def test_large_data_counts_by_value(project: Project) -> None:
    """One element of a large global array is a change."""
    text = "import numpy as np\nA = np.zeros(100_000)\nA[50_000] = 1\ndef entry(): return A"

    assert project.digest(text) == project.digest(text)
    assert project.differ(text, text.replace("= 1\n", "= 2\n"))
    assert project.version(text).weak == ()
