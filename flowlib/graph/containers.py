"""Which objects hold other objects in a way that flowlib can take apart and put together again.

Lists, tuples, named tuples, dicts (those of `collections` too), sets, slices, dataclasses, attrs classes, and the
`Composite`s that flowlib defines itself.
"""

import dataclasses
import enum
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Any, Literal

import attrs

from flowlib.graph.node import Node

ATOMS: frozenset[type] = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented)}
)
"""Types whose values are immutable and hold no nodes."""

Role = Literal["list", "tuple", "dict", "set", "frozenset", "slice", "quoted", "composite", "fields", "own", "foreign"]
"""How a type holds things; `own` are flowlib's values, which hold no nodes, `foreign` is everything not listed."""


class Composite(ABC):
    """A container of nodes that flowlib defines itself, such as a fan-out."""

    @abstractmethod
    def member_nodes(self) -> Iterable[Node]:
        """Return the nodes inside, in a fixed order."""

    @abstractmethod
    def assemble(self, values: list[Any]) -> Any:
        """Return what takes the composite's place when the nodes have become `values`, in the same order."""

    def identity(self) -> Any:
        """Return what belongs to the key beside the nodes; any value that can be digested."""
        return None

    def argument(self, values: list[Any]) -> Any:
        """Return what a task receives in the composite's place."""
        return self.assemble(values)


@attrs.frozen(eq=False)
class Quoted:
    """A node that a task receives as a node: its result enters the key, its value is not loaded."""

    node: Node


def _role(kind: type) -> Role:
    if kind in (list, set, frozenset, dict, slice):
        return kind.__name__  # type: ignore[return-value]
    if issubclass(kind, tuple):
        return "tuple"
    if issubclass(kind, dict) and kind.__module__ == "collections":
        return "dict"
    if kind is Quoted:
        return "quoted"
    if issubclass(kind, Composite):
        return "composite"
    if getattr(kind, "__flowlib_task__", False):
        return "foreign"  # a closure or a bound object may hide a node
    if kind.__module__.partition(".")[0] == "flowlib":
        return "own"
    return "fields" if _fields(kind) and not issubclass(kind, enum.Enum) else "foreign"


def _fields(kind: type) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return tuple(field.name for field in attrs.fields(kind)) if attrs.has(kind) else ()


role_of: Callable[[type], Role] = functools.lru_cache(maxsize=4096)(_role)
"""Return how values of a type hold other values."""
field_names: Callable[[type], tuple[str, ...]] = functools.lru_cache(maxsize=4096)(_fields)
"""Return the names of the fields of a dataclass or attrs class; empty for other types."""


def children(item: Any) -> Sequence[Any] | None:
    """Return what a container holds, or None when `item` is not a container flowlib can rebuild.

    The result is for reading only: a list is returned as it is.
    """
    match role_of(type(item)):
        case "list":
            return item  # type: ignore[no-any-return]
        case "tuple" | "set" | "frozenset":
            return list(item)
        case "dict":
            return [*item.keys(), *item.values()]
        case "slice":
            return [item.start, item.stop, item.step]
        case "quoted":
            return [item.node]
        case "composite":
            return list(item.member_nodes())
        case "fields":
            return [getattr(item, name) for name in field_names(type(item)) if hasattr(item, name)]
        case "own":
            return ()
        case _:
            return None
