"""How nodes start: by themselves, in batches of quick calls, or one after the other along a chain. The middle of the engine.

Theory of operation: a start takes the key's lease and submits a job, or one batch of many quick calls. Where nothing else
goes on and quick calls need one another, `_go_along` decides, makes and keeps one after the other without asking the
scheduler in between: a link whose result is kept costs 70 us that way, and nearly twice as much by itself.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from flowlib.engine.context import RunContext
from flowlib.engine.failure import needs_itself
from flowlib.engine.flight import Blocked
from flowlib.engine.settling import Settling
from flowlib.execution.base import Batch, Call, Executor, Job, Outcome
from flowlib.execution.lookout import Lookout
from flowlib.execution.quick import PATIENCE_S
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import CACHE_OFF, Hit, Miss, Planner
from flowlib.scheduling import messages as m
from flowlib.store.base import Entry

_STORED_WILL_NOT_DO = frozenset({"forced", "file changed", "result missing"})
"""Reasons to run although there may be an entry under the node's key."""


def _may_be_stored(miss: Miss) -> bool:
    """Whether another run may have stored what will do, since a node was decided."""
    return not miss.reasons or miss.reasons[0].kind not in _STORED_WILL_NOT_DO


class Along:
    """What became of nodes that were decided and made one after the other."""

    def __init__(self) -> None:
        self.made: list[NodeId] = []
        self.found: list[NodeId] = []
        self.other: list[m.Fact] | None = None
        """What was told of the node after these, if it ended in another way."""

    def facts(self, links: Sequence[NodeId]) -> list[m.Fact]:
        """Return what the scheduler has to know; the nodes that were not reached are returned."""
        n_over = len(self.made) + len(self.found) + (self.other is not None)
        return [m.Done(self.made), m.Found(self.found), *(self.other or ()), m.Returned(links[n_over:])]


def _tell_nobody(call: Outcome) -> None:
    """Do nothing: `_calls_along` itself takes what became of a call."""


class Starting(Settling):
    """The part of one run's engine that starts nodes. Arguments are those of `Engine`."""

    def __init__(
        self,
        context: RunContext,
        graph: Graph,
        targets: Iterable[Node],
        planner: Planner,
        executor: Executor,
        lookout: Lookout,
        deadline_s: float | None = None,
        is_firm: bool = False,
    ) -> None:
        super().__init__(context, graph, targets, planner, executor)
        self._deadline = None if deadline_s is None else context.clock.monotonic() + deadline_s
        self._blocked = Blocked(self._ledger, executor, context.circles, context.chain)
        self._held_back: list[NodeId] = []
        """What would have started while the run was paused."""
        self._is_stopping, self._is_firm = False, is_firm
        self._lookout = lookout
        lookout.look_after = self._look_after
        self._link_at_work: Call | None = None
        self._unsettled: list[Outcome] = []
        """What has ended while a call was made in this thread, and runs code of the user's when it is taken."""
        self._deferred: dict[NodeId, NodeId] = {}
        """Nodes that wait for another with the same key."""
        context.shares.n_engines += 1

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
        keys = [miss.call.key for miss in misses if _may_be_stored(miss)]
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
        facts = self._start_batch(nodes)
        if self._early and not self._n_running:  # a chain made in this thread waits for nothing, and so for no fact
            return [*facts, *([m.Returned(followers)] if followers else ()), *self._take_early()]
        if not followers:
            return facts
        is_over = not self._n_running and len(facts) == 1 and type(facts[0]) is m.Done
        return facts + (self._go_along(followers) if is_over else [m.Returned(followers)])

    def _start_batch(self, nodes: tuple[NodeId, ...]) -> list[m.Fact]:
        facts: list[m.Fact] = []
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
        with self._lookout.away():
            outcomes = self._batches.perform(calls, made)  # nothing could run beside it: to hand it over saves no time
        if len(outcomes) == 1 and self._take_plain(outcomes[0]):
            return [m.Done((outcomes[0].node,))]
        return self._take_early() + self._take(outcomes)

    def _go_along(self, links: Sequence[NodeId]) -> list[m.Fact]:
        """Decide and make calls each of which needs only the one before it, for as long as nothing else happens."""
        along = Along()
        self._ledger.before_looking_up()
        self._executor.perform_calls(self._calls_along(links, along), _tell_nobody)
        return [*along.facts(links), *self._take_early()]

    def _calls_along(self, links: Sequence[NodeId], along: Along) -> Iterator[Call]:
        """Yield the call of each node that has to be made, once the one before it has ended; take what became of it."""
        now = self._context.clock.monotonic
        until = now() + PATIENCE_S
        found: dict[NodeId, Entry] = {}
        for number in links:
            if self._early or now() >= until or self._is_held_up():
                break
            decision = self._planner.decide_one(number)
            if isinstance(decision, Hit) and not decision.entry.flags and not decision.entry.watch:
                self._planner.record(number, decision.entry.output)  # the key of the next link needs it
                found[number] = decision.entry
                continue
            self._use_found(found, along)
            call = self._link(number, decision) if isinstance(decision, Miss) else None
            if call is None:
                return
            self._n_running += 1
            self._link_at_work = call
            self._lookout.leave()  # a context manager would cost 1 us
            try:
                yield call
            finally:
                self._lookout.come_back()
                self._link_at_work = None
            if not self._take_plain(call):
                along.other = self._take([call])
                return
            along.made.append(number)
            self._ledger.commit_in_time()
            self._context.write_log_in_time()
        self._use_found(found, along)

    def _use_found(self, found: dict[NodeId, Entry], along: Along) -> None:
        """Take stored results that were found in a row."""
        if found:
            self._use([*found], [*found.values()])
            along.found += found
            found.clear()

    def _link(self, number: NodeId, miss: Miss) -> Call | None:
        """Return a call that is about to be made, its lease taken; None if the scheduler has to start it."""
        key = miss.call.key
        if key is None or key in self._context.chain:
            return None
        earlier = self._misses.get(number)
        if earlier is not None and earlier.call.key != key:
            self._ledger.release(number)
        if self._ledger.claim(number, key) is not None:
            return None
        call = self._jobs.call(number, miss) if self._ledger.take_lease(number, key) else None
        if call is None:
            self._ledger.release(number)
            return None
        self._misses[number] = miss
        if _may_be_stored(miss) and self._ledger.stored_meanwhile((key,)):
            return None  # it is decided again; the lease stays ours
        self.recall.missed(miss)
        return call

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

    def _take_early(self) -> list[m.Fact]:
        """Return what became known at a time when no fact could be handed on; it comes before what has become known since."""
        early, self._early = self._early, []
        return early

    def _take_ended(self) -> None:
        """Take what has ended, and commit, while a call is made in this thread."""
        outcomes = [*self._take_unsettled(), *self._batches.take_done(), *self._executor.take_ended()]
        self._settle_early(outcomes)
        self._ledger.commit()

    def _settle_early(self, outcomes: Sequence[Outcome]) -> None:
        self._early += self._take(outcomes)
        self.scheduler.give_back_early([outcome.node for outcome in outcomes])

    def _take_unsettled(self) -> list[Outcome]:
        """Return the outcomes that had to wait for this thread."""
        unsettled, self._unsettled = self._unsettled, []
        return unsettled

    def _look_after(self) -> None:
        """Do what can be done while this thread makes a call that takes long. Called by the lookout, in its thread."""
        self._tell_slow([*self._batches.at_work(), *self._executor.take_slow()])
        if self._link_at_work is not None:
            self._tell_slow([self._link_at_work])
        settled: list[Outcome] = []
        for outcome in [*self._batches.take_done(), *self._executor.take_made()]:
            (settled if self._ends_plainly(outcome) else self._unsettled).append(outcome)
        self._settle_early(settled)
        if self._ledger.has_uncommitted:
            self._ledger.commit()
        self._context.write_log_in_time()

    def _ends_plainly(self, outcome: Outcome) -> bool:
        """Whether no code of the user's is asked what becomes of an outcome: no fallback, no retry, no reducer."""
        if self._attempts:
            self._attempts.judge(outcome)
        is_well = (
            outcome.error is None and outcome.lost is None and not outcome.has_expansion and outcome.report is None
        )
        is_asked = self._feeds.wants(outcome.node) or outcome.node in self._failures.replaced
        return is_well and not is_asked and not self._attempts.has_left

    def _tell_slow(self, calls: Iterable[Call]) -> None:
        """Tell that calls run which were thought to be quick."""
        for call in calls:
            if not call.is_untold:
                continue
            call.is_announced = True
            miss = self._misses.get(call.node, CACHE_OFF)
            self._announcer.started(call.node, miss, self._attempts.number(call.node))

    def _make_elsewhere(self, calls: list[Call]) -> list[m.Fact]:
        """Let calls begin elsewhere that were given back because one before them takes long; not if nothing may begin."""
        if self._is_stopping:
            return self._cancelled(calls)
        self._batches.hold_back(calls)
        return []

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

    def _must_stop(self) -> bool:
        if self._deadline is not None and self._context.clock.monotonic() >= self._deadline:
            (self._context.stop.end if self._is_firm else self._context.stop.request)("deadline")
        return bool(self._context.stop.cause)
