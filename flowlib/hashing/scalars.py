"""Digests of plain scalars, by exact type: the road nearly every argument takes.

Theory of operation: what `digest_value` does for a scalar, with everything that does not depend on the value done once.
The head of the hashed bytes is joined beforehand for each length, so an int, float or short text costs one concatenation
and one SHA-256. Whatever does not fit (long texts, huge ints) gets None and goes the general way.

Invariant: `scalar_digest(x)` is `digest_value(x)` or None; dispatch is by exact type, so True, 1, 1.0 and subclasses never meet.

Cost: about 1.1 microseconds, most of it SHA-256; 0.2 from `ScalarDigests`, when the value was seen before.
"""

import hashlib
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from flowlib.hashing.encoding import ONE_BYTE, SCHEME
from flowlib.ids import Digest

_sha256 = hashlib.sha256
_SHORT = len(ONE_BYTE)
_REMEMBERED = 4096
_REMEMBERED_LENGTH = 64

_INT_HEADS = tuple(SCHEME + b"i" + length for length in ONE_BYTE)
_TEXT_HEADS = tuple(SCHEME + b"s" + length for length in ONE_BYTE)
_BYTES_HEADS = tuple(SCHEME + b"b" + length for length in ONE_BYTE)
_TAILS = tuple(f"-{2 + length}" for length in range(_SHORT))
"""The size that ends the digest of a scalar: a tag, a length, and as many bytes."""
_pack_float = Struct(f"<{len(SCHEME) + 1}sd").pack
_FLOAT_HEAD = SCHEME + b"f"


def _fixed(token: bytes) -> Digest:
    return Digest(f"sha256-{_sha256(SCHEME + token).hexdigest()}-{len(token)}")


_NONE, _TRUE, _FALSE = _fixed(b"N"), _fixed(b"T"), _fixed(b"F")
_NAN = _fixed(b"f\0\0\0\0\0\0\xf8\x7f")


def _digest_none(value: None) -> Digest:
    return _NONE


def _digest_bool(value: bool) -> Digest:
    return _TRUE if value else _FALSE


def _digest_int(value: int) -> Digest | None:
    size = (value.bit_length() + 8) // 8
    if size >= _SHORT:
        return None
    data = _INT_HEADS[size] + value.to_bytes(size, "little", signed=True)
    return "sha256-" + _sha256(data).hexdigest() + _TAILS[size]  # type: ignore[return-value]


def _digest_float(value: float) -> Digest:
    if value != value:
        return _NAN
    return "sha256-" + _sha256(_pack_float(_FLOAT_HEAD, value)).hexdigest() + "-9"  # type: ignore[return-value]


def _digest_str(value: str) -> Digest | None:
    data = value.encode("utf-8", "surrogatepass")
    size = len(data)
    if size >= _SHORT:
        return None
    return "sha256-" + _sha256(_TEXT_HEADS[size] + data).hexdigest() + _TAILS[size]  # type: ignore[return-value]


def _digest_bytes(value: bytes) -> Digest | None:
    size = len(value)
    if size >= _SHORT:
        return None
    return "sha256-" + _sha256(_BYTES_HEADS[size] + value).hexdigest() + _TAILS[size]  # type: ignore[return-value]


LANES: Mapping[type, Callable[[Any], Digest | None]] = {
    type(None): _digest_none,
    bool: _digest_bool,
    int: _digest_int,
    float: _digest_float,
    str: _digest_str,
    bytes: _digest_bytes,
}
"""The lane of each exact type; a plain dict, because every argument of every call is looked up here."""


def scalar_digest(value: object) -> Digest | None:
    """Return the digest of a plain scalar, None for what has no lane or is too long for it.

    >>> scalar_digest(1) != scalar_digest(True) != scalar_digest(1.0), scalar_digest([1])
    (True, None)
    """
    lane = LANES.get(type(value))
    return None if lane is None else lane(value)


class ScalarDigests:
    """Digests of the scalars that a run has met, a few thousand of each type. Safe to share by threads.

    Memory is bounded by taking in nothing more once full: no order of use has to be kept. Floats are not remembered, because
    as keys 0.0 and -0.0 are the same; a type has its own memo, because as keys 1 and True are.

    >>> known = ScalarDigests()
    >>> known.find(2) == known.find(2) == scalar_digest(2)
    True
    """

    __slots__ = ("_ints", "_texts")

    def __init__(self) -> None:
        self._ints: dict[int, Digest] = {}
        self._texts: dict[str, Digest] = {}

    def find(self, value: Any) -> Digest | None:
        """Return what `scalar_digest` returns."""
        kind = type(value)
        known: dict[Any, Digest]
        if kind is int:
            known = self._ints
        elif kind is str and len(value) <= _REMEMBERED_LENGTH:
            known = self._texts
        else:
            lane = LANES.get(kind)
            return None if lane is None else lane(value)
        found = known.get(value)
        if found is None:
            found = LANES[kind](value)
            if found is not None and len(known) < _REMEMBERED:
                known[value] = found
        return found
