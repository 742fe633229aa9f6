"""A leaf: something inside a value that is not there yet, but whose digest is known."""

from flowlib.hashing.encoding import ONE_BYTE, Walk, named_head

_HEAD = named_head("own", 1, b"DigestLeaf") + b"s"


class DigestLeaf:
    """Takes the place of a thing inside a value while the value is digested.

    Its token is that of any object of a class of this name with a `__flowlib_digest__` method; the encoder only makes
    it at once, because a list of a hundred thousand results is digested as so many leaves.
    """

    __slots__ = ("digest",)

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def __flowlib_digest__(self) -> str:
        return self.digest


def encode_leaf(value: DigestLeaf, walk: Walk) -> bytes:
    """Encode a leaf; digests are plain short texts."""
    data = value.digest.encode()
    return _HEAD + ONE_BYTE[len(data)] + data
