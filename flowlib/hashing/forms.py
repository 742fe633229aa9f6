"""What is known about loaded code objects for as long as they live: normal form, references, source text.

Theory of operation: everything here is a function of a code object and of the source that was proved to be its own, so
it stays true when the file changes later. Entries are keyed by the identity of the code object and die with it.

One `SourceIndex` serves all runs of a process (`shared_index`): a notebook that runs a pipeline again after editing
one cell parses that cell and nothing else.
"""

import functools
import sys
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType

import attrs

from flowlib.hashing.bytecode import normalize_code
from flowlib.hashing.digest import digest_bytes
from flowlib.hashing.distribution import Owners
from flowlib.hashing.form import Form
from flowlib.hashing.kept import KeptForms, Unkept
from flowlib.hashing.normal import normalize_function
from flowlib.hashing.reach import Reference, find_references
from flowlib.hashing.resolve import Resolver
from flowlib.hashing.source import SourceFile, SourceFiles


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
        self._known = _ByCode()

    def form(self, function: FunctionType) -> Form:
        """Return the normal form of a function's loaded code."""
        known = self._known.of(function.__code__)
        if known.form is None:
            known.form = self._make_form(function.__code__, function)
        return known.form

    def recall(self, function: FunctionType, kept: KeptForms) -> None:
        """Take what was kept about a function's code, if nothing is known about it yet; then no source is parsed."""
        code = function.__code__
        known = self._known.of(code)
        if known.form is not None:
            return
        look = self.files.digest
        digest = kept.digest_of(code.co_filename, look) or kept.digest_of(_home_of(function), look)
        found = kept.find(digest, code) if digest is not None else None
        if found is not None:
            known.references = found[1]
            known.form = found[0]

    def references(self, code: CodeType) -> tuple[Reference, ...]:
        """Return what a code object refers to."""
        known = self._known.of(code)
        if known.references is None:
            known.references = find_references(code)
        return known.references

    def outside(self, function: FunctionType) -> tuple[Reference, ...]:
        """Return the globals and imports that a function refers to; names that its normal form dropped do not count."""
        known = self._known.of(function.__code__)
        if known.outside is None:
            form = self.form(function)
            known.outside = tuple([ref for ref in self.references(function.__code__) if _counts(ref, form)])
        return known.outside

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
            references = [ref for ref in self.references(code) if ref.kind == "free" or _counts(ref, form)]
            self.unkept.add(file.digest, code, form, references)
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


@attrs.define(eq=False)
class _Known:
    """What is known about one code object: each is made when it is asked for."""

    is_alive: Callable[[], CodeType | None]
    form: Form | None = None
    references: tuple[Reference, ...] | None = None
    outside: tuple[Reference, ...] | None = None


class _ByCode:
    """What is known about code objects by identity: they compare by value, and some hold constants that do not hash."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def of(self, code: CodeType) -> _Known:
        """Return what is known about a code object; it is forgotten when the code object goes."""
        place, known = id(code), self._known
        entry = known.get(place)
        if entry is not None and entry.is_alive() is code:
            return entry

        def forget(gone: weakref.ref[CodeType]) -> None:
            entry = known.get(place)
            if entry is not None and entry.is_alive is gone:
                del known[place]

        entry = known[place] = _Known(weakref.ref(code, forget))
        return entry
