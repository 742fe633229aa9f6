"""What a code object refers to: names with the attribute chains that follow them, and imports inside bodies.

Theory of operation: one pass over the instructions of a code object and of the code nested in it (comprehensions,
inner functions, class bodies). A *chain* is a name followed by the attributes read from it at once: `util.sub.fn`. A
chain that is stored in a local makes the local an alias, so `import util` or `u = util` inside a body is followed to
`u.helper`. Aliases are flow-insensitive: all the chains a local ever holds count. `getattr(x, "name")` with a literal
name extends the chain of x; so does `importlib.import_module("name")`.

Invariant: the result depends on the code alone. Names that only a run can know (`globals()[key]`) are not found, except
that a body which calls `globals`, `eval` and the like is taken to mention every name that its texts spell.
"""

import re
from collections.abc import Iterator
from types import CodeType
from typing import Literal

import attrs

from flowlib.hashing.bytecode import Instruction, instructions

_LOAD_LOCAL = frozenset({"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW"})
_LOAD_OUTER = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_LOAD_NAME = frozenset({"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORE = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME"})
_READ_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_TRANSPARENT = frozenset({"PUSH_NULL", "NOP", "COPY"})
_TRANSPARENT_IN_IMPORT = frozenset({"SWAP", "POP_TOP"})
_TEXT_READERS = frozenset({"globals", "eval", "exec", "vars", "locals"})
_IMPORTERS = frozenset({"import_module", "__import__"})
_WORD = re.compile(r"[A-Za-z_]\w*")
_MOST_ALIAS_STEPS = 8


@attrs.frozen
class Reference:
    """A name in a code object and what is read from it.

    `kind` says where `name` is looked up: in the globals, among the free variables, or as an imported module. A name
    that is only `spoken` occurs in a text; it counts if it is a global.
    """

    kind: Literal["free", "global", "import", "spoken"]
    name: str
    attributes: tuple[str, ...] = ()
    level: int = 0
    """Of an import: the number of leading dots."""
    whole: bool = True
    """Of an import: False when `import a.b` binds the package `a` only."""
    stored: bool = False
    """The chain goes into a local only; what is read from that local counts on its own."""

    head: str = attrs.field(init=False, eq=False)
    """The name as it is written in the code, without the attributes."""

    @head.default
    def _head(self) -> str:
        head = "." * self.level + (self.name if self.whole else self.name.partition(".")[0])
        return f"import {head}" if self.kind == "import" else head

    @property
    def label(self) -> str:
        """The reference as it is written in the code."""
        return ".".join((self.head, *self.attributes))


def find_references(code: CodeType) -> tuple[Reference, ...]:
    r"""Return what `code` and the code nested in it refer to, sorted, without repeats. O(instructions).

    >>> code = compile("def f(x):\n import util as u\n return u.help(x) + LIMIT", "", "exec").co_consts[0]
    >>> [reference.label for reference in find_references(code)]
    ['LIMIT', 'import util', 'import util.help']
    """
    found: set[Reference] = set()
    _Reader(code, {}, frozenset(code.co_freevars)).read(found)
    return tuple(sorted(found, key=lambda found: (found.kind, found.head, found.attributes, found.whole, found.stored)))


@attrs.define
class _Chain:
    """A chain being read. `local` names an alias to be followed once all stores are known."""

    reference: Reference | None
    local: str = ""
    attributes: tuple[str, ...] = ()

    def then(self, attribute: str) -> "_Chain":
        return _Chain(self.reference, self.local, (*self.attributes, attribute))


_Aliases = dict[str, list[_Chain]]


class _Reader:
    """Reads one code object. `outer`: what the names it closes over may hold, from the code around it."""

    def __init__(self, code: CodeType, outer: _Aliases, free: frozenset[str]) -> None:
        self._code = code
        self._free = free
        self._aliases: _Aliases = {name: [*outer.get(name, ())] for name in code.co_freevars}
        self._uses: list[tuple[_Chain, bool]] = []
        self._current: _Chain | None = None
        self._previous: _Chain | None = None
        self._module: _Chain | None = None
        self._importing = False
        self._fromlist: object = None
        self._level: object = 0
        self._texts: list[str] = []

    def read(self, found: set[Reference]) -> None:
        nested: list[CodeType] = []
        steps = [*instructions(self._code)]
        inlined = {step.value for step in steps if step.opname == "LOAD_FAST_AND_CLEAR"}  # variables of comprehensions
        cells = {*self._code.co_cellvars, *self._code.co_freevars} - inlined
        for step in steps:
            if step.opname in _TRANSPARENT or (self._importing and step.opname in _TRANSPARENT_IN_IMPORT):
                continue
            if step.opname in _LOAD_LOCAL and step.value in cells:
                self._finish()  # the cell itself, for an inner function (Python 3.13); what that one reads counts
            elif step.table == "const":
                self._constant(step.value, nested)
            else:
                self._step(step)
        self._finish()
        for chain, stored in self._uses:
            found.update(self._resolve(chain, stored, _MOST_ALIAS_STEPS))
        if any(reference.kind == "global" and reference.name in _TEXT_READERS for reference in found):
            words = {word for text in self._texts for word in _WORD.findall(text)}
            found.update(Reference("spoken", word, stored=True) for word in words)
        for code in nested:
            _Reader(code, self._aliases, self._free).read(found)

    def _step(self, step: Instruction) -> None:
        opname, name = step.opname, step.value
        if opname in _READ_ATTRIBUTE or opname == "IMPORT_FROM":
            self._attribute(opname, str(name))
        elif opname in _STORE:
            self._store(str(name))
        elif step.table == "pair":
            assert isinstance(name, tuple)
            self._pair(opname, *name)
        elif opname == "IMPORT_NAME":
            self._import(str(name))
        else:
            started = self._started(opname, name)
            if started is None:
                self._finish()
            else:
                self._start(started)

    def _started(self, opname: str, name: object) -> _Chain | None:
        """Return the chain that an instruction begins, if it loads a name."""
        if opname == "LOAD_GLOBAL" or (opname in _LOAD_NAME and name not in self._aliases):
            return _Chain(Reference("global", str(name)))
        if opname in _LOAD_NAME or opname in _LOAD_LOCAL:
            return _Chain(None, str(name))
        if opname in _LOAD_OUTER:
            reference = Reference("free", str(name)) if name in self._free else None
            return _Chain(reference if name not in self._aliases or not self._aliases[str(name)] else None, str(name))
        return None

    def _start(self, chain: _Chain) -> None:
        before = self._current
        self._finish()
        self._previous, self._current = before, chain

    def _finish(self, *, stored: bool = False) -> None:
        if self._current is not None:
            self._uses.append((self._current, stored))
        self._current = self._previous = None

    def _constant(self, value: object, nested: list[CodeType]) -> None:
        if isinstance(value, CodeType):
            nested.append(value)
        elif isinstance(value, str):
            self._texts.append(value)
            self._literal(value)
        self._level, self._fromlist = self._fromlist, value  # IMPORT_NAME takes the last two constants
        if not isinstance(value, str):
            self._finish()

    def _literal(self, text: str) -> None:
        """Extend `getattr(x, "text")` and `import_module("text")`."""
        current, previous = self._current, self._previous
        if current is None:
            return
        called = current.attributes[-1:] or (current.reference.name if current.reference else "",)
        if called[0] in _IMPORTERS and all(map(str.isidentifier, text.split("."))):
            self._finish()
            self._uses.append((_Chain(Reference("import", text)), False))
        elif previous is not None and previous.reference == Reference("global", "getattr") and text.isidentifier():
            self._current = current.then(text)
        else:
            self._finish()

    def _attribute(self, opname: str, name: str) -> None:
        if opname == "IMPORT_FROM" and self._current is None:
            self._current = self._module
        if self._current is not None:
            self._current = self._current.then(name)
            self._previous = None

    def _import(self, name: str) -> None:
        level = self._level if isinstance(self._level, int) else 0
        fromlist = self._fromlist
        self._finish()
        self._module = _Chain(Reference("import", name, level=level, whole=fromlist is not None or "." not in name))
        self._current = None if fromlist else self._module
        self._importing = not fromlist

    def _store(self, name: str) -> None:
        chain = self._current
        self._importing = False
        self._finish(stored=True)
        if chain is not None:
            self._aliases.setdefault(name, []).append(chain)

    def _pair(self, opname: str, first: str, second: str) -> None:
        """Superinstructions: two loads, two stores, or a store and a load."""
        if opname.startswith("STORE"):
            self._store(first)
            if opname.endswith(("STORE_FAST",)):
                self._store(second)
                return
        else:
            self._start(_Chain(None, first))
        self._start(_Chain(None, second))

    def _resolve(self, chain: _Chain, stored: bool, steps: int) -> Iterator[Reference]:
        if chain.reference is not None:
            yield attrs.evolve(chain.reference, attributes=chain.attributes, stored=stored)
        elif steps:
            for held in self._aliases.get(chain.local, ()):
                joined = _Chain(held.reference, held.local, (*held.attributes, *chain.attributes))
                yield from self._resolve(joined, stored, steps - 1)
