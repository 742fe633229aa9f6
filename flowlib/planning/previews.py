"""Short texts of arguments, for people: in entries, plans and reasons.

Cost: half a microsecond for a call of plain scalars. Fast lanes give what the general way gives, see `_preview_of`.
"""

import functools
import re
from typing import Any

from flowlib.graph.node import Node
from flowlib.hashing.file import Dir, File
from flowlib.text import short_repr

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN_REPR: object = object.__repr__
_SHORT = frozenset({float, bool, type(None)})
_SMALL_INT = 10**18


def previews(node: Node, *, width: int = 80) -> dict[str, str]:
    """Return a short text of each argument, for people: `arg:NAME` -> at most `width` characters."""
    return dict(zip(labels_of(node._fl_task.signature.names), texts(node, width=width), strict=True))


def texts(node: Node, *, width: int = 80) -> tuple[str, ...]:
    """Return a short text of each argument, in the order of the parameters."""
    shown = []
    for value in node._fl_args:
        kind = type(value)
        is_short = kind is float or (kind is int and -_SMALL_INT < value < _SMALL_INT and width >= 20)
        shown.append(repr(value) if is_short else preview(value, width))
    return tuple(shown)


@functools.lru_cache(maxsize=1024)
def labels_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the parameters of a task are called among the parts of a key."""
    return tuple(f"arg:{name}" for name in names)


def preview(value: Any, width: int = 80) -> str:
    """Return a short text of a value. Never fails, never walks a large value."""
    kind = type(value)
    if kind is int:
        if -_SMALL_INT < value < _SMALL_INT and width >= 20:
            return repr(value)
    elif kind in _SHORT:
        return repr(value)
    elif kind is str:
        if _is_plain(value, width):
            return repr(value)
    elif kind is Node:
        return f"<{value._fl_task.name}>"
    return _preview_of(value, width)


def _is_plain(text: str, width: int) -> bool:
    """Whether `repr` of a text is all there is to do: it fits, is on one line, and would pass through unchanged."""
    return 2 * len(text) + 2 <= width and text.isprintable() and "  " not in text and "0x" not in text


def _preview_of(value: Any, width: int) -> str:
    if isinstance(value, (File, Dir)):
        value = value.path.as_posix()
    if type(value).__repr__ is _PLAIN_REPR:
        return f"<{type(value).__qualname__}>"
    try:
        shape = getattr(value, "shape", None)
        text = f"{type(value).__name__}{tuple(shape)}" if shape is not None else ""
    except Exception:  # a property of the user's own class may raise
        text = ""
    text = _ADDRESS.sub("", text or short_repr(value, width))  # an address says nothing and differs each time
    return text if len(text) <= width else text[: width - 1] + "…"
