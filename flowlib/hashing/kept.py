"""Normal forms of code, kept between processes: a new process with unchanged code parses nothing.

Theory of operation: the form of a function and what its code refers to follow from two things alone, the bytes of its
source file and its code object (`forms`). So they are filed under the digest of both, together with what made them: this
Python and flowlib's own source. Neither time stamps nor file names are believed; an edited file, or code that is not what
the file says, has another name and is looked at anew. What code *means now* (globals, closures, modules) is never kept.

A file's functions share a record; those that a later run is the first to reach get records of their own, because a store
keeps a text once.

Invariant: a code version is the same with and without what was kept.

Cost: 20 microseconds for each function recalled, of which 8 name its code; a look at each file, and a look-up.
"""

import functools
import hashlib
import json
import marshal
import operator
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

from flowlib.hashing.form import Form
from flowlib.hashing.reach import Reference
from flowlib.hashing.source import digest_of_file
from flowlib.ids import Digest

Texts = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns the kept texts among some names: a store's `texts`."""

_MOST_UNKEPT = 20_000
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_facts_of = operator.attrgetter(
    *("co_name", "co_qualname", "co_firstlineno", "co_flags", "co_stacksize"),
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount"),
    *("co_code", "co_linetable", "co_exceptiontable"),
    *("co_names", "co_varnames", "co_freevars", "co_cellvars"),
)
_MARSHAL_VERSION = 2  # writes no references between objects, so equal code is equal bytes in every process
_MAKERS = ("bytecode", "form", "forms", "kept", "normal", "reach", "scope", "source")
"""The modules of this package that forms and references are made by."""


def code_name(code: CodeType) -> str | None:
    """Return the digest of all that makes a code object, but for its file's name; None if it holds what code cannot hold.

    >>> one, two = (compile("x + 1", place, "eval") for place in ("a", "b"))
    >>> code_name(one) == code_name(two) != code_name(compile("x + 2", "a", "eval"))
    True
    """
    try:
        return hashlib.sha256(marshal.dumps(_facts(code), _MARSHAL_VERSION)).hexdigest()
    except ValueError:
        return None


def _facts(code: CodeType) -> list[Any]:
    constants = code.co_consts
    if not _PLAIN.issuperset(map(type, constants)):
        constants = tuple(map(_constant, constants))
    return [*_facts_of(code), constants]


def _constant(value: object) -> Any:
    """Return a constant such that equal ones are written alike; lists mark what is not written as itself."""
    if type(value) in _PLAIN:
        return value
    if type(value) is tuple:
        return tuple(map(_constant, value))
    if type(value) is frozenset:  # in no order of its own
        return ["set", *sorted([marshal.dumps(_constant(item), _MARSHAL_VERSION) for item in value])]
    if type(value) is CodeType:
        return ["code", *_facts(value)]
    raise ValueError(f"{type(value).__name__} cannot be a constant of compiled code")


@functools.cache
def _maker() -> str:
    """Return what stands for the makers of forms: with another Python or flowlib, nothing that was kept is found."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sources = [digest_of_file(os.path.join(folder, f"{name}.py")) for name in _MAKERS]
    return hashlib.sha256(repr((sys.version, sys.implementation.cache_tag, sources)).encode()).hexdigest()


def _name(file: Digest, code: str = "") -> str:
    return f"forms:{_maker()}:{file}:{code}"


_Row = list[Any]


class Unkept:
    """Forms that were made and could be kept, until somebody takes them. Safe to share by threads."""

    def __init__(self) -> None:
        self._rows: dict[Digest, dict[str, _Row]] = {}
        self._n = 0

    def add(self, file: Digest, code: CodeType, form: Form, references: Sequence[Reference]) -> None:
        """Take note of what was found out about a code object, given the digest of the file it was verified against.

        Args:
            file: Digest of the source file.
            code: The code object.
            form: Its normal form.
            references: What it refers to; names that the form dropped left out, so that the form's names need not be kept.
        """
        name = code_name(code)
        if name is not None and self._n < _MOST_UNKEPT:
            self._n += 1
            self._rows.setdefault(file, {})[name] = _row_of(form, references)

    def take(self, texts: Texts) -> dict[str, str]:
        """Return, and forget, what `texts` does not hold yet: texts by name."""
        rows, self._rows, self._n = self._rows, {}, 0
        there = texts([_name(file) for file in rows]) if rows else {}
        new: dict[str, str] = {}
        for file, by_code in rows.items():
            if _name(file) in there:
                new |= {_name(file, code): json.dumps({code: row}) for code, row in by_code.items()}
            else:
                new[_name(file)] = json.dumps(by_code)
        return new


class KeptForms:
    """What one run finds among the kept texts."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._files: dict[Digest, dict[str, _Row]] = {}
        self._references: dict[str, Reference] = {}
        self._digests: dict[str, Digest | None] = {}

    def digest_of(self, filename: str, digest: Callable[[str], Digest | None]) -> Digest | None:
        """Return the digest of a source file as it was when first asked for; `digest` looks at it.

        A file that is edited meanwhile does no harm: what was kept for the bytes it had and for loaded code stays true.
        """
        if filename not in self._digests:
            self._digests[filename] = digest(filename)
        return self._digests[filename]

    def find(self, file: Digest, code: CodeType) -> tuple[Form, tuple[Reference, ...]] | None:
        """Return the form of a code object, and what it refers to, if they were kept."""
        rows = self._files.get(file)
        if rows is None:
            rows = self._files[file] = self._read(_name(file))
        name = code_name(code) if rows else None  # no functions of this file were kept
        if name is None:
            return None
        row = rows.get(name) or self._read(_name(file, name)).get(name)
        return None if row is None else self._made_of(row)

    def _read(self, name: str) -> dict[str, _Row]:
        text = self._texts([name]).get(name)
        rows: dict[str, _Row] = json.loads(text) if text else {}
        return rows

    def _made_of(self, row: _Row) -> tuple[Form, tuple[Reference, ...]]:
        kind, digest, free, text, references = row
        form = Form(kind=kind, digest=digest, free=tuple(free.split()), names=None, text=text)
        return form, tuple([self._reference(line) for line in references.splitlines()])

    def _reference(self, line: str) -> Reference:
        found = self._references.get(line)
        if found is None:
            kind, level, whole, stored, name, attributes = line.split(" ")
            chain = tuple(attributes.split(",")) if attributes else ()
            found = Reference(kind, name, chain, int(level), whole == "1", stored == "1")  # type: ignore[arg-type]
            self._references[line] = found
        return found


def _row_of(form: Form, references: Sequence[Reference]) -> _Row:
    """Write a form as few texts: names have no spaces in them, and the collector of cycles has less to look at."""
    lines = [
        f"{ref.kind} {ref.level} {ref.whole:d} {ref.stored:d} {ref.name} {','.join(ref.attributes)}"
        for ref in references
    ]
    return [form.kind, form.digest, " ".join(form.free), form.text, "\n".join(lines)]
