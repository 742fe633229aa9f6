"""Look after work whose own thread is held up by a call of the user's.

Theory of operation: an engine makes calls in its own thread where nothing else is to be done, and a worker process makes
many in a row. Should one take long, nobody would tell that it runs, commit what ended before it, or give others what is
behind it. So one thread of the process looks every 50 ms at each of those that make calls; for one that is away at the
same call as before, it does what would be done if it were there. The thread lives while there are any, and a second longer.

Invariant: that happens under the `guard`, and only while the owner is away; it comes back under the guard, too.

Cost: 0.2 us to go away and come back, 1 us the first time, and 0.1 ms for a process that has no such thread. It wakes 20
times a second. While code holds the interpreter, or an observer or the disk holds up the thread, nobody looks.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

_LOOK_S = 0.05
_LINGER_S = 1.0
"""How long the thread waits for another one to look at."""


class Lookout:
    """Whether one owner is away, and for how long.

    Args:
        look_after: Does what the owner would, were it there, but runs no code of the user's: that would find itself in another
            thread. What it raises is raised when the owner comes back.
    """

    def __init__(self, look_after: Callable[[], None] | None = None) -> None:
        self.look_after = look_after
        self.guard = threading.RLock()
        """Held by whoever does something in the place of an owner that is away."""
        self._is_away = self._is_watched = False
        self._n_left = self._n_seen = 0
        self._error: BaseException | None = None

    def leave(self) -> None:
        """Say that the owner is about to make a call."""
        if not self._is_watched:
            self._is_watched = True
            _shared.watch.add(self)
        self._n_left += 1
        self._is_away = True

    def come_back(self) -> None:
        """Say that the call is over; waits for whoever looks after the owner just now."""
        with self.guard:
            self._is_away = False
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Be away inside the block. Cost: 1 us."""
        self.leave()
        try:
            yield
        finally:
            self.come_back()

    def look(self) -> None:
        """Look after the owner if it is at the same call as the last time."""
        if self._is_away and self._n_left == self._n_seen:
            with self.guard:
                if self._is_away and self._error is None and self.look_after is not None:
                    try:
                        self.look_after()
                    except BaseException as error:  # nobody is there to hear it: the owner will
                        self._error = error
        self._n_seen = self._n_left

    def close(self) -> None:
        """Let go of the owner."""
        with self.guard:
            self.look_after = None
        _shared.watch.discard(self)


class Watch:
    """The thread that looks. Safe for any number of threads; not across a fork."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lookouts: dict[Lookout, None] = {}
        self._is_running = False
        self._never = threading.Event()

    def add(self, lookout: Lookout) -> None:
        """Look at an owner from now on."""
        with self._changed:
            self._lookouts[lookout] = None
            self._changed.notify()
            if not self._is_running:
                with contextlib.suppress(RuntimeError):  # no thread can be had: a slow call is told when it has ended
                    threading.Thread(target=self._serve, name="flowlib-lookout", daemon=True).start()
                    self._is_running = True

    def discard(self, lookout: Lookout) -> None:
        """Look at an owner no more."""
        with self._changed:
            self._lookouts.pop(lookout, None)

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: bool(self._lookouts), _LINGER_S):
                    self._is_running = False
                    return
            self._never.wait(_LOOK_S)
            self._look_at_all()

    def _look_at_all(self) -> None:
        """Look at each owner once; a method, so that the thread holds none, and no values of a run, while it waits."""
        with self._changed:
            lookouts = (*self._lookouts,)
        for lookout in lookouts:
            lookout.look()


class _Shared:
    """What all of the process share; there is one, see the module for why."""

    def __init__(self) -> None:
        self.watch = Watch()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Begin anew in a child: it has none of its parent's threads, and the lock may be held for ever."""
        self.watch = Watch()


_shared = _Shared()
