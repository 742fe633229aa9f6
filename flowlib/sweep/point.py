"""Points: one choice of parameters each. Many points share one `Shape`: the parameter names and what labels need.

Invariant: a point's identity is its parameter names and values, in any order; its name and index never count.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import overload

import attrs

from flowlib.sweep.text import short_repr
from flowlib.sweep.value import SCALARS, value_identity


@attrs.frozen(kw_only=True, eq=False)
class Shape:
    """What points with the same parameters share. Compared by identity: there are few of them."""

    names: tuple[str, ...]
    """Parameter names, in the order of the space's expression."""
    name: str | None = None
    """Given by the user with `cases(name=...)`."""
    covered: frozenset[str] = frozenset()
    """Parameters the user-given name stands for; a label shows the name instead of them."""
    derived: frozenset[str] = frozenset()
    """Parameters computed from the others; a label leaves them out."""
    order: tuple[int, ...] | None = attrs.field(init=False)
    """Positions of the names in alphabetical order; None when they stand in it."""

    def __attrs_post_init__(self) -> None:
        positions = tuple(sorted(range(len(self.names)), key=self.names.__getitem__))
        in_order = positions == tuple(range(len(self.names)))
        object.__setattr__(self, "order", None if in_order else positions)

    def joined(self, other: "Shape") -> "Shape":
        """Return the shape of a product of points of these two shapes; the names must not overlap."""
        given = [name for name in (self.name, other.name) if name is not None]
        return Shape(
            names=self.names + other.names,
            name=",".join(given) if given else None,
            covered=self.covered | other.covered,
            derived=self.derived | other.derived,
        )

    def without(self, dropped: frozenset[str]) -> "Shape":
        """Return the shape that is left when parameters are taken away; a name that stood for one of them goes."""
        stands = not dropped & self.covered
        return Shape(
            names=tuple(name for name in self.names if name not in dropped),
            name=self.name if stands else None,
            covered=self.covered if stands else frozenset(),
            derived=self.derived - dropped,
        )


Row = tuple[Shape, tuple[object, ...]]
"""A point before it has an index: shape and one canonical value per name."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Point:
    """One choice of parameters. Equal to another point when names and canonical values agree.

    >>> point = Point(shape=Shape(names=("lr", "depth")), values=(0.2, 4), index=1)
    >>> point
    Point(lr=0.2, depth=4)
    >>> point.params["lr"], point.name
    (0.2, None)
    """

    shape: Shape
    values: tuple[object, ...]
    index: int
    """Position in the enumeration of its space; the tie-break everywhere."""

    @property
    def params(self) -> Mapping[str, object]:
        """Parameter values by name, in the order of the space; a new mapping each time."""
        return dict(zip(self.shape.names, self.values, strict=True))

    @property
    def name(self) -> str | None:
        """The name given by the user, shared by all points made from that case; None for generated points."""
        return self.shape.name

    @property
    def identity(self) -> Hashable:
        """Hashable that is equal for equal points. Cost: hashes the content of values that are not plain scalars."""
        return row_identity((self.shape, self.values))

    def without(self, names: Iterable[str]) -> "Point":
        """Return the point that is left when these parameters are taken away; used to reduce along axes.

        >>> Point(shape=Shape(names=("lr", "fold")), values=(0.1, 3), index=0).without(["fold"])
        Point(lr=0.1)
        """
        dropped = frozenset(names)
        kept = tuple(value for name, value in zip(self.shape.names, self.values, strict=True) if name not in dropped)
        return Point(shape=self.shape.without(dropped), values=kept, index=self.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        parts = [] if self.name is None else [repr(self.name)]
        parts += [f"{name}={short_repr(value)}" for name, value in self.params.items()]
        return f"Point({', '.join(parts)})"


class Points(Sequence[Point]):
    """Points in order, each made when it is asked for.

    Cost: the values, and two references a point.
    """

    __slots__ = ("indices", "shapes", "values")

    def __init__(
        self, shapes: Sequence[Shape], values: Sequence[tuple[object, ...]], indices: Sequence[int] | None = None
    ) -> None:
        self.shapes = shapes
        self.values = values
        self.indices: Sequence[int] = range(len(values)) if indices is None else indices

    @classmethod
    def of(cls, points: Iterable[Point]) -> "Points":
        """Return points in the form of this class.

        >>> Points.of([Point(shape=Shape(names=("x",)), values=(1,), index=0)])[0]
        Point(x=1)
        """
        if isinstance(points, Points):
            return points
        made = list(points)
        return cls([p.shape for p in made], [p.values for p in made], [p.index for p in made])

    def chosen(self, positions: Sequence[int]) -> "Points":
        """Return the points at some positions, in that order; they keep their indices."""
        shapes, values, indices = self.shapes, self.values, self.indices
        return Points([shapes[p] for p in positions], [values[p] for p in positions], [indices[p] for p in positions])

    def rows(self) -> Iterator[Row]:
        """Yield shape and values of each point."""
        return zip(self.shapes, self.values, strict=True)

    def params(self) -> Iterator[dict[str, object]]:
        """Yield the parameters of each point."""
        return (dict(zip(shape.names, values, strict=True)) for shape, values in self.rows())

    def columns(self) -> tuple[list[int], list[dict[str, list[object]]]]:
        """Return the parameters column by column: a table for each set of names, and which table each point is in.

        Equal just if the points' parameters are, in the same order of points; a table's rows are its points in their order.
        Long columns of one type are what a digest takes quickest.

        Cost: 0.1 us a point and parameter; 0.3 where points set different names.

        >>> Points([Shape(names=("x",))] * 2, [(1,), (3,)]).columns()
        ([0, 0], [{'x': [1, 3]}])
        """
        shape = self.shape()
        if shape is not None:
            columns = {name: list(map(itemgetter(i), self.values)) for i, name in enumerate(shape.names)}
            return [0] * len(self.values), [columns]
        numbers: dict[frozenset[str], int] = {}
        number_of = {
            each: numbers.setdefault(frozenset(each.names), len(numbers)) for each in dict.fromkeys(self.shapes)
        }
        tables: list[dict[str, list[object]]] = [{name: [] for name in names} for names in numbers]
        for each, values in self.rows():
            table = tables[number_of[each]]
            for name, value in zip(each.names, values, strict=True):
                table[name].append(value)
        return list(map(number_of.__getitem__, self.shapes)), tables

    def shape(self) -> Shape | None:
        """Return the shape that all points share; None if there are several, or no points."""
        return self.shapes[0] if len(set(self.shapes)) == 1 else None

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Point]:
        made = zip(self.shapes, self.values, self.indices, strict=True)
        return (Point(shape=shape, values=values, index=index) for shape, values, index in made)

    @overload
    def __getitem__(self, which: int) -> Point: ...
    @overload
    def __getitem__(self, which: slice) -> "Points": ...
    def __getitem__(self, which: int | slice) -> "Point | Points":
        if isinstance(which, slice):
            return Points(self.shapes[which], self.values[which], self.indices[which])
        return Point(shape=self.shapes[which], values=self.values[which], index=self.indices[which])

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 3 else ""
        return f"Points({', '.join(map(repr, self[:3]))}{more})"


def row_identity(row: Row, memo: dict[int, tuple[object, Hashable]] | None = None) -> Hashable:
    """Return a hashable equal for rows with the same parameters, whatever their order.

    Cost: about 1 us for plain scalars; other values are digested once per `memo`.
    """
    shape, values = row
    names = shape.names
    if shape.order is not None:
        names = tuple([names[i] for i in shape.order])
        values = tuple([values[i] for i in shape.order])
    kinds = tuple(map(type, values))
    if not SCALARS.issuperset(kinds):
        values = tuple(value_identity(value, memo) for value in values)
    return names, kinds, values
