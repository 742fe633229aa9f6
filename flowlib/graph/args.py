"""Look into arguments: find the nodes inside them, and put values in their places.

Nodes are found in lists, tuples, named tuples, dicts (keys and values), sets, slices, dataclasses, attrs classes and
`Composite`s, at any depth. A node in any other object is an error that names the path to it, as far as flowlib can see
into the object.

Invariant: no Python recursion, neither to find nor to replace, so nesting is not limited by the interpreter's stack.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flowlib.graph.containers import ATOMS, Composite, Quoted, children, role_of
from flowlib.graph.hidden import beside_fields, refuse_hidden
from flowlib.graph.node import Node
from flowlib.graph.rebuild import map_structure, replace

_FLAT = ATOMS | {Node}

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


def nodes_in(values: Sequence[Any], describe: Callable[[int], str]) -> tuple[Node, ...]:
    """Return each node inside `values` once, in the order they are met. O(size of the containers).

    Args:
        values: Any objects. A tuple of different nodes is returned as it is, so that it is kept once.
        describe: Names the value at a position, for errors.

    Raises:
        HiddenNode: A node sits in an object that flowlib does not rebuild.
        TaskMisused: A value is an iterator that can be read only once.
    """
    found: list[Node] = []
    for value in values:
        kind = type(value)
        if kind is Node:
            found.append(value)
        elif kind not in ATOMS:
            is_flat = kind is tuple and len(values) == 1 and _FLAT.issuperset(map(type, value))  # as of `*args`
            return nodes_in(value, describe) if is_flat else _search(values, describe)
    if not found:
        return ()
    n_found = len(found)
    differ = n_found == 1 or (n_found == 2 and found[0] is not found[1])
    once = found if differ else dict.fromkeys(found)
    is_all = len(once) == len(values) and type(values) is tuple
    return values if is_all else tuple(once)  # type: ignore[return-value]


def _search(values: Sequence[Any], describe: Callable[[int], str]) -> tuple[Node, ...]:
    """Find the nodes of values that are not all atoms and nodes; flat lists and fan-outs without a stack of our own."""
    found: dict[Node, None] = {}
    for position, value in enumerate(values):
        kind = type(value)
        if kind is Node:
            found[value] = None
        elif kind not in ATOMS:
            items = _items(value, kind)
            if items is not None and _FLAT.issuperset(map(type, items)):
                nodes = nodes_in(items, describe)
                if len(values) == 1:
                    return nodes
                found.update(dict.fromkeys(nodes))
            elif foreign := _collect(value, found):
                refuse_hidden(foreign, describe(position), value)
    return tuple(found)


def _items(value: Any, kind: type) -> Sequence[Any] | None:
    """Return what a list, a tuple or a composite holds; None for all others."""
    if kind is list or kind is tuple:
        return value  # type: ignore[no-any-return]
    return tuple(value.member_nodes()) if role_of(kind) == "composite" else None


def _collect(value: Any, found: dict[Node, None]) -> list[Any]:
    """Add the nodes inside a value to `found`; return the objects that are not containers."""
    stack: list[Any] = [value]
    seen: dict[int, Any] = {}
    foreign: list[Any] = []
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is Node:
            found[item] = None
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
