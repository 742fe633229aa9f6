"""What a call was: the named parts of its key and short texts of its arguments, packed until somebody asks.

Theory of operation: thousands of calls share everything in their keys but the arguments. So `Details` are three things:
what they share (the other parts, the names of the texts), as bytes made once for a task and a run; the arguments, as
the very bytes that entered the key; and the texts. Nothing has to be put together for a result that nobody asks about.

Layout of the arguments: for each, its name and its digest, UTF-8, each after its length (8 bytes, big-endian).
"""

import marshal
from collections.abc import Iterator, Mapping

Details = tuple[bytes, bytes, tuple[str, ...]]
"""What calls of one task share, the arguments as they entered the key, the texts of the arguments."""

_MARSHAL_VERSION = 2  # unchanged since Python 2.5; no shared references, so equal details are equal bytes
_ARGUMENT = "arg:"


def field(text: str) -> bytes:
    r"""Return a text after its length in bytes.

    >>> field("x")
    b'\x00\x00\x00\x00\x00\x00\x00\x01x'
    """
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


def pack_shared(parts: Mapping[str, str], labels: tuple[str, ...]) -> bytes:
    """Return the bytes of what calls of one task share: the parts that are no arguments, and the names of the texts."""
    return marshal.dumps((dict(parts), labels), _MARSHAL_VERSION)


def pack_details(parts: Mapping[str, str], previews: Mapping[str, str]) -> Details:
    """Return named parts and named texts in packed form."""
    shared = {name: part for name, part in parts.items() if not name.startswith(_ARGUMENT)}
    arguments = [(name, part) for name, part in parts.items() if name.startswith(_ARGUMENT)]
    encoded = b"".join([field(name.removeprefix(_ARGUMENT)) + field(part) for name, part in arguments])
    return pack_shared(shared, tuple(previews)), encoded, tuple(previews.values())


def unpack_details(details: Details) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parts by name, and the texts. The details were part of an authenticated record, or made here."""
    shared, arguments, texts = details
    parts, labels = marshal.loads(shared)
    return {**parts, **unpack_arguments(arguments)}, dict(zip(labels, texts, strict=True))


def unpack_arguments(encoded: bytes) -> dict[str, str]:
    """Return what stands for each argument: `arg:NAME` -> digest."""
    texts = _texts(encoded)
    return {_ARGUMENT + name: digest for name, digest in zip(texts, texts, strict=True)}


def _texts(encoded: bytes) -> Iterator[str]:
    at = 0
    while at < len(encoded):
        start = at + 8
        at = start + int.from_bytes(encoded[at:start], "big")
        yield encoded[start:at].decode("utf-8", "surrogatepass")
