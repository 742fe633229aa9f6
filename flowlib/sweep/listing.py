"""Turn what users list (values of an axis, explicit cases) into canonical columns and rows, refusing likely mistakes."""

from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from typing import cast

from flowlib.errors import SpaceError
from flowlib.sweep.distributions import Distribution, RandomVariates
from flowlib.sweep.point import Row, Shape, row_identity
from flowlib.sweep.text import short_repr
from flowlib.sweep.value import canonical, is_node

_MAX_VALUES = 1_000_000


def column_of(name: str, values: object) -> object:
    """Return the canonical values of one axis as a tuple, or the node itself.

    Raises:
        SpaceError: It is a string, a set, a mapping, a distribution, not iterable, endless, or empty.
    """
    if is_node(values):
        return values
    column = resolved_column(name, values)
    if not column:
        raise SpaceError(f"Axis {name!r} has no values.", {"given": short_repr(values)}, "List at least one value.")
    return column


def resolved_column(name: str, values: object) -> tuple[object, ...]:
    """Return the canonical values of one axis as a tuple; it may be empty.

    Raises:
        SpaceError: It is not something that lists values in order.
    """
    _refuse_lookalikes(name, values)
    try:
        iterator = iter(cast(Iterable[object], values))
    except TypeError:
        raise SpaceError(
            f"The values of axis {name!r} are not a list.",
            {"given": short_repr(values), "type": type(values).__name__},
            f"Write {name}=[{short_repr(values, 30)}] for one value.",
        ) from None
    column = tuple(map(canonical, islice(iterator, _MAX_VALUES + 1)))
    if len(column) > _MAX_VALUES:
        raise SpaceError(
            f"Axis {name!r} has more than {_MAX_VALUES:,} values.", {}, "Cut it with itertools.islice, or use sample."
        )
    return column


def _refuse_lookalikes(name: str, values: object) -> None:
    hint = ""
    if isinstance(values, str | bytes):
        hint = f"Write {name}=[{short_repr(values, 30)}] for one value; list(...) for its characters."
    elif isinstance(values, set | frozenset):
        hint = f"A set has no order, and points need one: write {name}=sorted(...)."
    elif isinstance(values, Mapping):
        hint = f"Write {name}=[...] with the mapping inside for one value, or list(...) for its keys."
    elif isinstance(values, Distribution | RandomVariates):
        hint = f"Use sample(n, {name}=...) for distributions."
    if hint:
        raise SpaceError(
            f"The values of axis {name!r} are not a list.",
            {"given": short_repr(values), "type": type(values).__name__},
            hint,
        )


def cases_of(points: Iterable[object], named: Mapping[str, object]) -> tuple[tuple[Row, ...], int]:
    """Return the rows of explicit cases, each point once, and how many were dropped."""
    rows = [_case(None, params) for params in points] + [_case(name, params) for name, params in named.items()]
    if not rows:
        raise SpaceError("cases has no points.", {}, 'Write cases(base={"lr": 0.1}, big={"lr": 0.01}).')
    memo: dict[int, tuple[object, Hashable]] = {}
    kept: dict[Hashable, Row] = {}
    for row in rows:
        kept.setdefault(row_identity(row, memo), row)
    return tuple(kept.values()), len(rows) - len(kept)


def _case(name: str | None, params: object) -> Row:
    if is_node(params) or not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        label = "A case" if name is None else f"Case {name!r}"
        raise SpaceError(
            f"{label} is not a mapping of parameter names to values.",
            {"given": short_repr(params)},
            'Write cases(base={"lr": 0.1}); unpack a list of mappings with *.',
        )
    names = tuple(params)
    shape = Shape(names=names, name=name, covered=frozenset() if name is None else frozenset(names))
    return shape, tuple(map(canonical, params.values()))
