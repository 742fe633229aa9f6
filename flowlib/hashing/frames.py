"""Encoders for pandas, versions 2 and 3: frames, series, indexes, extension arrays and dtypes, timestamps.

A frame is its index, its column labels, each column with its own dtype, `attrs` and flags; how pandas groups columns in
blocks leaves no trace. A range index is not the integer index with the same labels, a text column kept in Arrow is not
one kept in Python objects: dtypes count. A multi-index counts by its labels, not by unused levels.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flowlib.hashing.callables import class_identity
from flowlib.hashing.encoding import Node, Walk, attribute_label, named, named_head, short


def encode_frame(value: Any, walk: Walk) -> Node:
    """Encode a DataFrame column by column."""
    columns = [_column(value.iloc[:, i]) for i in range(value.shape[1])]
    labels = list(value.columns)
    children = [*columns, value.columns, value.index, value.attrs, value.flags.allows_duplicate_labels]
    return Node(named_head("pandas.DataFrame", len(children)), children, label=_frame_label, names=labels)


def encode_series(value: Any, walk: Walk) -> Node:
    """Encode a Series: values, index, name."""
    parts = (_column(value), value.index, value.name, value.attrs, value.flags.allows_duplicate_labels)
    return Node(named_head("pandas.Series", 5), parts, label=_series_label)


def encode_index(value: Any, walk: Walk) -> Node:
    """Encode an index by its type, labels and names; a range by start, step and length."""
    kind = type(value).__name__
    if kind == "RangeIndex":
        return named("pandas.RangeIndex", value.start, value.step, len(value), value.name)
    if kind == "MultiIndex":
        levels = [value.get_level_values(i) for i in range(value.nlevels)]
        return named("pandas.MultiIndex", len(value), *(_column(level) for level in levels), list(value.names))
    return named(f"pandas.{kind}", _column(value), value.name, getattr(value, "freqstr", None))


def encode_extension_array(value: Any, walk: Walk) -> Node:
    """Encode an extension array by the parts of its kind; one of an unknown kind by its items."""
    for cls in type(value).__mro__:
        parts = _ARRAY_PARTS.get(cls.__name__)
        if parts is not None and cls.__module__.partition(".")[0] == "pandas":
            return named(f"pandas.{cls.__name__}", *parts(value))
    children = (value.dtype, list(value))
    return Node(named_head("pandas.array", 2) + class_identity(type(value), walk), children, label=_series_label)


def encode_dtype(value: Any, walk: Walk) -> Node:
    """Encode an extension dtype by the parameters of its kind; one of an unknown kind by its name."""
    cls = type(value)
    parts = _DTYPE_PARTS.get(cls.__name__, ("name",))
    return Node(
        named_head("pandas.dtype", len(parts)) + class_identity(cls, walk),
        [getattr(value, part, None) for part in parts],
        label=attribute_label,
        names=parts,
    )


def encode_timestamp(value: Any, walk: Walk) -> Node:
    """Encode a Timestamp: instant in its unit, unit, zone."""
    return named("pandas.Timestamp", int(value.asm8.view("i8")), value.unit, value.tzinfo)


def encode_timedelta(value: Any, walk: Walk) -> Node:
    """Encode a Timedelta: length in its unit, unit."""
    return named("pandas.Timedelta", int(value.asm8.view("i8")), value.unit)


def encode_period(value: Any, walk: Walk) -> Node:
    """Encode a Period."""
    return named("pandas.Period", value.ordinal, value.freqstr)


def encode_interval(value: Any, walk: Walk) -> Node:
    """Encode an Interval."""
    return named("pandas.Interval", value.left, value.right, value.closed)


def encode_missing(value: Any, walk: Walk) -> bytes:
    """Encode `NaT` or `NA`."""
    return named_head(f"pandas.{type(value).__name__}", 0)


def encode_offset(value: Any, walk: Walk) -> Node:
    """Encode a date offset such as `MonthEnd(2)` by its class and parameters."""
    parts = (type(value).__qualname__, value.freqstr, value.n, value.normalize, dict(value.kwds))
    names = ("__class__", "freqstr", "n", "normalize", "kwds")
    return Node(named_head("pandas.offset", len(parts)), parts, label=attribute_label, names=names)


def _column(value: Any) -> Any:
    """Return the values of a series or index as the array that holds them, numpy's own where possible."""
    array = value.array
    return sys.modules["numpy"].asarray(array) if type(array).__name__ in _NUMPY_BACKED else array


_NUMPY_BACKED = frozenset(["NumpyExtensionArray", "PandasArray"])


def _masked_parts(value: Any) -> tuple[object, ...]:
    dtype = value.dtype.numpy_dtype
    return value.dtype, value.isna(), value.to_numpy(dtype=dtype, na_value=dtype.type(0))


def _text_parts(value: Any) -> tuple[object, ...]:
    """Take apart text kept in Python objects; what a missing text is kept as does not matter, the dtype says it."""
    numpy = sys.modules["numpy"]
    missing = value.isna()
    return value.dtype, missing, numpy.where(missing, "", numpy.asarray(value, dtype=object)).tolist()


def _arrow_parts(value: Any) -> tuple[object, ...]:
    arrow = value.__arrow_array__()
    return value.dtype, arrow


def _moment_parts(value: Any) -> tuple[object, ...]:
    return value.dtype, value.view("i8"), getattr(value, "freqstr", None)


def _period_parts(value: Any) -> tuple[object, ...]:
    return value.dtype, value.asi8


def _sparse_parts(value: Any) -> tuple[object, ...]:
    return value.dtype, len(value), value.sp_values, value.sp_index.to_int_index().indices


_ARRAY_PARTS: Mapping[str, Callable[[Any], tuple[object, ...]]] = MappingProxyType(
    {
        "NumpyExtensionArray": lambda value: (value.to_numpy(),),
        "Categorical": lambda value: (value.codes, value.categories, value.ordered),
        "IntervalArray": lambda value: (value.left, value.right, value.closed),
        "DatetimeArray": _moment_parts,
        "TimedeltaArray": _moment_parts,
        "PeriodArray": _period_parts,
        "SparseArray": _sparse_parts,
        "ArrowExtensionArray": _arrow_parts,
        "StringArray": _text_parts,
        "BaseMaskedArray": _masked_parts,
    }
)

_DTYPE_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "CategoricalDtype": ("categories", "ordered"),
        "DatetimeTZDtype": ("unit", "tz"),
        "IntervalDtype": ("subtype", "closed"),
        "SparseDtype": ("subtype", "fill_value"),
        "StringDtype": ("storage", "na_value"),
        "ArrowDtype": ("pyarrow_dtype",),
    }
)


def _frame_label(names: Sequence[object], i: int) -> str:
    if i < len(names):
        return f"[{short(names[i])}]"
    return (".columns", ".index", ".attrs", ".flags")[i - len(names)]


def _series_label(names: Sequence[object], i: int) -> str:
    return ("", ".index", ".name", ".attrs", ".flags")[i]
