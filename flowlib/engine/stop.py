"""Stop a run from outside: Ctrl-C, SIGTERM, `Run.cancel`, a deadline.

Rules: the first Ctrl-C asks the run to drain (start nothing new, keep what finishes); the second ends it without
waiting for what runs. The handler only sets a flag and wakes the loop, and the loop raises KeyboardInterrupt between two
steps, so that no instruction of the engine or the store is ever torn in two: a torn one could leave a lock taken or a
result behind. Only the user's own code, when it runs in the main thread, has the second Ctrl-C raised inside it. A fifth
is raised wherever it strikes, for a step that takes for ever, but not while results go to the store, nor while a run is
closed and the log gets its end: that takes a moment, and half of it would lose finished results. Signals reach only the
main thread; elsewhere nothing is installed.

SIGTERM is taken like Ctrl-C, the first and the second, and ends the program with the code that shells give for it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

from flowlib.errors import RunStopped

TERMINATED = 128 + signal.SIGTERM
"""What a process exits with that SIGTERM ended."""

_MOST_PATIENT = 4
"""Interrupts that wait for the end of a step of the engine: somebody in a hurry presses two or three times."""

StopCause = Literal["", "interrupt", "cancel", "deadline", "error"]


class Terminated(SystemExit):
    """The process was told to end by SIGTERM: what a run raises once it has come to its own end."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


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
        self._is_still = threading.Event()
        self._is_ended = False
        self._n_interrupts = 0
        self.was_terminated = False
        """Whether the last signal was SIGTERM."""
        self._n_held_off = 0
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
        is_outer_killed = self._outer is not None and self._outer.is_killed
        return self._is_ended or is_outer_killed or self._n_interrupts > 1

    @contextmanager
    def holding_off(self) -> Iterator[None]:
        """Let no interrupt be raised inside the block. They are raised in the main thread only: others change nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._outermost._n_held_off += 1
        try:
            yield
        finally:
            self._outermost._n_held_off -= 1

    def enter_user_code(self, is_entered: bool) -> bool:
        """Say whose code the main thread runs from now on; return whose it was. Other threads change nothing."""
        before = self._outermost._is_in_user_code
        if threading.current_thread() is threading.main_thread():
            self._outermost._is_in_user_code = is_entered
        return before

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Take one Ctrl-C, or SIGTERM. Called by the handler on the outermost run, in the main thread, between any two instructions.

        Raises:
            KeyboardInterrupt: It is not the first, and may be raised here.
        """
        self._n_interrupts += 1
        self.was_terminated = number == signal.SIGTERM
        self.request("interrupt")
        if self._n_interrupts > (1 if self._is_in_user_code else _MOST_PATIENT) and not self._n_held_off:
            raise KeyboardInterrupt

    def attach(self, wake: Callable[[], None]) -> None:
        """Tell how to wake the loop that watches this flag."""
        self._wake = wake

    def request(self, cause: StopCause) -> None:
        """Ask the run to drain; the first cause stays, but an interrupt outranks the others."""
        if not self._cause or cause == "interrupt":
            self._cause = cause
        self._wake()

    def end(self, cause: StopCause) -> None:
        """Ask the run to end without waiting for what runs."""
        self._is_ended = True
        self.request(cause)

    def pause(self, paused: bool) -> None:
        """Start nothing new while paused."""
        self._is_still.clear()
        self._is_paused = paused
        self._wake()

    def note_still(self) -> None:
        """Say that a paused run has come to rest: nothing runs, and what has finished is kept."""
        self._is_still.set()

    def wait_still(self, timeout_s: float | None) -> bool:
        """Wait until a paused run has come to rest; False if it has not after `timeout_s`."""
        return self._is_still.wait(timeout_s)

    @property
    def is_still(self) -> bool:
        """Whether a paused run has come to rest."""
        return self._is_paused and self._is_still.is_set()

    def error(self) -> BaseException:
        """Return what a run raises that does not wait for what runs."""
        if self.cause == "interrupt":
            return KeyboardInterrupt()
        return RunStopped(
            "The run was ended before every result was there.",
            {"cause": self.cause or "cancel"},
            "Finished results are kept: run again to go on from here.",
        )


@contextmanager
def interrupts(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM drain the run inside the block; handlers of the user's own are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            stop.interrupt(number)
        else:
            _obey(number)

    defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    ours = [number for number, default in defaults.items() if signal.getsignal(number) == default]
    for number in ours:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, defaults[number])


def _obey(number: int) -> None:
    """Do with a signal what a process does by itself: a task has forked this one, and the run is not its business."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
