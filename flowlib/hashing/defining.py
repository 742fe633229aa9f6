"""The code that defines a thing, for when the thing itself cannot be digested.

A global counts by the module-level statements that bind it, followed through `from x import y`; a class member by its
statement in the class body; a closure's value or a default by the definition around the function. What those statements
refer to counts too.
"""

import ast
import builtins
import sys
from types import FunctionType, ModuleType

import attrs

from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.normal import normalize_statements
from flowlib.hashing.parts import Description
from flowlib.hashing.reach import Reference, find_references
from flowlib.hashing.resolve import Environment, Installed, Link, Origin, qualified_name
from flowlib.hashing.source import SourceFile

_NAMED_BY_TYPE = frozenset(
    ["logging.Logger", "logging.RootLogger", "loguru._logger.Logger", "_thread.lock", "_thread.RLock"]
)
_MOST_IMPORTS = 16


def describe_by_definition(link: Link, index: SourceIndex) -> Description:
    """Describe what `link` leads to by the code that defines it, and by its class."""
    cls = type(link.value)
    type_name = f"{cls.__module__}.{cls.__qualname__}"
    own_type = Link("(type)", cls, qualified_name(cls))
    if type_name in _NAMED_BY_TYPE:  # says nothing that could reach a result
        return Description(name=link.name, facts=("by type", type_name))
    found = _definition(link.origin, index) if link.origin is not None else _NOTHING
    if isinstance(found, Installed):
        return Description(name=link.name, facts=("installed", str(found.owner), found.name))
    links = [own_type]
    if found.environment is not None:
        references = [reference for reference in found.references if reference.name != found.name]
        links.extend(index.resolver.resolve(references, found.environment))
    return Description(
        name=link.name, facts=("by definition", found.normal), links=tuple(links), text=found.text, weak=True
    )


@attrs.frozen(eq=False)
class _Definition:
    name: str = ""
    normal: str = ""
    text: str = ""
    references: tuple[Reference, ...] = ()
    environment: Environment | None = None


_NOTHING = _Definition()


def _definition(origin: Origin, index: SourceIndex) -> _Definition | Installed:
    if isinstance(origin.holder, FunctionType):
        return _around_function(origin.holder, index)
    if isinstance(origin.holder, type):
        return _in_class(origin.holder, origin.name, index)
    return _in_module(origin.holder, origin.name, index) if isinstance(origin.holder, dict) else _NOTHING


def _in_module(namespace: dict[str, object], name: str, index: SourceIndex) -> _Definition | Installed:
    for _ in range(_MOST_IMPORTS):
        module = sys.modules.get(str(namespace.get("__name__")))
        if isinstance(module, ModuleType) and vars(module) is namespace:
            owner = index.owners.of_module(module.__name__)
            if owner is not None:
                return Installed(owner, f"{module.__name__}.{name}")
        filename = namespace.get("__file__")
        file = index.files.get(filename) if isinstance(filename, str) else None
        statements = file.bindings.get(name, []) if file is not None else []
        if file is None:
            file, statements = _in_cells(namespace, name, index)
        source = _imported_from(statements, namespace, name)
        if not statements and file is not None:
            source = _imported_with_star(file, namespace, name)
        if source is None:
            return _definition_of(statements, file, Environment(namespace, vars(builtins), {}), name)
        module_name, name = source
        module = sys.modules.get(module_name)
        if not isinstance(module, ModuleType):
            break
        namespace = vars(module)
    return _NOTHING


def _in_cells(namespace: dict[str, object], name: str, index: SourceIndex) -> tuple[SourceFile | None, list[ast.stmt]]:
    """Return the newest notebook cell that binds `name`; the cells lie beside those of the namespace's functions."""
    for value in [*namespace.values()]:
        if isinstance(value, FunctionType) and value.__globals__ is namespace:
            for cell in index.files.cells(value.__code__.co_filename):
                if name in cell.bindings:
                    return cell, cell.bindings[name]
    return None, []


def _imported_from(statements: list[ast.stmt], namespace: dict[str, object], name: str) -> tuple[str, str] | None:
    """Return (module, name) if the last statement is `from module import name`."""
    last = statements[-1] if statements else None
    if not isinstance(last, ast.ImportFrom):
        return None
    original = next(alias.name for alias in last.names if (alias.asname or alias.name) == name)
    return _module_of(last, namespace), original


def _imported_with_star(file: SourceFile, namespace: dict[str, object], name: str) -> tuple[str, str] | None:
    """Return (module, name) if a `from module import *` brought the name."""
    for statement in reversed(file.bindings.get("*", [])):
        if isinstance(statement, ast.ImportFrom):
            module = sys.modules.get(_module_of(statement, namespace))
            if isinstance(module, ModuleType) and vars(module).get(name) is namespace.get(name):
                return module.__name__, name
    return None


def _module_of(statement: ast.ImportFrom, namespace: dict[str, object]) -> str:
    package = str(namespace.get("__package__") or "").split(".")
    above = package[: len(package) - statement.level + 1] if statement.level else []
    return ".".join(part for part in (*above, statement.module) if part)


def _in_class(cls: type, name: str, index: SourceIndex) -> _Definition:
    file = index.file_of_class(cls)
    classes = file.classes.get(cls.__qualname__, []) if file is not None else []
    body = classes[-1].body if classes else []
    statements: list[ast.stmt] = [
        statement
        for statement in body
        if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(statement))
    ]
    statements = statements or [*classes]  # made by a metaclass or decorator from the whole of it
    module = sys.modules.get(cls.__module__)
    environment = Environment(vars(module), vars(builtins), {}) if isinstance(module, ModuleType) else None
    return _definition_of(statements, file, environment, name)


def _around_function(function: FunctionType, index: SourceIndex) -> _Definition:
    file = index.file_of_function(function)
    outermost = function.__qualname__.partition(".")[0]
    statements = file.definitions.get(outermost, []) if file is not None else []
    environment = Environment.of_function(function)
    return _definition_of(statements, file, attrs.evolve(environment, cells={}), outermost)


def _definition_of(
    statements: list[ast.stmt], file: SourceFile | None, environment: Environment | None, name: str
) -> _Definition:
    if not statements or file is None:
        return _Definition(name)
    code = compile(ast.Module(statements, []), "<definition>", "exec", dont_inherit=True)
    return _Definition(
        name,
        normalize_statements(statements).text,
        "\n".join(map(file.text_of, statements)),
        tuple(reference for reference in find_references(code) if reference.kind != "free"),
        environment,
    )
