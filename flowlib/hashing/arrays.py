"""Encoders for numpy arrays and scalars, and for sparse matrices of scipy.

An array is its dtype, its shape and its logical content in C order. Views, strides, byte order, memory layout, the
read-only flag, memory maps and padding between the fields of records leave no trace. Numbers enter as their bytes, so
two NaNs with different payloads differ inside arrays (they do not as Python floats): looking for NaNs would cost as much
as hashing.

Sparse matrices enter as they are stored: format, shape, stored entries in stored order. Entries that are stored twice,
unsorted or zero make a difference, because bringing them in order would copy the matrix.
"""

import sys
from collections.abc import Iterator
from typing import Any

from flowlib.hashing.encoding import Node, Refused, Walk, count, named, text
from flowlib.hashing.plain import encode_bool, encode_bytes, encode_complex, encode_float, encode_int, encode_str

_CHUNK_BYTES = 1 << 24
"""How much of a scattered array is copied together at a time."""


def encode_array(value: Any, walk: Walk) -> bytes | Node:
    """Encode an ndarray: plain numbers straight from its buffer, everything else by its items or fields.

    Cost: 0.1 ns per byte when contiguous and native, about 1 ns per byte otherwise.
    """
    numpy = sys.modules["numpy"]
    cls = type(value)
    foreign = cls.__module__.partition(".")[0] != "numpy"  # a user's subclass: `objects` adds its class and state
    name = "ndarray" if foreign or cls in (numpy.ndarray, numpy.memmap) else cls.__name__
    plain = value if cls is numpy.ndarray else value.view(numpy.ndarray)
    head = b"A" + text(name) + count(plain.ndim) + b"".join(map(count, plain.shape))
    dtype = plain.dtype
    if dtype.names is not None:
        head += b"{" + count(len(dtype.names))
        fields = [part for field in dtype.names for part in (field, plain[field])]
        return Node(head, fields, label=_field_label, names=dtype.names)
    if dtype.kind == "O":
        return Node(head + b"O", (plain.ravel().tolist(),), label=_items_label)
    if dtype.kind == "T":
        return Node(head + b"T", (plain.ravel().tolist(), *_text_facts(dtype)), label=_items_label)
    size = plain.size * _significant_bytes(dtype)
    return walk.stream(head + b"#" + text(_dtype_name(dtype)), size, _pieces(plain))


def encode_masked_array(value: Any, walk: Walk) -> Node:
    """Encode a masked array: mask, data (also under the mask, `.data` shows it), fill value, hardness."""
    numpy = sys.modules["numpy"]
    if value is numpy.ma.masked:
        return named("numpy.ma.masked")
    mask = numpy.ma.getmaskarray(value)
    data = numpy.ma.getdata(value)
    return named("numpy.ma", data, mask, value.fill_value, bool(value.hardmask), detail=type(value).__name__.encode())


def encode_scalar(value: Any, walk: Walk) -> bytes | Node:
    """Encode a numpy scalar: like Python's where a Python scalar has the same width, else with its dtype."""
    name = type(value).__name__
    if name in ("bool", "bool_"):
        return encode_bool(value, walk)
    if name == "int64":
        return encode_int(int(value), walk)
    if name == "float64":
        return encode_float(float(value), walk)
    if name == "complex128":
        return encode_complex(complex(value), walk)
    if name == "str_":
        return encode_str(str.__str__(value), walk)
    if name == "bytes_":
        return encode_bytes(bytes(value), walk)
    return named("numpy.generic", sys.modules["numpy"].asarray(value))


def encode_dtype(value: Any, walk: Walk) -> Node:
    """Encode a dtype: its name, or its fields with their offsets."""
    if value.names is not None:
        fields = [(name, value.fields[name][0], value.fields[name][1]) for name in value.names]
        return named("numpy.dtype", fields, value.itemsize)
    if value.subdtype is not None:
        return named("numpy.dtype", *value.subdtype)
    if value.kind == "T":
        return named("numpy.dtype", "StringDType", *_text_facts(value))
    return named("numpy.dtype", _dtype_name(value))


def encode_sparse(value: Any, walk: Walk) -> Node:
    """Encode a sparse matrix or array of scipy by its format and stored entries."""
    parts: dict[str, tuple[str, ...]] = {
        "csr": ("data", "indices", "indptr"),
        "csc": ("data", "indices", "indptr"),
        "bsr": ("data", "indices", "indptr"),
        "coo": ("data", "coords"),
        "dia": ("data", "offsets"),
        "lil": ("data", "rows"),
    }
    name = type(value).__name__
    if value.format == "dok":
        return named(name, value.shape, value.dtype, dict(value.items()))
    if value.format not in parts:
        raise Refused(value, f"sparse format {value.format!r} is not known")
    return named(name, value.shape, *(getattr(value, part) for part in parts[value.format]))


def encode_generator(value: Any, walk: Walk) -> Node:
    """Refuse a random generator: a task that draws from it would change its own input."""
    raise Refused(
        value, "a random generator changes when it is used", "Pass a seed and make the generator in the task."
    )


def _text_facts(dtype: Any) -> tuple[object, ...]:
    """Return what tells the text types of numpy apart: how missing texts are kept, whether other objects become texts."""
    return ([dtype.na_object] if hasattr(dtype, "na_object") else []), dtype.coerce


def _dtype_name(dtype: Any) -> str:
    """Name a dtype without fields, in little-endian; `str` alone does not tell the types of extension packages apart."""
    name = dtype.newbyteorder("<").str
    return f"{name} {dtype.name}" if dtype.kind == "V" else str(name)


def _significant_bytes(dtype: Any) -> int:
    """Bytes of an item that hold its value: an 80-bit long double has padding, whose content is accidental."""
    if dtype.char in "gG" and sys.modules["numpy"].finfo(dtype).nmant == 63:
        return 20 if dtype.char == "G" else 10
    return int(dtype.itemsize)


def _pieces(array: Any) -> Iterator[memoryview]:
    """Yield the content of an array as contiguous little-endian bytes in C order."""
    if array.size == 0 or array.dtype.itemsize == 0:
        return
    if array.flags.c_contiguous and _is_little(array.dtype) and _significant_bytes(array.dtype) == array.dtype.itemsize:
        yield _raw(array)
        return
    if array.ndim == 0:
        array = array.reshape(1)
    step = max(1, _CHUNK_BYTES * array.shape[0] // max(1, array.nbytes))
    for start in range(0, array.shape[0], step):
        yield _raw(_tidied(array[start : start + step]))


def _tidied(array: Any) -> Any:
    numpy = sys.modules["numpy"]
    array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    array = numpy.ascontiguousarray(array)
    width = 10 if array.dtype.char in "gG" and _significant_bytes(array.dtype) != array.dtype.itemsize else 0
    if not width:
        return array
    halves = array.reshape(-1).view(numpy.uint8).reshape(-1, numpy.dtype("g").itemsize)
    return numpy.ascontiguousarray(halves[:, :width])


def _raw(array: Any) -> memoryview:
    return memoryview(array.reshape(-1).view(sys.modules["numpy"].uint8))


def _is_little(dtype: Any) -> bool:
    return dtype.byteorder in "<|" or (dtype.byteorder == "=" and sys.byteorder == "little")


def _field_label(names: Any, i: int) -> str:
    return f"[{names[i // 2]!r}]"


def _items_label(names: Any, i: int) -> str:
    return "" if i == 0 else ".dtype"
