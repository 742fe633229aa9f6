"""From type hints to what the parser takes: scalars as they are, lists with commas, files and directories as values.

Rule: a hint that cannot be written on a command line is refused, not guessed.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from cyclopts import Parameter, Token, convert

from flowlib.hashing.file import Dir, File

_SCALARS: tuple[type, ...] = (
    bool, int, float, complex, str, PurePath, File, Dir, date, datetime, timedelta, Decimal, Fraction, UUID, Enum,
)  # fmt: skip
_CONTAINERS: Mapping[Any, type] = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
    Sequence: list, Iterable: list, Collection: list,
}  # fmt: skip
_EMPTY = inspect.Parameter.empty
_COMMA = re.compile(r"(?<!\\),")


def hint_of(fn: Any, parameter: inspect.Parameter) -> Any:
    """Return the hint of a parameter, evaluated where the function was written if it is text; empty if it has none."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        inner = inspect.unwrap(getattr(fn, "func", fn))
        try:
            return eval(annotation, getattr(inner, "__globals__", {}))
        except Exception:  # a name that only a type checker can see
            return _EMPTY
    return annotation


def annotation_of(hint: Any, default: Any) -> Any:
    """Return what the parser takes for a hint, or None for a type that cannot be written.

    Args:
        hint: The hint; without one, the type of the default counts, and text if there is none either.
        default: The parameter's default.

    >>> annotation_of(int | None, None), annotation_of(dict, None)
    (int | None, None)
    """
    hint = _bare(hint)
    if hint in (_EMPTY, Any, object):
        hint = _type_of_default(default)
    members = [_bare(member) for member in _members(hint)]
    if len(members) == 1 and (made := _container(members[0])) is not None:
        return made
    if not members or not all(_is_scalar(member) for member in members):
        return None
    if any(member in (File, Dir) for member in members):
        return Annotated[Path, Parameter(converter=_one(members))]
    return hint


def unchecked(annotation: Any) -> Any:
    """Return an annotation whose values the parser takes as our converters made them.

    With pydantic imported the parser checks every value against the shown type once more; a `File` is no `Path` then.
    """
    if typing.get_origin(annotation) is not Annotated:
        return annotation
    shown, *extras = typing.get_args(annotation)
    return Annotated[list[Any] if typing.get_origin(shown) is list else Any, *extras]


def _container(hint: Any) -> Any:
    """Return the annotation of a list-like hint, or None if it is not one, or its items cannot be written."""
    origin = typing.get_origin(hint) or hint
    made = _CONTAINERS.get(origin)
    if made is None:
        return None
    items = [_bare(item) for item in typing.get_args(hint) if item is not ...] or [str]
    if not all(_is_scalar(member) for item in items for member in _members(item)):
        return None
    shown = Path if items[0] in (File, Dir) else items[0]
    n_fixed = len(items) if origin is tuple and ... not in typing.get_args(hint) and typing.get_args(hint) else None
    return Annotated[list[shown], Parameter(converter=_several(made, items, n_fixed), negative_iterable=())]  # type: ignore[valid-type]


def _one(members: list[Any]) -> Callable[[Any, Sequence[Token]], Any]:
    def read(_: Any, tokens: Sequence[Token]) -> Any:
        return _read(members, tokens[0])

    return read


def _several(made: type, items: list[Any], n_fixed: int | None) -> Callable[[Any, Sequence[Token]], Any]:
    def read(_: Any, tokens: Sequence[Token]) -> Any:
        pieces = [
            attrs.evolve(token, value=text.replace("\\,", ","))
            for token in tokens
            for text in _COMMA.split(token.value)
            if token.value
        ]
        if n_fixed is not None and len(pieces) != n_fixed:
            raise ValueError(f"needs {n_fixed} values with commas between them, not {len(pieces)}")
        hints = items if n_fixed is not None else [items[0]] * len(pieces)
        return made(_read(_members(hint), piece) for hint, piece in zip(hints, pieces, strict=True))

    return read


def _read(members: list[Any], token: Token) -> Any:
    """Return the value of a word: a file if that is one of the types, else as the parser reads it."""
    for member in members:
        if member in (File, Dir):
            return member(token.value)
    return convert(members[0] if len(members) == 1 else typing.Union[tuple(members)], [token])  # noqa: UP007


def _is_scalar(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, _SCALARS))


def _members(hint: Any) -> list[Any]:
    """Return the types of a union without None; a list of itself for anything else."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(hint) if member is not type(None)]
    return [hint]


def _bare(hint: Any) -> Any:
    """Take off `Annotated`, `NewType` and type aliases."""
    while True:
        if typing.get_origin(hint) is Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def _type_of_default(default: Any) -> Any:
    kind = type(default)
    if kind in (list, tuple, set, frozenset):
        kinds = {type(item) for item in default}
        item = kinds.pop() if len(kinds) == 1 else str
        return list[item] if kind is list else set[item] if kind is set else tuple[item, ...]  # type: ignore[valid-type]
    return str if default is _EMPTY or default is None else kind
