"""Encoders for columnar data: pyarrow and polars.

Chunks, offsets of slices, unused buffers and the values under nulls leave no trace. A column is its type, where its
nulls are, and its valid values: those of fixed width as bytes, texts as lengths and joined bytes, nested ones as lengths
and a column of items. Types without such a form enter item by item.
"""

import sys
from collections.abc import Sequence
from typing import Any

from flowlib.hashing.encoding import Node, Refused, Walk, attribute_label, named, named_head, short


def encode_arrow_table(value: Any, walk: Walk) -> Node:
    """Encode a pyarrow Table or RecordBatch: schema, number of rows, columns."""
    names = value.schema.names
    head = named_head(f"pyarrow.{type(value).__name__}", len(names) + 2)
    return Node(head, [*value.columns, value.schema, value.num_rows], label=_column_label, names=names)


def encode_arrow_schema(value: Any, walk: Walk) -> Node:
    """Encode a schema: fields in order, metadata."""
    return named("pyarrow.Schema", [value.field(i) for i in range(len(value))], value.metadata)


def encode_arrow_field(value: Any, walk: Walk) -> Node:
    """Encode a field: name, type, whether nulls are allowed, metadata."""
    return named("pyarrow.Field", value.name, value.type, value.nullable, value.metadata)


def encode_arrow_type(value: Any, walk: Walk) -> Node:
    """Encode a type by the name Arrow gives it, and its fields."""
    return named("pyarrow.DataType", str(value), [value.field(i) for i in range(value.num_fields)])


def encode_arrow_scalar(value: Any, walk: Walk) -> Node:
    """Encode a scalar as the array that has only it."""
    pyarrow = sys.modules["pyarrow"]
    return named("pyarrow.Scalar", pyarrow.array([value.as_py()], type=value.type))


def encode_arrow_array(value: Any, walk: Walk) -> Node:
    """Encode an Array or ChunkedArray."""
    chunked = hasattr(value, "chunks")
    chunks = value.chunks if chunked else [value]
    mask = _arrow_mask(chunks) if value.null_count else None
    chunks = [chunk.drop_null() for chunk in chunks] if value.null_count else chunks
    parts = _arrow_values(value.type, chunks, walk)
    head = named_head("pyarrow.ChunkedArray" if chunked else "pyarrow.Array", 3 + len(parts))
    return Node(head, [*parts, value.type, len(value), mask], label=_nested_label)
