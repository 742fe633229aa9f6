"""The grammar that every canonical encoding is written in.

Theory of operation:
    A value becomes a *token*: bytes that can be cut off the front of any stream without knowing what follows, because
    each begins with a tag and every part of unknown length is preceded by that length. So joined tokens cannot be read
    in two ways, and different values have different tokens. A container's token is made from its children's tokens;
    once longer than `INLINE_BYTES` it is replaced by its SHA-256 and its size (`seal`). Tokens therefore stay short,
    shared objects need to be walked once, and yet sharing leaves no trace: equal content gives equal tokens.

First byte of a token:
    N T F   None, True, False              i f c   int, float, complex       s b a   str, bytes, bytearray
    l t d D e E   list, tuple, dict (sorted keys / any keys), set, frozenset, child by child
    m u   list, tuple, packed (`lanes`)    A   numpy array                   O   any other type: name, count, children
    I   instance: class, names, children   U u Q   class of user code, without code version, of an installed module
    L   large buffer: XXH3-128 and size    H   sealed token: size, SHA-256   R C   member of a cycle (`cycles`)

Invariant: nothing here depends on process, hash seed, address, insertion order of unordered containers, or platform.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any, Protocol

import attrs

from flowlib.errors import Undigestible
from flowlib.hashing.digest import LARGE_BYTES, fast_hash
from flowlib.ids import Digest

SCHEME = b"flowlib value 1\n"
"""Comes before every token. Raise the number with any change of an encoding: all digests change, visibly."""

INLINE_BYTES = 64
"""A longer token is sealed: below this a SHA-256 would be no shorter, far above it nested data would be copied often."""

MAX_SIZE = (1 << 63) - 1
"""Sizes stop growing here: a few dozen nested lists that share their items already stand for more bytes than that."""

ONE_BYTE = tuple(bytes([n]) for n in range(128))
"""What `count` writes for numbers below 128: looked up where every nanosecond counts."""


class Order(Enum):
    """What the order of a node's children means."""

    GIVEN = auto()
    """Everything: the children are a sequence."""
    SORTED = auto()
    """Nothing: the children are a set."""
    PAIRS = auto()
    """Only that two by two they belong together: key, value, key, value."""


_GIVEN = Order.GIVEN


def index_label(names: Sequence[object], i: int) -> str:
    """Write the place of item i of a sequence, or of the item called `names[i]`."""
    return f"[{short(names[i]) if i < len(names) else i}]"


def attribute_label(names: Sequence[object], i: int) -> str:
    """Write the place of the attribute called `names[i]`."""
    return f".{names[i]}" if i < len(names) else f"[{i}]"


def _no_label(names: Sequence[object], i: int) -> str:
    return ""


@attrs.define(eq=False)
class Node:
    """A value taken apart: `head` says what it is and how many children follow.

    `label` writes the place of child i as Python would reach it (`[3]`, `.name`), with the help of `names`.
    """

    head: bytes
    children: Sequence[object]
    order: Order = _GIVEN
    label: Callable[[Sequence[object], int], str] = index_label
    names: Sequence[object] = ()


@attrs.define(eq=False)
class Made:
    """A child whose encoding is at hand already."""

    made: bytes | Node


class FileMemo(Protocol):
    """Digests of files, kept under what `stat` says about them."""

    def get(self, key: tuple[int, ...]) -> Digest | None:
        """Return the digest kept under a key, if any."""

    def put(self, key: tuple[int, ...], digest: Digest) -> None:
        """Keep a digest."""


class Refused(Exception):
    """A value that cannot be encoded. The walk turns this into `Undigestible` with the path to the value."""

    def __init__(self, value: object, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.type_name = type_name(type(value))
        self.reason = reason
        self.hint = hint


_TABLES = frozenset({"encoders", "identities", "memo"})


class Walk:
    """State of digesting one value.

    Attributes:
        function_digest: Names a function, class or task by its code version; None when code cannot be named.
        files: Where digests of files are kept.
        extra: Bytes that went into the tokens so far without being visible in them; sizes are made of it.
        memo: id -> (token, its extra, the object): what was walked already. Holding the object keeps its id taken.
        encoders: Encoders found for the types met in this walk.
        identities: Identities of the classes met in this walk.
    """

    __slots__ = ("encoders", "extra", "files", "function_digest", "identities", "memo")
    memo: dict[int, tuple[bytes, int, object]]
    encoders: "dict[type, Callable[[Any, Walk], bytes | Node]]"
    identities: dict[type, bytes]

    def __init__(self, function_digest: Callable[[object], Digest] | None, files: FileMemo | None) -> None:
        self.function_digest, self.files, self.extra = function_digest, files, 0

    def __getattr__(self, name: str) -> dict[Any, Any]:
        """Make a table when it is first asked for: plain values need none, and making them takes as long as two scalars."""
        if name not in _TABLES:
            raise AttributeError(name)
        table: dict[Any, Any] = {}
        setattr(self, name, table)
        return table

    def buffer(self, head: bytes, data: bytes | bytearray | memoryview) -> bytes:
        """Encode contiguous bytes after `head`: as they are when small, by their XXH3-128 when large."""
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        if size < LARGE_BYTES:
            return b"".join((head, count(size), data))
        return self.stream(head, size, (data,))

    def stream(self, head: bytes, size: int, pieces: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Encode pieces of a buffer of `size` bytes as `buffer` would encode their join."""
        if size < LARGE_BYTES:
            return head + count(size) + b"".join(pieces)
        return self.hashed(head, size, fast_hash(pieces))

    def hashed(self, head: bytes, size: int, digest: bytes) -> bytes:
        """Encode a large buffer of `size` bytes, whose XXH3-128 is known, as `buffer` would encode it."""
        self.extra += size
        return b"L" + head + count(size) + digest


Encoder = Callable[[Any, Walk], bytes | Node]
"""Returns a value's token, or the value taken apart for the walk to go on with."""


def count(n: int) -> bytes:
    r"""Write a number >= 0 so that its end is known: seven bits a byte, low bits first.

    >>> count(5), count(300)
    (b'\x05', b'\xac\x02')
    """
    if n < 128:
        return ONE_BYTE[n]
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(value: str) -> bytes:
    """Write a text with its length in bytes. Lone surrogates keep their code point."""
    data = value.encode("utf-8", "surrogatepass")
    return count(len(data)) + data


def named(name: str, *children: object, detail: bytes = b"") -> Node:
    """Take apart a value of a type that has no tag of its own; `name` is written out instead."""
    return Node(named_head(name, len(children), detail), children)


def named_head(name: str, n_children: int, detail: bytes = b"") -> bytes:
    """Write the head of a value of a type that has no tag of its own; without children, it is the whole token."""
    return b"O%b%b%b%b" % (text(name), count(len(detail)), detail, count(n_children))


def close(node: Node, parts: list[bytes]) -> bytes:
    """Join the tokens of a node's children to its encoding."""
    if node.order is _GIVEN:
        return node.head + b"".join(parts)
    if node.order is Order.SORTED:
        return node.head + b"".join(sorted(parts))
    pairs = sorted(zip(parts[::2], parts[1::2], strict=True))
    return node.head + b"".join([part for pair in pairs for part in pair])


def seal(encoding: bytes, extra: int) -> tuple[bytes, int]:
    """Turn an encoding into a token: itself when short, else its SHA-256 and size. Returns the token and its extra."""
    if len(encoding) <= INLINE_BYTES:
        return encoding, extra
    size = min(len(encoding) + extra, MAX_SIZE)
    token = b"H" + count(size) + hashlib.sha256(encoding).digest()
    return token, size - len(token)


def root_of(value: object) -> Node:
    """Return a node above a value, where a walk starts."""
    return Node(b"", (value,), label=_no_label)


def undigestible(path: str, steps: Iterable[tuple[Node, int]], refused: Refused) -> Undigestible:
    """Make the error for a refused value: `steps` are the nodes on the way to it, each with the child taken."""
    path += "".join(node.label(node.names, i) for node, i in steps)
    return Undigestible(path=path, type_name=refused.type_name, reason=refused.reason, hint=refused.hint)


def type_name(cls: type) -> str:
    """Name a type for people.

    >>> type_name(int), type_name(Order)
    ('int', 'flowlib.hashing.encoding.Order')
    """
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def short(value: object) -> str:
    """Write a key for a path: at most 40 characters, and never a user's own `repr`."""
    if type(value) not in (str, int, float, bool, bytes, type(None)):
        return f"<{type(value).__qualname__}>"
    if isinstance(value, int) and value.bit_length() > 128:
        return "<large int>"
    written = repr(value[:60] if isinstance(value, str | bytes) else value)
    return written if len(written) <= 40 else written[:37] + "..."
