"""Find nodes where flowlib cannot replace them, and refuse them with the path that leads there.

A node in an ordinary object, a closure or an array would reach the task as a node, where its value is expected. What
can be seen without calling the object's code is looked into, `_DEPTH` levels deep and at most `_SCANNED` objects for
one argument: more would cost more than the mistake it finds.
"""

import functools
import gc
from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType, GeneratorType, MappingProxyType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from flowlib.errors import HiddenNode, TaskMisused
from flowlib.graph.containers import ATOMS, children, field_names, role_of
from flowlib.graph.node import Node, site_of

_SCANNED = 256
_DEPTH = 3
_LIBRARIES = frozenset({"numpy", "pandas", "polars", "pyarrow", "torch", "scipy", "sklearn", "matplotlib", "PIL"})
"""Packages whose objects are not searched, except for arrays of objects."""
_ONE_PASS = (GeneratorType, map, filter, zip, enumerate)


class _Step(NamedTuple):
    """One step of a path; the text is only made when it is shown."""

    template: str
    key: object
    before: "_Step | None"


def refuse_hidden(objects: list[Any], where: str, whole: Any = None) -> None:
    """Raise if a node can be seen inside objects that are passed on as they are.

    Args:
        objects: What is neither an atom nor a container that flowlib rebuilds.
        where: Names the argument they were found in.
        whole: The argument, if they are parts of it: for the path.

    Raises:
        HiddenNode: A node was seen.
        TaskMisused: An object is an iterator that can be read only once.
    """
    for item in objects[:_SCANNED]:
        if isinstance(item, _ONE_PASS):
            raise _read_once(item, where + _way_to(item, whole))
    stack: list[tuple[Any, _Step, int]] = [(item, _Step("", item, None), 0) for item in objects[:_SCANNED]]
    seen: dict[int, Any] = {}
    while stack and len(seen) < _SCANNED:
        item, path, depth = stack.pop()
        if type(item) is Node:
            raise _hidden(item, where, path, whole)
        if type(item) in ATOMS or id(item) in seen or depth > _DEPTH:
            continue
        seen[id(item)] = item  # kept: the id of an object that is gone may come back as another's
        for template, key, child in visible(item):
            if type(child) not in ATOMS:
                stack.append((child, _Step(template, key, path), depth + 1))


def beside_fields(item: Any) -> SimpleNamespace | None:
    """Return the attributes of a dataclass or attrs instance that are not fields; None if there are none."""
    attributes = getattr(item, "__dict__", None)
    if not attributes:
        return None
    names = field_names(type(item))
    beside = {name: value for name, value in attributes.items() if name not in names and type(value) not in ATOMS}
    return SimpleNamespace(**beside) if beside else None


def _hidden(node: Node, where: str, path: _Step, whole: Any) -> HiddenNode:
    first = path
    while first.before is not None:
        first = first.before
    place = where + _way_to(first.key, whole) + _text_of(path)
    return HiddenNode(
        f"A node of task {node._fl_task.name!r} is hidden inside {place}.",
        {"path": place, "node made at": site_of(node)},
        "flowlib replaces nodes in lists, tuples, dicts, sets, dataclasses, attrs classes, named tuples and slices. "
        "Pass it as an argument of its own, or put it in one of those.",
    )


def _text_of(path: _Step | None) -> str:
    steps = []
    while path is not None:
        steps.append(path.template.format(path.key))
        path = path.before
    return "".join(reversed(steps))


def _way_to(part: Any, whole: Any) -> str:
    """Return the path from an argument to an object inside its containers; empty if it cannot be found again."""
    stack: list[tuple[Any, _Step | None]] = [(whole, None)]
    seen: dict[int, Any] = {}
    while stack:
        item, path = stack.pop()
        if item is part:
            return _text_of(path)
        if type(item) not in ATOMS and id(item) not in seen and children(item) is not None:
            seen[id(item)] = item
            stack.extend((child, _Step(template, key, path)) for template, key, child in visible(item))
    return ""


def _read_once(item: object, where: str) -> TaskMisused:
    return TaskMisused(
        f"A {type(item).__name__} cannot be used as {where}: it can be read only once.",
        {"type": type(item).__name__},
        "Use list(...) of it: the list can be named in a key and read by every run.",
    )


_Seen = Iterator[tuple[str, object, Any]]
"""(template of the path's step, its key, object)"""


def visible(item: Any) -> _Seen:
    """Yield what can be seen inside an object without calling its code."""
    if isinstance(item, FunctionType):
        yield from _in_function(item)
    elif isinstance(item, MethodType):
        yield ".__self__", "", item.__self__
        yield "", "", item.__func__
    elif isinstance(item, functools.partial):
        yield from _numbered(".args[{}]", item.args)
        yield from ((".keywords[{!r}]", name, value) for name, value in item.keywords.items())
        yield ".func", "", item.func
    elif isinstance(item, (type, ModuleType)):
        return
    elif type(item).__module__.partition(".")[0] in _LIBRARIES:
        yield from _in_array(item)
    else:
        yield from _in_container(item)
        yield from _in_attributes(item)


def _in_function(fn: FunctionType) -> _Seen:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield " (closure variable {!r})", name, cell.cell_contents
        except ValueError:  # the cell is still empty
            continue
    yield from _numbered(" (default {})", fn.__defaults__ or ())
    yield from ((" (default of {!r})", name, value) for name, value in (fn.__kwdefaults__ or {}).items())


def _in_array(array: Any) -> _Seen:
    """Yield the first elements of a numpy array of objects."""
    if type(array).__module__ == "numpy" and getattr(getattr(array, "dtype", None), "hasobject", False):
        yield from _numbered(" (element {})", array.flat[:_SCANNED].tolist())


def _in_container(item: Any) -> _Seen:
    if isinstance(item, (dict, MappingProxyType)):
        pairs = list(item.items() if isinstance(item, MappingProxyType) else dict.items(item))[:_SCANNED]
        yield from _numbered(" (key {})", [key for key, _ in pairs])
        yield from (("[{!r}]", key if type(key) in ATOMS else "...", value) for key, value in pairs)
    elif isinstance(item, (list, tuple, deque)):
        yield from _numbered("[{}]", item)
    elif isinstance(item, (set, frozenset)):
        yield from _numbered(" (member {})", item)
    elif role_of(type(item)) == "foreign" and type(item).__module__ in ("builtins", "itertools", "collections"):
        yield from ((" (inside its {})", type(item).__name__, inner) for inner in gc.get_referents(item))
    elif role_of(type(item)) not in ("foreign", "fields"):
        yield from _numbered("[{}]", children(item) or ())


def _in_attributes(item: Any) -> _Seen:
    attributes = getattr(item, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((".{}", name, value) for name, value in list(attributes.items())[:_SCANNED])
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            member: Any = kind.__dict__.get(f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name)
            try:
                yield ".{}", name, member.__get__(item, kind)
            except (AttributeError, TypeError):  # an empty slot, or one of the interpreter's
                continue


def _numbered(template: str, items: Iterable[Any]) -> _Seen:
    for position, item in zip(range(_SCANNED), items, strict=False):
        yield template, position, item
