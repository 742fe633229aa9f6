"""Forms of code kept between processes: nothing is parsed again, and nothing kept is ever stale."""

import linecache
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType

import pytest

from flowlib.hashing import source
from flowlib.hashing.code import CodeVersions
from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.identity import Identity
from flowlib.hashing.kept import code_name
from flowlib.ids import Digest
from tests.hashing.code_project import Project, open_project
from tests.laws.stale_packages import EDITS, edit_names, make_package, make_place
from tests.laws.test_stale_oracle import load, unload

MODULE = """
import math
LIMITS = {"a", "b", "c"}
def leaf(x):
    "Document."
    return [n for n in range(x) if str(n) in {"1", "2", "3"}] + [math.pi, -0.0, b"x", ("t", 1)]
def entry(x, scale=2):
    from os import path as p
    inner = lambda y: y + leaf(x)
    return inner(scale), p.join("a", "b"), LIMITS
class Tool:
    def use(self): return entry(1)
"""


class Texts:
    """A store's texts: kept once, by name."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.asked: list[str] = []

    def get(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the kept texts among `names`."""
        self.asked += names
        return {name: self.kept[name] for name in names if name in self.kept}

    def keep(self, texts: Mapping[str, str]) -> None:
        """Keep texts that are not there yet."""
        self.kept = {**texts, **self.kept}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are parsed from now on."""
    names: list[str] = []

    class Counted(source.SourceFile):
        def __init__(self, text: str, filename: str, digest: Digest | None = None) -> None:
            names.append(filename)
            super().__init__(text, filename, digest)

    monkeypatch.setattr(source, "SourceFile", Counted)
    return names


def version(fn: object, texts: Texts) -> tuple[Digest, Mapping[str, Digest], Mapping[Digest, str]]:
    """Return a version as a new process finds it, and keep what it found out."""
    versions = CodeVersions(SourceIndex(), texts.get)
    found = versions.version(fn)
    texts.keep(versions.take_unkept(texts.get))
    return found.digest, found.parts, found.texts


def test_a_new_process_parses_nothing(project: Project, parsed: list[str]) -> None:
    """What was kept gives the same version, parts and texts as reading the source does."""
    main, texts = project.load(MODULE), Texts()
    fresh = CodeVersions(SourceIndex()).version(main.entry)
    first = version(main.entry, texts)
    assert parsed
    parsed.clear()

    again = version(main.entry, texts)

    assert parsed == []
    assert first == again == (fresh.digest, fresh.parts, fresh.texts)


def test_one_look_up_for_each_file(project: Project) -> None:
    """Not one for each function."""
    main, texts = project.load(MODULE), Texts()
    version(main.entry, texts)
    texts.asked.clear()
    version(main.entry, texts)
    assert len(texts.asked) == 1


def test_one_look_at_each_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with many functions is looked at once in a run: what was kept for the bytes it had stays true."""
    functions = "".join(f"def f{i}(x): return f{i + 1}(x)\n" for i in range(20))
    main, texts = project.load(f"{functions}def f20(x): return x\n"), Texts()
    first = version(main.f0, texts)
    looked: list[str] = []
    digest_of = source.SourceFiles.digest

    def counted(self: source.SourceFiles, filename: str) -> Digest | None:
        looked.append(filename)
        return digest_of(self, filename)

    monkeypatch.setattr(source.SourceFiles, "digest", counted)

    assert version(main.f0, texts) == first
    assert looked == [main.__file__]


def test_functions_reached_later_are_kept_beside(project: Project, parsed: list[str]) -> None:
    """A file's record is written once; another task of the file is found all the same from the third process on."""
    main, texts = project.load(MODULE), Texts()
    version(main.leaf, texts)
    expected = version(main.entry, texts)
    parsed.clear()

    assert version(main.entry, texts) == expected
    assert parsed == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("range(x)", "range(x + 1)"), ('"2"', '"4"'), ("math.pi", "math.e"), ("scale=2", "scale=3"), ("-0.0", "0.0")],
)
def test_edited_code_is_looked_at_anew(project: Project, old: str, new: str) -> None:
    """With what was kept of the old code and without, the version is that of the new."""
    texts = Texts()
    before = version(project.load(MODULE).entry, texts)
    main = project.load(MODULE.replace(old, new))
    plain = CodeVersions(SourceIndex()).version(main.entry)

    assert version(main.entry, texts) == (plain.digest, plain.parts, plain.texts)
    assert plain.digest != before[0]


def test_a_file_edited_after_its_import_does_not_speak_for_loaded_code(project: Project) -> None:
    """Neither does what was kept from the edited file: the loaded code counts, as without the memory."""
    main, texts = project.load(MODULE), Texts()
    version(main.entry, texts)
    file = Path(str(main.__file__))
    file.write_text(MODULE.replace("range(x)", "range(x + 1)"))
    plain = CodeVersions(SourceIndex()).version(main.entry)

    assert version(main.entry, texts)[0] == version(main.entry, texts)[0] == plain.digest


def test_equal_stamps_are_not_believed(project: Project) -> None:
    """A file with another content of the same size and time is another file."""
    main, texts = project.load(MODULE), Texts()
    version(main.entry, texts)
    n_kept = len(texts.kept)
    file = Path(str(main.__file__))
    status = file.stat()
    file.write_text(MODULE.replace("Document.", "Documend."))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert version(main.entry, texts)[0] == CodeVersions(SourceIndex()).version(main.entry).digest
    assert len(texts.kept) > n_kept


def test_code_without_a_file_is_not_kept() -> None:
    """Cells of a notebook live in `linecache`; they are small, and parsed in each process."""
    text, name = "def f(x):\n    return x + 1\n", "<kept cell>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space: dict[str, object] = {"__name__": "kept_cell"}
    exec(compile(text, name, "exec"), space)
    texts = Texts()
    version(space["f"], texts)
    assert texts.kept == {}


def test_the_identity_of_a_run_uses_what_was_kept(project: Project, parsed: list[str]) -> None:
    """A store's texts are handed in; what is new is handed out once."""
    main, texts = project.load(MODULE), Texts()
    first = Identity(SourceIndex(), texts=texts.get)
    expected = first.code_version(main.entry).digest
    texts.keep(first.take_unkept(texts.get))
    assert first.take_unkept(texts.get) == {}
    parsed.clear()

    assert Identity(SourceIndex(), texts=texts.get).code_version(main.entry).digest == expected
    assert parsed == []


def compiled(text: str) -> CodeType:
    return next(c for c in compile(text, "x", "exec").co_consts if isinstance(c, CodeType))


def test_names_of_code_tell_apart_what_differs() -> None:
    """Constants by type and sign, names, places, nested code; sets have no order, files no say."""
    texts = [
        *("def f(x): return 1", "def f(x): return True", "def f(x): return 1.0", "def f(x): return -0.0"),
        *("def f(x): return 0.0", "def f(x): return '1'", "def f(x): return b'1'", "def f(y): return 1"),
        *("def f(x, /): return 1", "def f(*, x): return 1", "\ndef f(x): return 1", "def g(x): return 1"),
        *("def f(x): return x in {1, 2}", "def f(x): return x in (1, 2)", "def f(x): return lambda: 1"),
        *("def f(x): return lambda: 2", "def f(x): return ...", "def f(x): return (1, (2, 3))"),
    ]
    names = [code_name(compiled(text)) for text in texts]
    assert None not in names
    assert len(set(names)) == len(names)
    code = compiled(texts[0])
    assert code_name(code.replace(co_filename="elsewhere")) == code_name(code)
    assert code_name(code.replace(co_consts=(None, frozenset("ab")))) == code_name(
        code.replace(co_consts=(None, frozenset("ba")))
    )


def test_code_that_no_compiler_made_has_no_name() -> None:
    """Constants that only look like others when written (a bytearray, a list) are not mistaken for them."""
    code = compiled("def f(x): return 1")
    for strange in (bytearray(b"1"), ["code"], sys):
        assert code_name(code.replace(co_consts=(None, strange))) is None
        assert code_name(code.replace(co_consts=(None, (strange,)))) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_was_kept_is_never_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Random edits of random packages: with everything kept so far, versions are those of a first look."""
    rng = random.Random(seed)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    texts, names, package = Texts(), edit_names(rng), make_package(rng)
    for step in range(25):
        edit = EDITS[next(names)]
        make_place(package, edit)
        edit.apply(package)
        main = load(tmp_path, f"kept_{seed}_{step}", package)
        plain = CodeVersions(SourceIndex()).version(main.entry)
        for _ in range(2):
            assert version(main.entry, texts) == (plain.digest, plain.parts, plain.texts)
        unload(tmp_path, f"kept_{seed}_{step}")
