"""The loaded code counts: edited files, missing sources, notebooks, lambdas, encodings, rewritten code."""

import gc
import importlib
import linecache
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from flowlib.errors import CodeNotFound
from flowlib.hashing.code import CodeVersions
from flowlib.hashing.forms import SourceIndex
from tests.hashing.code_project import Project, open_project

TEXT = "K = 1\ndef helper(x):\n    return x + K\ndef entry(x):\n    'doc'\n    y = helper(x)  # why\n    return y\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


def file_of(module: types.ModuleType) -> Path:
    """Return the file of a loaded module."""
    return Path(str(module.__file__))


def rewrite(module: types.ModuleType, old: str, new: str) -> None:
    """Edit a module's file and give it another time."""
    path = file_of(module)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


def run_cell(source: str, namespace: dict[str, Any], number: int) -> None:
    """Execute a notebook cell the way IPython does: a file name of its own, known to `linecache`."""
    filename = f"/tmp/ipykernel_{number}/{abs(hash(source))}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), namespace)


def notebook() -> dict[str, Any]:
    """Return the namespace of a new kernel."""
    return {"__name__": "__main__", "__builtins__": __builtins__}


def test_an_edit_without_reload_does_not_change_the_loaded_version(project: Project) -> None:
    """A file edited after import does not describe the code that would run."""
    main = project.load(TEXT)
    edited_digest = project.digest(TEXT.replace("x + K", "x - K"))
    rewrite(main, "x + K", "x - K")
    before_reload = project.version_of(main.entry)
    importlib.invalidate_caches()
    after_reload = project.version_of(importlib.reload(main).entry)

    assert before_reload.digest != edited_digest
    assert after_reload.digest == edited_digest


def test_a_version_known_before_the_edit_stays(project: Project) -> None:
    """Code whose source was once proved keeps its form when the file changes under it."""
    main = project.load(TEXT)
    before = project.version_of(main.entry)
    rewrite(main, "x + K", "x - K")

    assert project.version_of(main.entry) == before


def test_lines_added_above_do_not_matter_without_reload(project: Project) -> None:
    """A function is found by its name and code, not by its line."""
    main = project.load(TEXT)
    rewrite(main, "K = 1", "# a comment\n\n\nK = 1")

    assert project.version_of(main.entry).digest == project.digest(TEXT)


def test_a_run_is_frozen(project: Project) -> None:
    """Within one run, what was seen once does not change, even after a reload."""
    main = project.load(TEXT)
    versions = CodeVersions(project.index)
    entry = main.entry
    before = versions.version(entry)
    main.K = 2

    assert versions.version(entry) is before
    assert project.version_of(entry).digest != before.digest


def test_without_source_the_bytecode_counts(project: Project) -> None:
    """Code without any source has a version: stable, and changed by a change of meaning only."""

    def digest(text: str) -> str:
        namespace: dict[str, Any] = {"__name__": "nowhere"}
        exec(text, namespace)
        return project.version_of(namespace["entry"]).digest

    assert digest(TEXT) == digest(TEXT)
    assert digest(TEXT) == digest("\n\n\n" + TEXT.replace("'doc'", "'other'").replace("# why", ""))
    assert digest(TEXT) == digest(TEXT.replace("y =", "z =").replace("return y", "return z"))
    assert digest(TEXT) != digest(TEXT.replace("x + K", "x - K"))
    assert digest(TEXT) != digest(TEXT.replace("K = 1", "K = 2"))
    assert digest(TEXT) != project.digest(TEXT)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("def entry():\n a = 1; b = 2\n def f(): return a - b\n return f()", "def entry():\n a = 1; b = 2\n def f(): return b - a\n return f()"),
        ("def entry(x): return x in {'a', 'b'}", "def entry(x): return x in {'a', 'c'}"),
        ("def entry(): return 1", "def entry(): return True"),
        ("def entry(): return 0.0", "def entry(): return -0.0"),
        ("def entry(x):\n try: return x.a\n except KeyError: return 1", "def entry(x):\n try: return x.a\n except ValueError: return 1"),
        ("def entry(*a): return a", "def entry(**a): return a"),
        ("def entry(a, /): return a", "def entry(a): return a"),
        ("def entry(): return [y for y in (1, 2)]", "def entry(): return [y for y in (1, 3)]"),
    ],
)  # fmt: skip
def test_bytecode_tells_meanings_apart(project: Project, one: str, two: str) -> None:
    """Names of locals are dropped from bytecode, what they stand for is not."""
    digests = []
    for text in (one, two):
        namespace: dict[str, Any] = {}
        exec(text, namespace)
        digests.append(project.version_of(namespace["entry"]).digest)

    assert digests[0] != digests[1]


def test_cells_of_a_notebook_are_read_from_linecache(project: Project) -> None:
    """A cell's functions have source form: comments, cell numbers and restarts do not matter, helper cells do."""
    first = notebook()
    run_cell("K = 1\ndef helper(x): return x + K", first, 1)
    run_cell("def entry(x):\n    y = helper(x)\n    return y", first, 2)
    before = project.version_of(first["entry"])

    second = notebook()
    run_cell("K = 1\n# again\ndef helper(x): return x + K", second, 7)
    run_cell("\n\ndef entry(x):\n    z = helper(x)  # after a restart\n    return z", second, 8)
    assert project.version_of(second["entry"]).digest == before.digest
    assert "def entry(x):" in next(iter(before.texts.values()))
    assert {"entry", "helper", "K"} <= set(before.parts)

    run_cell("def helper(x): return x - K", second, 9)
    edited = project.version_of(second["entry"])
    run_cell("def helper(x): return x + K", second, 10)
    assert edited.digest != before.digest
    assert project.version_of(second["entry"]).digest == before.digest

    run_cell("K = 2", second, 11)
    assert project.version_of(second["entry"]).digest != before.digest


def test_a_cell_that_awaits_is_still_source(project: Project) -> None:
    """Top-level await, which only notebooks allow, does not hide the functions beside it."""
    source = "def entry(x):\n    return x  # why\nawait entry(1)"
    filename = "/tmp/ipykernel_3/1.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = notebook()
    exec(compile(source.rpartition("\n")[0], filename, "exec"), namespace)

    assert project.version_of(namespace["entry"]).texts


def test_an_undigestible_global_of_another_cell_counts_by_its_cell(project: Project) -> None:
    """The defining statement is looked for in the other cells."""
    digests = []
    for size in (1, 2):
        kernel = notebook()
        run_cell("import threading\ndef helper(): return LOCKS", kernel, 20 + size)
        run_cell(f"LOCKS = [threading.Lock(), {size}]", kernel, 20 + size)
        version = project.version_of(kernel["helper"])
        digests.append(version.digest)
        assert version.weak == ("LOCKS",)

    assert digests[0] != digests[1]


def test_future_annotations_do_not_hide_source(project: Project) -> None:
    """A cell compiled with the future flags of an earlier cell is still recognised."""
    source = "def entry(x: int):\n    def f(y: str): return y\n    return f(x)"
    filename = "/tmp/ipykernel_4/1.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    import __future__

    namespace = notebook()
    flags = __future__.annotations.compiler_flag
    exec(compile(source, filename, "exec", flags=flags, dont_inherit=True), namespace)

    assert project.version_of(namespace["entry"]).digest == project.digest(source)


def test_source_in_another_encoding_is_read(project: Project) -> None:
    """PEP 263: the encoding that the file declares counts."""
    main = project.load("def entry(): return 'é'")
    latin = file_of(main).with_name("latin.py")
    latin.write_bytes("# -*- coding: latin-1 -*-\ndef entry(): return 'é'".encode("latin-1"))
    loaded = importlib.import_module(main.__name__.replace(".main", ".latin"))

    assert project.version_of(loaded.entry).digest == project.version_of(main.entry).digest


def test_undecodable_source_falls_back_to_bytecode(project: Project) -> None:
    """A file that cannot be decoded any more says nothing about the code that is loaded."""
    main = project.load(TEXT)
    file_of(main).write_bytes(b"\xff\xfe\x00 not python")
    version = project.version_of(main.entry)

    assert version.texts == {}
    assert version.digest == project.version_of(main.entry).digest


def test_a_broken_or_deleted_file_falls_back_to_bytecode(project: Project) -> None:
    """Neither a syntax error nor a deleted file stops anything."""
    broken, gone = project.load(TEXT), project.load(TEXT)
    file_of(broken).write_text("def (")
    file_of(gone).unlink()

    assert project.version_of(broken.entry).digest == project.version_of(gone.entry).digest


def test_rewritten_code_is_seen_as_it_is(project: Project) -> None:
    """Code that differs from its source (as pytest's assertion rewriting makes it) counts as loaded."""
    main = project.load("def entry(x): return x + 1")
    plain = project.version_of(main.entry).digest
    constants = tuple(2 if constant == 1 else constant for constant in main.entry.__code__.co_consts)
    main.entry.__code__ = main.entry.__code__.replace(co_consts=constants)
    version = project.version_of(main.entry)

    assert main.entry(1) == 3
    assert version.digest != plain
    assert version.texts == {}


def test_constants_that_do_not_hash_are_no_obstacle(project: Project) -> None:
    """Tools may put any object among a code object's constants."""
    main = project.load("def entry(x): return 'here'")
    code = main.entry.__code__
    main.entry.__code__ = code.replace(co_consts=tuple([1] if c == "here" else c for c in code.co_consts))

    assert project.version_of(main.entry).digest


def test_things_without_code_are_refused(project: Project) -> None:
    """A value that cannot be called has no code version."""
    with pytest.raises(CodeNotFound, match="'int' object has no code"):
        project.version_of(3)


def test_source_is_parsed_once_for_each_state_of_a_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs share what they know about files; an edited file is read again."""
    index = SourceIndex()
    main = project.load(TEXT)
    CodeVersions(index).version(main.entry)
    parsed = index.files.get(str(main.__file__))
    CodeVersions(index).version(main.entry)

    assert index.files.get(str(main.__file__)) is parsed
    rewrite(main, "K = 1", "K = 3")
    assert index.files.get(str(main.__file__)) is not parsed


def test_forms_die_with_their_code(project: Project) -> None:
    """A long session that redefines functions does not collect their forms."""
    index = SourceIndex()
    for number in range(20):
        namespace: dict[str, Any] = {}
        exec(f"def entry(x): return x + {number}", namespace)
        CodeVersions(index).version(namespace["entry"])
    namespace.clear()
    gc.collect()

    assert len(index._known._known) == 0


def test_deep_expressions_do_not_recurse(project: Project) -> None:
    """A sum of two thousand terms has a version."""
    terms = " + ".join(f"x{n}" for n in range(900))
    text = f"def entry({', '.join(f'x{n}' for n in range(900))}):\n    return {terms}"

    assert project.version(text).texts


def test_a_script_that_is_main_has_source(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of `__main__` are read from the script's file, and named without a module."""
    main = project.load(TEXT)
    script = types.ModuleType("__main__")
    script.__file__ = str(main.__file__)
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec(compile(TEXT, str(main.__file__), "exec"), vars(script))
    version = project.version_of(vars(script)["entry"])

    assert version.digest == project.version_of(main.entry).digest
    assert {"entry", "helper", "K"} <= set(version.parts)
