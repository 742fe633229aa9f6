"""Find the source of a loaded code object and prove that it is its source.

Theory of operation: a file (or notebook cell, or anything with an entry in `linecache`) is parsed and compiled as a
whole; each function's syntax tree is paired with the code object the compiler made of it. A loaded code object is
looked up by its qualified name and compared with the candidates: same code, or same normal form of bytecode. Only then
does the tree speak for the code. A file edited after it was imported therefore never describes code that is not loaded.

Invariant: nothing here imports or runs user code.
"""

import __future__

import ast
import contextlib
import functools
import io
import linecache
import operator
import os
import sys
import textwrap
import threading
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import TYPE_CHECKING

from flowlib.hashing.bytecode import normalize_code
from flowlib.hashing.digest import digest_bytes
from flowlib.ids import Digest

if TYPE_CHECKING:
    import importlib.metadata

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_FUTURE_FLAGS = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
_MOST_FILES = 512  # a long notebook session makes a file of each cell it runs; only recent ones are asked for

_Stamp = tuple[int, int] | str


class SourceFile:
    """One parsed source text. Everything derived from it is made on first use and kept.

    `digest` is that of the file's bytes; None if the text did not come from a file.
    """

    def __init__(self, text: str, filename: str, digest: Digest | None = None) -> None:
        self.digest = digest
        self._filename = filename
        self._lines = text.splitlines(keepends=True)
        self._lock = threading.Lock()
        self._tables: dict[int, dict[str, list[tuple[CodeType, FunctionNode]]]] = {}
        with _no_warnings():
            self.tree = ast.parse(text, filename)

    def node_of(self, code: CodeType) -> FunctionNode | None:
        """Return the tree of which `code` was compiled, or None if this text is not its source."""
        with self._lock:
            candidates = self._table(code.co_flags & _FUTURE_FLAGS).get(code.co_qualname, [])
        for compiled, node in candidates:
            if compiled == code:
                return node
        if not candidates:
            return None
        form = normalize_code(code)
        same = [(compiled, node) for compiled, node in candidates if normalize_code(compiled) == form]
        same.sort(key=lambda pair: pair[0].co_firstlineno != code.co_firstlineno)  # stable: this line first, then order
        return same[0][1] if same else None

    def text_of(self, node: ast.stmt | ast.expr) -> str:
        """Return the lines of `node` with its decorators, dedented."""
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        return textwrap.dedent("".join(self._lines[first - 1 : node.end_lineno])).rstrip("\n")

    @functools.cached_property
    def classes(self) -> Mapping[str, list[ast.ClassDef]]:
        """Class statements by qualified name, in order."""
        found: dict[str, list[ast.ClassDef]] = {}
        for qualname, node in self._scopes:
            if isinstance(node, ast.ClassDef):
                found.setdefault(qualname, []).append(node)
        return found

    @functools.cached_property
    def definitions(self) -> Mapping[str, list[ast.stmt]]:
        """Module-level function and class statements by name, in order."""
        found: dict[str, list[ast.stmt]] = {}
        for qualname, node in self._scopes:
            if "." not in qualname and isinstance(node, ast.stmt):
                found.setdefault(qualname, []).append(node)
        return found

    @functools.cached_property
    def bindings(self) -> Mapping[str, list[ast.stmt]]:
        """Module-level statements by each name they bind, in order."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in _module_level(self.tree.body):
            for name in sorted(_bound_names(statement)):
                found.setdefault(name, []).append(statement)
        return found

    @functools.cached_property
    def _scopes(self) -> list[tuple[str, ast.ClassDef | FunctionNode]]:
        return _find_scopes(self.tree)

    def _table(self, flags: int) -> dict[str, list[tuple[CodeType, FunctionNode]]]:
        table = self._tables.get(flags)
        if table is None:
            table = self._tables[flags] = self._pair_code_with_nodes(flags)
        return table

    def _pair_code_with_nodes(self, flags: int) -> dict[str, list[tuple[CodeType, FunctionNode]]]:
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # notebook cells may await
        try:
            with _no_warnings():
                module = compile(self.tree, self._filename, "exec", flags=flags, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return {}
        functions: dict[tuple[str, int], FunctionNode] = {}
        lambdas: dict[int, list[ast.Lambda]] = {}
        for _, node in self._scopes:
            if isinstance(node, ast.Lambda):
                lambdas.setdefault(node.lineno, []).append(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[node.name, min([node.lineno, *(deco.lineno for deco in node.decorator_list)])] = node
        table: dict[str, list[tuple[CodeType, FunctionNode]]] = {}
        for code in _nested_code(module):
            found = functions.get((code.co_name, code.co_firstlineno))
            if code.co_name == "<lambda>":
                found = _lambda_of(code, lambdas.get(code.co_firstlineno, []))
            if found is not None:
                table.setdefault(code.co_qualname, []).append((code, found))
        return table


class SourceFiles:
    """Parsed source by file name, parsed again when the file's time or size changed. Safe to share by threads."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[_Stamp, SourceFile | None]] = {}
        self._digests: dict[str, tuple[_Stamp, Digest | None]] = {}
        self._lock = threading.Lock()

    def get(self, filename: str) -> SourceFile | None:
        """Return the parsed source known under `filename`; None if there is none or it is not Python."""
        try:
            status = os.stat(filename)
        except (OSError, ValueError):
            return self._get_cell(filename)
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._files.get(filename)
        if known is not None and known[0] == stamp:
            return known[1]
        data = _read(filename)
        return self._keep(filename, stamp, _decoded(data), None if data is None else digest_bytes(data))

    def digest(self, filename: str) -> Digest | None:
        """Return the digest of a source file as it is now, without parsing it; None if there is no such file."""
        try:
            status = os.stat(filename)
        except (OSError, ValueError):
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._digests.get(filename)
        if known is None or known[0] != stamp:
            known = self._digests[filename] = (stamp, digest_of_file(filename))
        return known[1]

    def cells(self, like: str) -> Iterator[SourceFile]:
        """Yield the texts that `linecache` holds beside `like` (the other cells of a notebook), newest first."""
        folder = os.path.dirname(like)
        for filename in reversed([*linecache.cache]):
            if os.path.dirname(filename) == folder and not os.path.exists(filename):
                found = self._get_cell(filename)
                if found is not None:
                    yield found

    def _get_cell(self, filename: str) -> SourceFile | None:
        entry = linecache.cache.get(filename)
        if entry is None or len(entry) < 3:
            return None
        text = "".join(entry[2])
        known = self._files.get(filename)
        if known is not None and known[0] == text:
            return known[1]
        return self._keep(filename, text, text)

    def _keep(self, filename: str, stamp: _Stamp, text: str | None, digest: Digest | None = None) -> SourceFile | None:
        try:
            parsed = None if text is None else SourceFile(text, filename, digest)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            parsed = None
        with self._lock:
            self._files.pop(filename, None)
            self._files[filename] = (stamp, parsed)
            while len(self._files) > _MOST_FILES:
                del self._files[next(iter(self._files))]
        return parsed


def digest_of_file(filename: str) -> Digest | None:
    """Return the digest of a file's bytes, or None if it cannot be read."""
    try:
        with open(filename, "rb") as file:
            return digest_bytes(file.read())
    except OSError:
        return None


def read_metadata(distribution: "importlib.metadata.Distribution", name: str) -> str:
    """Return the text of one of an installed distribution's metadata files; empty if it has none of that name."""
    return distribution.read_text(name) or ""


def _read(filename: str) -> bytes | None:
    try:
        with open(filename, "rb") as file:
            return file.read()
    except OSError:
        return None


def _decoded(data: bytes | None) -> str | None:
    """Return the text of a source file in its declared encoding (PEP 263), or None if it cannot be decoded."""
    if data is None:
        return None
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except (SyntaxError, UnicodeError, LookupError):
        return None


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore"):  # the import of the file has shown them
        yield


def _nested_code(code: CodeType) -> Iterator[CodeType]:
    stack = [code]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(const for const in reversed(current.co_consts) if isinstance(const, CodeType))


def _lambda_of(code: CodeType, candidates: list[ast.Lambda]) -> ast.Lambda | None:
    """Return the innermost lambda whose body holds every position of `code`; without columns, the only candidate."""
    places = [place for place in code.co_positions() if place[2] is not None and place[3]]
    if not places:
        return candidates[0] if len(candidates) == 1 else None
    holding = [node for node in candidates if all(_holds(node.body, place) for place in places)]
    return max(holding, key=lambda node: (node.lineno, node.col_offset), default=None)


def _holds(node: ast.expr, place: tuple[int | None, int | None, int | None, int | None]) -> bool:
    line, end_line, column, end_column = (value or 0 for value in place)
    after_start = (node.lineno, node.col_offset) <= (line, column)
    return after_start and (end_line, end_column) <= (node.end_lineno or 0, node.end_col_offset or 0)


def _find_scopes(tree: ast.Module) -> list[tuple[str, ast.ClassDef | FunctionNode]]:
    """Return (qualified name, node) of every function, lambda and class, outer before inner, in order.

    Like `ast.walk`, but without a generator for each node, and not into leaves: whole files pass through here.
    """
    found: list[tuple[str, ast.ClassDef | FunctionNode]] = []
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((prefix + node.name, node))
            prefix = f"{prefix}{node.name}." + ("" if isinstance(node, ast.ClassDef) else "<locals>.")
        elif isinstance(node, ast.Lambda):
            found.append((f"{prefix}<lambda>", node))
            prefix = f"{prefix}<lambda>.<locals>."
        for name in reversed(node._fields):
            value = getattr(node, name, None)
            if isinstance(value, list):
                stack.extend((prefix, child) for child in reversed(value) if not isinstance(child, _LEAVES))
            elif not isinstance(value, _LEAVES):
                stack.append((prefix, value))
    return found


_LEAVES = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop, str, int, type(None))


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the simple statements that run at module level, looking into `if`, `try`, `with` and loops."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield statement
        for field in ("body", "orelse", "finalbody"):
            yield from _module_level(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from _module_level(handler.body)


def _bound_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    targets: list[ast.AST] = []
    if isinstance(statement, ast.Assign):
        targets = [*statement.targets]
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For | ast.AsyncFor):
        targets = [statement.target]
    elif sys.version_info >= (3, 12) and isinstance(statement, ast.TypeAlias):
        targets = [statement.name]
    elif isinstance(statement, ast.With | ast.AsyncWith):
        targets = [item.optional_vars for item in statement.items if item.optional_vars is not None]
    elif isinstance(statement, ast.Expr):
        targets = [statement.value]  # `X.append(1)`, `X.update(...)`, `(X := 1)` also make X what it is
    return {
        name.id
        for target in targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and (isinstance(name.ctx, ast.Store) or _is_receiver(name, target, statement))
    }


def _is_receiver(name: ast.Name, target: ast.AST, statement: ast.stmt) -> bool:
    """True for X in `X.y = 1`, `X[0] = 1` and in a bare call `X.update(...)`."""
    if isinstance(statement, ast.Expr):
        target = statement.value.func if isinstance(statement.value, ast.Call) else target
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return target is name and not (isinstance(statement, ast.Expr) and target is statement.value)
