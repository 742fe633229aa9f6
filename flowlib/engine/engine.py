"""The loop that joins planner, scheduler, executor and store: commands become effects, effects become facts.

Theory of operation: the scheduler is handed facts in batches and answers with commands. `Decide` asks the planner for a
whole wave at once; a start takes the key's lease and submits a job, or one batch of many quick calls; outcomes come back
in batches and become facts. Whatever is done to thousands of nodes is done in one loop here, not by one fact each. The
engine holds digests, keys and the few values that are still needed; what is stored is loaded by the worker that needs it.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from flowlib.engine.batches import LOOK_S
from flowlib.engine.commit import FLUSH_S
from flowlib.engine.context import RunContext
from flowlib.engine.failure import needs_itself, stuck
from flowlib.engine.flight import LEASE_POLL_S, Blocked
from flowlib.engine.settling import LOST, Settling
from flowlib.errors import InternalError
from flowlib.execution.base import Batch, Call, Executor, Job, Outcome
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.history.log import GROUP_S
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import CACHE_OFF, Hit, Miss, Planner
from flowlib.scheduling import messages as m
from flowlib.scheduling.states import FINAL_STATES, VALUE_STATES
from flowlib.store.base import Entry

_STORED_WILL_NOT_DO = frozenset({"forced", "file changed", "result missing"})
"""Reasons to run although there may be an entry under the node's key."""


class Engine(Settling):
    """One run of one graph.

    Args:
        context: What the run shares with runs inside its tasks.
        graph: Everything the targets need.
        targets: Nodes whose values are asked for.
        planner: Decides nodes.
        executor: Runs jobs.
        deadline_s: Seconds after which nothing new is started; None for no limit.
        is_firm: Whether what runs then is not waited for either.
    """

    def __init__(
        self,
        context: RunContext,
        graph: Graph,
        targets: Iterable[Node],
        planner: Planner,
        executor: Executor,
        deadline_s: float | None = None,
        is_firm: bool = False,
    ) -> None:
        super().__init__(context, graph, targets, planner, executor)
        self._deadline = None if deadline_s is None else context.clock.monotonic() + deadline_s
        self._deferred: dict[NodeId, NodeId] = {}
        self._blocked = Blocked(self._ledger, executor, context.circles, context.chain)
        self._held_back: list[NodeId] = []
        self._is_stopping, self._is_firm = False, is_firm
        context.shares.n_engines += 1

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
        facts, self._early = self._early, []
        facts += self._stop_facts()
        if self._overtime:
            facts += self._take(self._executor.take_ended())  # it has ended in time, or says itself that it has not
            facts += self._overtime.facts()
        if facts:
            return facts
        if not self._n_running and not self._blocked and not self._held_back:
            if not self._overtime.is_hopeful:
                raise stuck(self.graph.nodes, self.scheduler.states, self._deferred)
            self._executor.help_out()
        self._heed_pause()
        outcomes = self._executor.collect(self._patience_s())
        if self._batches:
            outcomes += self._batches.look(self._context.clock.monotonic())
        facts += self._take(outcomes)
        facts += self._batches.resized()
        if self._context.stop.is_killed:
            self._catch_up()
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
        """Take what has ended, and commit: a call in the thread of this engine may wait for the lease of another call."""
        outcomes = self._batches.take_done() + self._executor.take_ended()
        self._early += self._take(outcomes)
        self.scheduler.give_back_early([outcome.node for outcome in outcomes])
        self._ledger.commit()

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

    def _must_stop(self) -> bool:
        if self._deadline is not None and self._context.clock.monotonic() >= self._deadline:
            (self._context.stop.end if self._is_firm else self._context.stop.request)("deadline")
        return bool(self._context.stop.cause)

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
                decision = self._planner.decide((number,))[0]
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

    def _use(self, numbers: Sequence[NodeId], entries: Sequence[Entry]) -> None:
        """Take stored results as those of nodes. The inner loop of a run that finds what it needs."""
        stored, has_attempts = self.values.stored, bool(self._attempts)
        self._planner.record_many(numbers, [entry.output for entry in entries])
        for number, entry in zip(numbers, entries, strict=True):
            if has_attempts:
                self._attempts.over(number)
            self.recall.used(entry)
            if entry.watch:
                self._expansions.remember_watch(number, entry.watch)
                if self._context.around is not None:
                    self._context.around.add_files(entry.watch)
            stored(number, entry)
        self._ledger.release_many(numbers)
        if self._context.emitter.is_watched:
            self._announcer.cached_many(numbers, entries)

    # ---- starting

    def _start(self, number: NodeId) -> list[m.Fact]:
        if self._is_held_up():
            self._held_back.append(number)
            return []
        lacking = self._jobs.lacking(number)
        if lacking is not None:
            return self._lost(number, lacking)
        miss = self._miss_of(number)
        refused = miss.call.missing or (self._jobs.refusal(number) if self._jobs.refusals else None)
        if refused is not None:
            return self._failures.failed(number, Outcome(node=number, error=refused))
        key = miss.call.key
        if key is not None and not self._ledger.holds_lease(number):
            if key in self._context.chain:
                return self._failures.failed(number, Outcome(node=number, error=needs_itself(self.graph.nodes[number])))
            if not self._ledger.take_lease(number, key):
                if not self._blocked.add(number, key):
                    return self._failures.failed(
                        number, Outcome(node=number, error=needs_itself(self.graph.nodes[number]))
                    )
                return [m.Blocked(number)]
            if key in self._stored_meanwhile((number,)):
                return [m.Blocked(number), m.Unblocked(number)]  # decide again, now that the lease is ours
        self._submit(number, miss)
        return []

    def _stored_meanwhile(self, numbers: Sequence[NodeId]) -> Collection[Key]:
        """Return the keys that another run has stored since they were looked up; the leases are ours by now."""
        misses = [self._misses[number] for number in numbers]
        keys = [miss.call.key for miss in misses if not miss.reasons or miss.reasons[0].kind not in _STORED_WILL_NOT_DO]
        return self._ledger.stored_meanwhile([key for key in keys if key is not None])

    def _submit(self, number: NodeId, miss: Miss) -> None:
        self._keep_rest()
        node = self.graph.nodes[number]
        policy = node._fl_policy
        self._announcer.started(number, miss, self._attempts.number(number))
        if miss.call.uncacheable and self._context.store is not None and policy.cache:
            self._announcer.uncacheable(node, miss.call.uncacheable)
        self._n_running += 1
        call = self._jobs.call(number, miss)
        if call is not None:
            call.is_announced = True
            if self._context.pool is None:
                self._context.write_log_if_held_up()
        work = call or self._jobs.of(number, miss)
        if policy.timeout is not None and isinstance(work, Job):
            self._attempts.begins(number, work)
        if self._n_running > self._executor.capacity and policy.executor != "inline":
            self._batches.submit([work])  # it cannot begin at once, so it can be taken back
        elif isinstance(work, Call):
            self._executor.submit_batch(Batch([work]))
        else:
            self._executor.submit(work)

    def _start_quick(self, nodes: tuple[NodeId, ...], followers: tuple[NodeId, ...]) -> list[m.Fact]:
        """Put the calls of quick tasks into one batch; what is not plain enough for it goes its own way."""
        if self._context.store is None and not self._is_held_up():
            return self._start_uncached(nodes, followers)
        facts: list[m.Fact] = [m.Returned(followers)] if followers else []
        calls: list[Call | Job] = []
        to_lease: list[tuple[Call, Key]] = []
        is_held_up = self._is_held_up()
        for number in nodes:
            call = None if is_held_up else self._jobs.call(number, self._miss_of(number))
            if call is None or call.key in self._context.chain:
                facts += self._start(number)
            elif call.key is None or self._ledger.holds_lease(number):
                calls.append(call)
            else:
                to_lease.append((call, call.key))
        leased: list[Call] = []
        for (call, _), is_ours in zip(
            to_lease, self._ledger.take_leases([(call.node, key) for call, key in to_lease]), strict=True
        ):
            if is_ours:
                leased.append(call)
            else:
                facts += self._start(call.node)
        stored = self._stored_meanwhile([call.node for call in leased])
        for call in leased:
            if call.key in stored:
                facts += [m.Blocked(call.node), m.Unblocked(call.node)]  # decide again, now that the lease is ours
            else:
                calls.append(call)
        return facts + self._submit_batch(calls)

    def _start_uncached(self, nodes: tuple[NodeId, ...], followers: tuple[NodeId, ...]) -> list[m.Fact]:
        facts: list[m.Fact] = []
        calls, rest = self._jobs.uncached_calls(nodes)
        for number in rest:
            facts += self._start(number)
        behind, returned = self._jobs.uncached_calls(followers, follow=True)
        if not followers:
            return facts + self._submit_batch([*calls])
        if not calls:
            return [*facts, m.Returned(followers)]
        calls += behind
        for call in calls:
            call.source = self.graph.nodes[call.node]
        facts += self._submit_batch([*calls], {})
        return [*facts, m.Returned(returned)] if returned else facts

    def _submit_batch(self, calls: list[Call | Job], made: dict[Node, Any] | None = None) -> list[m.Fact]:
        if not calls:
            return []
        self._n_running += len(calls)
        if self._n_running > 1 or not self._executor.makes_calls_here:
            self._batches.submit(calls, made)
            return []
        self._ledger.commit_in_time()
        self._context.write_log_in_time()
        outcomes = self._batches.perform(calls, made)  # nothing could run beside it: to hand it over saves no time
        return self._take_one(outcomes[0]) if len(outcomes) == 1 else self._take(outcomes)

    def _is_held_up(self) -> bool:
        """Whether nothing may start just now."""
        return not self._is_stopping and (self._context.stop.is_paused or self._must_stop())

    def _assemble(self, number: NodeId) -> list[m.Fact]:
        self._keep_rest()  # what it is put together from has to be stored, or it is not stored itself
        if (dropped := self._jobs.dropped_child(number)) is not None:
            return self._lost(number, dropped)
        self._n_running += 1
        self._executor.submit(self._jobs.assembling(number, self._misses.get(number, CACHE_OFF)))
        return []

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
