"""Parameter spaces: plain values with an algebra, enumerated lazily, always in one order.

`*` multiplies, `|` joins and drops duplicates, `.where` filters, `.derive` computes, slices cut. A space with an axis
that is a node cannot be enumerated until `resolve` is given the node's value; all of the algebra works before that.

Invariant: a space never changes, and enumerating it twice gives the same points in the same order.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import attrs

from flowlib.errors import SpaceError, near_miss
from flowlib.sweep.algebra import Derive, Filter, Slice, Union, must_search, product
from flowlib.sweep.distributions import checked_distributions
from flowlib.sweep.expression import Expression, NameSets
from flowlib.sweep.fit import check_against
from flowlib.sweep.leaves import Cases, Draws, PointSeeds, listed_once
from flowlib.sweep.listing import cases_of, column_of, resolved_column
from flowlib.sweep.naming import label_points
from flowlib.sweep.point import Point, Row
from flowlib.sweep.text import cut, short_repr

__all__ = [
    "MAX_POINTS",
    "Space",
    "axis",
    "cases",
    "check_against",
    "grid",
    "label_points",
    "sample",
    "seeds",
    "zipped",
]

MAX_POINTS = 1_000_000
_REPR_EFFORT = 10_000


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Space:
    """A set of points in a fixed order. Made by `grid`, `cases`, `zipped`, `axis`, `seeds`, `sample` and their algebra.

    >>> space = grid(lr=[0.01, 0.1], depth=[4, 8])
    >>> len(space), space[1].params
    (4, {'lr': 0.01, 'depth': 8})
    >>> space.where(lambda lr, depth: lr < 0.1 or depth < 8)
    Space(3 points: 'lr=0.01,depth=4', 'lr=0.01,depth=8', 'lr=0.1,depth=4')
    """

    expression: Expression
    max_points: int = MAX_POINTS
    """Enumerating more points than this is an error; see `with_max_points`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in order of first appearance."""
        return self.expression.names

    @property
    def is_static(self) -> bool:
        """Whether all points are known now; False while an axis waits for a node."""
        return not self.open_axes

    @property
    def open_axes(self) -> Mapping[str, object]:
        """Axes that wait for a node: name -> node, in order; empty once resolved."""
        return self.expression.open_axes()

    def nodes(self) -> tuple[object, ...]:
        """Return the nodes that stand for whole axes and are not resolved yet, in order, each once."""
        return tuple({id(node): node for node in self.open_axes.values()}.values())

    @property
    def axes(self) -> Mapping[str, object]:
        """Distinct values by name, as tuples in order of appearance; the node itself for an axis that waits.

        Cost: O(axes) for grids and products, else one enumeration.
        """
        if self.is_static:
            self._check_size()
        return self.expression.columns()

    @property
    def n_dropped(self) -> int:
        """How many duplicate points (and repeated values of an axis) were left out. Cost: as `len`."""
        len(self)  # refuses what cannot be enumerated
        return self.expression.n_dropped()

    def name_sets(self) -> NameSets:
        """Return the sets of parameters that points may set; more than one when parameters are conditional."""
        return self.expression.name_sets()

    def __len__(self) -> int:
        """Return the exact number of points. Cost: O(axes), or one enumeration after `.where` or `|`, remembered."""
        self._check_ready()
        if must_search(self.expression):
            self._check_size()
        return self.expression.count()

    def __iter__(self) -> Iterator[Point]:
        """Yield the points, the last axis fastest. Cost: about 1 us per point of a grid; none is held."""
        rows = self.rows()
        return (Point(shape=row[0], values=row[1], index=index) for index, row in enumerate(rows))

    def rows(self) -> Iterator[Row]:
        """Yield shape and values of each point. Cost: about 0.2 us per point of a grid; none is held."""
        self._check_ready()
        self._check_size()
        return self.expression.rows()

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> "Space": ...
    def __getitem__(self, index: int | slice) -> "Point | Space":
        """Return a point by position, or the space of a slice (step at least 1); an index past the end raises."""
        if isinstance(index, slice):
            return self._sliced(index)
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"point {index} of a space with {n} points")
        position = index % n
        shape, values = self.expression.at(position)
        return Point(shape=shape, values=values, index=position)

    def _sliced(self, index: slice) -> "Space":
        step = 1 if index.step is None else index.step
        if step < 1:
            raise SpaceError(
                "A space cannot be sliced backwards.",
                {"step": step},
                "The order of points is the tie-break everywhere; use a positive step.",
            )
        return self._with(
            Slice(base=self.expression, start=_position(index.start), stop=_position(index.stop), step=step)
        )

    def head(self, n: int = 5) -> "Space":
        """Return the space of the first `n` points.

        >>> grid(x=range(100)).head(2)
        Space(2 points: 'x=0', 'x=1')
        """
        return self[: max(n, 0)]

    def __mul__(self, other: "Space") -> "Space":
        """Return every combination of the two spaces' points; the right one varies fastest."""
        if not isinstance(other, Space):
            return NotImplemented
        return self._with(product(self.expression, other.expression), other)

    def __or__(self, other: "Space") -> "Space":
        """Return the points of this space, then those of the other that are new."""
        if not isinstance(other, Space):
            return NotImplemented
        union = Union(parts=(self.expression, other.expression))
        union.open_axes()  # finds two nodes under one axis name now, not at run time
        return self._with(union, other)

    def where(self, fn: Callable[..., object]) -> "Space":
        """Keep the points for which `fn` is true; it takes the parameters it needs, by name.

        `fn` must always answer alike. A parameter that some points do not set needs a default.

        Raises:
            SpaceError: `fn` asks for an unknown parameter; when enumerated, if no point is left.

        >>> len(grid(a=[1, 2, 3], b=[1, 2, 3]).where(lambda a, b: a < b))
        3
        """
        kept = Filter(base=self.expression, fn=fn)
        kept.check()
        return self._with(kept)

    def derive(self, **fns: Callable[..., object]) -> "Space":
        """Add parameters computed from others; each function takes the parameters it needs, by name.

        A function that takes the parameter it is named for replaces it.

        Raises:
            SpaceError: A function asks for an unknown parameter, or would overwrite one without taking it.

        >>> grid(width=[2, 3]).derive(area=lambda width: width**2)[1]
        Point(width=3, area=9)
        """
        expression = self.expression
        for name, fn in fns.items():
            derived = Derive(base=expression, name=name, fn=fn)
            derived.check()
            expression = derived
        return self._with(expression)

    def resolve(self, values: Mapping[str, Sequence[object]]) -> "Space":
        """Return the space in which axes that waited for nodes have these values, taken as they are.

        Args:
            values: axis name -> list; may leave axes out, may be empty lists.

        Raises:
            SpaceError: A name is not an open axis, a value is not a list, zipped lists differ in length.
        """
        open_axes = self.open_axes
        for name in values:
            if name not in open_axes:
                raise SpaceError(f"No axis {name!r} waits for its values.", {}, near_miss(name, open_axes))
        columns = {name: resolved_column(name, column) for name, column in values.items()}
        return self._with(self.expression.resolved(columns))

    def with_max_points(self, max_points: int) -> "Space":
        """Return the space with another limit for the number of points that are enumerated."""
        return attrs.evolve(self, max_points=max_points)

    def _with(self, expression: Expression, other: "Space | None" = None) -> "Space":
        limit = self.max_points if other is None else max(self.max_points, other.max_points)
        return Space(expression=expression, max_points=limit)

    def _check_ready(self) -> None:
        open_axes = self.open_axes
        if open_axes:
            raise SpaceError(
                "The points of this space are not known yet.",
                {"open axes": ", ".join(open_axes), "made by": "\n".join(map(repr, open_axes.values()))},
                "Pass it to fan_out, which enumerates it at run time; or run the node first: axis(name=run(node)).",
            )

    def _check_size(self) -> None:
        effort = self.expression.effort()
        if effort > self.max_points:
            raise SpaceError(
                f"The space is too large: {effort:,} points to enumerate.",
                {"limit": f"{self.max_points:,}"},
                "Use sample(n, ...), a slice, or fewer values; raise the limit with .with_max_points(n).",
            )

    def __repr__(self) -> str:
        names = ", ".join(self.names)
        if not self.is_static:
            return f"Space({cut(names, 60)}; waits for {', '.join(self.open_axes)})"
        if self.expression.effort() > min(_REPR_EFFORT, self.max_points):
            return f"Space(up to {self.expression.effort()} points, {cut(names, 60)})"
        try:
            return f"Space({self._summary()})"
        except SpaceError as error:
            return f"Space({cut(names, 60)}; {error.what})"

    def _summary(self) -> str:
        n = len(self)
        dropped = f", {self.n_dropped} duplicates dropped" if self.n_dropped else ""
        count = f"{n} point{'' if n == 1 else 's'}{dropped}"
        if n <= 5:
            return f"{count}: {', '.join(map(repr, label_points(self)))}"
        axes = (f"{name}={short_repr(list(column), 40)}" for name, column in _tuples(self.axes))
        return f"{count}: {cut(', '.join(axes), 200)}"


def _position(bound: Any) -> int | None:
    return None if bound is None else operator.index(bound)


def _tuples(axes: Mapping[str, object]) -> Iterator[tuple[str, tuple[object, ...]]]:
    return ((name, column) for name, column in axes.items() if isinstance(column, tuple))


def grid(**lists: object) -> Space:
    """Return every combination of the values, the last parameter fastest.

    Args:
        **lists: parameter name -> values in order (list, tuple, range, array, iterator), or a node whose value will be
            the list. Repeated values count once.

    Raises:
        SpaceError: No parameter, an empty list, a string or another value that is not a list.

    >>> [tuple(point.params.values()) for point in grid(lr=[0.1, 1], depth=[4, 8])]
    [(0.1, 4), (0.1, 8), (1, 4), (1, 8)]
    """
    if not lists:
        raise SpaceError("A grid needs at least one parameter.", {}, "Write grid(lr=[0.01, 0.1]).")
    leaves = [listed_once((name,), (column_of(name, values),)) for name, values in lists.items()]
    return Space(expression=leaves[0] if len(leaves) == 1 else product(*leaves))


def axis(**values: object) -> Space:
    """Return a space of one parameter: a list of values, or a node whose value will be the list.

    >>> len(axis(fold=[0, 1, 2]))
    3
    """
    if len(values) != 1:
        raise SpaceError(
            "An axis has exactly one parameter.",
            {"given": ", ".join(values) or "none"},
            "Write axis(fold=folds); for several use grid (all combinations) or zipped (lock-step).",
        )
    return grid(**values)


def zipped(**lists: object) -> Space:
    """Return the lists' values in lock-step: first with first, second with second.

    Raises:
        SpaceError: The lists differ in length, or as `grid`.

    >>> [point.params for point in zipped(width=[64, 128], batch=[512, 256])]
    [{'width': 64, 'batch': 512}, {'width': 128, 'batch': 256}]
    """
    if not lists:
        raise SpaceError("A zip needs at least one parameter.", {}, "Write zipped(width=[64, 128], batch=[512, 256]).")
    columns = tuple(column_of(name, values) for name, values in lists.items())
    return Space(expression=listed_once(tuple(lists), columns))


def cases(*points: Mapping[str, object], **named: Mapping[str, object]) -> Space:
    """Return explicit points; a keyword names its point. A parameter a case leaves out keeps its default.

    Raises:
        SpaceError: No case, or a case that is not a mapping of parameters.

    >>> cases(baseline=dict(model="svm", C=1.0), big=dict(model="tree", depth=9))
    Space(2 points: 'baseline', 'big')
    """
    table, dropped = cases_of(points, named)
    return Space(expression=Cases(table=table, dropped=dropped))


def seeds(n: int, *, name: str = "seed", per_point: bool = False) -> Space:
    """Return an axis of `n` seeds: 0 to n-1, the same for every point, so that points compare pairwise.

    Args:
        n: how many; asking for more later adds to them.
        name: the parameter's name.
        per_point: derive each seed (32 bits) from the other parameters of the product it stands in instead.

    >>> [point.params["seed"] for point in seeds(3)]
    [0, 1, 2]
    """
    if not isinstance(n, int) or n < 1:
        raise SpaceError("seeds needs a whole number of seeds, at least one.", {"n": n}, "Write seeds(5).")
    if per_point:
        return Space(expression=PointSeeds(name=name, n=n))
    return grid(**{name: range(n)})


def sample(n: int, *, seed: int = 0, **distributions: object) -> Space:
    """Return `n` random points; repeated draws are kept, so the length is always `n`.

    A larger sample with the same seed begins with the smaller one, and a new parameter does not change the draws of
    the others.

    Args:
        n: number of points.
        seed: integer; another seed gives other points.
        **distributions: `uniform`, `loguniform`, `randint`, `choice`, a list (as `choice`), any object with `.draw(u)`
            or a scipy distribution. Parameters named `n` or `seed` need `.derive`.

    Raises:
        SpaceError: No distribution, or something that is not one.

    >>> from flowlib.sweep.distributions import uniform
    >>> small, large = sample(2, x=uniform(0, 1)), sample(3, x=uniform(0, 1), model=["svm", "tree"])
    >>> [p.params["x"] for p in small] == [p.params["x"] for p in large[:2]]
    True
    """
    if not isinstance(n, int) or n < 1:
        hint = "Write sample(20, lr=loguniform(1e-5, 0.1))."
        raise SpaceError("sample needs a whole number of points, at least one.", {"n": n}, hint)
    return Space(expression=Draws(n=n, seed=seed, distributions=checked_distributions(distributions)))
