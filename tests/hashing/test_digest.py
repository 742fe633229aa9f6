"""Digests of bytes and streams."""

import hashlib

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from flowlib.hashing.digest import LARGE_BYTES, StreamHasher, digest_bytes, fast_hash, is_digest, size_bytes

LARGE = bytes(LARGE_BYTES)
SMALL = LARGE[1:]


def test_small_data_is_named_by_sha256() -> None:
    """Below 64 KiB the digest is SHA-256, hex and size."""
    assert digest_bytes(SMALL) == f"sha256-{hashlib.sha256(SMALL).hexdigest()}-{len(SMALL)}"


def test_large_inert_data_is_named_by_xxh3() -> None:
    """From 64 KiB on the digest is XXH3-128."""
    assert digest_bytes(LARGE) == f"xxh3-{xxhash.xxh3_128(LARGE).hexdigest()}-{len(LARGE)}"


def test_data_that_could_be_executed_is_always_named_by_sha256() -> None:
    """What a reader might unpickle gets a cryptographic digest, however large."""
    assert digest_bytes(LARGE, inert=False) == f"sha256-{hashlib.sha256(LARGE).hexdigest()}-{len(LARGE)}"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_of_equal_bytes_has_one_digest(make: type) -> None:
    """Bytes, bytearrays and memoryviews are the same data."""
    assert digest_bytes(make(b"abc")) == digest_bytes(b"abc")
    assert digest_bytes(make(LARGE)) == digest_bytes(LARGE)


def test_the_size_of_a_wide_view_is_counted_in_bytes() -> None:
    """A view of doubles has eight bytes an item."""
    assert size_bytes(digest_bytes(memoryview(bytes(80)).cast("d"))) == 80


@given(
    st.lists(st.binary(max_size=50), max_size=6),
    st.sampled_from([0, 1, LARGE_BYTES - 1, LARGE_BYTES, 2 * LARGE_BYTES]),
    st.booleans(),
)
def test_a_stream_has_the_digest_of_its_joined_pieces(pieces: list[bytes], long: int, inert: bool) -> None:
    """However the pieces are cut, before or after the algorithm is decided."""
    pieces = [*pieces, bytes(long), *pieces]
    hasher = StreamHasher(inert=inert)
    for piece in pieces:
        hasher.update(piece)

    assert hasher.digest() == digest_bytes(b"".join(pieces), inert=inert)


def test_a_stream_may_go_on_after_its_digest_was_asked() -> None:
    """`digest` changes nothing."""
    hasher = StreamHasher()
    hasher.update(b"ab")
    first = hasher.digest()
    hasher.update(LARGE)

    assert first == digest_bytes(b"ab")
    assert hasher.digest() == digest_bytes(b"ab" + LARGE)


def test_fast_hash_does_not_see_how_data_is_cut() -> None:
    """Pieces count as their join."""
    assert fast_hash([b"ab", b"", b"c"]) == fast_hash([b"abc"]) != fast_hash([b"abd"])


@pytest.mark.parametrize(
    "text", ["", "abc", "sha256--3", "md5-" + "0" * 32 + "-1", "sha256-" + "0" * 64, "sha256-" + "0" * 64 + "-01",
             "sha256-" + "G" * 64 + "-1", "xxh3-" + "0" * 64 + "-1", "sha256-" + "0" * 64 + "-1\n"],
)  # fmt: skip
def test_texts_that_are_no_digests_are_told_apart(text: str) -> None:
    """Algorithm, hex length and size all have to fit."""
    assert not is_digest(text)


def test_digests_are_recognised_and_give_their_size() -> None:
    """Both algorithms."""
    for data in (b"", b"abc", LARGE):
        assert is_digest(digest_bytes(data))
        assert size_bytes(digest_bytes(data)) == len(data)
