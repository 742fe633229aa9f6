"""What is installed counts by name and version; what is the user's is read, wherever it lies."""

import importlib
import sys
import types
from pathlib import Path

import pytest

import flowlib.hashing.distribution as distribution
from flowlib.hashing.code import CodeVersions
from flowlib.hashing.distribution import FLOWLIB, PYTHON, Owner, Owners
from flowlib.hashing.forms import SourceIndex
from tests.hashing.code_project import Project, open_project

PYTHON_PART = f"python {sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, listed: bool = True) -> str:
    """Put a distribution `probe-dist` with a module of another name into a site-packages folder; return the module."""
    name = f"probe_module_{version.replace('.', '_')}_{listed}"
    site = folder / "venv" / "site-packages"
    package = site / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(
        "LIMIT = 1\ndef work(x): return x + LIMIT\ndef wrap(fn):\n return lambda x: fn(x)\n"
    )
    info = site / "probe_dist-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: probe-dist\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n" if listed else "")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return name


def test_a_distribution_counts_by_version(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of an installed distribution is not read; its distribution's name and version count."""
    name = install(project.folder, monkeypatch, "1.5")
    text = f"import {name} as probe\ndef entry(x): return probe.work(x)"
    version = project.version(text)
    install(project.folder, monkeypatch, "1.6")
    (project.folder / "venv/site-packages" / name / "__init__.py").write_text("def work(x): return 0\n")
    importlib.reload(sys.modules[name])

    assert "probe-dist 1.5" in version.parts
    assert project.digest(text) == version.digest
    fresh = CodeVersions(SourceIndex()).version(project.load(text).entry)
    assert "probe-dist 1.6" not in fresh.parts  # the folder now lists another module: nobody owns this one


def test_a_new_version_of_a_distribution_changes_the_version(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade is a change of code."""
    name = install(project.folder, monkeypatch, "2.0")
    main = project.load(f"from {name} import work\ndef entry(x): return work(x)")
    before = CodeVersions(SourceIndex()).version(main.entry)
    metadata = project.folder / "venv/site-packages/probe_dist-1.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("2.0", "2.1"))
    after = CodeVersions(SourceIndex()).version(main.entry)

    assert "probe-dist 2.0" in before.parts
    assert "probe-dist 2.1" in after.parts
    assert before.digest != after.digest


def test_files_in_site_packages_that_nobody_lists_are_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version could not stand for them."""
    name = install(project.folder, monkeypatch, "3.0", listed=False)
    version = project.version(f"import {name} as probe\ndef entry(x): return probe.work(x)")

    assert f"{name}.work" in version.parts
    assert f"{name}.LIMIT" in version.parts


def test_editable_installs_are_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution whose files lie in a project is the user's code, whatever its metadata says."""
    name = install(project.folder, monkeypatch, "4.0")
    source = project.folder / "src" / "editable_probe"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("def work(x): return x\n")
    record = project.folder / "venv/site-packages/probe_dist-1.dist-info/RECORD"
    record.write_text(record.read_text() + "editable_probe/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(source.parent))
    importlib.invalidate_caches()
    version = project.version(f"import editable_probe, {name}\ndef entry(x): return editable_probe.work(x)")

    assert "editable_probe.work" in version.parts


@pytest.mark.parametrize(
    ("text", "patched"),
    [
        ("import string\ndef entry(): return string.digits", ("string.digits", "01")),
        ("import json.encoder\ndef entry(): return json.encoder.INFINITY", ("json.encoder.INFINITY", 1.0)),
        ("def entry():\n import decimal\n return decimal.MAX_PREC", ("decimal.MAX_PREC", 7)),
    ],
)
def test_a_plain_constant_of_a_library_counts_by_value(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, patched: tuple[str, object]
) -> None:
    """Whoever assigns `library.TIMEOUT = 5` changes what the library's name and version no longer say."""
    main = project.load(text)
    before = project.version_of(main.entry)
    assert project.digest(text) == before.digest
    monkeypatch.setattr(*patched)

    assert project.version_of(main.entry).digest != before.digest
    assert before.weak == ()
    monkeypatch.undo()
    assert project.version_of(main.entry).digest == before.digest


@pytest.mark.parametrize(("name", "value"), [("executable", "/elsewhere/python"), ("dont_write_bytecode", 3)])
def test_facts_of_the_process_do_not_count(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """What `sys` says of this process would make every checkout and every start a new version."""
    main = project.load(f"import sys\ndef entry(): return sys.{name}")
    before = project.version_of(main.entry).digest
    monkeypatch.setattr(sys, name, value)

    assert project.version_of(main.entry).digest == before


def test_a_path_that_a_library_keeps_moves_with_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment elsewhere is no change."""
    text = "def entry():\n import PROBE\n return PROBE.HOME"
    versions = []
    for place in ("one", "two"):
        name = install(project.folder / place, monkeypatch, "5.0")
        file = project.folder / place / "venv/site-packages" / name / "__init__.py"
        file.write_text("import os\nHOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')\n")
        main = project.load(text.replace("PROBE", name))
        assert main.entry() == str(file.parent / "data")
        versions.append(CodeVersions(SourceIndex()).version(main.entry))
        sys.modules.pop(name)

    assert versions[0].digest == versions[1].digest


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import numpy as np\ndef entry(x): return np.linalg.norm(x)", "numpy "),
        ("from numpy import exp\ndef entry(x): return exp(x)", "numpy "),
        ("import numpy as np\nZERO = np.float64\ndef entry(x): return ZERO(x)", "numpy "),
        ("import json\ndef entry(x): return json.dumps(x)", PYTHON_PART),
        ("from json import dumps\ndef entry(x): return dumps(x)", PYTHON_PART),
        ("from collections import OrderedDict as D\ndef entry(x): return D(x)", PYTHON_PART),
        ("from math import sin\ndef entry(x): return sin(x)", PYTHON_PART),
        ("def entry(x): return len(x)", PYTHON_PART),
        ("from attrs import evolve\ndef entry(x): return evolve(x)", "attrs "),
        ("import sklearn.base\ndef entry(x): return sklearn.base.clone(x)", "scikit-learn "),
        ("from operator import itemgetter\nget = itemgetter(1)\ndef entry(x): return get(x)", "main.get"),
        ("import re\nPATTERN = re.compile('a+')\ndef entry(x): return PATTERN.match(x)", "main.PATTERN"),
        ("upper = str.upper\ndef entry(x): return upper(x)", PYTHON_PART),
    ],
)
def test_installed_things_are_never_weak(project: Project, text: str, part: str) -> None:
    """Functions, classes, ufuncs, constants of libraries have a name and a version, however they are reached."""
    version = project.version(text)

    assert any(name.startswith(part) or name.endswith(part) for name in version.parts)
    assert version.weak == ()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("import numpy as np\ndef entry(x): return np.sin(x)", "import numpy as np\ndef entry(x): return np.cos(x)"),
        (
            "from numpy import sin as f\ndef entry(x): return f(x)",
            "from numpy import cos as f\ndef entry(x): return f(x)",
        ),
        (
            "from json import dumps as f\ndef entry(x): return f(x)",
            "from json import loads as f\ndef entry(x): return f(x)",
        ),
        ("f = str.upper\ndef entry(x): return f(x)", "f = str.lower\ndef entry(x): return f(x)"),
        ("f = [].append\ndef entry(x): return f(x)", "f = [1].append\ndef entry(x): return f(x)"),
        (
            "from datetime import date as f\ndef entry(x): return f",
            "from datetime import time as f\ndef entry(x): return f",
        ),
    ],
)
def test_installed_things_are_told_apart_by_name(project: Project, one: str, two: str) -> None:
    """Another function of the same library is another version."""
    assert project.differ(one, two)


def test_flowlib_is_never_read(project: Project) -> None:
    """A task reaches flowlib by decorator and base class; none of flowlib's own functions become parts."""
    version = project.version(
        "from flowlib.graph.task import task\nfrom flowlib.errors import FlowError\n"
        "@task\ndef helper(x): return x\nclass Mine(FlowError): pass\n"
        "@task\ndef entry(x):\n if x: raise Mine('no')\n return helper.fn(x)"
    )

    assert [name for name in version.parts if "flowlib." in name] == []
    assert str(FLOWLIB) in version.parts


def test_user_code_inside_a_librarys_decorator_counts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper that a library made is followed to the function it wraps."""
    name = install(project.folder, monkeypatch, "5.0")
    text = f"from {name} import wrap\n@wrap\ndef helper(x): return x + 1\ndef entry(x): return helper(x)"

    assert project.differ(text, text.replace("x + 1", "x + 2"))


def test_user_code_put_into_a_library_counts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that a monkeypatch put into an installed module is the user's."""
    name = install(project.folder, monkeypatch, "6.0")
    text = f"import {name} as probe\nprobe.extra = lambda x: x + 1\ndef entry(x): return probe.extra(x)"

    assert project.differ(text, text.replace("x + 1", "x + 2"))


def test_an_extension_module_of_the_user_counts_by_its_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code that no distribution owns is compared by the bytes of its file."""
    library = project.folder / "native.so"
    native = types.ModuleType("native_probe")
    native.__file__ = str(library)
    monkeypatch.setitem(sys.modules, "native_probe", native)
    digests = []
    for content in (b"one", b"two"):
        library.write_bytes(content)
        main = project.load("import native_probe\ndef entry(): return native_probe")
        digests.append(CodeVersions(SourceIndex()).version(main.entry).digest)

    assert digests[0] != digests[1]


def test_owners_know_files_and_modules() -> None:
    """Python, distributions and flowlib own their files; scripts, cells and generated code have no owner."""
    owners = Owners()
    import numpy as np

    assert owners.of_module("json.decoder") == owners.of_module("zlib") == owners.of_module("os") == PYTHON
    assert owners.of_module("numpy.linalg") == owners.of_file(str(np.__file__)) == Owner("numpy", np.__version__)
    assert owners.of_file(distribution.__file__) == FLOWLIB
    assert owners.of_module("attr") == owners.of_module("attrs")
    assert owners.of_module("a_module_that_does_not_exist") is None
    assert owners.of_file("<string>") is None
    assert owners.of_file("/tmp/ipykernel_1/2.py") is None
    assert owners.of_file("<frozen os>") == PYTHON
