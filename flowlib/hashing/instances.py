"""Describe what is neither function nor class: modules, tasks, methods, dressed objects; and prepare values."""

import os
from collections.abc import Callable
from pathlib import PurePath
from types import MethodType, ModuleType
from typing import Any

from flowlib.hashing.parts import Description
from flowlib.hashing.resolve import Link, Origin, qualified_name

_ABOUT_WRAPPED = frozenset(
    {"__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__", "__type_params__"}
)
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
_MOST_STEPS_UP = 3


def describe_module(module: ModuleType) -> Description:
    """Describe a user module that is passed around as an object: all in it can be reached, so all of it counts."""
    name = module.__name__
    links = [
        Link(member, value, f"{name}.{member}", Origin(vars(module), member))
        for member, value in vars(module).items()
        if not member.startswith("__") and not isinstance(value, ModuleType)
    ]
    if type(module) is not ModuleType:  # its properties and methods are members, too
        links.append(Link("(type)", type(module), qualified_name(type(module))))
    return Description(name=f"{name} (whole module)", facts=("module",), links=tuple(links))


def is_task(value: object) -> bool:
    """True for a task, by the mark on its class."""
    return getattr(type(value), "__flowlib_task__", False) is True


def describe_task(task: Any) -> Description:
    """Describe a task: its function and its manual salt; the other options are not code."""
    own_code = str(getattr(task, "own_code", ""))
    links = [] if own_code else [Link("(fn)", task.fn, qualified_name(task.fn))]
    if getattr(task, "bound", ()):
        links.append(Link("(bound)", task.bound, f"{task.name}: the object it is bound to"))
    return Description(
        name=f"task {task.name}",
        facts=("task", str(task.policy.version), own_code),
        links=tuple(links),
        task=str(task.name),
    )


def describe_method(method: MethodType) -> Description:
    """Describe a bound method: its function and the object it is bound to."""
    name = qualified_name(method)
    links = (Link("(function)", method.__func__, name), Link("(self)", method.__self__, f"{name}: self"))
    return Description(name=f"{name} (bound)", facts=("method",), links=links)


def describe_wrapper(value: object, link: Link) -> Description:
    """Describe an object that `functools.update_wrapper` has dressed as a function: its class and what it holds."""
    name = qualified_name(value)
    links = [Link("(type)", type(value), qualified_name(type(value)))]
    for attribute, held in instance_dict(value).items():
        if attribute not in _ABOUT_WRAPPED:
            links.append(Link(f"(attribute {attribute})", held, f"{name}: {attribute}", link.origin))
    return Description(name=f"{name} (wrapped)", facts=("wrapper",), links=tuple(links))


def instance_dict(value: object) -> dict[str, object]:
    """Return an object's own attributes without running any code of its class."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def user_classes(value: object, owner_of: Callable[[type], object]) -> set[type]:
    """Return the user classes of a value, and of what the builtin containers in it hold.

    Members of enums and objects with a digest of their own are digested without their class's code; what uses them can
    call their methods all the same. O(size), at the speed of `set(map(type, ...))`.
    """
    found: set[type] = set()
    seen: set[int] = set()
    stack = [value]
    while stack:
        current = stack.pop()
        if type(current) not in _CONTAINERS:
            found.add(type(current))
        elif id(current) not in seen:
            seen.add(id(current))
            inner: Any = [*current, *current.values()] if isinstance(current, dict) else current
            kinds = set(map(type, inner))
            found |= kinds - _CONTAINERS
            if not kinds.isdisjoint(_CONTAINERS):
                stack.extend(item for item in inner if type(item) in _CONTAINERS)
    return {cls for cls in found if owner_of(cls) is None}


def portable(link: Link) -> object:
    """Return a global path as seen from its module, if it lies nearby: moving a project must not change versions."""
    value, origin = link.value, link.origin
    if not isinstance(value, str | PurePath) or origin is None or not isinstance(origin.holder, dict):
        return value
    filename = origin.holder.get("__file__")
    if not isinstance(filename, str) or not os.path.isabs(value):
        return value
    folder = os.path.dirname(os.path.abspath(filename))
    shared = os.path.commonpath([folder, value]).split(os.sep)
    relative = os.path.relpath(value, folder)
    if len(shared) < 3 or relative.split(os.sep).count(os.pardir) > _MOST_STEPS_UP:
        return value
    return ("path beside its module", type(value).__name__, PurePath(relative).as_posix())
