"""Bytes and streams to digests; the only home of xxhash.

A `Digest` is `"<algorithm>-<hex>-<size>"`: it says how it was made and how many bytes went in, so that stores can check
a length before a hash, and people can read a size off a name.

Rules:
    SHA-256 names everything small and everything that a reader could execute (pickles): a forged collision there would
    run foreign code. XXH3-128 names large inert data (arrays, files): it runs at memory speed, ten times SHA-256, and an
    accidental collision of 128 bits is out of reach. `inert` says which of the two a caller holds.
"""

import hashlib
import re
from collections.abc import Iterable

import xxhash

from flowlib.ids import Digest

LARGE_BYTES = 1 << 16
"""Inert data of this size or more is hashed with XXH3-128; below it SHA-256 costs at most some 50 microseconds."""

_SHAPE = re.compile(r"(?:sha256-[0-9a-f]{64}|xxh3-[0-9a-f]{32})-(?:0|[1-9][0-9]*)")


def digest_bytes(data: bytes | bytearray | memoryview, *, inert: bool = True) -> Digest:
    """Name a piece of bytes by its content.

    Args:
        data: The bytes; a memoryview must be contiguous.
        inert: False when the bytes could be executed by whoever decodes them (pickles): then always SHA-256.

    Cost: 0.7 ns per byte below 64 KiB (SHA-256), 0.1 ns per byte above (XXH3-128); `bench_digest.py`.

    >>> digest_bytes(b"")
    'sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855-0'
    >>> digest_bytes(bytes(100_000))[:5], digest_bytes(bytes(100_000), inert=False)[:7]
    ('xxh3-', 'sha256-')
    """
    size = data.nbytes if type(data) is memoryview else len(data)
    if inert and size >= LARGE_BYTES:
        return Digest(f"xxh3-{xxhash.xxh3_128_hexdigest(data)}-{size}")
    return f"sha256-{hashlib.sha256(data).hexdigest()}-{size}"  # type: ignore[return-value]


def digest_of_sha256(hex_digest: str, size: int) -> Digest:
    """Write a digest from a SHA-256 (64 hex characters) and the number of bytes that went in.

    >>> digest_of_sha256("ab" * 32, 7)[-5:]
    'bab-7'
    """
    return Digest(f"sha256-{hex_digest}-{size}")


def fast_hasher() -> xxhash.xxh3_128:
    """Return what `fast_hash` feeds its pieces to.

    >>> hasher = fast_hasher()
    >>> hasher.update(b"abc")
    >>> hasher.digest() == fast_hash([b"abc"])
    True
    """
    return xxhash.xxh3_128()


def fast_hash(pieces: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """Hash pieces of inert data as if they were one buffer: 16 bytes of XXH3-128.

    >>> fast_hash([b"ab", b"c"]) == fast_hash([b"abc"])
    True
    """
    hasher = fast_hasher()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


class StreamHasher:
    """Digest of a stream, equal to `digest_bytes` of all its pieces joined.

    The first 64 KiB are held back, because only then is it known which algorithm names the stream.

    >>> hasher = StreamHasher()
    >>> hasher.update(b"ab"); hasher.update(b"c")
    >>> hasher.digest() == digest_bytes(b"abc")
    True
    """

    def __init__(self, *, inert: bool = True) -> None:
        self._inert = inert
        self._held = bytearray()
        self._size = 0
        self._large = fast_hasher()
        self._small = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece of the stream."""
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self._size += size
        if not self._inert:
            self._small.update(data)
        elif self._size < LARGE_BYTES:
            self._held += data
        else:
            if self._held:
                self._large.update(self._held)
                self._held = bytearray()
            self._large.update(data)

    def digest(self) -> Digest:
        """Return the digest of everything so far; the stream may go on."""
        if self._inert and self._size >= LARGE_BYTES:
            return Digest(f"xxh3-{self._large.hexdigest()}-{self._size}")
        small = self._small.copy()
        small.update(self._held)
        return digest_of_sha256(small.hexdigest(), self._size)


def size_bytes(digest: Digest) -> int:
    """Return how many bytes a digest stands for.

    >>> size_bytes(digest_bytes(b"abc"))
    3
    """
    return int(digest.rpartition("-")[2])


def is_digest(text: str) -> bool:
    """Say whether a text is written like a digest.

    >>> is_digest(digest_bytes(b"abc")), is_digest("sha256-abc-3")
    (True, False)
    """
    return _SHAPE.fullmatch(text) is not None
