"""Leaves of a space's expression: listed values, explicit cases, random draws, derived seeds."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import attrs

from flowlib.errors import SpaceError, Undigestible
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.digest import digest_bytes
from flowlib.ids import Digest
from flowlib.sweep.distributions import Drawable, drawer
from flowlib.sweep.expression import Expression, NameSets, distinct, first_names
from flowlib.sweep.point import Row, Shape, row_identity
from flowlib.sweep.value import SCALARS, canonical, is_node


@attrs.frozen(kw_only=True, eq=False)
class Listed(Expression):
    """One axis, or several in lock-step: a column of canonical values (or a node) for each name."""

    names: tuple[str, ...]
    lists: tuple[object, ...]
    """Per name: a tuple of values, or the node whose value will be the list."""
    dropped: int = 0
    shape: Shape = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "shape", Shape(names=self.names))

    def known(self) -> tuple[tuple[Any, ...], ...]:
        """Return the columns of values, leaving out nodes."""
        return tuple(column for column in self.lists if isinstance(column, tuple))

    def count(self) -> int:
        check_lengths(self.names, self.lists)
        return len(self.known()[0])

    def effort(self) -> int:
        return max((len(column) for column in self.known()), default=0)

    def rows(self) -> Iterator[Row]:
        shape = self.shape
        check_lengths(self.names, self.lists)
        return ((shape, values) for values in zip(*self.known(), strict=True))

    def at(self, index: int) -> Row:
        return self.shape, tuple(column[index] for column in self.known())

    def name_sets(self) -> NameSets:
        return frozenset({frozenset(self.names)})

    def children(self) -> tuple[Expression, ...]:
        return ()

    def open_axes(self) -> dict[str, object]:
        return {name: column for name, column in zip(self.names, self.lists, strict=True) if is_node(column)}

    def n_dropped(self) -> int:
        return self.dropped

    def columns(self) -> dict[str, object]:
        return {
            name: distinct(column) if isinstance(column, tuple) else column
            for name, column in zip(self.names, self.lists, strict=True)
        }

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        """Replace nodes by values, which are taken as they are: run-time lists keep repetitions and may be empty.

        Lists in lock-step are compared when they are counted or enumerated.
        """
        open_axes = self.open_axes()
        if not open_axes.keys() & values.keys():
            return self
        lists = tuple(
            values[name] if name in open_axes and name in values else column
            for name, column in zip(self.names, self.lists, strict=True)
        )
        return Listed(names=self.names, lists=lists, dropped=self.dropped)


def check_lengths(names: tuple[str, ...], lists: tuple[object, ...]) -> None:
    """Raise SpaceError unless all known lists of a zip have one length."""
    lengths = {name: len(column) for name, column in zip(names, lists, strict=True) if isinstance(column, tuple)}
    if len(set(lengths.values())) > 1:
        raise SpaceError(
            "Lists that are zipped differ in length.",
            {name: f"{length} values" for name, length in lengths.items()},
            "Make them equally long, or use grid(...) for every combination.",
        )


def listed_once(names: tuple[str, ...], lists: tuple[object, ...]) -> Listed:
    """Make a leaf of literal lists: repeated values (of a zip: repeated rows) are dropped and counted."""
    check_lengths(names, lists)
    if any(is_node(column) for column in lists):
        return Listed(names=names, lists=lists)
    leaf = Listed(names=names, lists=lists)
    if len(names) == 1 and _all_differ(leaf.known()[0]):
        return leaf
    memo: dict[int, tuple[object, Hashable]] = {}
    kept: dict[Hashable, tuple[object, ...]] = {}
    for row in leaf.rows():
        kept.setdefault(row_identity(row, memo), row[1])
    if len(kept) == leaf.count():
        return leaf
    columns = tuple(zip(*kept.values(), strict=True))
    return Listed(names=names, lists=columns, dropped=leaf.count() - len(kept))


def _all_differ(column: tuple[Any, ...]) -> bool:
    """Say whether values are scalars of one type and no two are equal: told without an identity for each of them."""
    kinds = set(map(type, column))
    return len(kinds) == 1 and SCALARS.issuperset(kinds) and len(set(column)) == len(column)


@attrs.frozen(kw_only=True, eq=False)
class Cases(Expression):
    """Explicit points, each with its own parameters and perhaps a name."""

    table: tuple[Row, ...]
    dropped: int = 0
    names: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", first_names(shape.names for shape, _ in self.table))

    def count(self) -> int:
        return len(self.table)

    def effort(self) -> int:
        return len(self.table)

    def rows(self) -> Iterator[Row]:
        return iter(self.table)

    def at(self, index: int) -> Row:
        return self.table[index]

    def name_sets(self) -> NameSets:
        return frozenset(frozenset(shape.names) for shape, _ in self.table)

    def children(self) -> tuple[Expression, ...]:
        return ()

    def n_dropped(self) -> int:
        return self.dropped

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        return self


@attrs.frozen(kw_only=True, eq=False)
class Draws(Expression):
    """`n` random points; a draw depends only on seed, parameter name and index."""

    n: int
    seed: int
    distributions: Mapping[str, Drawable]
    names: tuple[str, ...] = attrs.field(init=False)
    shape: Shape = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.distributions))
        object.__setattr__(self, "shape", Shape(names=self.names))

    def _drawers(self) -> list[Callable[[int], object]]:
        return [drawer(distribution, self.seed, name) for name, distribution in self.distributions.items()]

    def count(self) -> int:
        return self.n

    def effort(self) -> int:
        return self.n

    def rows(self) -> Iterator[Row]:
        drawers = self._drawers()
        return ((self.shape, tuple([canonical(draw(index)) for draw in drawers])) for index in range(self.n))

    def at(self, index: int) -> Row:
        return self.shape, tuple(canonical(draw(index)) for draw in self._drawers())

    def name_sets(self) -> NameSets:
        return frozenset({frozenset(self.names)})

    def children(self) -> tuple[Expression, ...]:
        return ()

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        return self


@attrs.frozen(kw_only=True)
class SeedSlot:
    """Place of a seed that is derived once the rest of the point is known."""

    repeat: int


@attrs.frozen(kw_only=True, eq=False)
class PointSeeds(Expression):
    """Seeds derived from the other parameters of the product they stand in."""

    name: str
    n: int
    names: tuple[str, ...] = attrs.field(init=False)
    shape: Shape = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", (self.name,))
        object.__setattr__(self, "shape", Shape(names=self.names))

    def count(self) -> int:
        return self.n

    def effort(self) -> int:
        return self.n

    def slots(self) -> Iterator[Row]:
        """Yield rows that hold a `SeedSlot`, to be filled by the product around this leaf."""
        return map(self.slot, range(self.n))

    def slot(self, repeat: int) -> Row:
        """Return the row that holds one `SeedSlot`."""
        return self.shape, (SeedSlot(repeat=repeat),)

    def rows(self) -> Iterator[Row]:
        return map(fill_seeds, self.slots())

    def at(self, index: int) -> Row:
        return fill_seeds(self.slot(index))

    def name_sets(self) -> NameSets:
        return frozenset({frozenset(self.names)})

    def children(self) -> tuple[Expression, ...]:
        return ()

    def resolved(self, values: Mapping[str, tuple[object, ...]]) -> Expression:
        return self


def fill_seeds(row: Row) -> Row:
    """Replace every `SeedSlot` by 32 bits of the digest of the row's other parameters, name and repeat.

    Functions and classes count by qualified name, so editing their code does not change the seeds.
    """
    shape, values = row
    others = {
        name: value
        for name, value in zip(shape.names, values, strict=True)
        if not isinstance(value, SeedSlot) and name not in shape.derived
    }
    filled = tuple(
        _seed_of(others, name, value.repeat) if isinstance(value, SeedSlot) else value
        for name, value in zip(shape.names, values, strict=True)
    )
    return shape, filled


def _seed_of(others: dict[str, object], name: str, repeat: int) -> int:
    try:
        digest = digest_value((others, name, repeat), function_digest=_name_digest, path="")
    except Undigestible as error:
        raise SpaceError(
            "Seeds cannot be derived from this point: a parameter has no stable digest.",
            {"seed": name, "parameters": ", ".join(others), "type": error.type_name, "reason": error.reason},
            "Use seeds(n) without per_point=True: the same seeds for all points.",
        ) from error
    return int(digest.split("-")[1][:8], 16)


def _name_digest(code: object) -> Digest:
    label = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', type(code).__qualname__)}"
    return digest_bytes(label.encode(), inert=False)
