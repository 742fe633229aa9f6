"""Plain text tables for the command line: aligned columns, bounded width, colour only where it is wanted.

Invariant: without `color` the text has no escape code at all, with it only those of `palette`. Cells are cleaned, so a
hostile task name cannot write to the terminal.
"""

from collections.abc import Sequence
from typing import Literal

import attrs

from flowlib.text import LONGEST_TEXT, format_count, one_line
from flowlib.views.palette import LOOKS, paint

_GAP = "  "
_SHORTEST_COLUMN = 6


@attrs.frozen
class Column:
    """How one column is shown."""

    title: str
    align: Literal["left", "right"] = "left"
    shrinks: bool = False
    """Whether its cells may be cut short when the table is too wide."""


def render_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    width: int = 100,
    color: bool = False,
    max_rows: int | None = None,
) -> str:
    """Return a table as text, without a newline at the end.

    Args:
        columns: one per cell; a header is written when any has a title.
        rows: cells of any type; None is shown as nothing. Cells that are node states are coloured as states.
        width: cells per line at most, as long as shrinking columns can give way.
        color: use escape codes for colours.
        max_rows: rows shown at most; the others are counted.

    Cost: O(cells).

    >>> print(render_table([Column("task"), Column("n", "right")], [("load", 1), ("fit", 128)]))
    task    n
    load    1
    fit   128
    """
    shown = rows if max_rows is None else rows[:max_rows]
    lines = [[column.title for column in columns]] if any(column.title for column in columns) else []
    n_header = len(lines)
    lines += [["" if cell is None else one_line(cell, LONGEST_TEXT) for cell in row] for row in shown]
    widths = _fit(
        [max((cell_width(line[i]) for line in lines), default=0) for i in range(len(columns))], columns, width
    )
    text = [
        _line([_cell(cell, widths[i], columns[i], color and n >= n_header) for i, cell in enumerate(line)])
        for n, line in enumerate(lines)
    ]
    if n_header and color:
        text[0] = f"\x1b[2m{text[0]}\x1b[0m"
    if len(shown) < len(rows):
        text.append(f"and {format_count(len(rows) - len(shown), 'more row')}")
    return "\n".join(text)


def cell_width(text: str) -> int:
    """Return how many terminal cells a text takes; wide characters take two.

    >>> cell_width("fit"), cell_width("模型")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _fit(widths: list[int], columns: Sequence[Column], width: int) -> list[int]:
    """Cut the widest shrinking columns to one common width, so that the line fits."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    if excess <= 0:
        return widths
    shrinking = [i for i, column in enumerate(columns) if column.shrinks]
    room = max(sum(widths[i] for i in shrinking) - excess, 0)
    fitted = list(widths)
    for n_left, i in zip(range(len(shrinking), 0, -1), sorted(shrinking, key=lambda i: widths[i]), strict=True):
        # From the narrowest to the widest: what one does not need, the wider ones share.
        fitted[i] = min(widths[i], max(room // n_left, _SHORTEST_COLUMN))
        room = max(room - fitted[i], 0)
    return fitted


def _cell(text: str, width: int, column: Column, color: bool) -> str:
    shown = text if cell_width(text) <= width else _cut(text, width)
    pad = " " * (width - cell_width(shown))
    painted = paint(shown, text) if color and text in LOOKS else shown
    return pad + painted if column.align == "right" else painted + pad


def _cut(text: str, width: int) -> str:
    kept = text[:width]
    while kept and cell_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def _line(cells: Sequence[str]) -> str:
    return _GAP.join(cells).rstrip()
