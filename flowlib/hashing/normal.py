"""The normal form of source: what is left of a function when everything that cannot change its result is gone.

Gone are comments, layout, positions, docstrings, statements without effect, annotations (except the fields of classes
made inside the body), the function's own name, its decorators and its default expressions (their values count
elsewhere). Local variables are numbered. Parameters, globals and attributes keep their names.

Theory of operation: one traversal with an explicit stack, so that nesting depth is bounded by memory only. Each node
expands to tokens and child nodes. An identifier becomes a token only after the walk, because what it means is known
when its scope has been seen to the end. Lists carry their length and constants are written with `repr`, so the token
stream determines the tree.

Invariant: equal text means equal behaviour, given equal values for the names in `names` and `free`.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import attrs

from flowlib.hashing.scope import Binder, Scope

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_IGNORED = frozenset({"ctx", "type_comment", "kind", "type_params", "simple"})

_Item = str | tuple[ast.AST, Scope] | tuple[str, Scope]
"""A token, a node to expand, or an identifier to spell at the end."""


@attrs.frozen(kw_only=True)
class NormalForm:
    """Normalised source. `names`: identifiers that are not local; `free`: free variables, numbered as in the text."""

    text: str
    names: frozenset[str]
    free: tuple[str, ...]


def normalize_function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, free: Iterable[str]) -> NormalForm:
    r"""Return the normal form of a function whose free variables are `free`. O(nodes of the tree).

    >>> one = ast.parse("def f(x: int):\n    'doc'\n    total = x + 1  # why\n    return total").body[0]
    >>> two = ast.parse("def g(x): y = x+1; return y").body[0]
    >>> normalize_function(one, ()).text == normalize_function(two, ()).text
    True
    """
    root = Scope("function", None)
    writer = _Writer(Binder(root=root, free=frozenset(free)))
    return writer.write(writer.function_items(node, root, own=True))


def normalize_statements(statements: list[ast.stmt]) -> NormalForm:
    """Return the normal form of module-level statements; the names they bind stay as they are. O(nodes)."""
    root = Scope("module", None)
    writer = _Writer(Binder(root=root, free=frozenset()))
    return writer.write(writer.block(statements, root))


class _Writer:
    def __init__(self, binder: Binder) -> None:
        self._binder = binder

    def write(self, items: list[_Item]) -> NormalForm:
        tokens: list[str | tuple[str, Scope]] = []
        stack = items[::-1]
        while stack:
            item = stack.pop()
            if isinstance(item, str) or isinstance(item[0], str):
                tokens.append(item)
            else:
                stack.extend(reversed(self._expand(item[0], item[1])))
        binder = self._binder
        text = "\n".join([token if isinstance(token, str) else binder.spell(*token) for token in tokens])
        return NormalForm(text=text, names=frozenset(binder.global_names), free=tuple(binder.free_order))

    def _expand(self, node: ast.AST, scope: Scope) -> list[_Item]:
        """Return the tokens and children of one node, in the order of the normal form."""
        special = _EXPANSIONS.get(type(node))
        if special is not None:
            return special(self, node, scope)
        items: list[_Item] = [type(node).__name__]
        for field in node._fields:
            if field not in _IGNORED:
                items.extend(self._field(getattr(node, field, None), scope))
        return items

    def _field(self, value: object, scope: Scope) -> Iterator[_Item]:
        if isinstance(value, ast.AST):
            yield value, scope
        elif isinstance(value, list):
            if value and isinstance(value[0], ast.stmt):
                yield from self.block(value, scope)
                return
            yield f"[{len(value)}"
            for element in value:
                yield from self._field(element, scope)
        else:
            yield repr(value)

    def block(self, statements: list[ast.stmt], scope: Scope) -> list[_Item]:
        kept = [statement for statement in statements if not self._is_idle(statement, scope)]
        return [f"[{len(kept)}", *((statement, scope) for statement in kept)]

    def _is_idle(self, statement: ast.stmt, scope: Scope) -> bool:
        if isinstance(statement, ast.Pass):
            return True
        if isinstance(statement, ast.Expr):
            return isinstance(statement.value, ast.Constant)
        if isinstance(statement, ast.AnnAssign) and statement.value is None and scope.kind != "class":
            if isinstance(statement.target, ast.Name):
                scope.bind(statement.target.id)  # an annotation without a value still makes the name local
            return isinstance(statement.target, ast.Name)
        return False

    def function_items(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, inner: Scope, *, own: bool = False
    ) -> list[_Item]:
        """Parameters and body; `own` leaves out the default expressions, whose values are counted instead."""
        arguments = node.args
        outer = inner.parent or inner
        items: list[_Item] = [type(node).__name__]
        groups = (arguments.posonlyargs, arguments.args, arguments.kwonlyargs)
        stars = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
        for arg in (*(arg for group in groups for arg in group), *stars):
            inner.bind(arg.arg, "parameter")
        items.extend(f"[{','.join(arg.arg for arg in group)}" for group in groups)
        items.extend(repr(arg.arg if arg else None) for arg in (arguments.vararg, arguments.kwarg))
        for default in (*arguments.defaults, *arguments.kw_defaults):
            items.append("-" if default is None else "=")
            if default is not None and not own:
                items.append((default, outer))
        if isinstance(node, ast.Lambda):
            items.append((node.body, inner))
        else:
            items.extend(self.block(node.body, inner))
        return items

    def _nested_function(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, (*_FUNCTIONS, ast.Lambda))
        inner = self._binder.inner(node, "function", scope)
        if isinstance(node, ast.Lambda):
            return self.function_items(node, inner)
        scope.bind(node.name)
        items: list[_Item] = [f"@{len(node.decorator_list)}", *((deco, scope) for deco in node.decorator_list)]
        return [*items, (node.name, scope), *self.function_items(node, inner)]

    def _class(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.ClassDef)
        scope.bind(node.name, "kept")  # a class shows its name in reprs, errors and pickles
        inner = self._binder.inner(node, "class", scope)
        outside = [*node.decorator_list, *node.bases, *node.keywords]
        header = f"class {len(node.decorator_list)} {len(node.bases)} {len(node.keywords)}"
        items: list[_Item] = [header, *((child, scope) for child in outside), (node.name, scope)]
        return [*items, *self.block(node.body, inner)]

    def _comprehension(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, _COMPREHENSIONS)
        inner = self._binder.inner(node, "comprehension", scope)
        items: list[_Item] = [f"{type(node).__name__} {len(node.generators)}"]
        for position, generator in enumerate(node.generators):
            items.append((generator.iter, inner if position else scope))
            items.extend([(generator.target, inner), f"{generator.is_async} {len(generator.ifs)}"])
            items.extend((test, inner) for test in generator.ifs)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return [*items, *((result, inner) for result in results)]

    def _name(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.Name)
        self._binder.note_identifier(node.id)
        if not isinstance(node.ctx, ast.Load):
            scope.bind(node.id)
        return [(node.id, scope)]

    def _attribute(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.Attribute)
        self._binder.note_identifier(node.attr)
        return [f".{node.attr}", (node.value, scope)]

    def _constant(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.Constant)
        if isinstance(node.value, str):
            self._binder.note_text(node.value)
        value = hex(node.value) if type(node.value) is int else repr(node.value)  # repr refuses very long integers
        return [f"C{type(node.value).__name__} {value}"]

    def _walrus(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.NamedExpr)
        return [":=", (node.target, scope.statement_scope()), (node.value, scope)]

    def _annotated(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.AnnAssign)
        items: list[_Item] = ["Assign", "[1", (node.target, scope)]
        if node.value is not None:
            items.append((node.value, scope))
        if scope.kind == "class":
            items = ["field", *items, (node.annotation, scope)]
        return items

    def _import(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        items: list[_Item] = ["import"]
        if isinstance(node, ast.ImportFrom):
            items = [f"from {node.level} {node.module}"]
        items.append(f"[{len(node.names)}")
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            scope.bind(bound)
            whole = alias.asname is not None or "." not in alias.name
            items.extend([f"{alias.name} {whole}", (bound, scope)])
        return items

    def _declaration(self, node: ast.AST, scope: Scope) -> list[_Item]:
        assert isinstance(node, ast.Global | ast.Nonlocal)
        (scope.elsewhere if isinstance(node, ast.Global) else scope.enclosing).update(node.names)
        return [type(node).__name__, *((name, scope) for name in sorted(node.names))]

    def _binding_field(self, node: ast.AST, scope: Scope) -> list[_Item]:
        """An except clause or a match pattern: it binds a name that the tree holds as a plain string."""
        items: list[_Item] = [type(node).__name__]
        for field in node._fields:
            value = getattr(node, field)
            if isinstance(value, str) and field in ("name", "rest"):
                scope.bind(value)
                items.append((value, scope))
            else:
                items.extend(self._field(value, scope))
        return items


_EXPANSIONS: Mapping[type[ast.AST], Callable[[_Writer, ast.AST, Scope], list[_Item]]] = MappingProxyType(
    {
        **dict.fromkeys((*_FUNCTIONS, ast.Lambda), _Writer._nested_function),
        **dict.fromkeys(_COMPREHENSIONS, _Writer._comprehension),
        **dict.fromkeys((ast.Import, ast.ImportFrom), _Writer._import),
        **dict.fromkeys((ast.Global, ast.Nonlocal), _Writer._declaration),
        **dict.fromkeys((ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping), _Writer._binding_field),
        ast.ClassDef: _Writer._class,
        ast.Name: _Writer._name,
        ast.Attribute: _Writer._attribute,
        ast.Constant: _Writer._constant,
        ast.NamedExpr: _Writer._walrus,
        ast.AnnAssign: _Writer._annotated,
    }
)
