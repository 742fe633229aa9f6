"""Plain data: what is it, and does it come back exactly."""

import enum
from collections import Counter, OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.store.codec_plain import decode_plain, decode_text, encode_plain, encode_text, is_plain

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.binary() | st.just(...)
    | st.text(st.characters(codec=None))
)  # fmt: skip
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
PLAIN = st.recursive(
    ATOMS | st.sets(HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=4),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """Write a value with its types, float bits and orders, so that two can be compared."""
    if isinstance(value, float):
        return "float", value.hex() if value == value else "nan"
    if isinstance(value, complex):
        return "complex", shape(value.real), shape(value.imag)
    if isinstance(value, dict):
        return "dict", [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, map(shape, value)))
    if isinstance(value, list | tuple):
        return type(value).__name__, [shape(item) for item in value]
    return type(value).__name__, value


@given(PLAIN)
def test_plain_data_come_back_exactly(value: Any) -> None:
    """Type, float bits, order: whatever is plain survives."""
    data = encode_plain(value)

    if data is not None:
        assert shape(decode_plain(bytearray(data))) == shape(value)


class Color(enum.IntEnum):
    """A subclass of int."""

    RED = 1


class Text(str):
    """A subclass of str."""


Pair = namedtuple("Pair", "a b")
SHARED: list[int] = [1]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [Color.RED, Text("x"), Pair(1, 2), OrderedDict(a=1), Counter("a"), np.float64(1.0), np.array([1]), np.bool_(True),
     bytearray(b"x"), memoryview(b"x"), range(3), object, object(), [[SHARED, SHARED]], {"a": SHARED, "b": (SHARED,)}, CYCLE,
     [(1, 2)] * 2 + [[np.int64(1)]]],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_marshal_would_change_is_not_plain(value: Any) -> None:
    """Subclasses, buffers and shared containers are left to pickle, at any depth."""
    assert not is_plain(value)
    assert not is_plain([value])
    assert not is_plain({"a": (value,)})
    assert encode_plain({"a": value}) is None


def test_depth_and_sharing_do_not_explode() -> None:
    """A deep value and a value with 2**60 paths are refused at once."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    wide: Any = (1,)
    for _ in range(60):
        wide = (wide, wide)

    assert encode_plain(deep) is None
    assert encode_plain(wide) is None
    while deep:  # taken apart here, because the interpreter would recurse
        deep = deep.pop()


@given(st.text(st.characters(codec=None)))
def test_any_text_comes_back_exactly(text: str) -> None:
    """Line ends and lone surrogates included."""
    assert decode_text(encode_text(text)) == text
