"""Which tasks are so quick that handing over their calls costs more than making them.

A task is paced by the mean duration of its calls, at first of those of earlier runs. As many calls are put into one
batch as take a few milliseconds: long enough that the hand-over is a fraction of it, short enough that the run answers
to everything else. The first long call ends a task's being quick.
"""

from collections.abc import Mapping

from flowlib.scheduling.messages import Paced

BATCH_S = 0.005
"""How long a batch should take."""

QUICK_S = 0.0005
"""Calls that take longer are handed over one by one."""

_ENOUGH = 4
"""Calls after which a mean says something."""

_MOST = 1024

_MOST_VALUES = 8
"""Calls in a batch when a result may be large: all of them are in memory together."""

_OVERHEAD_S = 4e-6
"""What a call costs beside the user's function, at least."""


class Pace:
    """How quick the tasks of one run are."""

    def __init__(self) -> None:
        self._n: dict[str, int] = {}
        self._total_s: dict[str, float] = {}
        self._per_slot: dict[str, int] = {}
        self._most: dict[str, int] = {}

    def known(self, task: str, n: int, mean_s: float) -> list[Paced]:
        """Take what earlier runs say about a task; return what the scheduler has to know."""
        if task in self._n:
            return []
        n = min(n, _ENOUGH)
        self._n[task], self._total_s[task] = n, n * mean_s
        return self._changed(task)

    def took(self, n_by_task: Mapping[str, int], total_s_by_task: Mapping[str, float]) -> list[Paced]:
        """Take how many calls of which tasks took how long; return what the scheduler has to know."""
        facts: list[Paced] = []
        for task, n in n_by_task.items():
            self._n[task] = self._n.get(task, 0) + n
            self._total_s[task] = self._total_s.get(task, 0.0) + total_s_by_task[task]
            facts += self._changed(task)
        return facts

    def gave(self, task: str) -> None:
        """Note that a call gave something other than a scalar."""
        self._most[task] = _MOST_VALUES

    def is_usual(self, task: str, duration_s: float) -> bool:
        """Whether a quick task took as little time as it always does, so that there is nothing to learn from it."""
        return duration_s < QUICK_S and self._per_slot.get(task, 1) > 1

    def _changed(self, task: str) -> list[Paced]:
        n, before = self._n[task], self._per_slot.get(task, 1)
        mean_s = self._total_s[task] / n if n else 1.0
        now = 1 if n < _ENOUGH or mean_s > QUICK_S else min(self._most.get(task, _MOST), int(BATCH_S / (mean_s + _OVERHEAD_S)))
        if before // 2 < now < 2 * before and (now == 1) == (before == 1):
            return []
        self._per_slot[task] = now
        return [Paced(task, now)]
