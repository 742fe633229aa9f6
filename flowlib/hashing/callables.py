"""Encoders for code: functions, methods, classes, tasks, partials, modules.

User code enters by its code version, from the walk's `function_digest`; without one it is refused, because a name says
nothing about what a function does. Code of the standard library and compiled code of installed packages enter by
qualified name, after a check that the name still leads to the very object.
"""

import functools
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from flowlib.errors import CodeNotFound, Undigestible
from flowlib.hashing.distribution import PYTHON
from flowlib.hashing.encoding import Node, Refused, Walk, attribute_label, named, named_head, text
from flowlib.hashing.registry import REGISTRY

_HEAP_TYPE = 1 << 9


def class_identity(cls: type, walk: Walk) -> bytes:
    """Write whose instance something is: user classes by code version (if the walk knows), others by qualified name.

    The module of a user class does not enter: moving a file keeps its results.
    """
    known = walk.identities.get(cls)
    if known is None:
        known = walk.identities[cls] = _identity(cls, walk)
    return known


def _identity(cls: type, walk: Walk) -> bytes:
    if not is_user_class(cls):
        return b"Q" + text(f"{cls.__module__}.{cls.__qualname__}")
    if walk.function_digest is None:
        return b"u" + text(cls.__qualname__)
    return b"U" + text(cls.__qualname__) + text(_code_digest(cls, walk))


def is_user_class(cls: type) -> bool:
    """Say whether a class is user code rather than part of Python, flowlib or an installed distribution."""
    module = cls.__module__
    if module == "builtins":  # also where code executed without a module name puts its classes
        return bool(cls.__flags__ & _HEAP_TYPE)
    return not isinstance(module, str) or REGISTRY.owners.of_module(module) is None


def encode_class(value: type, walk: Walk) -> bytes:
    """Encode a class as a value."""
    if walk.function_digest is None and is_user_class(value):
        raise _nameless(value, "a class")
    return named_head("class", 0) + class_identity(value, walk)


def encode_function(value: FunctionType, walk: Walk) -> bytes:
    """Encode a plain function: of the standard library by name, any other by code version."""
    if REGISTRY.owners.of_module(str(value.__module__)) == PYTHON and _leads_to(value):
        return named_head("function", 0, f"{value.__module__}.{value.__qualname__}".encode())
    return _coded("function", value, walk)


def encode_task(value: Any, walk: Walk) -> Node | bytes:
    """Encode a task by its code version, and by the object it is bound to if it is a method of one."""
    code = _coded("task", value, walk)
    return named("bound task", tuple(value.bound), detail=code) if getattr(value, "bound", ()) else code


def encode_method(value: MethodType, walk: Walk) -> Node:
    """Encode a bound method: its function and the object it is bound to."""
    head = named_head("method", 2)
    return Node(head, (value.__func__, value.__self__), label=attribute_label, names=("__func__", "__self__"))


def encode_builtin(value: BuiltinFunctionType, walk: Walk) -> Node | bytes:
    """Encode a compiled function by qualified name, a compiled method with the object it is bound to."""
    owner = value.__self__
    if owner is None or isinstance(owner, ModuleType):
        return encode_compiled(value, walk)
    head = named_head("builtin method", 1, value.__name__.encode())
    return Node(head, (owner,), label=attribute_label, names=("__self__",))


def encode_compiled(value: Any, walk: Walk) -> bytes:
    """Encode a compiled function, such as a numpy function, by the qualified name that leads to it."""
    if not _leads_to(value):
        raise Refused(value, "no import path leads to this function", "Pass a function defined with def.")
    return named_head("function", 0, f"{_module(value)}.{_qualname(value)}".encode())


def encode_descriptor(value: Any, walk: Walk) -> Node:
    """Encode a method of a compiled class, such as `str.upper`."""
    return Node(named_head("descriptor", 1, value.__name__.encode()), (value.__objclass__,))


def encode_partial(value: functools.partial[Any], walk: Walk) -> Node:
    """Encode a partial: function, arguments, keywords, attributes."""
    parts = (value.func, value.args, value.keywords, dict(vars(value)))
    return Node(named_head("partial", 4), parts, label=attribute_label, names=("func", "args", "keywords", "__dict__"))


def encode_memoized(value: Any, walk: Walk) -> Node:
    """Encode a function under `functools.lru_cache` by what it wraps."""
    return Node(named_head("lru_cache", 1), (value.__wrapped__,), label=attribute_label, names=("__wrapped__",))


def encode_getter(value: Any, walk: Walk) -> Node:
    """Encode an `itemgetter`, `attrgetter` or `methodcaller` by its arguments."""
    return named(type(value).__name__, *value.__reduce__()[1:])


def encode_module(value: ModuleType, walk: Walk) -> bytes:
    """Encode an installed or standard module by name; a user's module is refused."""
    if REGISTRY.owners.of_module(value.__name__) is None:
        raise Refused(value, "a module of user code is not a value", "Pass the function or the value that is needed.")
    return named_head("module", 0, value.__name__.encode())


def _coded(kind: str, value: object, walk: Walk) -> bytes:
    if walk.function_digest is None:
        raise _nameless(value, f"a {kind}")
    return named_head(kind, 0, _code_digest(value, walk).encode())


def _code_digest(value: object, walk: Walk) -> str:
    assert walk.function_digest is not None
    try:
        return walk.function_digest(value)
    except CodeNotFound as error:
        raise Refused(value, error.what, error.hint) from error
    except Undigestible as error:
        raise Refused(value, f"its code depends on {error.path}: {error.reason}", error.hint) from error


def _nameless(value: object, kind: str) -> Refused:
    return Refused(
        value, f"{kind} is identified by its code, which is not looked at here", "Pass it to a task instead."
    )


def _module(value: Any) -> str:
    """Name the module of a compiled function; before numpy 2 its functions did not know theirs."""
    return str(getattr(value, "__module__", None) or type(value).__module__)


def _qualname(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or value.__name__)


def _leads_to(value: Any) -> bool:
    """Say whether module and qualified name lead back to the very object."""
    found: Any = sys.modules.get(_module(value))
    for part in _qualname(value).split("."):
        found = getattr(found, part, None)
    return found is value
