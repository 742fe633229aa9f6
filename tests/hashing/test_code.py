"""The conformance table: which edits of a two-file project change a version, and which must not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hashing.code_project import Project, open_project, short_names

ROOT = Path(__file__).parents[2]

MAIN = '''
import functools
import util
from util import helper2, make, Model, add_one, times

LIMIT = 10
TABLE = {"a": 1, "b": 2}
triple = make(3)


def same_file(x):
    return x + 1


@add_one
@times(2)
def wrapped(x):
    return x


async def later(x):
    return x + 100


def entry(x, scale=2, *, shift=1):
    """Say what it does."""
    total = x * scale + shift + LIMIT
    for item in range(3):
        total += item
    total += TABLE["a"] + same_file(x) + util.helper(x) + helper2(x)
    total += util.CONST + Model(x).value() + util.HANDLERS["double"](x) + triple(x) + wrapped(x)
    return total, later(x)
'''

UTIL = """
CONST = 5


def deep(x):
    return x + 7


def helper(x):
    return deep(x) * 2


def helper2(x):
    return x - 1


class Model:
    RATE = 3

    def __init__(self, x):
        self.x = x

    def value(self):
        return self.scaled() + 1

    def scaled(self):
        return self.x * self.RATE


def double(x):
    return 2 * x


HANDLERS = {"double": double, "half": lambda x: x // 2}


def make(k):
    def inner(x):
        return x * k
    return inner


def add_one(fn):
    def wrapper(x):
        return fn(x) + 1
    return wrapper


def times(n):
    def decorate(fn):
        def wrapper(x):
            return fn(x) * n
        return wrapper
    return decorate
"""

MEANING = {
    "own body": ("main", "total = x * scale", "total = x + scale"),
    "default argument": ("main", "scale=2", "scale=3"),
    "keyword default": ("main", "shift=1", "shift=2"),
    "module constant": ("main", "LIMIT = 10", "LIMIT = 11"),
    "module dict": ("main", '"a": 1', '"a": 9'),
    "helper in the same file": ("main", "return x + 1\n", "return x + 2\n"),
    "util.helper()": ("util", "deep(x) * 2", "deep(x) * 3"),
    "from util import helper2": ("util", "return x - 1", "return x - 2"),
    "helper of a helper": ("util", "return x + 7", "return x + 8"),
    "util.CONST": ("util", "CONST = 5", "CONST = 6"),
    "method of a class made inside": ("util", "self.scaled() + 1", "self.scaled() + 2"),
    "method called through self": ("util", "self.x * self.RATE", "self.x + self.RATE"),
    "class attribute": ("util", "RATE = 3", "RATE = 4"),
    "function in a dispatch dict": ("util", "return 2 * x", "return 3 * x"),
    "lambda in a dispatch dict": ("util", "x // 2", "x // 3"),
    "closure value of a factory product": ("main", "triple = make(3)", "triple = make(4)"),
    "body of a factory product": ("util", "return x * k", "return x + k"),
    "async function": ("main", "return x + 100", "return x + 101"),
    "body of a decorator": ("util", "return fn(x) + 1", "return fn(x) + 2"),
    "argument of a decorator": ("main", "@times(2)", "@times(3)"),
    "decorated function": ("main", "def wrapped(x):\n    return x", "def wrapped(x):\n    return -x"),
    "other decorator": ("main", "@add_one\n", ""),
    "constant inside the body": ("main", "range(3)", "range(4)"),
    "type of a constant": ("main", "LIMIT = 10", "LIMIT = 10.0"),
    "renamed parameter": ("main", "scale", "factor"),
    "another import of the same name": ("main", "import helper2,", "import double as helper2,"),
}

COSMETIC = {
    "comment": ("main", "    total = x", "    # a comment\n    total = x"),
    "comment in a helper": ("util", "    return deep(x) * 2", "    return deep(x) * 2  # twice"),
    "docstring": ("main", "Say what it does.", "Say it differently."),
    "docstring of a helper": ("util", "def deep(x):\n", 'def deep(x):\n    """Go deep."""\n'),
    "docstring of a class": ("util", "class Model:\n", 'class Model:\n    """A model."""\n'),
    "reformat": ("main", "x * scale + shift + LIMIT", "(\n        x * scale\n        + shift + LIMIT\n    )"),
    "quotes": ("main", 'TABLE["a"]', "TABLE['a']"),
    "blank lines above": ("main", "LIMIT = 10", "\n\n\nLIMIT = 10"),
    "renamed local": ("main", "total", "result"),
    "renamed loop variable": ("main", "item", "entry_number"),
    "annotations": ("main", "def entry(x, scale=2, *, shift=1):", "def entry(x: int, scale: int = 2, *, shift: 'float' = 1) -> tuple:"),
    "annotation of a local": ("main", "total = x * scale", "total: int = x * scale"),
    "annotation of a global": ("main", "LIMIT = 10", "LIMIT: int = 10"),
    "order of definitions": ("util", 'CONST = 5\n\n\ndef deep(x):\n    return x + 7\n', 'def deep(x):\n    return x + 7\n\nCONST = 5\n'),
    "order of a dict": ("main", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    "order of methods": ("util", "    RATE = 3\n", "", ),
    "unused function": ("util", "CONST = 5", "CONST = 5\ndef unused(): return 1"),
    "unused import": ("main", "import functools", "import functools, json"),
    "pass and text statements": ("main", "    for item", "    pass\n    'a remark'\n    for item"),
    "variable of a closure": ("util", "def make(k):\n    def inner(x):\n        return x * k", "def make(q):\n    def inner(x):\n        return x * q"),
    "number written differently": ("main", "LIMIT = 10", "LIMIT = 0xA"),
    "renamed module": ("both", "util", "tools"),
}  # fmt: skip

PINNED = "sha256-362b40811c006322510f56354ff832fbbc30c1c6be6282e3da5d1353e61ee8c0-1228"
"""The digest of this project under Python 3.11. If it changes, every cache is recomputed: the changelog must say so."""

BATCH = """
import json, os, sys
import flowlib.hashing.code
from flowlib.hashing.code import CodeVersions
found = {}
for folder in json.loads(sys.stdin.read()):
    read, write = os.pipe()
    if not os.fork():
        sys.path.insert(0, folder)
        import main
        version = CodeVersions().version(main.entry)
        os.write(write, json.dumps([version.digest, sorted(version.parts), list(version.weak)]).encode())
        os._exit(0)
    os.close(write)
    found[folder] = json.loads(open(read).read())
    os.wait()
print(json.dumps(found))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


def edited(name: str) -> tuple[str, str]:
    """Return the texts of main and util after an edit."""
    where, old, new = {**MEANING, **COSMETIC}[name]
    main, util = MAIN, UTIL
    if name == "order of methods":
        return main, util.replace("    RATE = 3\n", "").replace(
            "self.x * self.RATE\n", "self.x * self.RATE\n\n    RATE = 3\n"
        )
    if where == "both":
        return main.replace(old, new).replace("tools.", "util.").replace(
            "import tools\n", "import tools as util\n"
        ), util
    assert old in (main if where == "main" else util), name
    if name == "other decorator":
        return main.replace("@add_one\n@times", "@times"), util
    return (main.replace(old, new), util) if where == "main" else (main, util.replace(old, new))


def relative(text: str) -> str:
    """Turn the imports of a top-level module into those of a package member."""
    return text.replace("import util\n", "from . import util\n").replace("from util", "from .util").replace(
        "import tools as util\n", "from . import tools as util\n").replace("from tools", "from .tools")  # fmt: skip


def version_after(project: Project, name: str) -> str:
    """Return the digest after an edit, in a newly imported package."""
    main, util = edited(name)
    module = "tools" if name == "renamed module" else "util"
    return project.digest(relative(main), **{module: util})


@pytest.mark.parametrize("name", MEANING)
def test_an_edit_that_changes_meaning_changes_the_version(project: Project, name: str) -> None:
    """No edit that could change a result keeps the version."""
    assert version_after(project, name) != project.digest(relative(MAIN), util=UTIL)


@pytest.mark.parametrize("name", COSMETIC)
def test_a_cosmetic_edit_keeps_the_version(project: Project, name: str) -> None:
    """No edit that could not change a result changes the version."""
    assert version_after(project, name) == project.digest(relative(MAIN), util=UTIL)


def test_meaning_changing_edits_differ_from_each_other(project: Project) -> None:
    """Each edit leads to a version of its own."""
    digests = [version_after(project, name) for name in MEANING]

    assert len(set(digests)) == len(MEANING)


def in_fresh_processes(folders: list[Path], seed: str) -> dict[str, list[object]]:
    """Import each folder's `main` in a process of its own; return folder -> [digest, parts, weak]."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", BATCH],
        input=json.dumps([str(folder) for folder in folders]),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("seed", ["0", "1", "2", "random"])
def test_versions_are_the_same_in_every_process(tmp_path: Path, seed: str) -> None:
    """Fresh processes with any hash seed agree with each other, and with the table above."""
    folders = {}
    for name in ["as it was", *MEANING, *COSMETIC]:
        main, util = (MAIN, UTIL) if name == "as it was" else edited(name)
        folders[name] = tmp_path / name.replace(" ", "_").replace("/", "_")
        folders[name].mkdir()
        (folders[name] / "main.py").write_text(main)
        (folders[name] / ("tools.py" if name == "renamed module" else "util.py")).write_text(util)

    found = in_fresh_processes([*folders.values()], seed)
    digests = {name: found[str(folder)][0] for name, folder in folders.items()}

    assert [name for name in MEANING if digests[name] == digests["as it was"]] == []
    assert [name for name in COSMETIC if digests[name] != digests["as it was"]] == []
    if sys.version_info[:2] == (3, 11):
        assert digests["as it was"] == PINNED


def test_reverting_an_edit_gives_the_old_version_back(project: Project) -> None:
    """Versions depend on what the code is, not on what it has been."""
    before = project.digest(relative(MAIN), util=UTIL)
    between = version_after(project, "own body")
    after = project.digest(relative(MAIN), util=UTIL)

    assert before == after != between


def test_parts_are_named_for_people(project: Project) -> None:
    """A version lists what it covers: functions, classes, globals, closures, defaults, distributions."""
    names = short_names(project.version(relative(MAIN), util=UTIL))

    expected = {"main.entry", "main.LIMIT", "main.same_file", "util.helper", "util.deep", "util.CONST", "util.Model",
                "util.Model.value", "util.Model.RATE", "util.HANDLERS", "util.double", "util.make.<locals>.inner",
                "util.make.<locals>.inner: k", "main.entry: scale="}  # fmt: skip
    assert expected <= names
    assert f"python {sys.version_info[0]}.{sys.version_info[1]}" in names


def test_an_edit_changes_only_the_part_it_touches(project: Project) -> None:
    """`why` can name the helper that changed, not just everything above it."""
    before = project.version(relative(MAIN), util=UTIL)
    after = project.version(relative(MAIN), util=edited("helper of a helper")[1])

    old, new = (
        {name.split(".", 1)[-1]: digest for name, digest in version.parts.items()} for version in (before, after)
    )
    assert [name for name in old if old[name] != new[name]] == ["util.deep"]


def test_texts_hold_the_source_of_each_part(project: Project) -> None:
    """The source of a function or class is kept as written, dedented, under its part's digest."""
    version = project.version(relative(MAIN), util=UTIL)
    text_of = {name.split(".", 1)[-1]: version.texts.get(digest) for name, digest in version.parts.items()}

    assert text_of["util.deep"] == "def deep(x):\n    return x + 7"
    assert text_of["util.Model.scaled"] == "def scaled(self):\n    return self.x * self.RATE"
    assert str(text_of["util.Model"]).startswith("class Model:\n    RATE = 3")
