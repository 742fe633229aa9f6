"""What users say about their own types: `register_digest`, `Annotated[T, Ignore]`.

One module-level object, `REGISTRY`, holds the registrations: they are made by modules at import, before any digest is
asked for, and have to reach every digest of the process, wherever it is made. Everything else in this package is free
of shared state. Beside them the registry remembers what takes long to find out and cannot change: which fields of a
class are ignored (annotations have to be evaluated), and which distribution owns a module.
"""

import builtins
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from flowlib.hashing.distribution import Owners


class Ignore:
    """Leave a field out of digests: `verbose: Annotated[bool, fl.Ignore] = False`.

    Works on the fields of dataclasses, attrs and pydantic classes and on annotated attributes of plain classes. An
    ignored field must not influence results: two values that differ only there share one cache entry.
    """


@attrs.define(eq=False, slots=False)
class Registry:
    """Digest functions by type, and what is known about the fields of classes."""

    _functions: dict[type, Callable[[Any], object]] = attrs.field(factory=dict)
    _ignored: "WeakKeyDictionary[type, frozenset[str]]" = attrs.field(factory=WeakKeyDictionary)

    @cached_property
    def owners(self) -> Owners:
        """Who owns which module."""
        return Owners()

    def add(self, cls: type, function: Callable[[Any], object]) -> None:
        """Let `function` say what the instances of `cls` and its subclasses consist of; the last one said wins."""
        self._functions[cls] = function

    def find(self, cls: type) -> tuple[type, Callable[[Any], object]] | None:
        """Return the nearest registered class of a class and its function."""
        if self._functions:
            for base in cls.__mro__:
                if base in self._functions:
                    return base, self._functions[base]
        return None

    def ignored(self, cls: type) -> frozenset[str]:
        """Return the names of the fields of a class that are annotated with `Ignore`."""
        known = self._ignored.get(cls)
        if known is None:
            known = self._ignored[cls] = _ignored_fields(cls)
        return known


REGISTRY = Registry()


def register_digest(cls: type, function: Callable[[Any], object]) -> None:
    """Teach flowlib what the instances of a class consist of.

    Args:
        cls: The class; its subclasses follow unless they are registered themselves.
        function: Takes an instance and returns what identifies it: any value that has a digest itself. It must not
            depend on the process: no `id`, no `hash` of texts, no `repr` with addresses.

    Raises:
        TypeError: The class is one of Python's plain types, whose digests are fixed.

    >>> class Model:
    ...     def __init__(self, weights): self.weights, self.session = weights, open
    >>> register_digest(Model, lambda model: model.weights)
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_digest takes a class, not {type(cls).__name__}")
    if cls.__module__ == "builtins":
        raise TypeError(
            f"the digest of {cls.__name__} is fixed: wrap the value in a class of your own and register that"
        )
    REGISTRY.add(cls, function)


def _ignored_fields(cls: type) -> frozenset[str]:
    verdicts: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        for name, annotation in _annotations(base).items():
            if isinstance(annotation, str):
                annotation = _evaluate(annotation, base)
            verdicts[name] = _says_ignore(annotation)
    return frozenset(name for name, ignored in verdicts.items() if ignored)


def _annotations(cls: type) -> Mapping[str, Any]:
    if cls.__module__ == "builtins":
        return {}
    try:
        return inspect.get_annotations(cls)
    except Exception:  # from Python 3.14 on they are evaluated here; unreadable ones mark nothing
        return {}


def _says_ignore(annotation: Any) -> bool:
    """Look for the mark at the top of an annotation and inside `ClassVar[...]`, `Final[...]` and the like."""
    if typing.get_origin(annotation) is typing.Annotated:
        return any(mark is Ignore or isinstance(mark, Ignore) for mark in annotation.__metadata__)
    if typing.get_origin(annotation) in (typing.ClassVar, typing.Final):
        return any(map(_says_ignore, typing.get_args(annotation)))
    return False


class _Unknown:
    """Stands for a name that an annotation mentions but that does not exist at run time."""

    def __getattr__(self, name: str) -> "_Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, item: object) -> "_Unknown":
        return self

    def __call__(self) -> None: ...

    def __or__(self, other: object) -> "_Unknown":
        return self

    __ror__ = __or__


class _Names(dict[str, Any]):
    """The names an annotation may use; those imported only for type checkers are `_Unknown`."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, _Unknown())


def _evaluate(text: str, cls: type) -> Any:
    """Evaluate an annotation kept as text, as far as it goes: only a top-level `Annotated` matters here."""
    module = sys.modules.get(cls.__module__)
    names = _Names({**vars(module), **vars(cls)} if module else vars(cls))
    try:
        return eval(text, {}, names)  # the user's own annotation, as `typing.get_type_hints` would
    except Exception:  # an annotation may be anything; one that cannot be read marks nothing
        return None
