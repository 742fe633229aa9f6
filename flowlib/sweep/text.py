"""Short texts for values of any size: what labels, reprs and error messages show."""

import enum
import reprlib
from collections.abc import Iterable
from pathlib import PurePath

from flowlib.errors import Undigestible
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.file import Dir, File
from flowlib.sweep.value import is_node

VALUE_WIDTH = 24
"""Longest text of one value inside a label, in characters."""


def cut(text: str, width: int) -> str:
    """Return the text, ended with an ellipsis if it is longer than `width` characters.

    >>> cut("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def short_repr(value: object, width: int = 60) -> str:
    """Return a repr of at most `width` characters; containers are not walked beyond a few elements.

    >>> short_repr(list(range(1000)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    writer = reprlib.Repr()
    writer.maxdict = writer.maxlist = writer.maxtuple = 6
    writer.maxstring = writer.maxother = writer.maxlong = width
    return cut(" ".join(writer.repr(value).split()), width)


def listed(texts: Iterable[str], n: int, limit: int = 5) -> str:
    """Join the first texts of `n` and say how many more there are.

    >>> listed(["a", "b", "c"], 3, limit=2)
    'a, b and 1 more'
    """
    shown = [text for _, text in zip(range(limit), texts, strict=False)]
    more = f" and {n - len(shown)} more" if n > len(shown) else ""
    return ", ".join(shown) + more


def brief_text(value: object) -> str:
    """Return the shortest readable text of a value: bare strings, `%g` numbers; two values may share one.

    >>> brief_text(0.1), brief_text(1.0), brief_text("svm"), brief_text(None)
    ('0.1', '1', 'svm', 'None')
    """
    kind = type(value)
    if kind is float:  # first: a sample has one for every point
        return f"{value:g}"
    if kind is int:
        return cut(repr(value), VALUE_WIDTH)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return cut(value, VALUE_WIDTH)
    if isinstance(value, File | Dir):
        return cut(value.name, VALUE_WIDTH)
    return distinct_text(value)


def distinct_text(value: object) -> str:
    """Return a text that tells values apart as well as a few characters can.

    >>> distinct_text(1.0), distinct_text("1"), distinct_text((1, 2))
    ('1.0', "'1'", '(1, 2)')
    """
    if type(value) in (int, float, bool):
        return cut(repr(value), VALUE_WIDTH)
    if isinstance(value, PurePath | File | Dir):
        text = str(value if isinstance(value, PurePath) else value.path)
        return text if len(text) <= VALUE_WIDTH else "…" + text[1 - VALUE_WIDTH :]
    if is_node(value):
        return cut(repr(value), VALUE_WIDTH)
    name = getattr(value, "__name__", None)
    if isinstance(name, str):
        return cut(name.strip("<>"), VALUE_WIDTH)
    if isinstance(value, enum.Enum | bool | int | float | str | bytes | tuple | list | dict | frozenset | None):
        text = short_repr(value, VALUE_WIDTH + 1)
        if len(text) <= VALUE_WIDTH and "..." not in text:
            return text
    return _type_and_digest(value)


def _type_and_digest(value: object) -> str:
    try:
        digest = digest_value(value)
    except Undigestible:
        return cut(type(value).__name__, VALUE_WIDTH)
    return f"{cut(type(value).__name__, 12)}:{digest.split('-')[1][:8]}"
