"""What can be read off a function: its name, how many values it returns, where it was defined."""

import functools
import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

LAMBDA = "<lambda>"


def innermost(fn: Any) -> Any:
    """Return the function inside a `functools.partial`, at any depth; other callables as they are."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def name_of(fn: Any) -> str:
    """Return a function's qualified name without the functions around it; a class's name for callable objects.

    A lambda is named after the task it was assigned to in its module, if any.

    >>> name_of(functools.partial(str.upper)), name_of(lambda x: x)
    ('str.upper', '<lambda>')
    """
    inner = innermost(fn)
    name = str(getattr(inner, "__qualname__", None) or type(inner).__name__).rpartition("<locals>.")[2]
    if name != LAMBDA:
        return name
    known = getattr(inner, "__globals__", {})
    return next((word for word, value in list(known.items()) if _is_task_of(value, fn)), LAMBDA)


def _is_task_of(value: object, fn: object) -> bool:
    return getattr(type(value), "__flowlib_task__", False) and vars(value).get("fn") is fn


def n_values_of(fn: Callable[..., object]) -> int | None:
    """Return how many values a function says it returns: a fixed-size tuple or a named tuple; None if it does not say.

    >>> def pair() -> tuple[int, str]: ...
    >>> n_values_of(pair)
    2
    """
    try:
        returns = typing.get_type_hints(inspect.unwrap(innermost(fn))).get("return")
    except Exception:  # annotations may name things that only a type checker can see
        return None
    arguments = typing.get_args(returns)
    if typing.get_origin(returns) is tuple:
        return len(arguments) if arguments and arguments[-1] is not ... else None
    fields = getattr(returns, "_fields", None)
    return len(fields) if isinstance(fields, tuple) else None


def look_up(module: str, qualname: str) -> Any:
    """Return what a module holds under a dotted name; None when nothing is there. Imports nothing."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def import_by_name(module: str, qualname: str) -> Any:
    """Import what was defined in a module under a dotted name.

    Raises:
        ImportError: There is no such module.
        AttributeError: The module has no such name any more.
    """
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found
