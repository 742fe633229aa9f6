"""Single flight: a key is computed by one node at a time; whoever else needs it waits without taking a slot.

Theory of operation: leases are asked for again every few milliseconds. A run inside a task waits on the thread that
performs the task, so it may be what keeps a queued job from starting: it performs the job it waits for itself. And two
tasks may ask for each other's results; what waits for what is therefore noted, and the wait that would close a circle is
refused.
"""

import threading

from flowlib.engine.commit import Ledger
from flowlib.execution.base import Executor
from flowlib.ids import Key, NodeId

LEASE_POLL_S = 0.02
"""How often a lease that somebody else holds is asked for again."""


class Circles:
    """Which keys wait for which, over all runs inside the tasks of one run.

    >>> circles = Circles()
    >>> circles.begin(frozenset({Key("a")}), Key("b")), circles.begin(frozenset({Key("b")}), Key("a"))
    (True, False)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[Key, list[Key]] = {}

    def begin(self, chain: frozenset[Key], key: Key) -> bool:
        """Note that everything in `chain` waits for `key`; False, and nothing noted, if that would be for ever."""
        with self._lock:
            if self._needs_any(key, chain):
                return False
            for waiting in chain:
                self._wanted.setdefault(waiting, []).append(key)
            return True

    def end(self, chain: frozenset[Key], key: Key) -> None:
        """Forget one wait."""
        with self._lock:
            for waiting in chain:
                wanted = self._wanted.get(waiting, [])
                if key in wanted:
                    wanted.remove(key)
                if not wanted:
                    self._wanted.pop(waiting, None)

    def _needs_any(self, key: Key, chain: frozenset[Key]) -> bool:
        stack, seen = [key], {key}
        while stack:
            at = stack.pop()
            if at in chain:
                return True
            fresh = [wanted for wanted in self._wanted.get(at, ()) if wanted not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        return False


class Blocked:
    """The nodes of one run that wait for a lease.

    Args:
        ledger: Takes leases.
        executor: May perform the job that is waited for.
        circles: Shared by the runs inside tasks.
        chain: Keys of the tasks this run is inside of.
    """

    def __init__(self, ledger: Ledger, executor: Executor, circles: Circles, chain: frozenset[Key]) -> None:
        self._ledger, self._executor, self._circles, self._chain = ledger, executor, circles, chain
        self._key_of: dict[NodeId, Key] = {}

    def __len__(self) -> int:
        return len(self._key_of)

    def add(self, number: NodeId, key: Key) -> bool:
        """Let a node wait; False if its key cannot be had before the task this run is inside of has ended."""
        if not self._circles.begin(self._chain, key):
            return False
        self._key_of[number] = key
        return True

    def discard(self, number: NodeId) -> None:
        """Forget a node. Harmless when it does not wait."""
        key = self._key_of.pop(number, None)
        if key is not None:
            self._circles.end(self._chain, key)

    def clear(self) -> None:
        """Forget every node: the run is over."""
        for number in [*self._key_of]:
            self.discard(number)

    def poll(self) -> list[NodeId]:
        """Return the nodes that have their lease now."""
        there = []
        for number, key in [*self._key_of.items()]:
            if self._ledger.take_lease(number, key):
                self.discard(number)
                there.append(number)
            else:
                self._executor.take_over(key)
        return there
