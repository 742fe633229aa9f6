"""How outcomes come back to the engine: through a queue that whoever ends a job puts something in.

What comes out of an outbox is an outcome, something that holds several, or None, which only wakes whoever waits.
"""

import contextlib
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any

from flowlib.errors import InternalError
from flowlib.execution.base import Batch, Call, Ended, Job, Outcome
from flowlib.ids import Key


class Outbox:
    """The half of an executor that hands out what has ended."""

    outbox: "SimpleQueue[Any]"

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first; empty after `timeout_s` or a `wake`."""
        while True:
            try:
                first = self.outbox.get(timeout=timeout_s)
            except Empty:
                return []
            found = outcomes_of(first) + self.take_ended()
            if found or first is None:
                return found

    def take_ended(self) -> list[Outcome]:
        """Return the outcomes that are there."""
        outcomes: list[Outcome] = []
        try:
            while True:
                outcomes += outcomes_of(self.outbox.get_nowait())
        except Empty:
            return outcomes

    def take_made(self) -> list[Outcome]:
        """Return those of the outcomes that need no unpacking."""
        outcomes: list[Outcome] = []
        others: list[Any] = []
        with contextlib.suppress(Empty):
            while True:
                found = self.outbox.get_nowait()
                if isinstance(found, Outcome | Batch):
                    outcomes += outcomes_of(found)
                else:
                    others.append(found)
        for other in others:
            self.outbox.put(other)
        return outcomes

    def take_slow(self) -> list[Call]:
        """Return nothing: what takes long in this process is seen by the engine."""
        return []

    take_given_back = take_slow

    def help_out(self) -> bool:
        """Return False: no job of this executor waits for a thread of the run."""
        return False


class FarOutbox(Outbox):
    """The same for an executor whose jobs are performed in other processes, never in the calling thread."""

    makes_calls_here = False

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Refuse: whoever asks has not looked at `makes_calls_here`."""
        raise InternalError("Calls that are made elsewhere were to be made here.", {}, "Please report it.")

    def take_over(self, key: Key) -> bool:
        """Return False: the calling thread performs no jobs."""
        return False


def outcomes_of(ended: Outcome | Ended | None) -> list[Outcome]:
    """Return the outcomes in something that came out of an outbox."""
    if ended is None:
        return []
    return [ended] if isinstance(ended, Outcome) else ended.take_done()
