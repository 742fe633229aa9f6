"""Which tasks are so quick that handing over their calls costs more than making them.

A task is paced by what its calls typically take. As many calls are put into one batch as take a few milliseconds: long
enough that the hand-over is a fraction of it, short enough that the run answers to everything else. Typical is the median
of what came back together: a call that had to wait for the interpreter says nothing about its task.
"""

from collections.abc import Mapping, Sequence

from flowlib.scheduling.messages import Paced

BATCH_S = 0.005
"""How long a batch should take."""

QUICK_S = 0.0005
"""Calls that typically take longer are handed over one by one."""

_ENOUGH = 4
"""Calls after which the typical one is known."""

ALONE_S = 0.00005
"""Calls that typically take less are made one after the other by one worker, unless they wait for something: others
beside it would fight with it, and with the engine, for the interpreter."""

_MOST = 1024

_MOST_VALUES = 8
"""Calls in a batch when a result may be large: all of them are in memory together."""

_OVERHEAD_S = 4e-6
"""What a call costs beside the user's function, at least."""


class Pace:
    """How quick the tasks of one run are.

    Args:
        share_interpreter: Whether calls are made in this process, where only one of them has the interpreter.
    """

    def __init__(self, *, share_interpreter: bool = True) -> None:
        self._share_interpreter = share_interpreter
        self._n: dict[str, int] = {}
        self._typical_s: dict[str, float] = {}
        self._most: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._no_followers: set[str] = set()
        """Tasks whose latest call could not have followed another."""
        self._told: dict[str, Paced] = {}

    def took(self, durations_s_by_task: Mapping[str, Sequence[float]]) -> list[Paced]:
        """Take what calls took, by task; return what the scheduler has to know. O(n log n) in C."""
        facts: list[Paced] = []
        for task, durations_s in durations_s_by_task.items():
            median_s = sorted(durations_s)[len(durations_s) // 2]
            self._typical_s[task] = (self._typical_s.get(task, median_s) + median_s) / 2
            self._n[task] = self._n.get(task, 0) + len(durations_s)
            facts += self._changed(task)
        return facts

    def gave_value(self, task: str) -> None:
        """Note that a call gave something other than a small scalar."""
        self._most[task] = _MOST_VALUES

    def was_made(self, task: str, *, can_follow: bool) -> None:
        """Note whether a call was one of those that can follow others; calls of a task are mostly alike."""
        if can_follow:
            self._no_followers.discard(task)
        else:
            self._no_followers.add(task)

    def waits(self, task: str) -> None:
        """Note that calls wait for something other than the processor."""
        self._waiting.add(task)

    def _changed(self, task: str) -> list[Paced]:
        before, typical_s = self._told.get(task, _NOT_QUICK), self._typical_s[task]
        now = 1
        if self._n[task] >= _ENOUGH and typical_s < QUICK_S:
            now = min(self._most.get(task, _MOST), int(BATCH_S / (typical_s + _OVERHEAD_S)))
        alone = self._share_interpreter and now > 1 and typical_s < ALONE_S and task not in self._waiting
        leads = self._share_interpreter and now > 1 and task not in self._most and task not in self._no_followers
        is_near = before.per_slot // 2 < now < 2 * before.per_slot and (now == 1) == (before.per_slot == 1)
        if is_near and alone == before.alone and leads == before.leads:
            return []
        self._told[task] = Paced(task, now, alone, leads)
        return [self._told[task]]


_NOT_QUICK = Paced("", 1)
