"""The loop that joins planner, scheduler, executor and store: commands become effects, effects become facts.

Theory of operation: the scheduler is handed facts in batches and answers with commands. `Decide` asks the planner for a
whole wave at once; how nodes start is in `starting`; outcomes come back in batches and become facts (`settling`). Whatever
is done to thousands of nodes is done in one loop, not by one fact each. The engine holds digests, keys and the few values
that are still needed; what is stored is loaded by the worker that needs it.
"""

from collections.abc import Iterable

from flowlib.engine.batches import LOOK_S
from flowlib.engine.commit import FLUSH_S
from flowlib.engine.failure import stuck
from flowlib.engine.flight import LEASE_POLL_S
from flowlib.engine.settling import LOST
from flowlib.engine.starting import Starting
from flowlib.errors import InternalError
from flowlib.history.log import GROUP_S
from flowlib.ids import NodeId
from flowlib.planning.decide import Hit, Miss
from flowlib.scheduling import messages as m
from flowlib.scheduling.states import FINAL_STATES, VALUE_STATES
from flowlib.store.base import Entry


class Engine(Starting):
    """One run of one graph.

    Args:
        context: What the run shares with runs inside its tasks.
        graph: Everything the targets need.
        targets: Nodes whose values are asked for.
        planner: Decides nodes.
        executor: Runs jobs.
        lookout: Looks after the run while a call is made in its thread; the executor tells it of those that it makes there.
        deadline_s: Seconds after which nothing new is started; None for no limit.
        is_firm: Whether what runs then is not waited for either.
    """

    # ---- the loop

    def run(self) -> None:
        """Bring every node to a final state and the values of the targets into memory. `close` it, whatever happens."""
        self._context.loop.begin(self._catch_up)
        if self.recall.settle(self.targets, len(self.graph)):
            return
        facts: list[m.Fact] = [self._grown(self.graph.ids, self.targets)]
        for refusal in self._jobs.refusals.values():
            raise refusal
        while True:
            while facts:
                facts = self._carry_out(self.scheduler.handle(facts))
            if not self.scheduler.is_finished:
                facts = self._wait()
                continue
            self._keep_rest()
            self._ledger.commit()
            facts = self._fetch_targets()
            if not facts:
                if VALUE_STATES.issuperset(self.scheduler.states):
                    self.recall.remember()
                return

    def close(self) -> None:
        """Commit what is finished, give every lease back, and tell what never came to an end. Never waits for jobs."""
        self._context.loop.end()
        self._lookout.close()
        self._batches.take_back()
        self._end_jobs()
        try:
            self._keep_rest()
            self._ledger.commit()
        finally:
            self.recall.close()
            self._executor.close()
            self._context.shares.n_engines -= 1
            self._ledger.release_all()
            self._blocked.clear()
        for number, state in enumerate(self.scheduler.states):
            if state not in FINAL_STATES:
                self._announcer.cancelled(NodeId(number))

    def _carry_out(self, commands: Iterable[m.Command]) -> list[m.Fact]:
        facts: list[m.Fact] = []
        for command in commands:
            match command:
                case m.StartQuick():
                    facts += self._start_quick(command.nodes, command.followers)
                case m.Start():
                    facts += self._start(command.node)
                case m.Decide():
                    facts += self._decide(command.nodes)
                case m.Queued():
                    self._attempts.queued(command.node)
                case m.Spent():
                    self._context.shares.spend(command.rates, self._context.clock.monotonic())
                case m.Drop():
                    self.values.drop(command.nodes)
                case m.Assemble():
                    facts += self._assemble(command.node)
                case m.Skip():
                    self._ledger.release(command.node)
                    self._announcer.skipped(command.node, command.because)
                case m.Cancel():
                    self._ledger.release(command.node)
                    self._blocked.discard(command.node)
                    self._announcer.cancelled(command.node)
        return facts

    def _wait(self) -> list[m.Fact]:
        """Wait for something to happen: an outcome, a lease, a stop, the time to commit."""
        self._keep_rest()
        facts = self._take_early()
        facts += self._stop_facts()
        if self._overtime:
            # What is there has ended in time, or says itself that it has not.
            facts += self._take(self._take_unsettled() + self._executor.take_ended())
            facts += self._overtime.facts()
        if facts:
            return facts
        if not self._n_running and not self._blocked and not self._held_back:
            if not self._overtime.is_hopeful:
                raise stuck(self.graph.nodes, self.scheduler.states, self._deferred)
            self._executor.help_out()
        self._heed_pause()
        outcomes = self._take_unsettled()
        outcomes += self._executor.take_ended() if outcomes else self._executor.collect(self._patience_s())
        facts += self._take_early()
        slow = self._executor.take_slow()
        if self._batches:
            ended, here = self._batches.look(self._context.clock.monotonic())
            outcomes += ended
            slow += here
        self._tell_slow(slow)
        facts += self._take(outcomes)
        if behind := self._executor.take_given_back():
            facts += self._make_elsewhere(behind)
        facts += self._batches.resized()
        if self._context.stop.is_killed:
            self._take_ended()
            raise self._context.stop.error()
        self._ledger.commit_in_time()
        self._context.write_log_in_time()
        unblocked = self._blocked.poll()
        if self._blocked or self.scheduler.has_parked:
            self._context.loop.catch_up_held_up()
        return facts + self._resume() + [m.Unblocked(number) for number in unblocked]

    def help_others(self) -> None:
        """Do what other runs may wait for while the calling thread waits for them."""
        self._context.loop.catch_up_held_up()
        self._executor.help_out()

    def _catch_up(self) -> None:
        """Take what has ended: a call in the thread of this engine may wait for the lease of another call."""
        with self._lookout.guard:
            self._take_ended()

    def _patience_s(self) -> float:
        """Return how long to wait at most before there is something to write or to look at."""
        if self._context.stop.is_killed:
            return 0.0
        limits = [FLUSH_S if self._ledger.has_uncommitted else GROUP_S]
        if self._batches:
            limits.append(LOOK_S)
        if self._blocked or self._context.stop.is_paused:
            limits.append(LEASE_POLL_S)
        if self._overtime:
            limits.append(self._overtime.patience_s)
        if self._deadline is not None and not self._is_stopping:
            limits.append(max(0.0, self._deadline - self._context.clock.monotonic()))
        return min(limits)

    def _stop_facts(self) -> list[m.Fact]:
        if self._is_stopping or not self._must_stop():
            return []
        self._is_stopping = True
        given_up = self._failures.give_up_delayed() if self._attempts else []
        return [*given_up, m.Stopping(), *self._resume(), *self._cancelled(self._batches.take_back())]

    # ---- deciding

    def _decide(self, nodes: tuple[NodeId, ...]) -> list[m.Fact]:
        """Decide a wave; almost all of it becomes two facts, one about the hits and one about the misses."""
        hits: list[NodeId] = []
        misses: list[NodeId] = []
        entries: list[Entry] = []
        facts: list[m.Fact] = [m.Hit(hits), m.Missed(misses)]
        self._ledger.before_looking_up()
        for number, decision in zip(nodes, self._planner.decide(nodes), strict=True):
            if self._unkept and isinstance(decision, Miss) and decision.call.key in self._unkept:
                self._keep_rest()  # this run has just computed it
                decision = self._planner.decide_one(number)
            if isinstance(decision, Hit):
                if not decision.entry.flags or self.values.restore_files(decision.entry):
                    hits.append(number)
                    entries.append(decision.entry)
                    continue
                decision = Miss(decision.call, LOST)
            if not isinstance(decision, Miss):
                raise InternalError(
                    "A node was decided before its inputs were known.", {"node": number}, "Please report it."
                )
            other = None if decision.call.key is None else self._ledger.claim(number, decision.call.key)
            if other is not None:
                self._deferred[number] = other
                facts.append(m.Deferred(number, other))
                continue
            self._deferred.pop(number, None)
            self._misses[number] = decision
            self.recall.missed(decision)
            misses.append(number)
        if hits:
            self._use(hits, entries)
        return facts

    # ---- pauses

    def _resume(self) -> list[m.Fact]:
        """Start what a pause held back, or cancel it when the run stops."""
        if not self._held_back or (self._context.stop.is_paused and not self._is_stopping):
            return []
        held, self._held_back = self._held_back, []
        facts: list[m.Fact] = []
        for number in held:
            if self._is_stopping and not self.graph.nodes[number]._fl_policy.always:
                self._ledger.release(number)
                self._announcer.cancelled(number)
                facts.append(m.Ended(number, "cancelled", has_value=False))
            else:
                facts += self._start(number)
        return facts
