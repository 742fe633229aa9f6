"""Fast lanes: long sequences of plain scalars of one kind, encoded without a Python call for each element.

Rule: whether a sequence is packed depends only on its elements' tokens and number, never on how it was built or on what
is installed. So `[0.5] * 20` and a list of twenty `numpy.float64(0.5)` meet, and a lane can change only together with
every digest it makes. Packed forms, each after the kind and the number of elements:

    f   floats, fewer than `floats.LONG`: for each "g" and 8 bytes, little-endian, every NaN the same one (the layout in
        which `marshal` writes floats at half the price of checking types and packing them separately)
    F   floats, as many or more: the layout of `pickle`, see `floats`
    i   ints that all fit 32 bits: for each "i" and 4 bytes, little-endian (again the layout of `marshal`)
    q   ints that all fit 64 bits, but not all 32: 8 bytes each, little-endian
    s   texts: number of code points of each (8 bytes), then all texts joined in UTF-8
    b   bytes: length of each (8 bytes), then all joined
    B   bools: one byte each
"""

import marshal
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any

from flowlib.hashing.digest import fast_hash
from flowlib.hashing.encoding import Walk, count
from flowlib.hashing.floats import LONG, hash_floats, pack_floats

LANE_LENGTH = 16
"""Shorter sequences are encoded item by item; checking them for a lane would cost as much."""

_CHUNK = 4096
"""Elements converted at a time: the copy of their pointers stays in the processor's cache."""

_PYTHON_KINDS = {float: "f", int: "i", str: "s", bytes: "b", bool: "B"}
_NUMPY_KINDS = {
    "float64": "f",
    "int64": "i",
    "str_": "s",
    "bytes_": "b",
    "bool": "B",
    "bool_": "B",
}


def kind_of(cls: type) -> str | None:
    """Return the kind of scalar whose tokens the instances of a type have, or None.

    >>> kind_of(float), kind_of(list)
    ('f', None)
    """
    kind = _PYTHON_KINDS.get(cls)
    if kind is None and cls.__module__ == "numpy":
        return _NUMPY_KINDS.get(cls.__name__)
    return kind


def common_kind(values: Collection[Any]) -> str | None:
    """Return the one kind of scalar that all elements are; None when they differ, have none, or there are none."""
    types = list(map(type, values))
    if types and types.count(types[0]) == len(types):  # one pass in C, cheaper than a set of all types
        return kind_of(types[0])
    kinds = {kind_of(cls) for cls in set(types)}
    return kinds.pop() if len(kinds) == 1 else None


def pack(values: Sequence[Any], walk: Walk) -> bytes | None:
    """Encode a sequence in its lane; None when it is too short or has no lane.

    Cost: 15 ns for each float, 20 ns for each small int, 100 ns for each large int, 130 ns for each short text.
    """
    if len(values) < LANE_LENGTH:
        return None
    quick = _QUICK.get(type(values[0]))
    packed = quick(values, walk) if quick is not None and type(values[-1]) is type(values[0]) else None
    if packed is not None:
        return packed
    kind = common_kind(values)
    return None if kind is None else _PACKERS[kind](values, walk)


def _quick_floats(values: Sequence[Any], walk: Walk) -> bytes | None:
    """Pack exact floats in one pass; None when there is anything else among them.

    Proof that all are floats: the first record starts at byte 5. A record that starts with "g" has 9 bytes, so if every
    ninth byte from there is a "g" up to the end, each of them starts a record and every record is a float.
    """
    if len(values) >= LONG:
        hashed = hash_floats(values if type(values) is list else list(values))
        return None if hashed is None else walk.hashed(b"PF" + count(len(values)), 9 * len(values), hashed)
    data = _marshalled(values)
    if data is None or len(data) != 5 + 9 * len(values) or data[5::9] != b"g" * len(values):
        return None
    high = data[13::9]
    if b"\x7f" in high or b"\xff" in high:  # the last byte of NaN, infinity, and numbers beyond 1e306
        data = marshal.dumps([value if value == value else _NAN for value in values], 2)
    return walk.buffer(b"Pf" + count(len(values)), memoryview(data)[5:])


def _quick_ints(values: Sequence[Any], walk: Walk) -> bytes | None:
    """Pack exact ints of 32 bits in one pass; None when there is anything else. The proof is that of the floats."""
    some = values[:: len(values) // LANE_LENGTH]  # a hint whether the pass is worth it, no more
    data = _marshalled(values) if all(type(value) is int and value.bit_length() < 32 for value in some) else None
    if data is None or len(data) != 5 + 5 * len(values) or data[5::5] != b"i" * len(values):
        return None
    return walk.buffer(b"Pi" + count(len(values)), memoryview(data)[5:])


def _marshalled(values: Any) -> bytes | None:
    try:
        return marshal.dumps(values, 2)  # version 2: binary floats, and no references, so equal elements look alike
    except ValueError:
        return None


def _pack_floats(values: Sequence[Any], walk: Walk) -> bytes:
    if len(values) >= LONG:
        return walk.hashed(b"PF" + count(len(values)), 9 * len(values), fast_hash([pack_floats(values)]))
    plain = [value if value == value else _NAN for value in values]
    return walk.buffer(b"Pf" + count(len(plain)), _interleave(b"g", 8, _binary("d", plain)))


def _pack_ints(values: Sequence[Any], walk: Walk) -> bytes | None:
    """Pack ints of any type of up to 64 bits; None when one is larger."""
    for width, code, kind in ((4, "i", b"Pi"), (8, "q", b"Pq")):
        try:
            data = _binary(code, values)
        except struct.error:
            continue
        return walk.buffer(kind + count(len(values)), _interleave(b"i", width, data) if code == "i" else data)
    return None


def _pack_texts(values: Sequence[Any], walk: Walk) -> bytes:
    joined = "".join(values).encode("utf-8", "surrogatepass")
    lengths = _binary("Q", list(map(len, values)))
    return walk.buffer(b"Ps" + count(len(values)), lengths) + walk.buffer(b"s", joined)


def _pack_bytes(values: Sequence[Any], walk: Walk) -> bytes:
    lengths = _binary("Q", list(map(len, values)))
    return walk.buffer(b"Pb" + count(len(values)), lengths) + walk.buffer(b"b", b"".join(values))


def _pack_bools(values: Sequence[Any], walk: Walk) -> bytes:
    return walk.buffer(b"PB" + count(len(values)), bytes(map(bool, values)))


def _binary(code: str, values: Sequence[Any]) -> bytes:
    """Write numbers in little-endian binary, a chunk at a time."""
    pieces = (values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK))
    return b"".join([struct.pack(f"<{len(piece)}{code}", *piece) for piece in pieces])


def _interleave(tag: bytes, width: int, data: bytes) -> bytearray:
    """Put `tag` before every `width` bytes."""
    n = len(data) // width
    out = bytearray(n * (width + 1))
    out[:: width + 1] = tag * n
    for i in range(width):
        out[i + 1 :: width + 1] = data[i::width]
    return out


_NAN = float("nan")
_QUICK: dict[type, Callable[[Sequence[Any], Walk], bytes | None]] = {float: _quick_floats, int: _quick_ints}
_PACKERS: dict[str, Callable[[Sequence[Any], Walk], bytes | None]] = {
    "f": _pack_floats,
    "i": _pack_ints,
    "s": _pack_texts,
    "b": _pack_bytes,
    "B": _pack_bools,
}
