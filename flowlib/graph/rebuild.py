"""Put values in the places of nodes: take containers apart and build them again.

Theory of operation: containers are rebuilt from the inside out with a stack of our own, so nesting is not limited by
the interpreter's stack. A mutable container gets its empty copy before its contents are known, which is what makes a
container that holds itself possible. Objects that occur twice stay one object.

Rules: mutable containers are always new in the result; immutable ones only where something in them changed.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from flowlib.graph.containers import ATOMS, children, field_names, role_of
from flowlib.graph.node import Node

_FLAT = ATOMS | {Node}


def replace(value: Any, of: Callable[[Node], Any], *, as_argument: bool = True) -> Any:
    """Return `value` with every node replaced by `of(node)`.

    Mutable containers are always rebuilt, so the result shares none of them with `value`; what they hold and flowlib
    does not rebuild (arrays, frames, objects) is shared. O(size of the containers), any depth.

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
    if (kind is tuple or kind is list) and _FLAT.issuperset(map(type, value)):
        return kind([of(item) if type(item) is Node else item for item in value])
    return _Rebuilding(of, as_argument).of(value)


def map_structure(target: Any, values: Mapping[Node, Any]) -> Any:
    """Return the target with values in the places of its nodes, fan-outs as sweep results."""
    return replace(target, values.__getitem__, as_argument=False)


class _Rebuilding:
    """One call of `replace`."""

    def __init__(self, of: Callable[[Node], Any], as_argument: bool) -> None:
        self._value_of = of
        self._as_argument = as_argument
        self._done: dict[int, tuple[Any, Any]] = {}
        """Id of an object -> (the object, kept alive so that its id stays its own; what takes its place)."""
        self._unfilled: set[int] = set()
        """Ids of the objects whose copies are still empty."""

    def of(self, value: Any) -> Any:
        stack = [value]
        while stack:
            item = stack[-1]
            if id(item) in self._done and id(item) not in self._unfilled:
                stack.pop()
                continue
            pending = self._advance(item)
            if pending:
                stack.extend(pending)
            else:
                stack.pop()
        return self._done[id(value)][1]

    def _advance(self, item: Any) -> list[Any]:
        """Finish an object, or return what has to be finished before it."""
        role = role_of(type(item))
        inside = children(item) if role not in ("own", "foreign", "quoted", "composite") else None
        if inside is None:
            self._done[id(item)] = (item, self._leaf(item, role))
            return []
        if id(item) not in self._unfilled and role not in ("tuple", "frozenset", "slice"):
            self._done[id(item)] = (item, _empty_copy(item, role))
            self._unfilled.add(id(item))
        if ATOMS.issuperset(map(type, inside)):
            pending = []
        else:
            done = self._done
            pending = [c for c in inside if type(c) not in ATOMS and type(c) is not Node and id(c) not in done]
        if not pending:
            self._finish(item, role)
        return pending

    def _leaf(self, item: Any, role: str) -> Any:
        if role == "quoted":
            return item.node
        if role == "composite":
            values = [self._value_of(node) for node in item.member_nodes()]
            return item.argument(values) if self._as_argument else item.assemble(values)
        return item

    def _finish(self, item: Any, role: str) -> None:
        """Build an immutable object, or fill the empty copy of a mutable one; what is inside is finished."""
        if role in ("tuple", "frozenset", "slice"):
            self._done[id(item)] = (item, self._immutable(item, role))
            return
        self._unfilled.discard(id(item))
        rebuilt = self._done[id(item)][1]
        new = self._new
        if role == "list":
            rebuilt.extend(item if ATOMS.issuperset(map(type, item)) else map(new, item))
        elif role == "set":
            rebuilt.update(map(new, item))
        elif role == "dict":
            for key, value in item.items():
                rebuilt[new(key)] = new(value)
        else:
            for name in field_names(type(item)):
                if hasattr(item, name):
                    object.__setattr__(rebuilt, name, new(getattr(item, name)))

    def _immutable(self, item: Any, role: str) -> Any:
        if role == "slice":
            return slice(self._new(item.start), self._new(item.stop), self._new(item.step))
        before = list(item)
        if ATOMS.issuperset(map(type, before)):
            return item
        after = [self._new(inner) for inner in before]
        if all(map(_is, before, after)):
            return item
        return frozenset(after) if role == "frozenset" else _tuple_like(type(item), after)

    def _new(self, item: Any) -> Any:
        kind = type(item)
        if kind in ATOMS:
            return item
        return self._value_of(item) if kind is Node else self._done[id(item)][1]


def _is(one: Any, other: Any) -> bool:
    return one is other


def _empty_copy(item: Any, role: str) -> Any:
    """Return what a mutable object is rebuilt in. No `__init__` runs: only the fields that changed are set."""
    if type(item) in (list, set, dict):
        return type(item)()
    rebuilt = copy.copy(item)
    if role == "dict":
        rebuilt.clear()
    return rebuilt


def _tuple_like(kind: type, items: list[Any]) -> Any:
    if kind is tuple:
        return tuple(items)
    make = getattr(kind, "_make", None)
    if make is not None:
        return make(items)
    try:
        return tuple.__new__(kind, items)
    except TypeError:  # a type of the interpreter's own, such as time.struct_time
        return kind(items)
