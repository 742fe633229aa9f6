"""The attempts at calls that may be tried again or may take only so long: how many there were, what is due, what came late.

Calls without retries and without a timeout never come here, so they cost nothing.

Invariant: an attempt that goes on without its node is known until it comes back; nothing that it brings is used.
"""

import inspect
from collections.abc import Callable, Sequence

from flowlib.clock import Clock
from flowlib.engine.timers import Kind, Timers
from flowlib.errors import TaskTimedOut
from flowlib.execution.base import Call, Job, Outcome, Stopwatch
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.graph.timeout import Timeout
from flowlib.ids import NodeId

COROUTINE_GRACE_S = 1.0
"""How much longer than its time a coroutine has to leave, after it was cancelled, before it is left alone."""

KILL_GRACE_S = 5.0
"""How long to wait for the outcome of what was killed."""


class Attempts:
    """What is known of the attempts of one run.

    Args:
        graph: The graph; it may grow.
        clock: Tells when something is due.
        chance: Gives a number from 0 to 1, by which delays vary; a generator of its own unless given, so that nobody's
            seed is used up.
    """

    def __init__(self, graph: Graph, clock: Clock, chance: Callable[[], float] | None = None) -> None:
        self._nodes, self._clock, self._chance = graph.nodes, clock, chance
        self.timers = Timers()
        self.delayed: dict[NodeId, Outcome] = {}
        """Nodes that wait for their next attempt, and what became of the last one."""
        self._n_failed: dict[NodeId, int] = {}
        self._watches: dict[NodeId, Stopwatch] = {}
        self._total_ends_at: dict[NodeId, float] = {}
        self._killed: dict[NodeId, tuple[Kind, BaseException]] = {}
        self._left: dict[tuple[NodeId, int], bool] = {}
        """Attempts that go on without their nodes, and whether they still keep a slot."""

    def __bool__(self) -> bool:
        """Whether there is anything that time may change."""
        return bool(self.timers or self._left or self._killed or self._watches)

    def number(self, node: NodeId) -> int:
        """Return which attempt comes next, or is under way."""
        return self._n_failed.get(node, 0) + 1

    # ---- from the queue to the end

    def queued(self, node: NodeId) -> None:
        """Note that a node waits for a slot from now on."""
        timeout, now = self._timeout(node), self._clock.monotonic()
        if timeout.queue is not None:
            self.timers.set("queue", node, now + timeout.queue)
        if timeout.total is not None:
            self.timers.set("total", node, self._total_ends_at.setdefault(node, now + timeout.total))

    def begins(self, node: NodeId, job: Job) -> None:
        """Note that an attempt whose time is limited is handed over."""
        self.timers.cancel("queue", node)
        if job.stopwatch is not None:
            self._watches[node] = job.stopwatch
            run_s = self._run_s(node)
            if run_s is not None:
                self.timers.set("run", node, self._clock.monotonic() + run_s)

    def is_over_run(self, node: NodeId) -> bool:
        """Whether an attempt has used up its time; if not, that will be asked again when it may have."""
        watch, run_s, now = self._watches.get(node), self._run_s(node), self._clock.monotonic()
        if watch is None or run_s is None:
            return False
        ends_at = (now if watch.began_at is None else watch.began_at) + run_s
        if ends_at > now:
            self.timers.set("run", node, ends_at)
        return ends_at <= now

    def ran_s(self, node: NodeId) -> float:
        """Return how long the attempt under way has taken so far, in seconds."""
        watch = self._watches.get(node)
        return self._clock.monotonic() - watch.began_at if watch is not None and watch.began_at is not None else 0.0

    def killed(self, node: NodeId, kind: Kind, error: BaseException) -> None:
        """Note that an attempt was ended, and why: its outcome is on the way."""
        self._killed[node] = kind, error
        self.timers.set("kill", node, self._clock.monotonic() + KILL_GRACE_S)

    def take_killed(self, node: NodeId) -> tuple[Kind, BaseException]:
        """Return why an attempt was ended whose outcome does not come."""
        return self._killed.pop(node)

    def judge(self, outcome: Outcome) -> None:
        """Make the end of an attempt that took too long, or was ended for that, a timeout, whatever it brought. Once only."""
        if outcome.is_judged:
            return
        outcome.is_judged = True
        node, killed = outcome.node, self._killed.pop(outcome.node, None)
        if self._watches.pop(node, None) is not None or killed is not None:
            for kind in ("run", "kill"):
                self.timers.cancel(kind, node)
        if killed is not None:
            limit, outcome.error = killed
            outcome.limit = limit if isinstance(outcome.error, TaskTimedOut) else ""
            return
        timeout = self._nodes[node]._fl_policy.timeout
        is_other = outcome.lost is not None or outcome.limit or isinstance(outcome.error, KeyboardInterrupt)
        if timeout is None or is_other:
            return
        if timeout.run is not None and outcome.duration_s > timeout.run:
            _is_late(outcome, self._nodes[node], "run", timeout.run)
        elif timeout.total is not None and self._clock.monotonic() > self._total_ends_at.get(node, float("inf")):
            _is_late(outcome, self._nodes[node], "total", timeout.total)

    def over(self, node: NodeId) -> None:
        """Forget a node that has ended. Harmless when nothing is known of it."""
        self.delayed.pop(node, None)
        self._n_failed.pop(node, None)
        self._total_ends_at.pop(node, None)
        for kind in ("retry", "queue", "total"):
            self.timers.cancel(kind, node)

    # ---- trying again

    def fail(self, outcome: Outcome, delay_s: float) -> None:
        """Note that an attempt failed and there will be another one."""
        node = outcome.node
        self._n_failed[node] = self.number(node)
        self.delayed[node] = outcome
        self.timers.set("retry", node, self._clock.monotonic() + delay_s)

    def delay_s(self, node: NodeId) -> float:
        """Return how long to wait before the next attempt."""
        retry = self._nodes[node]._fl_policy.retries
        if self._chance is None:
            from random import Random

            self._chance = Random().random
        return 0.0 if retry is None else retry.delay_s(self.number(node), self._chance)

    # ---- attempts that cannot be stopped

    def leave(self, node: NodeId) -> None:
        """Note that the attempt under way goes on without its node."""
        self._left[node, self.number(node)] = True
        self._watches.pop(node, None)
        self.timers.cancel("run", node)

    def without_left(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[tuple[Outcome, bool]]]:
        """Return the outcomes that count; and those of attempts whose nodes have gone on, and whether they kept a slot."""
        counting: list[Outcome] = []
        late: list[tuple[Outcome, bool]] = []
        for outcome in outcomes:
            keeps_slot = None if type(outcome) is Call else self._left.pop((outcome.node, outcome.attempt), None)
            if keeps_slot is None:
                counting.append(outcome)
            else:
                late.append((outcome, keeps_slot))
        return counting, late

    @property
    def has_left(self) -> bool:
        """Whether any attempt goes on without its node."""
        return bool(self._left)

    @property
    def n_keeping(self) -> int:
        """How many slots are kept by attempts that go on without their nodes."""
        return sum(self._left.values())

    def take_slot(self) -> NodeId:
        """Take the slot of the attempt that has gone on longest; return its node."""
        oldest = next(attempt for attempt, keeps_slot in self._left.items() if keeps_slot)
        self._left[oldest] = False
        return oldest[0]

    def _timeout(self, node: NodeId) -> Timeout:
        timeout = self._nodes[node]._fl_policy.timeout
        assert timeout is not None, "only nodes with a timeout are timed"
        return timeout

    def _run_s(self, node: NodeId) -> float | None:
        run_s = self._timeout(node).run
        is_coroutine = inspect.iscoroutinefunction(self._nodes[node]._fl_task.fn)
        return run_s + COROUTINE_GRACE_S if run_s is not None and is_coroutine else run_s


def timed_out(node: Node, kind: Kind) -> TaskTimedOut:
    """Return the error of a node that went over a limit of its timeout."""
    return TaskTimedOut(task=node._fl_task.name, limit=kind, limit_s=getattr(node._fl_policy.timeout, kind))


def _is_late(outcome: Outcome, node: Node, kind: Kind, limit_s: float) -> None:
    if not isinstance(outcome.error, TaskTimedOut):
        error = TaskTimedOut(task=node._fl_task.name, limit=kind, limit_s=limit_s)
        error.__cause__ = outcome.error
        outcome.error = error
    outcome.limit = kind
