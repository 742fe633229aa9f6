"""Look into arguments: find the nodes inside them, and put values in their places.

Nodes are found in lists, tuples, named tuples, dicts (keys and values), sets, slices, dataclasses, attrs classes and
`Composite`s, at any depth. A node in any other object is an error that names the path to it, as far as flowlib can see
into the object.

Invariant: no Python recursion, neither to find nor to replace, so nesting is not limited by the interpreter's stack.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flowlib.graph.containers import ATOMS, Composite, Quoted, children, role_of
from flowlib.graph.hidden import beside_fields, refuse_hidden
from flowlib.graph.node import Node
from flowlib.graph.rebuild import map_structure, replace

__all__ = [
    "ATOMS",
    "Composite",
    "Quoted",
    "children",
    "map_structure",
    "nodes_in",
    "replace",
    "targets_of",
]


def nodes_in(values: Iterable[Any], describe: Callable[[int], str]) -> tuple[Node, ...]:
    """Return each node inside `values` once, in the order they are met. O(size of the containers).

    Args:
        values: Any objects.
        describe: Names the value at a position, for errors.

    Raises:
        HiddenNode: A node sits in an object that flowlib does not rebuild.
        TaskMisused: A value is an iterator that can be read only once.
    """
    found: dict[int, Node] = {}
    for position, value in enumerate(values):
        kind = type(value)
        if kind is Node:
            found[id(value)] = value
        elif kind not in ATOMS:
            foreign = _collect(value, found)
            if foreign:
                refuse_hidden(foreign, describe(position), value)
    return tuple(found.values()) if found else ()


def _collect(value: Any, found: dict[int, Node]) -> list[Any]:
    """Add the nodes inside a value to `found`; return the objects that are not containers."""
    stack: list[Any] = [value]
    seen: dict[int, Any] = {}
    foreign: list[Any] = []
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is Node:
            found[id(item)] = item
        elif kind not in ATOMS and id(item) not in seen:
            seen[id(item)] = item  # kept: the id of an object that is gone may come back as another's
            inside = children(item)
            if inside is None:
                foreign.append(item)
            elif role_of(kind) == "fields" and (beside := beside_fields(item)) is not None:
                foreign.append(beside)
            if inside and not ATOMS.issuperset(map(type, inside)):
                stack.extend(reversed(inside))
    return foreign


def targets_of(target: Any) -> tuple[Node, ...]:
    """Return the nodes of a run's target: a node, or any nesting of containers with nodes inside."""
    return nodes_in([target], lambda _: "the target")
