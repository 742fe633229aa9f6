"""Branches of a space's expression: product, union, filter, derived parameter, slice.

Invariant: rows come in the order of the expression, a product's last factor fastest, as `itertools.product`.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property

import attrs

from flowlib.errors import SpaceError
from flowlib.sweep.binding import parameter_names, row_function
from flowlib.sweep.expression import Expression, NameSets, first_names
from flowlib.sweep.leaves import Listed, PointSeeds, fill_seeds
from flowlib.sweep.point import Row, Shape, row_identity
from flowlib.sweep.text import short_repr
from flowlib.sweep.value import canonical


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Product(Expression):
    """Every combination of its factors' rows."""

    factors: tuple[Expression, ...]
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", first_names(factor.names for factor in self.factors))

    def count(self) -> int:
        return math.prod(factor.count() for factor in self.factors)

    def effort(self) -> int:
        return math.prod(factor.effort() for factor in self.factors)

    def rows(self) -> Iterator[Row]:
        combined = self._combined()
        return map(fill_seeds, combined) if self._has_seeds else combined

    @cached_property
    def _has_seeds(self) -> bool:
        return any(isinstance(factor, PointSeeds) for factor in self.factors)

    @cached_property
    def _shapes(self) -> dict[tuple[Shape, ...], Shape]:
        """Joined shapes by the shapes they join; one entry per combination that occurred."""
        return {}

    def _combined(self) -> Iterator[Row]:
        if all(isinstance(factor, Listed) and len(factor.names) == 1 for factor in self.factors):
            return self._combined_lists()
        return self._combined_rows()

    def _combined_lists(self) -> Iterator[Row]:
        """Yield rows of single axes without touching them one by one: nearly all grids."""
        shape = self._joined(tuple(factor.shape for factor in self.factors if isinstance(factor, Listed)))
        lists = [factor.known()[0] for factor in self.factors if isinstance(factor, Listed)]
        return ((shape, values) for values in itertools.product(*lists))

    def _combined_rows(self) -> Iterator[Row]:
        first, *others = [_open_rows(factor) for factor in self.factors]
        pools = [list(rows) for rows in others]  # held: the sum of the factors, never their product
        for shape, values in first:
            for tail in itertools.product(*pools):
                joined = self._joined((shape, *[row[0] for row in tail]))
                yield joined, sum([row[1] for row in tail], values)

    def _joined(self, shapes: tuple[Shape, ...]) -> Shape:
        joined = self._shapes.get(shapes)
        if joined is None:
            joined = shapes[0]
            for shape in shapes[1:]:
                joined = joined.joined(shape)
            self._shapes[shapes] = joined
        return joined

    def at(self, index: int) -> Row:
        picked: list[Row] = []
        for factor in reversed(self.factors):
            index, position = divmod(index, factor.count())
            opened = factor.slot(position) if isinstance(factor, PointSeeds) else factor.at(position)
            picked.append(opened)
        picked.reverse()
        row = self._joined(tuple(row[0] for row in picked)), sum([row[1] for row in picked], ())
        return fill_seeds(row) if self._has_seeds else row

    def name_sets(self) -> NameSets:
        combinations = itertools.product(*(factor.name_sets() for factor in self.factors))
        return frozenset(frozenset().union(*combination) for combination in combinations)

    def children(self) -> tuple[Expression, ...]:
        return self.factors

    def columns(self) -> dict[str, object]:
        if self._has_seeds or any(not factor.open_axes() and factor.count() == 0 for factor in self.factors):
            return super().columns()
        return {name: column for factor in self.factors for name, column in factor.columns().items()}

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        return product(*(factor.resolved(values) for factor in self.factors))


def _open_rows(factor: Expression) -> Iterator[Row]:
    return factor.slots() if isinstance(factor, PointSeeds) else factor.rows()


def product(*factors: Expression) -> Product:
    """Multiply expressions; products inside products are flattened, so brackets do not matter.

    Raises:
        SpaceError: Two factors set the same parameter.
    """
    flat: list[Expression] = []
    for factor in factors:
        flat.extend(factor.factors if isinstance(factor, Product) else (factor,))
    seen: set[str] = set()
    for factor in flat:
        both = sorted(seen.intersection(factor.names))
        if both:
            raise SpaceError(
                f"Both sides of a product set {', '.join(map(repr, both))}.",
                {"parameter": ", ".join(both)},
                "Set it on one side, or use | for the points of either space.",
            )
        seen.update(factor.names)
    return Product(factors=tuple(flat))


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Union(Expression):
    """The rows of one part after the other, each point once."""

    parts: tuple[Expression, ...]
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", first_names(part.names for part in self.parts))

    def count(self) -> int:
        return self._n_rows

    @cached_property
    def _n_rows(self) -> int:
        return sum(1 for _ in self.rows())

    def effort(self) -> int:
        return sum(part.effort() for part in self.parts)

    def rows(self) -> Iterator[Row]:
        """Yield each point once. Cost: keeps the identity of every row, about 200 bytes each."""
        seen: set[Hashable] = set()
        owner_of: dict[Hashable, Hashable] = {}
        memo: dict[int, tuple[object, Hashable]] = {}
        for row in itertools.chain.from_iterable(part.rows() for part in self.parts):
            identity = row_identity(row, memo)
            if identity in seen:
                continue
            seen.add(identity)
            if row[0].name is not None:
                _check_owner(row, identity, owner_of)
            yield row

    def n_dropped(self) -> int:
        return super().n_dropped() + sum(part.count() for part in self.parts) - self.count()

    def name_sets(self) -> NameSets:
        return frozenset().union(*(part.name_sets() for part in self.parts))

    def children(self) -> tuple[Expression, ...]:
        return self.parts

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        return Union(parts=tuple(part.resolved(values) for part in self.parts))


def _check_owner(row: Row, identity: Hashable, owner_of: dict[Hashable, Hashable]) -> None:
    """Raise SpaceError when a user-given name, with the parameters it does not cover, means two points."""
    shape, values = row
    rest = [i for i, name in enumerate(shape.names) if name not in shape.covered and name not in shape.derived]
    open_shape = Shape(names=tuple(shape.names[i] for i in rest))
    label = (shape.name, row_identity((open_shape, tuple(values[i] for i in rest))))
    if owner_of.setdefault(label, identity) != identity:
        raise duplicate_name(str(shape.name), dict(zip(shape.names, values, strict=True)))


def duplicate_name(name: str, params: Mapping[str, object]) -> SpaceError:
    """Make the error for two different points with one name given by the user."""
    point = ", ".join(f"{key}={short_repr(value, 24)}" for key, value in params.items())
    return SpaceError(
        f"Two different points are named {name!r}.",
        {"the second one": point or "no parameters"},
        "Give each point its own name, or put what differs into the template: '{model}-{lr:g}'.",
    )


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Filter(Expression):
    """The rows for which a function of parameters is true."""

    base: Expression
    fn: Callable[..., object]
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", self.base.names)

    def check(self) -> None:
        """Raise SpaceError if the function asks for an unknown parameter."""
        parameter_names(self.fn, "where", self.names)

    def count(self) -> int:
        return self._n_rows

    @cached_property
    def _n_rows(self) -> int:
        return sum(1 for _ in self.rows())

    def effort(self) -> int:
        return self.base.effort()

    def rows(self) -> Iterator[Row]:
        keep = row_function(self.fn, "where", self.names)
        n_seen, n_kept = 0, 0
        for row in self.base.rows():
            n_seen += 1
            if keep(row):
                n_kept += 1
                yield row
        if n_seen and not n_kept:
            raise SpaceError(
                ".where drops every point.",
                {"points before": n_seen, "function": short_repr(self.fn)},
                "Check the condition against a point: print(space[0]) without the filter.",
            )

    def name_sets(self) -> NameSets:
        return self.base.name_sets()

    def children(self) -> tuple[Expression, ...]:
        return (self.base,)

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        base = self.base.resolved(values)
        return self if base is self.base else Filter(base=base, fn=self.fn)


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Derive(Expression):
    """Rows with one more parameter, computed from the others; or with one replaced by a function of itself."""

    base: Expression
    name: str
    fn: Callable[..., object]
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", first_names((self.base.names, (self.name,))))

    def check(self) -> None:
        """Raise SpaceError if the function asks for an unknown parameter or overwrites one it does not take."""
        wanted = parameter_names(self.fn, "derive", self.base.names)
        if self.name in self.base.names and self.name not in wanted:
            raise SpaceError(
                f".derive would overwrite {self.name!r}.",
                {"parameters": ", ".join(self.base.names)},
                f"Choose another name; or take the old value: lambda {self.name}: ...",
            )

    def count(self) -> int:
        return self.base.count()

    def effort(self) -> int:
        return self.base.effort()

    def rows(self) -> Iterator[Row]:
        return map(self._extend(), self.base.rows())

    def at(self, index: int) -> Row:
        return self._extend()(self.base.at(index))

    def _extend(self) -> Callable[[Row], Row]:
        compute = row_function(self.fn, "derive", self.base.names)

        def extended(row: Row) -> Row:
            value = canonical(compute(row))
            shape, values = row
            if self.name in shape.names:
                position = shape.names.index(self.name)
                return shape, (*values[:position], value, *values[position + 1 :])
            return self._shape_after(shape), (*values, value)

        return extended

    @cached_property
    def _shapes(self) -> dict[Shape, Shape]:
        return {}

    def _shape_after(self, shape: Shape) -> Shape:
        after = self._shapes.get(shape)
        if after is None:
            after = attrs.evolve(shape, names=(*shape.names, self.name), derived=shape.derived | {self.name})
            self._shapes[shape] = after
        return after

    def name_sets(self) -> NameSets:
        return frozenset(names | {self.name} for names in self.base.name_sets())

    def children(self) -> tuple[Expression, ...]:
        return (self.base,)

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        base = self.base.resolved(values)
        return self if base is self.base else Derive(base=base, name=self.name, fn=self.fn)


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Slice(Expression):
    """Rows by position, as a list's slice with a positive step."""

    base: Expression
    start: int | None
    stop: int | None
    step: int
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", self.base.names)

    def _positions(self) -> range:
        return range(*slice(self.start, self.stop, self.step).indices(self.base.count()))

    def count(self) -> int:
        return len(self._positions())

    def effort(self) -> int:
        bounded = self.stop is not None and self.stop >= 0 and not must_search(self.base)
        return min(self.base.effort(), self.stop or 0) if bounded else self.base.effort()

    def rows(self) -> Iterator[Row]:
        start, stop = self.start or 0, self.stop
        if start < 0 or (stop is not None and stop < 0):
            positions = self._positions()
            start, stop = positions.start, positions.stop
        return itertools.islice(self.base.rows(), start, stop, self.step)

    def at(self, index: int) -> Row:
        return self.base.at(self._positions()[index])

    def name_sets(self) -> NameSets:
        return self.base.name_sets()

    def children(self) -> tuple[Expression, ...]:
        return (self.base,)

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        base = self.base.resolved(values)
        return self if base is self.base else Slice(base=base, start=self.start, stop=self.stop, step=self.step)


def must_search(expression: Expression) -> bool:
    """Tell whether finding the n-th row may touch more than n rows."""
    return isinstance(expression, Filter | Union) or any(map(must_search, expression.children()))
