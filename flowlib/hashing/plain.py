"""Encoders for the plain types of Python: scalars and containers.

Every encoder expects an instance of exactly its type (or, where said, of a type with the same tokens): subclasses that
override `__iter__` or `__len__` never get here, `objects` copies their plain content out first.
"""

import operator
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowlib.hashing.encoding import (
    ONE_BYTE,
    Made,
    Node,
    Order,
    Walk,
    count,
    index_label,
    named,
    named_head,
    short,
    text,
)
from flowlib.hashing.lanes import LANE_LENGTH, common_kind, pack

_NAN = b"f\0\0\0\0\0\0\xf8\x7f"
_SORTED_KINDS = frozenset("sib")
"""Kinds of dict keys and set members that Python orders totally and always alike."""
_ONLY_TEXT = frozenset({str})
_SHORT_NAME = 64
"""Heads of small dicts are remembered if no key is longer."""
_MOST_HEADS = 1024
_Head = tuple[bytes, tuple[str, ...], Callable[[dict[str, Any]], tuple[Any, ...]]]
"""What is written before the values of a dict, its keys sorted, and what gives the values in that order."""
_HEADS: dict[tuple[str, ...], _Head] = {}
"""By the keys in the order of the dict: configurations come by the thousand. Only exact texts get here, so no subclass can
take the place of one."""
_SMALL_INTS = tuple(b"i\1" + byte for byte in ONE_BYTE)
_tagged_double = struct.Struct("<cd").pack


def encode_none(value: None, walk: Walk) -> bytes:
    """Encode None."""
    return b"N"


def encode_bool(value: Any, walk: Walk) -> bytes:
    """Encode a bool or `numpy.bool`."""
    return b"T" if value else b"F"


def encode_int(value: int, walk: Walk) -> bytes:
    """Encode an int of any size in two's complement, little-endian, as few bytes as hold its sign."""
    if 0 <= value < 128:
        return _SMALL_INTS[value]
    size = (value.bit_length() + 8) // 8
    if size < 128:
        return b"i" + ONE_BYTE[size] + value.to_bytes(size, "little", signed=True)
    return walk.buffer(b"i", value.to_bytes(size, "little", signed=True))


def encode_float(value: float, walk: Walk) -> bytes:
    """Encode a float by its bits; all NaNs are one."""
    return _tagged_double(b"f", value) if value == value else _NAN


def encode_complex(value: complex, walk: Walk) -> bytes:
    """Encode a complex number as its two floats."""
    return b"c" + encode_float(value.real, walk)[1:] + encode_float(value.imag, walk)[1:]


def encode_str(value: str, walk: Walk) -> bytes:
    """Encode a text in UTF-8; lone surrogates keep their code point."""
    data = value.encode() if value.isascii() else value.encode("utf-8", "surrogatepass")
    return b"s" + ONE_BYTE[len(data)] + data if len(data) < 128 else walk.buffer(b"s", data)


def encode_bytes(value: bytes, walk: Walk) -> bytes:
    """Encode bytes."""
    return walk.buffer(b"b", value)


def encode_bytearray(value: bytearray, walk: Walk) -> bytes:
    """Encode a bytearray."""
    return walk.buffer(b"a", value)


def encode_list(value: list[Any], walk: Walk) -> bytes | Node:
    """Encode a list: packed when it has a lane, else item by item."""
    packed = pack(value, walk) if len(value) >= LANE_LENGTH else None
    return _itemwise(b"l" + count(len(value)), value, walk) if packed is None else b"m" + packed


def encode_tuple(value: tuple[Any, ...], walk: Walk) -> bytes | Node:
    """Encode a tuple like a list, under its own tags."""
    packed = pack(value, walk) if len(value) >= LANE_LENGTH else None
    return _itemwise(b"t" + count(len(value)), value, walk) if packed is None else b"u" + packed


def encode_dict(value: dict[Any, Any], walk: Walk) -> bytes | Node:
    """Encode a dict without its insertion order. Keys of all-str, all-int, all-bytes dicts are written in the head."""
    if not value:
        return b"d\0"
    if len(value) < LANE_LENGTH and _ONLY_TEXT.issuperset(map(type, value)):
        names = tuple(value)
        known = _HEADS.get(names) or _make_head(names)
        if known is not None:
            head, ordered, values_of = known
            values, extra_before = values_of(value), walk.extra
            try:
                return head + b"".join([SCALARS[type(value)](value, walk) for value in values])
            except KeyError:  # as in `_itemwise`, without the call: configurations come by the thousand
                walk.extra = extra_before
            return Node(head, values, Order.GIVEN, index_label, ordered)
    kind = "s" if set(map(type, value)) == _ONLY_TEXT else common_kind(value)
    if kind not in _SORTED_KINDS:
        flat = _flat(value)
        return Node(b"D" + count(len(value)), flat, Order.PAIRS, key_label, flat)
    keys = sorted(value)
    values = tuple([value[key] for key in keys])
    head = b"d" + count(len(keys)) + _sorted_items(kind, keys, walk)
    packed = pack(values, walk)
    return _itemwise(head + b"v", values, walk, keys) if packed is None else head + packed


def _make_head(names: tuple[str, ...]) -> "_Head | None":
    """Make, and remember, what small dicts with these keys share; None if a key is long."""
    if max(map(len, names)) > _SHORT_NAME:
        return None
    keys = sorted(names)
    values_of = operator.itemgetter(*keys) if len(keys) > 1 else _only_value
    made = b"d" + count(len(keys)) + _short_texts(keys) + b"v", tuple(keys), values_of
    if len(_HEADS) < _MOST_HEADS:
        _HEADS[names] = made
    return made


def _only_value(value: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value.values())


def encode_ordered_dict(value: OrderedDict[Any, Any], walk: Walk) -> Node:
    """Encode an OrderedDict with its order, and with attributes if somebody hung any on it (torch does)."""
    if own := vars(value):
        return named("OrderedDict with attributes", OrderedDict(value), dict(own))
    flat = _flat(value)
    return Node(named_head("OrderedDict", len(flat)), flat, Order.GIVEN, key_label, flat)


def encode_defaultdict(value: defaultdict[Any, Any], walk: Walk) -> Node:
    """Encode a defaultdict: its factory and its content."""
    return named("defaultdict", value.default_factory, dict(value))


def encode_counter(value: Counter[Any], walk: Walk) -> Node:
    """Encode a Counter by its counts; an element counted zero times is not the same as a missing one."""
    return named("Counter", dict(value))


def encode_deque(value: deque[Any], walk: Walk) -> Node:
    """Encode a deque: its bound and its items."""
    return named("deque", value.maxlen, list(value))


def encode_set(value: set[Any], walk: Walk) -> bytes | Node:
    """Encode a set without any order."""
    return _unordered(b"e", value, walk)


def encode_frozenset(value: frozenset[Any], walk: Walk) -> bytes | Node:
    """Encode a frozenset without any order."""
    return _unordered(b"E", value, walk)


def key_label(names: Sequence[object], i: int) -> str:
    """Write the place of a key or value of a dict whose keys are of several types; `names` has both, as walked."""
    key = short(names[i - i % 2])
    return f"[{key}]" if i % 2 else f".key({key})"


def _itemwise(head: bytes, values: Sequence[Any], walk: Walk, names: Sequence[Any] = ()) -> bytes | Node:
    """Encode items one by one: at once when they are few scalars, which is most of all containers, else by the walk."""
    if len(values) < LANE_LENGTH:
        extra_before = walk.extra
        try:
            return head + b"".join([SCALARS[type(value)](value, walk) for value in values])
        except KeyError:  # something else is among them
            walk.extra = extra_before
    return Node(head, values, Order.GIVEN, index_label, names)


def _flat(value: dict[Any, Any]) -> list[Any]:
    return [part for pair in value.items() for part in pair]


def _member_label(names: Sequence[object], i: int) -> str:
    return ".member()"


def _unordered(tag: bytes, value: set[Any] | frozenset[Any], walk: Walk) -> bytes | Node:
    kind = common_kind(value)
    if kind in _SORTED_KINDS:
        return tag + count(len(value)) + _sorted_items(kind, sorted(value), walk)
    return Node(tag + count(len(value)) + b"v", list(value), Order.SORTED, _member_label)


def _sorted_items(kind: str | None, items: list[Any], walk: Walk) -> bytes:
    """Encode sorted scalars of one kind: packed from `LANE_LENGTH` on, few short texts as lengths and one text."""
    packed = pack(items, walk) if len(items) >= LANE_LENGTH else None
    if packed is not None:
        return packed
    if kind == "s":
        if all(len(item) < 256 for item in items):
            return _short_texts(items)
        return b"".join([encode_str(item, walk) for item in items])
    if kind == "b":
        return b"".join([encode_bytes(item, walk) for item in items])
    return b"".join([encode_int(int(item), walk) for item in items])


def _short_texts(items: list[str]) -> bytes:
    return b"k" + bytes(map(len, items)) + text("".join(items))


def encode_made(value: Made, walk: Walk) -> bytes | Node:
    """Return what was made."""
    return value.made


SCALARS: Mapping[type, Callable[[Any, Walk], bytes]] = {
    type(None): encode_none,
    bool: encode_bool,
    int: encode_int,
    float: encode_float,
    complex: encode_complex,
    str: encode_str,
    bytes: encode_bytes,
}
"""Types whose values have no children and are cheaper to encode again than to remember. Not a read-only proxy, because every
leaf of every value is looked up here."""
