"""Short words for people: seconds, bytes, counts, and values that could be long, secret or hostile.

Invariant: whatever comes in, what goes out is one bounded line without control characters, so nothing that a task was
named or an error said can move the cursor of a terminal or break a table.
"""

import math
import re
import reprlib
import unicodedata

LONGEST_TEXT = 200
"""No text that came from a value is shown longer than this."""


def format_seconds(seconds: float) -> str:
    """Return a duration in the two largest units that matter.

    >>> [format_seconds(s) for s in (0, 0.0004, 0.012, 0.9996, 4.23, 59.96, 100, 3725, 90000)]
    ['0 s', '0.4 ms', '12 ms', '1.0 s', '4.2 s', '1 min 0 s', '1 min 40 s', '1 h 2 min', '1 d 1 h']
    >>> format_seconds(-3.0), format_seconds(float("nan"))
    ('0 s', '?')
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds <= 0:
        return "0 s"
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00095 else f"{seconds * 1000:.1g} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def format_bytes(size_bytes: float) -> str:
    """Return a size in decimal units, three digits at most.

    >>> [format_bytes(n) for n in (0, 812, 999.9, 1234, 56_700, 999_960, 3_400_000_000)]
    ['0 B', '812 B', '1.0 kB', '1.2 kB', '57 kB', '1.0 MB', '3.4 GB']
    """
    size = float(size_bytes)
    if round(size) < 1000:
        return f"{size:.0f} B"
    units = ["kB", "MB", "GB", "TB", "PB"]
    unit = units.pop(0)
    size /= 1000
    while round(size) >= 1000 and units:
        unit = units.pop(0)
        size /= 1000
    return f"{size:.1f} {unit}" if round(size, 1) < 10 else f"{size:.0f} {unit}"


def format_count(n: int, noun: str = "") -> str:
    """Return a number with thousands apart, and its noun in the right number.

    >>> format_count(1, "node"), format_count(131, "node"), format_count(100_000)
    ('1 node', '131 nodes', '100,000')
    """
    if not noun:
        return f"{n:,}"
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def one_line(text: object, limit: int = LONGEST_TEXT) -> str:
    r"""Return a text on one line, with control characters spelled out and the end cut off at `limit` characters.

    >>> one_line("two\nlines\tand \x1b[31mred", limit=40)
    'two lines and \\x1b[31mred'
    >>> one_line("abcdefgh", limit=5)
    'abcd…'
    """
    words = " ".join(str(text)[: 4 * limit].split())
    shown = "".join(char if _is_harmless(char) else char.encode("unicode_escape").decode("ascii") for char in words)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _is_harmless(char: str) -> bool:
    # Categories that begin with C: controls, format characters such as the bidirectional overrides, lone surrogates.
    return char.isprintable() or unicodedata.category(char)[0] != "C"


def short_repr(value: object, limit: int = LONGEST_TEXT) -> str:
    """Return a bounded one-line repr that never raises and never walks a whole container.

    >>> short_repr(list(range(100_000)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    reader = reprlib.Repr()
    reader.maxstring = reader.maxlong = limit
    reader.maxother = 4 * limit
    try:
        return one_line(reader.repr(value), limit)
    except Exception:  # a repr is the user's code: whatever it raises, showing a value must not fail
        return f"<{type(value).__name__}>"


_BYTES = {"": 1} | {
    f"{letter}{i}": (1024 if i else 1000) ** power for power, letter in enumerate("kmgt", 1) for i in ("", "i")
}


def parse_bytes(text: str) -> int | None:
    """Return the bytes of a size such as `10GB`, or `10GiB` with its binary units; None if it is none.

    >>> parse_bytes("500MB"), parse_bytes("1 KiB"), parse_bytes("many")
    (500000000, 1024, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    return None if found is None else int(float(found[1]) * _BYTES[found[2] or ""])
