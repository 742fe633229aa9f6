"""Show a value to a person: as it is if it is text, laid out if it is a container, bounded whatever it is.

Invariant: no container is walked beyond the items shown, so a list of a million numbers costs forty.
"""

import dataclasses
import itertools
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from flowlib.sweep.failed import Failed
from flowlib.sweep.result import SweepResult
from flowlib.text import format_count, short_repr
from flowlib.views.table import Column, render_table

MAX_ITEMS = 40
MAX_LINES = 400
MAX_DEPTH = 8
_LONGEST = 2_000
_INDENT = "    "
_BRACKETS: Mapping[type, tuple[str, str]] = {
    list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"),
}  # fmt: skip


def terminal_width() -> int:
    """Return the columns of the terminal; 100 when there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def value_text(value: Any, *, width: int) -> str:
    """Return a value as text of at most MAX_LINES lines.

    >>> print(value_text({"score": 0.5, "params": [1, 2]}, width=80))
    {'score': 0.5, 'params': [1, 2]}
    """
    if isinstance(value, str):
        lines = value.splitlines()
    elif isinstance(value, SweepResult):
        lines = _sweep_lines(value, width)
    else:
        lines = _layout(value, width, 0)
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... and {format_count(len(lines) - MAX_LINES, 'more line')}"]
    return "\n".join(lines)


def print_value(value: Any) -> None:
    """Write a value to standard output."""
    print(value_text(value, width=terminal_width()))
    sys.stdout.flush()


def _sweep_lines(result: SweepResult[Any], width: int) -> list[str]:
    n_failed = len(result.failed)
    failed = f", {n_failed:,} failed" if n_failed else ""
    lines = [f"{result.task}: {format_count(len(result), 'point')}{failed}"]
    first = result[:MAX_ITEMS]
    rows = [
        (label, f"failed: {value.error_type}: {value.message}" if type(value) is Failed else short_repr(value, 120))
        for label, value in zip(first.labels, first.values, strict=True)
    ]
    lines += render_table(
        [Column("point", shrinks=True), Column("value", shrinks=True)], rows, width=width
    ).splitlines()
    if len(result) > len(first):
        lines.append(f"and {format_count(len(result) - len(first), 'more point')}")
    return lines


def _layout(value: Any, width: int, depth: int) -> list[str]:
    """Return the lines of a value: one if it fits, else one for each item."""
    if isinstance(value, SweepResult):
        return _sweep_lines(value, width)
    parts = _parts(value) if depth < MAX_DEPTH else None
    if parts is None:
        return _leaf(value)
    opening, items, closing, n_more = parts
    blocks = []
    for prefix, item in items:
        first, *rest = _layout(item, max(width - len(_INDENT), 20), depth + 1)
        blocks.append([prefix + first, *rest])
    more = [f"... {n_more:,} more"] if n_more else []
    if all(len(block) == 1 for block in blocks):
        line = opening + ", ".join([*(block[0] for block in blocks), *more]) + closing
        if len(line) <= width:
            return [line]
        if not any(prefix for prefix, _ in items):
            packed = _packed([*(f"{block[0]}," for block in blocks), *more], width - len(_INDENT))
            return [opening, *(_INDENT + text for text in packed), closing]
    lines = [opening]
    for block in blocks:
        lines += [_INDENT + line for line in block[:-1]] + [f"{_INDENT}{block[-1]},"]
    return [*lines, *(_INDENT + line for line in more), closing]


def _packed(words: list[str], width: int) -> list[str]:
    """Return words as lines, as many on each as fit."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _leaf(value: Any) -> list[str]:
    try:
        text = repr(value)
    except Exception:  # a repr is the user's code: whatever it raises, the run has succeeded
        text = f"<{type(value).__name__}>"
    if len(text) > _LONGEST and "\n" not in text:
        text = f"{text[:_LONGEST]}... ({len(text):,} characters)"
    return text.splitlines() or [""]


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str, int] | None:
    """Return (opening, [(prefix, item)], closing, items left out), or None for what is not a container."""
    kind = type(value)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        pairs = list(zip(kind._fields, value, strict=False))
        return f"{kind.__name__}(", [(f"{name}=", item) for name, item in pairs], ")", 0
    if kind in (list, tuple, set, frozenset):
        opening, closing = _BRACKETS[kind]
        shown = list(itertools.islice(value, MAX_ITEMS))
        if not shown:
            return None
        end = f",{closing}" if kind is tuple and len(value) == 1 else closing
        return opening, [("", item) for item in shown], end, len(value) - len(shown)
    if kind is dict and value:
        shown = list(itertools.islice(value.items(), MAX_ITEMS))
        return "{", [(f"{short_repr(key)}: ", item) for key, item in shown], "}", len(value) - len(shown)
    names = _field_names(value)
    if names is not None:
        return f"{kind.__name__}(", [(f"{name}=", getattr(value, name)) for name in names], ")", 0
    return None


def _field_names(value: Any) -> list[str] | None:
    """Return the fields of a dataclass or attrs instance that are shown; None for others and for a repr of its own."""
    kind = type(value)
    fields: list[Any]
    if dataclasses.is_dataclass(kind):
        is_generated = hasattr(kind.__repr__, "__wrapped__")
        fields = list(dataclasses.fields(kind))
    elif attrs.has(kind):
        code = getattr(kind.__repr__, "__code__", None)
        is_generated = code is not None and "attrs generated" in code.co_filename
        fields = list(attrs.fields(kind))
    else:
        return None
    names = [field.name for field in fields if field.repr]
    return names if is_generated and all(hasattr(value, name) for name in names) else None
