"""What is done when time is up: the next attempt starts, a call that takes too long is ended, a rate allows one more.

A call that waits is ended by itself. One that runs is ended by its executor if that can do it; if not, its node goes on
without it: the job keeps its slot until it comes back, and what it brings is dropped. If such jobs keep every slot of a
run, they lose one after the other, so that a run goes on whatever its calls do.
"""

import math

from flowlib.clock import Clock
from flowlib.engine.attempts import Attempts, timed_out
from flowlib.engine.context import RunContext
from flowlib.engine.failures import Failures
from flowlib.engine.flight import LEASE_POLL_S
from flowlib.engine.timers import Kind
from flowlib.execution.base import Executor, Outcome
from flowlib.graph.graph import Graph
from flowlib.graph.node import site_of
from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler


class Overtime:
    """Watches the time for one run.

    Args:
        context: The run.
        graph: The graph; it may grow.
        scheduler: Tells what nodes are doing.
        executor: Ends jobs.
        attempts: Knows what is due.
        failures: Told of what took too long.
    """

    def __init__(
        self,
        context: RunContext,
        graph: Graph,
        scheduler: Scheduler,
        executor: Executor,
        attempts: Attempts,
        failures: Failures,
    ) -> None:
        self._context, self._graph, self._scheduler = context, graph, scheduler
        self._executor, self._attempts, self._failures = executor, attempts, failures
        self._clock: Clock = context.clock
        self._paused_at: float | None = None
        self._n_given = 0
        self._next_rate_at: float | None = None

    def __bool__(self) -> bool:
        """Whether time, or what other runs give back, may change anything."""
        return bool(self._attempts) or self._scheduler.has_parked

    @property
    def is_hopeful(self) -> bool:
        """Whether it will, though nothing of this run is at work."""
        is_helped = self._next_rate_at is not None or self._context.shares.n_engines > 1
        return bool(self._attempts) or (self._scheduler.has_parked and is_helped)

    @property
    def patience_s(self) -> float:
        """How long nothing will be due."""
        moments = [self._attempts.timers.next_at, self._next_rate_at if self._scheduler.has_parked else None]
        soonest_s = min((at - self._clock.monotonic() for at in moments if at is not None), default=math.inf)
        must_look = self._scheduler.has_parked and self._context.shares.n_engines > 1
        return max(0.0, min(soonest_s, LEASE_POLL_S) if must_look else soonest_s)

    def facts(self) -> list[m.Fact]:
        """Return what follows from the time that has passed."""
        now = self._clock.monotonic()
        self._allow_for_pauses(now)
        facts: list[m.Fact] = self._freed(now)
        for kind, number in self._attempts.timers.take(now):
            facts += self._due(kind, number)
        if self._attempts.n_keeping >= self._executor.capacity and not self._scheduler.is_finished:
            facts.append(self._replace_worker())
        return facts

    def _freed(self, now: float) -> list[m.Fact]:
        """Return that what nodes need may have come back: by time, or from other runs."""
        shares = self._context.shares
        self._next_rate_at = shares.return_due(now)
        before, self._n_given = self._n_given, shares.budgets.n_given
        return [m.Freed()] if self._scheduler.has_parked and before != self._n_given else []

    def late(self, outcome: Outcome, keeps_slot: bool) -> list[m.Fact]:
        """Return what follows when a job comes back whose node has gone on without it."""
        if outcome.spoiled:
            self._failures.values.spoilt(map(self._graph.id_of, outcome.spoiled))
        return [m.SlotFreed(outcome.node)] if keeps_slot else []

    def _allow_for_pauses(self, now: float) -> None:
        """Let the time that a run is paused count for nothing that waits for a slot."""
        if self._context.stop.is_paused:
            self._paused_at = now if self._paused_at is None else self._paused_at
            self._attempts.timers.put_off(("queue", "total"), now - self._paused_at)
            self._paused_at = now
        elif self._paused_at is not None:
            self._attempts.timers.put_off(("queue", "total"), now - self._paused_at)
            self._paused_at = None

    def _due(self, kind: Kind, number: NodeId) -> list[m.Fact]:
        if kind == "retry":
            self._attempts.delayed.pop(number, None)
            return [m.Due(number)]
        if kind == "kill":
            return self._leave(number, *self._attempts.take_killed(number))
        if not self._scheduler.may_end(number):
            return []  # what it needs is being made again; it will be queued anew
        if self._scheduler.states[number] != "running":
            error = timed_out(self._graph.nodes[number], kind)
            outcome = Outcome(number, error)
            outcome.limit = kind
            return self._failures.failed(number, outcome)
        if kind == "run" and not self._attempts.is_over_run(number):
            return []
        return self.end(number, kind, timed_out(self._graph.nodes[number], kind))

    def end(self, number: NodeId, kind: Kind, error: BaseException) -> list[m.Fact]:
        """End a job that runs: it answers with the error, or its node goes on without it."""
        if self._executor.kill(number, error):
            self._attempts.killed(number, kind, error)
            return []
        return self._leave(number, kind, error)

    def _leave(self, number: NodeId, kind: Kind, error: BaseException) -> list[m.Fact]:
        node = self._graph.nodes[number]
        outcome = Outcome(number, error, self._attempts.ran_s(number))
        outcome.limit = kind
        self._attempts.leave(number)
        message = (
            f"Task {node._fl_task.name!r} (called at {site_of(node)}) took longer than it may and still runs: a thread "
            "cannot be stopped. It keeps its slot until it ends, and its result will be dropped."
        )
        self._failures.announcer.notice("still-running", message)
        return self._failures.failed(number, outcome, keeps_slot=True)

    def _replace_worker(self) -> m.SlotFreed:
        self._executor.replace_worker()
        message = (
            "Calls that took longer than they may keep every slot of this run; one slot at a time is taken from them so "
            "that the run goes on."
        )
        self._failures.announcer.notice("slots-kept", message)
        return m.SlotFreed(self._attempts.take_slot())
