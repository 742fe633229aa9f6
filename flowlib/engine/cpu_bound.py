"""Notice that the tasks of a run computed in Python, where threads take turns, and say what processes would have given.

Theory of operation: each task that ran in a thread of the run has wall seconds and processor seconds. Tasks that wait use
few processor seconds; tasks in compiled code that lets go of the interpreter use more of them together than time passes.
Only what computes in Python uses about as many as time passes, and takes as much longer as it runs beside others.
"""

from flowlib.execution.base import Outcome

_ENOUGH_S = 2.0
"""Processor seconds from which it is worth telling."""
_BUSY, _ALONE, _BESIDE = 0.7, 1.25, 1.5


class CpuBound:
    """Sums what the tasks of one run took in its threads."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.longest_s = 0.0

    def add(self, outcome: Outcome) -> None:
        """Take what one task took; nothing of those that ran in processes of their own."""
        if outcome.cpu_s and not outcome.peak_bytes:
            self.wall_s += outcome.duration_s
            self.cpu_s += outcome.cpu_s
            self.longest_s = max(self.longest_s, outcome.cpu_s)

    def notice(self, run_s: float, n_cpus: int) -> str:
        """Return what to tell of a run that took so long; empty if its threads did well."""
        is_one_at_a_time = _BUSY * run_s <= self.cpu_s <= _ALONE * run_s
        if n_cpus < 2 or self.cpu_s < _ENOUGH_S or not is_one_at_a_time or self.wall_s < _BESIDE * self.cpu_s:
            return ""
        expected_s = max(self.cpu_s / n_cpus, self.longest_s)
        return (
            f"Tasks computed {self.cpu_s:.1f} s in Python code, which threads do one at a time. With "
            f"executor='processes' the {n_cpus} CPUs would have taken about {expected_s:.1f} s of the {run_s:.1f} s."
        )
