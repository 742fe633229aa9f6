"""Small, safe HTML: what notebook displays and reports are built from.

Theory of operation: a piece of markup is an `Html`, a str that is known to be safe. `tag` escapes every child and every
attribute that is not one, so text that came from a task can only ever be text. `fragment` puts pieces under one class with
one style, which selects nothing outside that class and takes its colours from the surrounding theme.

Invariant: a fragment has no script, loads nothing, and is at most LARGEST_FRAGMENT bytes.
Invariant: where a viewer strips styles, the text alone still says everything.
"""

import html
import re
from collections.abc import Iterable, Sequence

from flowlib.text import LONGEST_TEXT, format_count, one_line
from flowlib.views.palette import LOOKS

CLASS = "flowlib"
LARGEST_FRAGMENT = 100_000
"""Bytes of one display: what a notebook file can carry many times over."""
MAX_TABLE_ROWS = 60
_VOID = frozenset({"br", "hr", "img", "col"})
_NAME = re.compile(r"[a-z][a-z0-9-]*")

_STYLE = """
.flowlib { color: var(--jp-content-font-color1, var(--vscode-foreground, inherit)); font: 13px/1.5 var(--jp-ui-font-family,
  var(--vscode-font-family, system-ui, sans-serif)); font-variant-numeric: tabular-nums; max-width: 60em; }
.flowlib .muted { opacity: .65; }
.flowlib .title { font-weight: 600; }
.flowlib .mono { font-family: var(--jp-code-font-family, var(--vscode-editor-font-family, ui-monospace, monospace)); }
.flowlib table { border-collapse: collapse; margin: .3em 0; background: none; border: 0; color: inherit;
  font-size: inherit; }
.flowlib tr, .flowlib tr:nth-child(even), .flowlib tr:hover { background: none; }
.flowlib th, .flowlib td { padding: .1em .9em .1em 0; border: 0; text-align: left; white-space: nowrap; }
.flowlib th { font-weight: 400; opacity: .65; }
.flowlib .number { text-align: right; }
.flowlib tr.total td { border-top: 1px solid rgba(128, 128, 128, .35); }
.flowlib .bar { display: flex; width: 15em; height: .5em; border-radius: .25em; overflow: hidden;
  background: rgba(128, 128, 128, .22); }
.flowlib .badge { white-space: nowrap; }
.flowlib .badge::before { content: ""; display: inline-block; width: .6em; height: .6em; border-radius: 50%;
  margin-right: .4em; background: currentColor; }
.flowlib pre { margin: .3em 0; white-space: pre-wrap; background: none; color: inherit; }
.flowlib details > summary { cursor: pointer; }
""" + "".join(
    f".flowlib .fill-{state} {{ background: {look.css}; }}\n"
    f".flowlib .badge-{state}::before {{ background: {look.css}; }}\n"
    for state, look in LOOKS.items()
)


class Html(str):
    """Text that is safe as markup: made by this module, or escaped by it."""

    __slots__ = ()


SPACE = Html(" ")
"""A gap between two pieces; the space of a text at its ends does not survive `escape`."""


def escape(text: object, limit: int = LONGEST_TEXT) -> Html:
    """Return any text as markup that shows it, on one line of at most `limit` characters.

    >>> escape("<script>alert('x')</script>")
    '&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;'
    """
    return text if isinstance(text, Html) else Html(html.escape(one_line(text, limit)))


def join(pieces: Iterable[object]) -> Html:
    """Return pieces one after the other; what is not markup is escaped."""
    return Html("".join(map(escape, pieces)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Return one element. Children that are not `Html` are escaped, attribute values always are.

    Args:
        name: the element's name; a literal of the caller's, never data.
        children: text or markup.
        attributes: `class_` stands for class, `data_x` for data-x; None leaves one out.

    >>> tag("b", "a < b", class_="title")
    '<b class="title">a &lt; b</b>'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of an element: {name!r}")
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{shown}>" if name in _VOID else f"<{name}{shown}>{join(children)}</{name}>")


def badge(state: str) -> Html:
    """Return a node state as a coloured dot and its word."""
    known = state if state in LOOKS else "waiting"
    return tag("span", state.replace("_", " "), class_=f"badge badge-{known}")


def bar(parts: Sequence[tuple[str, float]]) -> Html:
    """Return a bar of coloured parts; (state, share of the whole), shares at most 1 together. It repeats no text."""
    fills = [
        tag("div", class_=f"fill-{state}", style=f"width: {100 * share:.2f}%") for state, share in parts if share > 0
    ]
    return tag("div", *fills, class_="bar", aria_hidden="true")


def table(
    header: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Iterable[int] = (),
    max_rows: int = MAX_TABLE_ROWS,
    last_is_total: bool = False,
) -> Html:
    """Return a table; rows beyond `max_rows` are counted, not shown.

    Args:
        header: one cell per column; empty for none.
        rows: cells, text or markup; None is shown as nothing.
        numbers: columns whose cells stand to the right.
        max_rows: rows shown.
        last_is_total: draw a line above the last row, and always show it.
    """
    right = frozenset(numbers)
    body, total = (rows[:-1], rows[-1:]) if last_is_total else (rows, ())
    lines = [_table_row("th", header, right)] if header else []
    lines += [_table_row("td", row, right) for row in body[:max_rows]]
    if len(body) > max_rows:
        more = f"and {format_count(len(body) - max_rows, 'more row')}"
        lines.append(tag("tr", tag("td", more, class_="muted", colspan=max(len(body[0]), 1))))
    lines += [_table_row("td", row, right, class_="total") for row in total]
    return tag("table", *lines)


def fragment(*pieces: object, limit_bytes: int = LARGEST_FRAGMENT) -> Html:
    """Return pieces as one self-contained display; those that no longer fit are replaced by a sentence.

    Cost: O(size). The style is about 3 kB of it.
    """
    style = Html(f"<style>{_STYLE}</style>")
    room = limit_bytes - len(style) - 200
    kept: list[Html] = []
    for piece in map(escape, pieces):
        room -= len(piece.encode("utf-8", "replace"))
        if room < 0:
            kept.append(tag("div", "The rest is too large to show here.", class_="muted"))
            break
        kept.append(piece)
    return tag("div", style, *kept, class_=CLASS)


def _table_row(cell: str, cells: Sequence[object], right: frozenset[int], class_: str | None = None) -> Html:
    shown = [
        tag(cell, "" if item is None else item, class_="number" if i in right else None) for i, item in enumerate(cells)
    ]
    return tag("tr", *shown, class_=class_)
