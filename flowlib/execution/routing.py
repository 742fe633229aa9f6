"""One run, several executors: each job goes where its task or the run wants it.

What flowlib itself has to do (operators, reductions, values of returned nodes) stays in the threads of the run: it is
quick, or works on values that are there.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flowlib.execution.base import Batch, Call, Executor, Job, Outcome
from flowlib.execution.threads import ThreadExecutor
from flowlib.ids import Key, NodeId

_HERE = ("threads", "inline")


class RoutedExecutor:
    """The threads of a run, and processes or clusters when something wants them.

    Args:
        home: The run's threads.
        make_away: Makes the door to another place; called when the first job goes there. What comes out of it comes out of
            the outbox of the threads.
        default: Where what says nothing goes: a word, a cluster's name, or an executor of the user's.
    """

    def __init__(self, home: ThreadExecutor, make_away: Callable[[Any], Executor], default: Any = "threads") -> None:
        self._home, self._make_away = home, make_away
        self._default = None if isinstance(default, str) and default in _HERE else default
        self._away: dict[Any, Executor] = {}
        self.makes_calls_here = self._default is None

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once; a cluster says so once it is open."""
        made = self._away.get(_mark(self._default)) if self._default is not None else None
        return self._home.capacity if made is None else made.capacity

    def _door_of(self, work: Job | Call) -> Executor:
        """Return where a job or call goes."""
        wanted = work.policy.executor
        if isinstance(work, Call):
            place = None if wanted is not None or work.task.is_op else self._default
        elif work.assembles or work.stream is not None or work.task.own_code:
            place = None
        else:
            place = self._default if wanted is None else None if wanted in _HERE else wanted
        if place is None:
            return self._home
        door = self._away.get(_mark(place))
        if door is None:
            door = self._away[_mark(place)] = self._make_away(place)
        return door

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._door_of(job).submit(job)

    def submit_batch(self, batch: Batch) -> None:
        """Take quick calls; those that go elsewhere than the rest are a batch of their own."""
        waiting = tuple(batch.waiting)
        if not waiting:
            return
        if self._default is None and Job not in set(map(type, waiting)):  # the thousands of quick calls of most runs
            self._home.submit_batch(batch)
            return
        doors: dict[Executor, list[Call | Job]] = {}
        for work in waiting:
            doors.setdefault(self._door_of(work), []).append(work)
        if len(doors) == 1:
            next(iter(doors)).submit_batch(batch)
            return
        for door, works in doors.items():
            if door is self._home:
                continue
            for work in works:
                batch.waiting.remove(work)
            door.submit_batch(Batch(works, batch.made, batch.gather))
        if batch.waiting:
            self._home.submit_batch(batch)

    def perform_calls(self, calls: Iterable[Call | Job], ended: Callable[[Outcome], object]) -> None:
        """Make calls as they come, in the calling thread."""
        self._home.perform_calls(calls, ended)

    def collect(self, timeout_s: float | None) -> list[Outcome]:
        """Return the outcomes that are there, waiting for the first."""
        return self._home.collect(timeout_s)

    def take_ended(self) -> list[Outcome]:
        """Return the outcomes that are there."""
        return self._home.take_ended()

    def take_made(self) -> list[Outcome]:
        """Return those of the outcomes that come from this process."""
        return self._home.take_made()

    def take_slow(self) -> list[Call]:
        """Return calls that hold others up in other processes."""
        return [call for door in self._away.values() for call in door.take_slow()]

    def take_given_back(self) -> list[Call]:
        """Return calls that were behind those, and have not begun."""
        return [call for door in self._away.values() for call in door.take_given_back()]

    def take_over(self, key: Key) -> bool:
        """Perform a job or call with this key now, if it waits in this process."""
        return self._home.take_over(key) or any(door.take_over(key) for door in self._away.values())

    def help_out(self) -> bool:
        """Perform a queued job that holds something others wait for, if the threads have one."""
        return self._home.help_out()

    def kill(self, node: NodeId, error: BaseException) -> bool:
        """End the job of a node, if it is where that is possible."""
        return any(door.kill(node, error) for door in (*self._away.values(), self._home))

    def replace_worker(self) -> None:
        """Take one more job at once."""
        for door in (self._home, *self._away.values()):
            door.replace_worker()

    def wake(self) -> None:
        """Make a waiting `collect` return."""
        self._home.wake()

    def close(self) -> None:
        """Let go of threads, processes and clusters."""
        self._home.close()
        for door in self._away.values():
            door.close()


def _mark(place: Any) -> Any:
    return place if isinstance(place, str) else id(place)
