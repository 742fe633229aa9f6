"""Look into arguments: find the nodes inside them, and put values in their places.

Nodes are found in lists, tuples, named tuples, dicts (keys and values), sets, slices, dataclasses, attrs classes and
`Composite`s, at any depth. A node in any other object is an error that names the path to it, as far as flowlib can see
into the object: its attributes three levels deep, a function's closure and defaults, a partial's arguments.

Invariant: no Python recursion on the way down to find nodes, so nesting is not limited by the interpreter's stack.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import attrs

from flowlib.errors import HiddenNode
from flowlib.graph.node import Node, site_of

ATOMS: frozenset[type] = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented)}
)
"""Types whose values are immutable and hold no nodes."""

_SCANNED = 1_000
"""Foreign objects looked into for one argument; more would cost more than the mistake it finds."""
_DEPTH = 3
_OPAQUE_MODULES = frozenset({"numpy", "pandas", "polars", "pyarrow", "torch", "scipy", "sklearn", "matplotlib", "PIL"})


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


def nodes_in(values: Iterable[Any], describe: Callable[[int], str]) -> tuple[Node, ...]:
    """Return each node inside `values` once, in the order they are met. O(size of the containers).

    Args:
        values: Any objects.
        describe: Names the value at a position, for errors.

    Raises:
        HiddenNode: A node sits in an object that flowlib does not rebuild.
    """
    found: dict[int, Node] = {}
    for position, value in enumerate(values):
        kind = type(value)
        if kind is Node:
            found[id(value)] = value
        elif kind not in ATOMS:
            for node in _walk(value, describe, position):
                found[id(node)] = node
    return tuple(found.values())


def _walk(value: Any, describe: Callable[[int], str], position: int) -> Iterator[Node]:
    stack: list[Any] = [value]
    seen: set[int] = set()
    foreign: list[Any] = []
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is Node:
            yield item
        elif kind not in ATOMS and id(item) not in seen:
            seen.add(id(item))
            inside = children(item)
            if inside is None:
                foreign.append(item)
            elif not ATOMS.issuperset(map(type, inside)):
                stack.extend(reversed(inside))
    if foreign:
        _refuse_hidden(foreign, describe(position))


def children(item: Any) -> list[Any] | None:
    """Return what a container holds, or None when `item` is not a container flowlib can rebuild."""
    kind = type(item)
    if kind in (list, set, frozenset) or isinstance(item, tuple):
        return list(item)
    if kind is dict or (isinstance(item, dict) and kind.__module__ == "collections"):
        return [*item.keys(), *item.values()]
    if kind is slice:
        return [item.start, item.stop, item.step]
    if kind is Quoted:
        return [item.node]
    if isinstance(item, Composite):
        return list(item.member_nodes())
    fields = _field_names(kind)
    if fields is not None:
        return [getattr(item, name) for name in fields if hasattr(item, name)]
    return None


@functools.lru_cache(maxsize=4096)
def _field_names(kind: type) -> tuple[str, ...] | None:
    if kind.__module__.partition(".")[0] == "flowlib":
        return ()  # our own values are immutable and hold no nodes; those that do are Composites
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    return None


def _refuse_hidden(objects: list[Any], where: str) -> None:
    """Raise if a node can be seen inside objects that are passed on as they are."""
    stack: list[tuple[Any, str, int]] = [(item, where, 0) for item in objects[:_SCANNED]]
    seen: set[int] = set()
    while stack and len(seen) < _SCANNED:
        item, path, depth = stack.pop()
        if type(item) is Node:
            raise HiddenNode(
                f"A node of task {item._fl_task.name!r} is hidden inside {path}.",
                {"path": path, "node made at": site_of(item)},
                "flowlib replaces nodes in lists, tuples, dicts, sets, dataclasses, attrs classes, named tuples and "
                "slices. Pass it as an argument of its own, or put it in one of those.",
            )
        if type(item) in ATOMS or id(item) in seen or depth > _DEPTH:
            continue
        seen.add(id(item))
        stack.extend((child, f"{path}{step}", depth + 1) for step, child in _visible(item))


def _visible(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path step, object) for what can be seen inside an object without calling its code."""
    if isinstance(item, functools.partial):
        yield from ((f".args[{i}]", arg) for i, arg in enumerate(item.args))
        yield from ((f".keywords[{name!r}]", arg) for name, arg in item.keywords.items())
    elif isinstance(item, FunctionType):
        names = item.__code__.co_freevars
        for name, cell in zip(names, item.__closure__ or (), strict=True):
            try:
                yield f" (closure variable {name!r})", cell.cell_contents
            except ValueError:  # the cell is still empty
                continue
    elif isinstance(item, MethodType):
        yield ".__self__", item.__self__
    elif isinstance(item, (type, ModuleType)) or type(item).__module__.partition(".")[0] in _OPAQUE_MODULES:
        return
    elif (inside := children(item)) is not None:
        if not ATOMS.issuperset(map(type, inside)):
            yield from ((f"[{i}]", child) for i, child in enumerate(inside[:_SCANNED]))
    else:
        attributes = getattr(item, "__dict__", None)
        if isinstance(attributes, dict):
            yield from ((f".{name}", child) for name, child in list(attributes.items())[:_SCANNED])


def replace(value: Any, of: Callable[[Node], Any], *, as_argument: bool = True) -> Any:
    """Return `value` with every node replaced by `of(node)`.

    Mutable containers are always rebuilt, so the result shares none of them with `value`; what they hold and flowlib
    does not rebuild (arrays, frames, objects) is shared.

    Args:
        value: Any object.
        of: Gives what takes a node's place.
        as_argument: Whether composites become what a task receives, or what `run` returns.
    """
    kind = type(value)
    if kind is Node:
        return of(value)
    if kind in ATOMS:
        return value
    if kind is list:
        if ATOMS.issuperset(map(type, value)):
            return value.copy()
        return [replace(item, of, as_argument=as_argument) for item in value]
    return _replace_in(value, kind, of, as_argument)


def _replace_in(value: Any, kind: type, of: Callable[[Node], Any], as_argument: bool) -> Any:
    def again(item: Any) -> Any:
        return replace(item, of, as_argument=as_argument)

    if isinstance(value, tuple):
        items = [again(item) for item in value]
        return kind(*items) if hasattr(kind, "_fields") else (tuple(items) if kind is tuple else kind(items))
    if kind is dict:
        return {again(key): again(item) for key, item in value.items()}
    if kind in (set, frozenset):
        return kind([again(item) for item in value])
    if isinstance(value, dict) and kind.__module__ == "collections":
        return _replace_in_dict_subclass(value, again)
    if kind is slice:
        return slice(again(value.start), again(value.stop), again(value.step))
    if kind is Quoted:
        return value.node
    if isinstance(value, Composite):
        values = [of(node) for node in value.member_nodes()]
        return value.argument(values) if as_argument else value.assemble(values)
    names = _field_names(kind)
    return _replace_in_fields(value, names, again) if names else value


def _replace_in_dict_subclass(value: dict[Any, Any], again: Callable[[Any], Any]) -> Any:
    import copy

    rebuilt = copy.copy(value)
    rebuilt.clear()
    for key, item in value.items():
        rebuilt[again(key)] = again(item)
    return rebuilt


def _replace_in_fields(value: Any, names: tuple[str, ...], again: Callable[[Any], Any]) -> Any:
    """Rebuild a dataclass or attrs instance without running its `__init__`: only the changed fields are set."""
    import copy

    rebuilt = copy.copy(value)
    for name in names:
        if hasattr(value, name):
            object.__setattr__(rebuilt, name, again(getattr(value, name)))
    return rebuilt


def targets_of(target: Any) -> tuple[Node, ...]:
    """Return the nodes of a run's target: a node, or any nesting of containers with nodes inside."""
    return nodes_in([target], lambda _: "the target")


def argument_names(names: tuple[str, ...]) -> Callable[[int], str]:
    """Return the describer for bound arguments: position -> "argument 'name'"."""
    return lambda position: f"argument {names[position]!r}"


def map_structure(target: Any, values: Mapping[Node, Any]) -> Any:
    """Return the target with values in the places of its nodes, fan-outs as sweep results."""
    return replace(target, values.__getitem__, as_argument=False)
