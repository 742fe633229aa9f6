"""Plain data and text: None, bool, int, float, complex, str, bytes and the builtin containers of them.

Layout: `marshal` version 2, which keeps types, float bits and the order of dicts, and costs under a microsecond for a
small dict. It writes anything with a buffer (an array, a numpy scalar) as bytes and a subclass as nothing, so every
value is checked first to be made of exact builtin types.

Invariant: a container that occurs twice in a value is not plain: marshal would return two of them, and a change to one
would no longer show in the other. Such values, cycles included, are left to pickle.
"""

import marshal
from collections.abc import Iterable
from typing import Any, cast

from flowlib.store.files import Buffer

MARSHAL_VERSION = 2
SCALARS = frozenset({type(None), bool, int, float, complex, type(...)})
_ATOMS = SCALARS | {str, bytes}
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_IMMUTABLE = frozenset({tuple, frozenset})
_MAX_DEPTH = 1000  # marshal gives up at 2000, and recursion has to end somewhere


def is_plain(value: object) -> bool:
    """Say whether a value is made of exact builtin types, each container once.

    >>> is_plain({"auc": 0.9, "fold": (1, 2)}), is_plain([object()]), is_plain([[]] * 2)
    (True, False, False)
    """
    if type(value) in _ATOMS:
        return True
    seen: set[int] = set()
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH):
        below: list[object] = []
        for container in level:
            if not _take_contents(container, seen, below):
                return False
        if not below:
            return True
        level = below
    return False


def _take_contents(container: object, seen: set[int], below: list[object]) -> bool:
    """Add what is not an atom in a container to `below`; False if it is no builtin container, or was seen before."""
    if type(container) in _IMMUTABLE and not container:
        return True  # the empty tuple is one object everywhere
    if id(container) in seen:
        return False
    seen.add(id(container))
    if type(container) is dict:
        _take_items(container.keys(), below)
        _take_items(container.values(), below)
        return True
    if type(container) in _SEQUENCES:
        _take_items(cast(Iterable[object], container), below)
        return True
    return False


def _take_items(items: Iterable[object], below: list[object]) -> None:
    if not _ATOMS.issuperset(map(type, items)):
        below += [item for item in items if type(item) not in _ATOMS]


def encode_plain(value: object) -> bytes | None:
    """Return the bytes of plain data, or None if the value is not plain."""
    if not is_plain(value):
        return None
    try:
        return marshal.dumps(cast(Any, value), MARSHAL_VERSION)
    except ValueError:  # deeper than marshal goes
        return None


def decode_plain(data: Buffer) -> object:
    """Return the value in verified bytes: a new object."""
    return marshal.loads(data)


def encode_text(value: str) -> bytes:
    """Return the bytes of any string, lone surrogates included; no line end is touched."""
    return value.encode("utf-8", "surrogatepass")


def decode_text(data: Buffer) -> str:
    """Return the string in verified bytes."""
    return str(data, "utf-8", "surrogatepass")
