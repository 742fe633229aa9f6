"""Write answers as JSON, or say which part of a value has no JSON.

Rules: nothing is shown by its `repr`; what JSON cannot say is refused with the path to it. NaN and infinities become
`null`, as everywhere in JSON; sets become lists in a fixed order; dates, paths, identifiers and decimals become text.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

from flowlib.errors import UsageError
from flowlib.hashing.file import Dir, File
from flowlib.sweep.failed import Failed
from flowlib.sweep.result import SweepResult

_TEXT = (PurePath, File, Dir, UUID, Decimal, Fraction)
_DEEPEST = 200


def print_json(document: Any) -> None:
    """Write plain data to standard output: laid out on a terminal, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False))
    sys.stdout.flush()


def to_plain(value: Any, path: str = "the value", depth: int = 0) -> Any:
    """Return a value as what JSON has: None, bool, int, float, str, list, dict.

    Raises:
        UsageError: A part of it has no JSON; the error says where it is.

    >>> to_plain({"scores": (1, 2.5), "path": PurePath("a/b")})
    {'scores': [1, 2.5], 'path': 'a/b'}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value, path, depth + 1)
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, _TEXT):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if depth > _DEEPEST:
        raise _refusal(value, path, "it is nested too deeply, or holds itself")
    return _container(value, path, depth + 1)


def _container(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, SweepResult):
        return _sweep(value, path, depth)
    if isinstance(value, Mapping):
        return _mapping(value, path, depth)
    if isinstance(value, tuple) and hasattr(type(value), "_fields"):
        return {name: to_plain(getattr(value, name), f"{path}.{name}", depth) for name in _names_of(value)}
    if isinstance(value, list | tuple):
        return [to_plain(item, f"{path}[{i}]", depth) for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        items = [to_plain(item, f"{path}{{...}}", depth) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    names = _field_names(type(value))
    if names is not None:
        return {name: to_plain(getattr(value, name), f"{path}.{name}", depth) for name in names}
    return to_plain(_foreign(value, path), path, depth)


def _mapping(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        name = to_plain(key, path, depth)
        if not isinstance(name, str | int | float) or isinstance(name, bool):
            raise _refusal(key, f"a key of {path}", "keys in JSON are text")
        if str(name) in plain:
            raise _refusal(key, f"a key of {path}", "two keys would be the same text")
        plain[str(name)] = to_plain(item, f"{path}[{key!r}]", depth)
    return plain


def _sweep(result: SweepResult[Any], path: str, depth: int) -> dict[str, Any]:
    points = []
    for label, point, value in zip(result.labels, result.points, result.values, strict=True):
        where = f"{path}[{label!r}]"
        row = {"label": label, "params": to_plain(dict(point.params), f"{where}.params", depth)}
        if type(value) is Failed:
            row |= {"status": "failed", "error": f"{value.error_type}: {value.message}"}
        else:
            row |= {"status": "ok", "value": to_plain(value, where, depth)}
        points.append(row)
    return {"task": result.task, "points": points}


def _names_of(value: Any) -> tuple[str, ...]:
    """Return the field names of a named tuple."""
    names: tuple[str, ...] = value._fields
    return names


def _field_names(kind: type) -> list[str] | None:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind)]
    return None


def _foreign(value: Any, path: str) -> Any:
    """Return the plain part of a value of numpy, pandas, polars or pydantic, by asking it."""
    packages = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    if "numpy" in packages and hasattr(value, "tolist"):
        return value.tolist()
    if "pandas" in packages and hasattr(value, "to_dict"):
        return value.to_dict(orient="records") if hasattr(value, "columns") else value.to_list()
    if "polars" in packages and hasattr(value, "to_dicts"):
        return value.to_dicts()
    if packages & {"polars", "pandas"} and hasattr(value, "to_list"):
        return value.to_list()
    if "pydantic" in packages and hasattr(value, "model_dump"):
        return value.model_dump()
    raise _refusal(value, path, "JSON has no form for its type")


def _refusal(value: Any, path: str, reason: str) -> UsageError:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return UsageError(
        "The value cannot be written as JSON.",
        {"where": path, "type": name, "reason": reason},
        "Leave out --json, or let the pipeline return plain data.",
    )
