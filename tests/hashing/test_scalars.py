"""The fast lanes of scalars say what the general walk says."""

import hashlib
import math
import threading
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowlib.hashing.canonical import digest_value
from flowlib.hashing.encoding import SCHEME, Walk
from flowlib.hashing.identity import Identity
from flowlib.hashing.leaf import DigestLeaf, encode_leaf
from flowlib.hashing.objects import encode_own
from flowlib.hashing.plain import SCALARS
from flowlib.hashing.scalars import LANES, ScalarDigests, scalar_digest

SCALAR_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 1100), 1 << 1100),
    st.floats(),
    st.text(max_size=200),
    st.binary(max_size=200),
)


def walked(value: Any) -> str:
    """Return the digest as the theory has it: of the scheme and the token, with their size."""
    walk = Walk(None, None)
    token = SCALARS[type(value)](value, walk)
    return f"sha256-{hashlib.sha256(SCHEME + token).hexdigest()}-{len(token) + walk.extra}"


@given(SCALAR_VALUES)
@example(1 << 1015)
@example((1 << 1015) - 1)
@example(-(1 << 1015))
@example(-0.0)
@example(math.nan)
@example("\ud800")
@example("ä" * 64)
@example("a" * 127)
@example(b"a" * 128)
def test_lanes_agree_with_the_walk(value: Any) -> None:
    """Whichever way a scalar goes, its digest is the same; a second time, from memory, too."""
    expected = walked(value)
    known, identity = ScalarDigests(), Identity()
    for digest in (scalar_digest(value), known.find(value), known.find(value)):
        assert digest in (None, expected)
    assert digest_value(value) == identity.digest(value) == identity.digest(value) == expected


@pytest.mark.parametrize("value", [0, 1, -1, 10**30, 0.5, "", "a" * 127, "ä", b"", b"a" * 127, True, None])
def test_short_scalars_have_a_lane(value: Any) -> None:
    """What is common does not take the general way."""
    assert scalar_digest(value) == walked(value)


def test_what_python_calls_equal_is_not_confused() -> None:
    """In any order of asking: 1, True and 1.0, 0.0 and -0.0, texts and bytes stay apart; every NaN is the same."""
    values: list[Any] = [1, True, 1.0, 0, False, 0.0, -0.0, "1", b"1", None]
    for order in (values, values[::-1]):
        known = ScalarDigests()
        assert len({known.find(value) for value in order}) == len(values)
    assert ScalarDigests().find(math.nan) == ScalarDigests().find(-float("nan"))


def test_subclasses_and_containers_have_no_lane() -> None:
    """Dispatch is by exact type: what a subclass adds must not be lost."""

    class Level(int):
        pass

    class Name(str):
        pass

    assert [scalar_digest(value) for value in (Level(1), Name("a"), [1], (1,), {})] == [None] * 5
    assert ScalarDigests().find(Level(1)) is None
    assert set(LANES) <= set(SCALARS)


def test_memory_of_scalars_is_bounded() -> None:
    """A run over a million different numbers remembers a few thousand, and long texts never."""
    known = ScalarDigests()
    for number in range(10_000):
        known.find(number)
        known.find(f"long text {number} " * 8)
    assert len(known._ints) <= 4096
    assert not known._texts
    assert known.find(9_999) == scalar_digest(9_999)


def test_threads_share_what_is_known() -> None:
    """All get the digest that one alone gets."""
    known, wrong = ScalarDigests(), []

    def ask() -> None:
        wrong.extend(
            n for n in range(2000) if known.find(n) != scalar_digest(n) or known.find(str(n)) != walked(str(n))
        )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(st.dictionaries(st.text(max_size=70), SCALAR_VALUES, max_size=15))
def test_small_dicts_are_encoded_as_large_ones(value: dict[str, Any]) -> None:
    """The remembered head of a dict with text keys is the one that is written for any dict, whatever the order."""
    shuffled = dict(reversed(value.items()))
    assert digest_value(value) == digest_value(shuffled)
    assert digest_value(value) == digest_value(dict(value))
    if value:
        (name, first), *_ = value.items()
        assert digest_value({**value, name: [first]}) != digest_value(value)


def test_a_leaf_has_the_token_of_an_object_with_its_own_digest() -> None:
    """The encoder of leaves is a short cut, not another encoding."""
    leaf, walk = DigestLeaf("sha256-" + "ab" * 32 + "-12"), Walk(None, None)
    node = encode_own(leaf, walk)
    (child,) = node.children
    assert encode_leaf(leaf, walk) == node.head + SCALARS[str](child, walk)
