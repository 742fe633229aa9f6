"""Encoders for polars: frames, series, data types. Lazy frames are refused, they are plans and not values.

Chunks and the bytes under nulls leave no trace. A series is its name, its type, where its nulls are, and its valid
values: numbers and moments as bytes, texts as lengths and joined text, lists as lengths and a series of items, structs as
their fields, categories by their texts. Other types enter item by item.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flowlib.hashing.encoding import Made, Node, Refused, Walk, attribute_label, named, named_head, short


def encode_frame(value: Any, walk: Walk) -> Node:
    """Encode a DataFrame: number of rows, columns in order with their names and types."""
    head = named_head("polars.DataFrame", value.width + 1)
    return Node(head, [*value.get_columns(), value.height], label=_frame_label, names=value.columns)


def encode_series(value: Any, walk: Walk) -> Node:
    """Encode a Series."""
    mask = value.is_not_null().to_numpy() if value.null_count() else None
    valid = value.drop_nulls() if value.null_count() else value
    parts = _values(valid, str(value.dtype.base_type()), walk)
    head = named_head("polars.Series", 4 + len(parts))
    return Node(head, [*parts, value.name, value.dtype, len(value), mask], label=_nested_label)


def encode_lazy(value: Any, walk: Walk) -> Node:
    """Refuse a lazy frame."""
    raise Refused(value, "a lazy frame is a plan, not a value", "Call .collect() first.")


def encode_dtype(value: Any, walk: Walk) -> Node:
    """Encode a data type: its name and its parameters."""
    name = str(value.base_type())
    names = _PARAMETERS.get(name, ())
    parts = [value.categories.to_list()] if name == "Enum" else [getattr(value, part) for part in names]
    return Node(named_head(f"polars.{name}", len(parts)), parts, label=attribute_label, names=names)


_PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Datetime": ("time_unit", "time_zone"),
        "Duration": ("time_unit",),
        "Decimal": ("precision", "scale"),
        "List": ("inner",),
        "Array": ("inner", "shape"),
        "Struct": ("fields",),
        "Enum": ("categories",),
    }
)
_AS_BYTES = frozenset(
    f"{kind}{width}"
    for kind, widths in (("Int", (8, 16, 32, 64)), ("UInt", (8, 16, 32, 64)), ("Float", (32, 64)))
    for width in widths
) | {"Boolean", "Date", "Time", "Datetime", "Duration"}


def encode_dtype_field(value: Any, walk: Walk) -> Node:
    """Encode a field of a struct type."""
    return named("polars.Field", value.name, value.dtype)


def _values(valid: Any, kind: str, walk: Walk) -> list[object]:
    """Return what the valid values of a series consist of."""
    if kind in _AS_BYTES:
        return [valid.to_physical().to_numpy()]
    if kind in ("Categorical", "Enum"):
        return _values(valid.cast(_string_type()), "String", walk)
    if kind == "String":
        return [valid.str.len_chars().to_numpy(), _joined(valid, walk)]
    if kind == "List":
        lengths = valid.list.len()
        return [lengths.to_numpy(), valid.filter(lengths > 0).explode()]
    if kind == "Array":
        return [valid.explode()] if valid.dtype.size else []
    if kind == "Struct":
        return list(valid.struct.unnest().get_columns())
    return [valid.to_list()]


def _joined(valid: Any, walk: Walk) -> Made:
    joined = valid.str.join("").item() if len(valid) else ""
    return Made(walk.buffer(b"s", joined.encode("utf-8", "surrogatepass")))


def _string_type() -> Any:
    from polars import String

    return String


def _frame_label(names: Sequence[object], i: int) -> str:
    return f"[{short(names[i])}]" if i < len(names) else ".height"


def _nested_label(names: Sequence[object], i: int) -> str:
    return ""
