"""What every part of a space's expression tree can do.

Theory of operation: a space is a small tree. Leaves list values (`leaves.py`), branches combine (`algebra.py`). Rows
are made while iterating, never stored. A leaf may wait for a node; the tree above it is the same before and after the
node's value is known, so filters, products and slices can be written first and enumerated later.

Invariant: an expression is never changed; `resolved` returns a new tree and shares the parts that waited for nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from flowlib.errors import SpaceError
from flowlib.sweep.point import Row
from flowlib.sweep.value import SCALARS, Same, is_node

NameSets = frozenset[frozenset[str]]


class Expression(ABC):
    """A description of rows in a fixed order."""

    names: tuple[str, ...]
    """Every parameter name that occurs, in order of first appearance."""

    @abstractmethod
    def count(self) -> int:
        """Return the exact number of rows; needs a resolved expression."""

    @abstractmethod
    def effort(self) -> int:
        """Return an upper bound of the rows touched when all rows are enumerated. Cost: O(size of the tree)."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yield the rows in order; needs a resolved expression."""

    @abstractmethod
    def name_sets(self) -> NameSets:
        """Return the sets of parameter names that rows may have; filters are not evaluated."""

    @abstractmethod
    def children(self) -> tuple["Expression", ...]:
        """Return the parts this one is made of; empty for a leaf."""

    @abstractmethod
    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> "Expression":
        """Return the expression with node axes replaced by values, listed under the axis names."""

    def open_axes(self) -> dict[str, object]:
        """Return the axes whose values are nodes that have not run: name -> node, in order."""
        found: dict[str, object] = {}
        for child in self.children():
            for name, node in child.open_axes().items():
                if found.setdefault(name, node) is not node:
                    raise SpaceError(
                        f"Axis {name!r} stands for two different nodes.",
                        {"axis": name},
                        "Give the axes different names, or make one task that returns the whole list.",
                    )
        return found

    def n_dropped(self) -> int:
        """Return how many duplicates were left out."""
        return sum(child.n_dropped() for child in self.children())

    def at(self, index: int) -> Row:
        """Return one row; `0 <= index < count()`. Cost: O(index) unless a part knows better."""
        return next(islice(self.rows(), index, None))

    def columns(self) -> dict[str, object]:
        """Return the distinct values by name as tuples, in order of appearance; a node for an axis that waits.

        Cost: enumerates the rows, except for leaves and their products. Unresolved filters are not applied.
        """
        if not self.open_axes():
            return dict(distinct_columns(self.rows()))
        found: dict[str, object] = {}
        for child in self.children():
            for name, column in child.columns().items():
                before = found.get(name, ())
                if isinstance(before, tuple) and isinstance(column, tuple):
                    found[name] = distinct(before + column)
                else:
                    found[name] = before if is_node(before) else column
        return found


def exact_key(value: object) -> object:
    """Return a dictionary key that tells values apart by type and value, other objects by identity."""
    kind = type(value)
    return (kind, value) if kind in SCALARS else Same(value)


def distinct(values: Iterable[object]) -> tuple[object, ...]:
    """Return the values without repetitions; objects that are not plain scalars are told apart by identity."""
    return tuple({exact_key(value): value for value in values}.values())


def distinct_columns(rows: Iterable[Row]) -> dict[str, tuple[object, ...]]:
    """Return the distinct values that occur under each name. Cost: O(rows times parameters)."""
    seen: dict[str, dict[object, object]] = {}
    for shape, values in rows:
        for name, value in zip(shape.names, values, strict=True):
            column = seen.get(name)
            if column is None:
                column = seen[name] = {}
            column.setdefault(exact_key(value), value)
    return {name: tuple(column.values()) for name, column in seen.items()}


def first_names(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return all names in order of first appearance."""
    return tuple(dict.fromkeys(name for group in groups for name in group))
