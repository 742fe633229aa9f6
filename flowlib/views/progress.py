"""Choose how the progress of a run is shown: a live table, a notebook cell, plain lines, or nothing.

One stream of events, one set of counts, three screens. rich is imported when the terminal's screen is made, IPython when
the notebook's is.
"""

import sys
from collections.abc import Mapping
from functools import partial
from typing import TextIO

from flowlib.clock import Clock, SystemClock
from flowlib.errors import ConfigError, near_miss
from flowlib.events import Observer
from flowlib.views.progress_observer import ProgressObserver
from flowlib.views.progress_plain import PlainScreen

MODES = ("auto", "terminal", "notebook", "plain", "off")
TERMINAL_EVERY_S = 0.125
NOTEBOOK_EVERY_S = 0.25
"""Each update is a message to every front end that shows the notebook."""
PLAIN_EVERY_S = 5.0


def choose_progress(
    mode: str | bool | None,
    *,
    is_tty: bool,
    in_notebook: bool,
    no_color: bool,
    stream: TextIO,
    title: str = "",
    totals: Mapping[str, int] | None = None,
    clock: Clock | None = None,
) -> Observer | None:
    """Return the observer that shows a run's progress, or None when it should not be shown.

    Args:
        mode: one of MODES; True is `auto`, False and None are `off`. `auto` takes the notebook, then the terminal, then
            plain lines.
        is_tty: whether `stream` is a terminal.
        in_notebook: whether a notebook's kernel runs this; see `in_notebook`.
        no_color: write no colour.
        stream: text stream for the terminal and for plain lines, usually standard error.
        title: what the run is called; empty takes its first tag.
        totals: task name -> nodes it has in the graph; gives each task's line its bar.
        clock: paces the drawing; the system's by default.

    Raises:
        ConfigError: an unknown mode.

    >>> import io
    >>> choose_progress(False, is_tty=True, in_notebook=False, no_color=False, stream=io.StringIO()) is None
    True
    """
    chosen = _resolve(mode, is_tty=is_tty, in_notebook=in_notebook)
    show = partial(ProgressObserver, clock=clock or SystemClock(), title=title, totals=totals)
    if chosen == "off":
        return None
    if chosen == "plain":
        return show(PlainScreen(stream), every_s=PLAIN_EVERY_S, at_once=False)
    if chosen == "notebook":
        from flowlib.views.progress_notebook import NotebookScreen

        return show(NotebookScreen(), every_s=NOTEBOOK_EVERY_S)
    from flowlib.views.progress_terminal import TerminalScreen

    return show(TerminalScreen(stream, no_color=no_color), every_s=TERMINAL_EVERY_S)


def in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this program. IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def _resolve(mode: str | bool | None, *, is_tty: bool, in_notebook: bool) -> str:
    name = "auto" if mode is True else mode or "off"
    if name not in MODES:
        raise ConfigError(f"Unknown progress mode {name!r}.", {}, near_miss(name, MODES))
    if name != "auto":
        return name
    return "notebook" if in_notebook else "terminal" if is_tty else "plain"
