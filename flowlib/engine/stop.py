"""Stop a run from outside: Ctrl-C, `Run.cancel`, a deadline.

Rules: the first Ctrl-C asks the run to drain (start nothing new, keep what finishes); the second raises
KeyboardInterrupt at once. The handler only sets a flag and wakes the loop, so no instruction of the engine or the
store is ever torn in two by the first one; and none raises while a run is closed, so that leases are given back and
the log gets its end. Signals reach only the main thread; elsewhere nothing is installed.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

StopCause = Literal["", "interrupt", "cancel", "deadline", "error"]


class Stop:
    """Asks one run to stop. Thread-safe: setting a flag and waking the loop is all it does.

    Args:
        outer: The stop of the run this one is inside of; what stops that one stops this one.
    """

    def __init__(self, outer: "Stop | None" = None) -> None:
        self._outer = outer
        self._cause: StopCause = ""
        self._is_paused = False
        self._n_closing = 0
        self._wake: Callable[[], None] = lambda: None

    @property
    def cause(self) -> StopCause:
        """Why the run has to stop; empty while it need not."""
        return self._cause or (self._outer.cause if self._outer is not None else "")

    @property
    def is_paused(self) -> bool:
        """Whether nothing new may be started for now."""
        return self._is_paused or (self._outer is not None and self._outer.is_paused)

    @property
    def is_closing(self) -> bool:
        """Whether a run is being closed, which takes a moment and must not be torn."""
        return self._n_closing > 0

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Let no interrupt be raised inside the block."""
        outermost = self
        while outermost._outer is not None:
            outermost = outermost._outer
        outermost._n_closing += 1
        try:
            yield
        finally:
            outermost._n_closing -= 1

    def attach(self, wake: Callable[[], None]) -> None:
        """Tell how to wake the loop that watches this flag."""
        self._wake = wake

    def request(self, cause: StopCause) -> None:
        """Ask the run to drain; the first cause stays, but an interrupt outranks the others."""
        if not self._cause or cause == "interrupt":
            self._cause = cause
        self._wake()

    def pause(self, paused: bool) -> None:
        """Start nothing new while paused."""
        self._is_paused = paused
        self._wake()


@contextmanager
def interrupts(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C drain the run inside the block; a handler of the user's own is left alone."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if stop.cause == "interrupt" and not stop.is_closing:
            raise KeyboardInterrupt
        stop.request("interrupt")

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
