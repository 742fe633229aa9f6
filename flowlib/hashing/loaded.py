"""Notice that code was replaced in memory: a notebook cell executed again, a module reloaded, while a run goes on.

A run files its results under the code it found when it began. Files may be edited meanwhile, since what is loaded counts.
But names may also be bound to new functions, and functions given new code; what a task gives after that is the result of
code that nobody has described, and may not be stored.

Invariant: a name counts only if it led to a function, class or task when it was looked at. Data that tasks assign are
their own matter.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType

from flowlib.hashing.instances import instance_dict, is_task
from flowlib.hashing.parts import Part
from flowlib.hashing.resolve import PLAIN_DATA

_NAMED = (FunctionType, type)
_HOLDERS = (ModuleType, type)
_Binding = tuple[Mapping[str, object], str, object]
"""(namespace, name, what the name led to)"""


class LoadedCode:
    """What some parts were in memory at one moment.

    >>> def helper(): return 1
    >>> from flowlib.hashing.resolve import Link
    >>> loaded = LoadedCode([Part(link=Link("", helper, "helper"))])
    >>> loaded.is_current()
    True
    >>> helper.__code__ = (lambda: 2).__code__
    >>> loaded.is_current()
    False

    Args:
        parts: What a function reaches, itself included.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        codes: dict[int, tuple[FunctionType, CodeType]] = {}
        bindings: dict[tuple[int, str], _Binding] = {}
        for part in parts:
            value = part.link.value
            if isinstance(value, FunctionType):
                codes[id(value)] = (value, value.__code__)
            for binding in _bindings(part):
                bindings[id(binding[0]), binding[1]] = binding
        self._codes = tuple(codes.values())
        self._bindings = tuple(bindings.values())

    def is_current(self) -> bool:
        """Whether every function still has its code and every name still leads where it led. O(parts)."""
        for function, code in self._codes:  # plain loops: this is asked after every call
            if function.__code__ is not code:
                return False
        for namespace, name, value in self._bindings:  # noqa: SIM110
            if namespace.get(name) is not value:
                return False
        return True


def _bindings(part: Part) -> Iterator[_Binding]:
    """Yield the names by which a part is defined, and those by which a function's code calls others."""
    value = part.link.value
    if isinstance(value, _NAMED):
        home = sys.modules.get(value.__module__)
        if home is not None:
            yield from _chain(vars(home), value.__qualname__, value)
    if isinstance(value, FunctionType):
        for label, target in part.edges:
            if type(target.link.value) not in PLAIN_DATA:
                yield from _chain(value.__globals__, label, target.link.value)


def _chain(namespace: Mapping[str, object], path: str, value: object) -> list[_Binding]:
    """Return the bindings along a dotted path; none if it does not lead to `value` through modules and classes."""
    found: list[_Binding] = []
    if not _is_code(value):
        return found
    at: object = None
    for name in path.split("."):
        at = namespace.get(name)
        found.append((namespace, name, at))
        namespace = vars(at) if isinstance(at, _HOLDERS) else {}
    return found if at is value else []


def _is_code(value: object) -> bool:
    if type(value) in PLAIN_DATA:
        return False
    return isinstance(value, _NAMED) or is_task(value) or "__wrapped__" in instance_dict(value)
