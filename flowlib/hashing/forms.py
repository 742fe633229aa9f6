"""What is known about loaded code objects for as long as they live: normal form, references, source text.

Theory of operation: everything here is a function of a code object and of the source that was proved to be its own, so
it stays true when the file changes later. Entries are keyed by the identity of the code object and die with it.

One `SourceIndex` serves all runs of a process (`shared_index`): a notebook that runs a pipeline again after editing
one cell parses that cell and nothing else.
"""

import functools
import sys
import weakref
from types import CodeType, FunctionType, ModuleType
from typing import Generic, TypeVar

from flowlib.hashing.bytecode import normalize_code
from flowlib.hashing.digest import digest_bytes
from flowlib.hashing.distribution import Owners
from flowlib.hashing.form import Form
from flowlib.hashing.kept import KeptForms, Unkept
from flowlib.hashing.normal import normalize_function
from flowlib.hashing.reach import Reference, find_references
from flowlib.hashing.resolve import Resolver
from flowlib.hashing.source import SourceFile, SourceFiles

T = TypeVar("T")


class SourceIndex:
    """Forms and references of code objects, parsed sources, owners of modules. Safe to share by threads.

    Cost: a file is parsed and compiled once for each (time, size); with that, a function costs some 0.1 ms for each
    line the first time, and a dictionary look-up after that.
    """

    def __init__(self) -> None:
        self.files = SourceFiles()
        self.owners = Owners()
        self.resolver = Resolver(self.owners)
        self.unkept = Unkept()
        self._forms: _ByCode[Form] = _ByCode()
        self._outside: _ByCode[tuple[Reference, ...]] = _ByCode()
        self._references: _ByCode[tuple[Reference, ...]] = _ByCode()

    def form(self, function: FunctionType) -> Form:
        """Return the normal form of a function's loaded code."""
        code = function.__code__
        return self._forms.get(code) or self._forms.put(code, self._make_form(code, function))

    def recall(self, function: FunctionType, kept: KeptForms) -> None:
        """Take what was kept about a function's code, if nothing is known about it yet; then no source is parsed."""
        code = function.__code__
        if self._forms.get(code) is not None:
            return
        digest = self.files.digest(code.co_filename) or self.files.digest(_home_of(function))
        found = kept.find(digest, code) if digest is not None else None
        if found is not None:
            self._forms.put(code, found[0])
            self._references.put(code, found[1])

    def references(self, code: CodeType) -> tuple[Reference, ...]:
        """Return what a code object refers to."""
        known = self._references.get(code)
        return self._references.put(code, find_references(code)) if known is None else known

    def outside(self, function: FunctionType) -> tuple[Reference, ...]:
        """Return the globals and imports that a function refers to; names that its normal form dropped do not count."""
        code = function.__code__
        known = self._outside.get(code)
        if known is not None:
            return known
        form = self.form(function)
        return self._outside.put(code, tuple(ref for ref in self.references(code) if _counts(ref, form)))

    def file_of_function(self, function: FunctionType) -> SourceFile | None:
        """Return the parsed source of the file that a function came from."""
        found = self.files.get(function.__code__.co_filename)
        if found is None:  # a script started with a relative path, from a directory that is no longer current
            found = self.files.get(_home_of(function))
        return found

    def file_of_class(self, cls: type) -> SourceFile | None:
        """Return the parsed source of the file that a class came from: that of its methods, else of its module."""
        for member in vars(cls).values():
            function = getattr(member, "__func__", member) if isinstance(member, staticmethod | classmethod) else member
            if isinstance(function, FunctionType) and function.__module__ == cls.__module__:
                found = self.file_of_function(function)
                if found is not None and cls.__qualname__ in found.classes:
                    return found
        return self.file_of_module(cls.__module__)

    def file_of_module(self, name: str) -> SourceFile | None:
        """Return the parsed source of a loaded module."""
        module = sys.modules.get(name)
        filename = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        return self.files.get(filename) if isinstance(filename, str) else None

    def _make_form(self, code: CodeType, function: FunctionType) -> Form:
        file = self.file_of_function(function)
        form = _form_of(code, file)
        if file is not None and file.digest is not None:
            self.unkept.add(file.digest, code, form, self.references(code))
        return form


def _form_of(code: CodeType, file: SourceFile | None) -> Form:
    """Return the form of a code object. It depends on the code and the file's text alone: `kept` relies on that."""
    node = file.node_of(code) if file is not None else None
    if file is None or node is None:
        bare = normalize_code(code)
        return Form(kind="bytecode", digest=digest_bytes(bare.text.encode("utf-8", "surrogatepass")), free=bare.free)
    normal = normalize_function(node, code.co_freevars)
    return Form(
        kind="source",
        digest=digest_bytes(normal.text.encode("utf-8", "surrogatepass")),
        free=normal.free,
        names=normal.names,
        text=file.text_of(node),
    )


def _home_of(function: FunctionType) -> str:
    return str(function.__globals__.get("__file__") or "")


@functools.cache
def shared_index() -> SourceIndex:
    """Return the index that all runs of this process share.

    The one piece of state that outlives a run: what it holds is tied to code objects and file stamps, so it can be old
    but never wrong, and without it every run in a notebook would parse every file again.
    """
    return SourceIndex()


def _counts(reference: Reference, form: Form) -> bool:
    if reference.kind == "global":
        name = reference.name
        return form.names is None or name in form.names or (name.startswith("_") and "__" in name)  # or mangled
    return reference.kind != "free"


class _ByCode(Generic[T]):
    """A mapping from code objects by identity: they compare by value, and some hold constants that do not hash."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[CodeType], T]] = {}

    def get(self, code: CodeType) -> T | None:
        entry = self._kept.get(id(code))
        return entry[1] if entry is not None and entry[0]() is code else None

    def put(self, code: CodeType, value: T) -> T:
        place = id(code)
        kept = self._kept

        def forget(gone: weakref.ref[CodeType]) -> None:
            entry = kept.get(place)
            if entry is not None and entry[0] is gone:
                del kept[place]

        kept[place] = (weakref.ref(code, forget), value)
        return value
