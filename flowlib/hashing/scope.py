"""Which name means what inside one function: the scopes of Python, as far as renaming needs them.

A `Scope` knows the names it binds. `Binder` hands out one scope for each scope-making node and answers how an
identifier is spelled in the normal form: parameters, globals, class attributes keep their names, other locals and free
variables are numbered in the order in which they are first met.

Invariant: two identifiers get the same spelling exactly when they mean the same binding.
"""

import ast
import re
from typing import Literal

import attrs

ScopeKind = Literal["module", "function", "class", "comprehension"]
BindingKind = Literal["parameter", "local", "kept"]

# Code that looks at its own frame can see what its locals are called, so their names are part of its meaning.
# The last four are methods of pandas, numexpr and duckdb.
FRAME_READERS = frozenset(
    {"eval", "exec", "locals", "vars", "dir", "globals", "_getframe", "currentframe", "f_locals"}
    | {"query", "evaluate", "sql", "execute"}
)
_WORD = re.compile(r"[A-Za-z_]\w*")


@attrs.define(eq=False)
class Scope:
    """One block of names. `bound` maps each name it binds to how the name is spelled."""

    kind: ScopeKind
    parent: "Scope | None"
    bound: dict[str, BindingKind] = attrs.field(factory=dict)
    elsewhere: set[str] = attrs.field(factory=set)
    """Names declared `global` here."""
    enclosing: set[str] = attrs.field(factory=set)
    """Names declared `nonlocal` here."""

    def bind(self, name: str, kind: BindingKind = "local") -> None:
        """Record that this block binds `name`; a declaration or an earlier parameter wins."""
        if name not in self.elsewhere and name not in self.enclosing:
            self.bound.setdefault(name, kind)

    def owner(self, name: str) -> "Scope | None":
        """Return the scope that binds `name` as seen from here, or None for a global or free name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.elsewhere:
                return None
            if name in scope.bound and (scope.kind != "class" or scope is self):
                return scope
            scope = scope.parent
        return None

    def statement_scope(self) -> "Scope":
        """Return the nearest scope that is not a comprehension: where `:=` binds."""
        scope = self
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        return scope


class Binder:
    """The scopes below one root, and the spelling of every identifier in them."""

    def __init__(self, *, root: Scope, free: frozenset[str]) -> None:
        self.root = root
        self.free = free
        self.free_order: list[str] = []
        self.global_names: set[str] = set()
        self._inner: dict[int, Scope] = {}
        self._numbers: dict[tuple[int, str], int] = {}
        self._spoken: set[str] = set()
        self._reads_frame = False

    def inner(self, node: ast.AST, kind: ScopeKind, parent: Scope) -> Scope:
        """Return the scope that `node` opens; the same one each time."""
        found = self._inner.get(id(node))
        if found is None:
            found = self._inner[id(node)] = Scope(kind, parent)
        return found

    def note_identifier(self, name: str) -> None:
        """Remember a name or attribute that may read the frame."""
        if name in FRAME_READERS:
            self._reads_frame = True

    def note_text(self, text: str) -> None:
        """Remember the words of texts in which libraries look names up: `@limit` in pandas, formulas with `~`."""
        if "@" in text or "~" in text:
            self._spoken.update(_WORD.findall(text))

    def spell(self, name: str, scope: Scope) -> str:
        """Return the canonical spelling of `name` as it is used in `scope`."""
        owner = scope.owner(name)
        if owner is None:
            return self._spell_outer(name)
        if owner.kind in ("class", "module"):
            self.global_names.add(name)
            return f"A{name}"
        kind = owner.bound[name]
        if kind == "parameter":
            return f"P{name}"
        if kind == "kept" or self._reads_frame or name in self._spoken:
            return f"K{name}"
        return f"L{self._numbers.setdefault((id(owner), name), len(self._numbers))}"

    def _spell_outer(self, name: str) -> str:
        if name not in self.free:
            self.global_names.add(name)
            return f"G{name}"
        if name not in self.free_order:
            self.free_order.append(name)
        return f"F{self.free_order.index(name)}"
