"""Tables without pickle: pandas, polars and pyarrow frames in Arrow's IPC format.

Invariant: a frame is encoded here only if cheap conditions guarantee that the same frame comes back, with its types,
names and missing values. Whatever else a pandas frame may carry (an index with values, attributes, objects,
extension types) is left to pickle 5, which is exact and moves the numeric blocks uncopied.
"""

import io
from collections.abc import Callable
from typing import Any

from flowlib.store.files import Buffer

_EXACT_KINDS = frozenset("biufMm")
_IPC_PACKAGES = ("pandas", "polars", "pyarrow")


def encode_frame(value: Any) -> tuple[str, list[Buffer]] | None:
    """Return the codec and the parts of a frame, or None if the value is none or Arrow would lose something."""
    package = type(value).__module__.partition(".")[0]
    if package not in _IPC_PACKAGES:
        return None
    name = type(value).__name__
    encoder = _ENCODERS.get((package, name))
    parts = encoder(value) if encoder is not None else None
    return None if parts is None else (f"{package}-arrow", parts)


def decode_frame(codec: str, data: memoryview) -> object:
    """Return the frame in verified bytes that nobody else holds."""
    if codec == "polars-arrow":
        import polars

        return polars.read_ipc(io.BytesIO(data))
    import pyarrow

    with pyarrow.ipc.open_stream(pyarrow.py_buffer(data)) as reader:
        table = reader.read_all()
    return table.to_pandas() if codec == "pandas-arrow" else table


def _encode_pandas(frame: Any) -> list[Buffer] | None:
    try:
        import pyarrow
    except ImportError:
        return None
    import pandas

    if type(frame) is not pandas.DataFrame or not _is_exact_pandas(frame):
        return None
    columns = [frame.iloc[:, at] for at in range(frame.shape[1])]
    try:
        schema = pyarrow.Schema.from_pandas(frame, preserve_index=False)
        arrays = [
            pyarrow.array(column.array if column.dtype == "str" else column.to_numpy(), type=field.type)
            for column, field in zip(columns, schema, strict=True)
        ]
    except (pyarrow.ArrowException, ValueError, TypeError):
        return None
    return _write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _is_exact_pandas(frame: Any) -> bool:
    import numpy
    import pandas

    index, columns = frame.index, frame.columns
    plain_index = type(index) is pandas.RangeIndex and index.name is None and index.start == 0 and index.step == 1
    plain_names = type(columns) is pandas.Index and columns.name is None and columns.dtype == "str"
    if not (plain_index and plain_names and columns.is_unique and not columns.hasnans and frame.shape[1]):
        return False
    if frame.attrs or not frame.flags.allows_duplicate_labels:
        return False
    return all(
        dtype.kind in _EXACT_KINDS and dtype.isnative and dtype.itemsize <= 8 and dtype != "float16"
        if isinstance(dtype, numpy.dtype)
        else dtype == "str"
        for dtype in frame.dtypes
    )


def _encode_polars(frame: Any) -> list[Buffer] | None:
    import polars

    if type(frame) is not polars.DataFrame or not all(map(_is_exact_polars, frame.dtypes)):
        return None
    stream = io.BytesIO()
    frame.write_ipc(stream, compat_level=polars.CompatLevel.newest())
    return [stream.getbuffer()]


def _is_exact_polars(dtype: Any) -> bool:
    import polars

    if dtype.is_nested():
        inner = [field.dtype for field in getattr(dtype, "fields", ())] or [getattr(dtype, "inner", polars.Object)]
        return all(map(_is_exact_polars, inner))
    named = (polars.String, polars.Binary, polars.Boolean, polars.Null)
    return bool(dtype.is_numeric() or dtype.is_temporal() or dtype in named)


def _encode_arrow(table: Any) -> list[Buffer] | None:
    import pyarrow

    if type(table) is not pyarrow.Table or not all(map(_is_exact_arrow, table.schema.types)):
        return None
    return _write_table(table)


def _is_exact_arrow(kind: Any) -> bool:
    import pyarrow

    if isinstance(kind, pyarrow.BaseExtensionType) or pyarrow.types.is_dictionary(kind):
        return False
    return all(_is_exact_arrow(kind.field(at).type) for at in range(kind.num_fields))


def _write_table(table: Any) -> list[Buffer]:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return [memoryview(sink.getvalue())]


_ENCODERS: dict[tuple[str, str], Callable[[Any], list[Buffer] | None]] = {
    ("pandas", "DataFrame"): _encode_pandas,
    ("polars", "DataFrame"): _encode_polars,
    ("pyarrow", "Table"): _encode_arrow,
}
