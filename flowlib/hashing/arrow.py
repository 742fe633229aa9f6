"""Encoders for pyarrow: tables, record batches, arrays, scalars, schemas.

Chunks, offsets of slices, unused buffers and the bytes under nulls leave no trace. A column is its type, where its nulls
are, and its valid values: those of fixed width as bytes, texts as lengths and joined bytes, nested ones as lengths and a
column of items. Types without such a form (maps, unions) enter item by item.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from flowlib.hashing.encoding import Made, Node, Walk, named, named_head, short


def encode_table(value: Any, walk: Walk) -> Node:
    """Encode a Table or RecordBatch: schema, number of rows, columns."""
    names = value.schema.names
    head = named_head(f"pyarrow.{type(value).__name__}", len(names) + 2)
    return Node(head, [*value.columns, value.schema, value.num_rows], label=_column_label, names=names)


def encode_schema(value: Any, walk: Walk) -> Node:
    """Encode a schema: fields in order, metadata."""
    return named("pyarrow.Schema", [value.field(i) for i in range(len(value))], value.metadata)


def encode_field(value: Any, walk: Walk) -> Node:
    """Encode a field: name, type, whether nulls are allowed, metadata."""
    return named("pyarrow.Field", value.name, value.type, value.nullable, value.metadata)


def encode_type(value: Any, walk: Walk) -> Node:
    """Encode a type by the name Arrow gives it, and its fields."""
    return named("pyarrow.DataType", str(value), [value.field(i) for i in range(value.num_fields)])


def encode_scalar(value: Any, walk: Walk) -> Node:
    """Encode a scalar as the array that has only it."""
    return named("pyarrow.Scalar", sys.modules["pyarrow"].array([value.as_py()], type=value.type))


def encode_array(value: Any, walk: Walk) -> Node:
    """Encode an Array or ChunkedArray.

    Cost: 0.1 ns per byte for columns without nulls; nulls cost a copy of the valid values.
    """
    chunked = hasattr(value, "chunks")
    chunks = value.chunks if chunked else [value]
    if "_view" in str(value.type):  # views of texts have few functions of their own
        chunks = [_cast(chunk, "large_" + str(value.type).removesuffix("_view")) for chunk in chunks]
    mask = None
    if value.null_count:
        mask = _fixed(b"v", 1, [_cast(chunk.is_valid(), "uint8") for chunk in chunks], walk)
        if not _is_opaque(value.type):
            chunks = [chunk.drop_null() for chunk in chunks]
    parts = _values(value.type, chunks, walk)
    head = named_head("pyarrow.ChunkedArray" if chunked else "pyarrow.Array", 3 + len(parts))
    return Node(head, [*parts, value.type, len(value), mask], label=_nested_label)


def _values(dtype: Any, chunks: list[Any], walk: Walk) -> list[object]:
    """Return what the valid values of a column consist of."""
    types = sys.modules["pyarrow"].types
    if types.is_null(dtype):
        return []
    if types.is_dictionary(dtype):
        return [_joined([chunk.dictionary_decode() for chunk in chunks], dtype.value_type)]
    if types.is_struct(dtype):
        fields = [chunk.flatten() for chunk in chunks]
        return [_joined([each[i] for each in fields], dtype.field(i).type) for i in range(dtype.num_fields)]
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype):
        items = _joined([chunk.flatten() for chunk in chunks], dtype.value_type)
        return [_lengths("list_value_length", chunks, walk), items]
    if isinstance(dtype, sys.modules["pyarrow"].BaseExtensionType):
        return [_joined([chunk.storage for chunk in chunks], dtype.storage_type)]
    if _is_text(dtype):
        return [_lengths("binary_length", chunks, walk), _texts(chunks, walk)]
    if types.is_boolean(dtype):
        return [_fixed(b"b", 1, [_cast(chunk, "uint8") for chunk in chunks], walk)]
    if types.is_primitive(dtype) or types.is_decimal(dtype) or types.is_fixed_size_binary(dtype):
        return [_fixed(b"n", dtype.bit_width // 8, chunks, walk)]
    return [[item for chunk in chunks for item in chunk.to_pylist()]]


def _is_text(dtype: Any) -> bool:
    types = sys.modules["pyarrow"].types
    checks = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary", "is_binary_view")
    return any(getattr(types, check)(dtype) for check in checks)


def _is_opaque(dtype: Any) -> bool:
    """Say whether a type enters item by item; its nulls then come along as None."""
    types = sys.modules["pyarrow"].types
    return bool(types.is_map(dtype) or types.is_union(dtype) or types.is_run_end_encoded(dtype) or types.is_null(dtype))


def _joined(chunks: list[Any], dtype: Any) -> Any:
    return sys.modules["pyarrow"].chunked_array(chunks, type=dtype)


def _cast(array: Any, name: str) -> Any:
    return array.cast(getattr(sys.modules["pyarrow"], name)())


def _lengths(function: str, chunks: list[Any], walk: Walk) -> Made:
    from pyarrow import compute

    return _fixed(b"l", 8, [_cast(getattr(compute, function)(chunk), "int64") for chunk in chunks], walk)


def _fixed(kind: bytes, width: int, chunks: list[Any], walk: Walk) -> Made:
    """Encode the values of chunks without nulls, each `width` bytes, as one buffer."""
    pieces = _slices(width, chunks)
    return Made(walk.stream(kind, width * sum(map(len, chunks)), pieces))


def _slices(width: int, chunks: list[Any]) -> Iterator[memoryview]:
    for chunk in chunks:
        buffer = chunk.buffers()[1]
        if buffer is not None and width and len(chunk):
            yield memoryview(buffer)[chunk.offset * width : (chunk.offset + len(chunk)) * width]


def _texts(chunks: list[Any], walk: Walk) -> Made:
    """Encode the joined bytes of text or binary chunks without nulls."""
    pieces = []
    for chunk in chunks:
        _, offsets, data = chunk.buffers()
        if data is None or offsets is None or not len(chunk):
            continue
        raw = memoryview(offsets).cast("B")
        places = raw.cast("q") if "large" in str(chunk.type) else raw.cast("i")
        pieces.append(memoryview(data)[places[chunk.offset] : places[chunk.offset + len(chunk)]])
    return Made(walk.stream(b"s", sum(piece.nbytes for piece in pieces), pieces))


def _column_label(names: Sequence[object], i: int) -> str:
    return f"[{short(names[i])}]" if i < len(names) else ".schema"


def _nested_label(names: Sequence[object], i: int) -> str:
    return ""
