"""How each node state looks: one glyph, one terminal style, one colour for the page. The words are NODE_STATES.

Terminal styles are the sixteen named colours, which every theme maps to something legible on its own background. Page
colours come from the notebook's theme where it has them; the fallbacks are the Okabe-Ito colours, which stay apart for
colour-blind readers and on dark and light paper. A colour never says anything that a word beside it does not say too.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen
class Look:
    """The looks of one state."""

    glyph: str
    """One cell wide in every font."""
    ascii: str
    """The glyph where only ASCII can be written."""
    style: str
    """For rich; a named terminal colour."""
    sgr: str
    """The same for plain text: parameters of the escape sequence that selects the colour."""
    css: str
    """A CSS colour, taken from the surrounding theme where it offers one."""


LOOKS: Mapping[str, Look] = {
    "waiting": Look("·", ".", "dim", "2", "var(--jp-layout-color4, #8a8f98)"),
    "ready": Look("○", "o", "dim", "2", "var(--jp-layout-color4, #8a8f98)"),
    "running": Look("●", "*", "yellow", "33", "var(--vscode-charts-yellow, #e69f00)"),
    "done": Look("✓", "+", "green", "32", "var(--jp-success-color1, var(--vscode-charts-green, #009e73))"),
    "cached": Look("=", "=", "cyan", "36", "var(--jp-info-color1, var(--vscode-charts-blue, #56b4e9))"),
    "failed": Look("✗", "x", "red", "31", "var(--jp-error-color1, var(--vscode-charts-red, #d55e00))"),
    "skipped": Look("-", "-", "dim", "2", "var(--jp-layout-color4, #8a8f98)"),
    "stopped": Look("■", "#", "magenta", "35", "var(--vscode-charts-purple, #cc79a7)"),
    "timed_out": Look("!", "!", "red", "31", "var(--jp-error-color1, var(--vscode-charts-red, #d55e00))"),
    "cancelled": Look("x", "x", "magenta", "35", "var(--vscode-charts-purple, #cc79a7)"),
}


def paint(text: str, state: str) -> str:
    r"""Return a text in the colour of a state, for a terminal that shows colours.

    >>> paint("done", "done")
    '\x1b[32mdone\x1b[0m'
    """
    look = LOOKS.get(state)
    return f"\x1b[{look.sgr}m{text}\x1b[0m" if look else text
