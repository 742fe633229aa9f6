"""A thread that commits when it is asked to, so that whoever asks need not wait for the disk.

Theory of operation: who asks gets a number, and the thread commits until it has done so after the last number was given;
what many ask for while it is at work is one commit. The thread lives while there is work, and a little longer.
"""

import threading
from collections.abc import Callable
from functools import partial

_LINGER_S = 0.2
"""How long the thread waits for more work; a new one costs a connection to the index."""


def done() -> bool:
    """Say that a commit is over, for one that was made at once."""
    return True


class Committer:
    """Calls `commit` in a thread of its own. Safe for any number of threads; not across a fork."""

    def __init__(self, commit: Callable[[], None]) -> None:
        self._commit = commit
        self._changed = threading.Condition()
        self._is_running = self._is_closed = False
        self._n_asked = self._n_done = 0
        self._error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a commit is going on, or about to."""
        return self._n_done < self._n_asked

    def ask(self) -> Callable[[], bool]:
        """Ask for a commit that begins after now; return what says whether it is over.

        That raises what `commit` raised, to the first who asks then. Without a thread to be had, the commit is made here.
        """
        with self._changed:
            self._n_asked += 1
            number = self._n_asked
            try:
                self._begin()
            except RuntimeError:
                self._commit()
                self._n_done = number
        return partial(self._is_done, number)

    def _begin(self) -> None:
        if not self._is_running:
            threading.Thread(target=self._serve, name="flowlib-commit", daemon=True).start()
            self._is_running = True
        self._changed.notify()

    def _is_done(self, number: int) -> bool:
        with self._changed:
            error, self._error = self._error, None
            if error is not None:
                raise error
            return self._n_done >= number

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self.is_busy and not self._is_closed:
                    self._changed.wait(_LINGER_S)
                if not self.is_busy:
                    self._is_running = False
                    return
                number = self._n_asked
            try:
                self._commit()
            except BaseException as error:  # nobody is there to hear it: who asked will
                self._error = error
            with self._changed:
                self._n_done = number

    def close(self) -> None:
        """Let the thread end once it has nothing to do."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
