"""Find numbers in results: by name, by dotted path, by a function; in dicts, dataclasses, attrs classes and the like.

Rules:
    "auc" is the key of a mapping or the attribute of an object; "auc.mean" looks inside; a key that itself has a dot
    goes first. "value" is the value itself, for tasks that return plain numbers. A function is called with the value.
    Numbers are ints, floats, bools (as 0 and 1), Decimals, Fractions, numpy scalars and arrays or tensors without
    dimensions. Nothing else is converted.
"""

import numbers
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from flowlib.errors import ReducerError, near_miss
from flowlib.sweep.reducer import Item
from flowlib.sweep.text import listed, short_repr

Metric = str | Callable[[Any], Any]
"""A metric's name, dotted path, or a function of the value."""

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
WHOLE = "value"
"""The metric that is the whole value of a task that returns a plain number."""

_FLOAT = frozenset({float})
_TEXT = frozenset({str})
_MAX_LEAVES = 1_000
_MAX_DEPTH = 5


def as_number(value: object) -> int | float | None:
    """Return the int or float a value stands for, None if it is not a real number.

    >>> as_number(True), as_number(0.5), as_number("0.5")
    (1, 0.5, None)
    """
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal | numbers.Real):
        return float(value)
    if getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "f") in "biuf":
        item = getattr(value, "item", None)
        plain = item() if callable(item) else None
        return as_number(plain) if isinstance(plain, int | float) else None
    return None


def metric_name(metric: Metric) -> str:
    """Return the text for a metric in results and messages.

    >>> metric_name("auc"), metric_name(len)
    ('auc', 'len')
    """
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", type(metric).__name__)).strip("<>")


def finder(metric: Metric) -> Callable[[Any], Any]:
    """Return a function that finds what a metric names in a value, or MISSING. It converts nothing."""
    if not isinstance(metric, str):
        return metric
    path = metric
    if path == WHOLE:
        return lambda value: value if type(value) is float else _along(value, path)
    if "." in path:
        return lambda value: _along(value, path)

    def find(value: Any) -> Any:
        if type(value) is dict:
            return value.get(path, MISSING)
        return _step(value, path)

    return find


def _along(value: Any, path: str) -> Any:
    """Follow a dotted path, preferring keys that contain dots themselves; what has no "value" is its own."""
    found = _step(value, path)
    if found is not MISSING:
        return found
    if path == WHOLE:
        return value
    head = path
    while "." in head:
        head = head.rpartition(".")[0]
        inner = _step(value, head)
        if inner is not MISSING:
            found = _along(inner, path[len(head) + 1 :])
            if found is not MISSING:
                return found
    return MISSING


def _step(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if as_number(value) is not None:
        return MISSING  # numpy numbers have attributes such as .mean and .real
    declared = getattr(type(value), "__flowlib_metrics__", None)
    if declared is not None:
        found = declared(value).get(key, MISSING)
        if found is not MISSING:
            return found
    return MISSING if key.startswith("_") else getattr(value, key, MISSING)


def reader(metric: Metric) -> Callable[[Item[Any]], int | float]:
    """Return a function that reads a metric's number from an item.

    The returned function raises ReducerError, naming the point, if the metric is missing or not a number.
    """
    find = finder(metric)

    def read(item: Item[Any]) -> int | float:
        found = find(item.value)
        if type(found) is float or type(found) is int:
            return found
        number = None if found is MISSING else as_number(found)
        if number is None:
            raise unreadable(metric, item, found)
        return number

    return read


def unreadable(metric: Metric, item: Item[Any], found: object) -> ReducerError:
    """Make the error for a metric that a point does not have, or that is not a number there."""
    name = metric_name(metric)
    known = list(metric_leaves(item.value))
    facts: dict[str, object] = {
        "value": short_repr(item.value),
        "metrics": listed(known, len(known), limit=10) or "none",
    }
    if found is MISSING:
        what = f"Point {item.label!r} has no metric {name!r}."
    else:
        what = f"Metric {name!r} of point {item.label!r} is not a number."
        facts["found"] = f"{short_repr(found)} ({type(found).__name__})"
    hint = near_miss(name, known) if known else "Return a dict or a dataclass with numbers, or pass a function."
    if known == [WHOLE]:
        hint = f"The value is a plain number: name it {WHOLE!r}."
    if found is not MISSING and callable(found):
        hint = f"Use a function of the value: lambda v: v.{name}()."
    return ReducerError(what, facts, hint)


def metric_leaves(value: object) -> Mapping[str, int | float]:
    """Return the numbers inside a value by dotted name; {"value": number} for a plain number.

    For a dict of nothing but floats, that is the dict itself: the most usual result of a point.

    Bools are not counted among them: name such a metric to use it.

    Cost: O(fields), at most 1,000 numbers, five levels deep; arrays and lists are not walked.

    >>> metric_leaves({"auc": 0.9, "time": {"fit": 3}, "model": "svm"})
    {'auc': 0.9, 'time.fit': 3}
    """
    if type(value) is dict:
        is_small = len(value) <= _MAX_LEAVES
        if is_small and _FLOAT.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value)):
            return value
    else:
        number = None if isinstance(value, bool) else as_number(value)
        if number is not None:
            return {WHOLE: number}
    found: dict[str, int | float] = {}
    _collect_leaves(value, "", found, 0)
    return found


def _collect_leaves(value: object, prefix: str, found: dict[str, int | float], depth: int) -> None:
    for name, inner in fields_of(value).items():
        if len(found) >= _MAX_LEAVES:
            return
        if type(inner) is float:
            found[prefix + name] = inner
            continue
        number = None if isinstance(inner, bool) else as_number(inner)
        if number is not None:
            found[prefix + name] = number
        elif depth + 1 < _MAX_DEPTH:
            _collect_leaves(inner, f"{prefix}{name}.", found, depth + 1)


def fields_of(value: Any) -> Mapping[str, Any]:
    """Return the named parts of a mapping or a record; nothing for any other value."""
    kind = type(value)
    if kind is dict:
        return {name: inner for name, inner in value.items() if isinstance(name, str)}
    if kind in (str, bytes, list, tuple, set) or isinstance(value, type) or callable(value):
        return {}
    declared = getattr(kind, "__flowlib_metrics__", None)
    if declared is not None:
        metrics: Mapping[str, Any] = declared(value)
        return metrics
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if isinstance(name, str)}
    names = _field_names(kind)
    if names is None:
        return {name: inner for name, inner in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return {name: getattr(value, name, MISSING) for name in names if not name.startswith("_")}


def _field_names(kind: type) -> tuple[str, ...] | None:
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    for attribute in ("__dataclass_fields__", "__pydantic_fields__", "_fields"):
        declared = getattr(kind, attribute, None)
        if isinstance(declared, Mapping | tuple):
            return tuple(declared)
    return None
