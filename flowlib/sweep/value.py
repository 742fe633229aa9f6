"""Parameter values: one canonical form, and one identity that decides whether two points are the same point.

Theory of operation: values are made canonical when they enter a space (numpy scalars become Python scalars, -0.0
becomes 0.0, every NaN becomes one object), so identity of plain scalars is their type and value, at no cost. Anything
else is identified by its canonical digest; a value without one is only ever the same as itself.

Invariant: 1, 1.0 and True stay distinct. A node is never compared with `==`, never asked for an attribute.
"""

import sys
from collections.abc import Hashable

from flowlib.errors import Undigestible
from flowlib.hashing.canonical import digest_value

NAN = float("nan")
_PLAIN: frozenset[type] = frozenset({int, bool, str, bytes, type(None)})
SCALARS: frozenset[type] = _PLAIN | {float}
_MEMO_LIMIT = 1024


class Same:
    """Wrap an object so that it equals only itself; keeps it alive, so its id cannot be reused.

    >>> thing = []
    >>> Same(thing) == Same(thing), Same(thing) == Same([])
    (True, False)
    """

    __slots__ = ("target",)

    def __init__(self, target: object) -> None:
        self.target = target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.target is other.target

    def __hash__(self) -> int:
        return id(self.target)


def is_node(value: object) -> bool:
    """Tell whether a value is a node of the graph, without touching the value itself.

    >>> is_node(3)
    False
    """
    return getattr(type(value), "__flowlib_node__", False) is True


def canonical(value: object) -> object:
    """Return the Python value that stands for `value` in a point.

    Numpy numbers, strings and bools become Python ones, -0.0 becomes 0.0; all else is returned as it is.

    >>> canonical(-0.0), canonical(True), canonical([1])
    (0.0, True, [1])
    """
    kind = type(value)
    if kind is float:
        return value + 0.0 if value == value else NAN  # type: ignore[operator]
    if kind in _PLAIN or kind.__module__ != "numpy":
        return value
    return _from_numpy(value)


def _from_numpy(value: object) -> object:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in "biufSU":
        return value
    plain: object = value.item()
    return canonical(plain) if type(plain) in SCALARS else value  # long doubles have no Python form


def value_identity(value: object, memo: dict[int, tuple[object, Hashable]] | None = None) -> Hashable:
    """Return a hashable stand-in for a canonical value; compare it only beside the value's type.

    Args:
        value: a canonical value.
        memo: identities by `id`, filled as a side effect, so a large array met in many points is hashed once.

    >>> value_identity(0.5), value_identity([1, 2]) == value_identity([1, 2])
    (0.5, True)
    """
    if type(value) in SCALARS:
        return value
    if memo is None:
        return _digest_or_itself(value)
    known = memo.get(id(value))
    if known is None:
        if len(memo) >= _MEMO_LIMIT:  # derived values are new objects each time: do not hold them all
            memo.clear()
        known = memo[id(value)] = (value, _digest_or_itself(value))
    return known[1]


def _digest_or_itself(value: object) -> Hashable:
    if is_node(value):
        return Same(value)
    try:
        return digest_value(value)
    except Undigestible:
        return Same(value)
