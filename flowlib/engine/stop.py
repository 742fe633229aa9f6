"""Stop a run from outside: Ctrl-C, `Run.cancel`, a deadline.

Rules: the first Ctrl-C asks the run to drain (start nothing new, keep what finishes); the second ends it without
waiting for what runs. The handler only sets a flag and wakes the loop, and the loop raises KeyboardInterrupt between two
steps, so that no instruction of the engine or the store is ever torn in two: a torn one could leave a lock taken or a
result behind. Only the user's own code, when it runs in the main thread, has the second Ctrl-C raised inside it. A third
is raised wherever it strikes, for a step that takes for ever, but not while a run is closed, which takes a moment and
gives the log its end. Signals reach only the main thread; elsewhere nothing is installed.
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
        self._outermost: Stop = self if outer is None else outer._outermost
        self._cause: StopCause = ""
        self._is_paused = False
        self._n_interrupts = 0
        self._n_closing = 0
        self._is_in_user_code = False
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
    def is_killed(self) -> bool:
        """Whether the run has to end without waiting for the jobs that run."""
        return self._outermost._n_interrupts > 1

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Let no interrupt be raised inside the block."""
        self._outermost._n_closing += 1
        try:
            yield
        finally:
            self._outermost._n_closing -= 1

    def enter_user_code(self, is_entered: bool) -> bool:
        """Say whose code the main thread runs from now on; return whose it was. Other threads change nothing."""
        before = self._outermost._is_in_user_code
        if threading.current_thread() is threading.main_thread():
            self._outermost._is_in_user_code = is_entered
        return before

    def interrupt(self) -> None:
        """Take one Ctrl-C. Called by the handler on the outermost run, in the main thread, between any two instructions.

        Raises:
            KeyboardInterrupt: It is not the first, and may be raised here.
        """
        self._n_interrupts += 1
        self.request("interrupt")
        if self._n_interrupts > (1 if self._is_in_user_code else 2) and not self._n_closing:
            raise KeyboardInterrupt

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
        stop.interrupt()

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
