"""What stands for things that are not read: installed code, compiled code, names that nothing answers to."""

import functools
import sys
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from flowlib.hashing.distribution import Owner
from flowlib.hashing.functions import cell_values
from flowlib.hashing.resolve import PLAIN_DATA, Installed, Missing, Resolver, qualified_name

_STAND_INS = (Installed, Missing)
_COMPILED = (BuiltinFunctionType, ClassMethodDescriptorType, MethodDescriptorType, WrapperDescriptorType)


class StandIns:
    """Tells installed things from the user's."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def find(self, value: object) -> Installed | Missing | None:
        """Return what stands for a thing that is not read; None if it has to be read."""
        if type(value) in PLAIN_DATA:
            return None
        if isinstance(value, _STAND_INS):
            return value
        owner = self._owner(value)
        return None if owner is None else Installed(owner, qualified_name(value))

    def is_user_code(self, value: object) -> bool:
        """True for user code, for what holds or wraps it, and for instances of user classes."""
        if isinstance(value, FunctionType):
            return self._resolver.is_user_code(value) or self._wraps_user_code(value)
        if isinstance(value, MethodType | staticmethod | classmethod):
            return self.is_user_code(value.__func__)
        if isinstance(value, functools.partial):
            return self.is_user_code(value.func)
        if isinstance(value, dict):
            return any(map(self.is_user_code, [*value.values()]))
        if isinstance(value, list | tuple | set | frozenset):
            return any(map(self.is_user_code, value))
        return self._resolver.is_user_code(value)

    def _owner(self, value: object) -> Owner | None:
        resolver = self._resolver
        if isinstance(value, FunctionType):
            owner = resolver.owner_of_function(value)
            return None if owner is not None and self._wraps_user_code(value) else owner
        if isinstance(value, type):
            return resolver.owner_of_class(value)
        if isinstance(value, ModuleType):
            return resolver.owner_of_module(value.__name__)
        if isinstance(value, _COMPILED):
            return None if _is_bound(value) else resolver.owner_of_module(_compiled_module(value))
        owner = resolver.owner_of_class(type(value)) if callable(value) else None
        return owner if owner is not None and _is_exported(value) else None

    def _wraps_user_code(self, function: FunctionType) -> bool:
        inside = [value for _, value, _ in cell_values(function)]
        inside.extend([vars(function)["__wrapped__"]] if "__wrapped__" in vars(function) else [])
        return any(self.is_user_code(value) for value in inside)


def _is_bound(value: object) -> bool:
    """True for a compiled method bound to an object, such as `items.append`."""
    owner = getattr(value, "__self__", None)
    return isinstance(value, BuiltinFunctionType) and owner is not None and not isinstance(owner, ModuleType | type)


def _compiled_module(value: Any) -> str:
    holder = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    if isinstance(holder, ModuleType):
        return holder.__name__
    if isinstance(holder, type):
        return holder.__module__
    return str(getattr(value, "__module__", ""))


def _is_exported(value: object) -> bool:
    """True for a compiled callable that its package exports under its own name, such as `numpy.exp`."""
    name = getattr(value, "__name__", None)
    package = sys.modules.get(type(value).__module__.partition(".")[0])
    return isinstance(name, str) and isinstance(package, ModuleType) and vars(package).get(name) is value
