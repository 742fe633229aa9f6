"""The loop that joins planner, scheduler, executor and store: commands become effects, effects become facts.

Theory of operation: the scheduler is handed facts in batches and answers with commands. `Decide` asks the planner for a
whole wave at once; a start takes the key's lease and submits a job, or one batch of many quick calls; outcomes come back
in batches and become facts. Whatever is done to thousands of nodes is done in one loop here, not by one fact each. The
engine holds digests, keys and the few values that are still needed; what is stored is loaded by the worker that needs it.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence

from flowlib.engine.announce import Announcer
from flowlib.engine.commit import FLUSH_S, Ledger
from flowlib.engine.context import RunContext
from flowlib.engine.expansion import Expansions
from flowlib.engine.failure import annotate, needs_itself, stuck
from flowlib.engine.feed import Feeds
from flowlib.engine.flight import LEASE_POLL_S, Blocked
from flowlib.engine.jobs import ChildEnded, Jobs
from flowlib.engine.pace import Pace
from flowlib.engine.results import digest_or_none, entry_of, failed_value, kept_value
from flowlib.engine.values import Values
from flowlib.errors import FlowError, InternalError, RunStopped
from flowlib.execution.base import Executor, Job, Outcome
from flowlib.execution.quick import Batch, Call
from flowlib.graph.args import ATOMS
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.hashing.digest import size_bytes
from flowlib.history.log import GROUP_S
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import CACHE_OFF, Decision, Hit, Miss, Planner
from flowlib.planning.reason import Reason
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler
from flowlib.scheduling.states import FINAL_STATES
from flowlib.store.base import Entry

_LOST = (Reason(kind="result missing"),)
_STORED_WILL_NOT_DO = frozenset({"forced", "file changed", "result missing"})
"""Reasons to run although there may be an entry under the node's key."""


class Engine:
    """One run of one graph.

    Args:
        context: What the run shares with runs inside its tasks.
        graph: Everything the targets need.
        targets: Nodes whose values are asked for.
        planner: Decides nodes.
        executor: Runs jobs.
        deadline_s: Seconds after which nothing new is started; None for no limit.

    Attributes:
        errors: The exception of each node that failed and was not kept, in order of failing.
        values: The values of the targets, once the run is over.
    """

    def __init__(
        self,
        context: RunContext,
        graph: Graph,
        targets: Iterable[Node],
        planner: Planner,
        executor: Executor,
        deadline_s: float | None = None,
    ) -> None:
        self.graph = graph
        self.targets = tuple(dict.fromkeys(graph.id_of(node) for node in targets))
        self.errors: dict[Node, BaseException] = {}
        self.scheduler = Scheduler(executor.capacity, decides=context.store is not None)
        self.values = Values(graph, context.store, self.scheduler, frozenset(self.targets), planner.outputs)
        self._announcer = Announcer(graph, context.emitter, context.clock, context.first_id)
        self._ledger = Ledger(context.store, context.clock, self._announcer)
        self._expansions = Expansions(graph, context)
        self._feeds = Feeds(graph, caching=context.store is not None)
        self._jobs = Jobs(context, graph, planner, self.values, self._feeds, self._expansions)
        self._context, self._planner, self._executor = context, planner, executor
        self._deadline = None if deadline_s is None else context.clock.monotonic() + deadline_s
        self._misses: dict[NodeId, Miss] = {}
        self._deferred: dict[NodeId, NodeId] = {}
        self._to_rekey: set[NodeId] = set()
        """Nodes that were decided before one of their inputs turned out to be something else."""
        self._blocked = Blocked(self._ledger, executor, context.circles, context.chain)
        self._held_back: list[NodeId] = []
        self._pace = Pace()
        self._n_running = 0
        self._is_stopping = False

    # ---- the loop

    def run(self) -> None:
        """Bring every node to a final state and the values of the targets into memory. `close` it, whatever happens."""
        self._context.loop.begin(self._ledger.commit)
        ids = [NodeId(number) for number in range(len(self.graph))]
        facts: list[m.Fact] = [self._grown(ids, self.targets)]
        while True:
            while facts:
                facts = self._carry_out(self.scheduler.handle(facts))
            if not self.scheduler.is_finished:
                facts = self._wait()
                continue
            self._ledger.commit()
            facts = self._fetch_targets()
            if not facts:
                return

    def close(self) -> None:
        """Commit what is finished, give every lease back, and tell what never came to an end. Never waits for jobs."""
        try:
            self._ledger.commit()
        finally:
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
                    facts += self._start_quick(command.nodes)
                case m.Start():
                    facts += self._start(command.node)
                case m.Decide():
                    facts += self._decide(command.nodes)
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
        facts = self._stop_facts()
        if facts:
            return facts
        if not self._n_running and not self._blocked and not self._held_back:
            raise self._stuck()
        facts += self._take(self._executor.collect(self._patience_s()))
        if self._context.stop.is_killed:
            raise KeyboardInterrupt
        self._ledger.commit_in_time()
        self._context.write_log_in_time()
        return facts + self._resume() + [m.Unblocked(number) for number in self._blocked.poll()]

    def _patience_s(self) -> float:
        """Return how long to wait at most before there is something to write or to look at."""
        if self._context.stop.is_killed:
            return 0.0
        limits = [FLUSH_S if self._ledger.has_uncommitted else GROUP_S]
        if self._blocked or self._context.stop.is_paused:
            limits.append(LEASE_POLL_S)
        if self._deadline is not None and not self._is_stopping:
            limits.append(max(0.0, self._deadline - self._context.clock.monotonic()))
        return min(limits)

    def _stop_facts(self) -> list[m.Fact]:
        if self._is_stopping or not self._must_stop():
            return []
        self._is_stopping = True
        return [m.Stopping(), *self._resume()]

    def _must_stop(self) -> bool:
        if self._deadline is not None and self._context.clock.monotonic() >= self._deadline:
            self._context.stop.request("deadline")
        return bool(self._context.stop.cause)

    # ---- deciding

    def _decide(self, nodes: tuple[NodeId, ...]) -> list[m.Fact]:
        """Decide a wave; almost all of it becomes two facts, one about the hits and one about the misses."""
        hits: list[NodeId] = []
        misses: list[NodeId] = []
        facts: list[m.Fact] = [m.Hit(hits), m.Missed(misses)]
        for node, decision in zip(nodes, self._planner.decide(nodes), strict=True):
            if isinstance(decision, Miss) and decision.call.key is None:
                self._misses[node] = decision
                misses.append(node)
                continue
            fact = self._decided(node, decision)
            if isinstance(fact, m.Hit):
                hits.append(node)
            elif isinstance(fact, m.Missed):
                misses.append(node)
            else:
                facts.append(fact)
        return facts

    def _decided(self, number: NodeId, decision: Decision) -> m.Fact:
        if isinstance(decision, Hit):
            if self.values.restore_files(decision.entry):
                self._use(number, decision.entry)
                self._announcer.cached(number, decision.entry)
                return m.Hit((number,))
            decision = Miss(decision.call, _LOST)
        if not isinstance(decision, Miss):
            raise InternalError(
                "A node was decided before its inputs were known.", {"node": number}, "Please report it."
            )
        key = decision.call.key
        if key is not None and (other := self._ledger.claim(number, key)) is not None:
            self._deferred[number] = other
            return m.Deferred(number, other)
        self._deferred.pop(number, None)
        self._misses[number] = decision
        return m.Missed((number,))

    def _use(self, number: NodeId, entry: Entry) -> None:
        """Take a stored result as the node's."""
        self._planner.record(number, entry.output)
        if entry.watch:
            self._expansions.remember_watch(number, entry.watch)
            if self._context.around is not None:
                self._context.around.add_files(entry.watch)
        self.values.stored(number, entry)
        self._ledger.release(number)

    # ---- starting

    def _start(self, number: NodeId) -> list[m.Fact]:
        if self._is_held_up():
            self._held_back.append(number)
            return []
        lacking = self._jobs.lacking(number)
        if lacking is not None:
            return self._lost(number, lacking)
        miss = self._miss_of(number)
        if miss.call.missing is not None:
            return self._failed(number, Outcome(node=number, error=miss.call.missing))
        key = miss.call.key
        if key is not None and not self._ledger.holds_lease(number):
            if key in self._context.chain:
                return self._failed(number, Outcome(node=number, error=needs_itself(self.graph.nodes[number])))
            if not self._ledger.take_lease(number, key):
                if not self._blocked.add(number, key):
                    return self._failed(number, Outcome(node=number, error=needs_itself(self.graph.nodes[number])))
                return [m.Blocked(number)]
            if key in self._stored_meanwhile((number,)):
                return [m.Blocked(number), m.Unblocked(number)]  # decide again, now that the lease is ours
        self._submit(number, miss)
        return []

    def _stored_meanwhile(self, numbers: Sequence[NodeId]) -> Collection[Key]:
        """Look again now that the leases are ours: another run may have finished between our look-up and this moment."""
        if self._context.store is None:
            return ()
        misses = [self._misses[number] for number in numbers]
        keys = [miss.call.key for miss in misses if not miss.reasons or miss.reasons[0].kind not in _STORED_WILL_NOT_DO]
        return self._context.store.find([key for key in keys if key is not None]) if keys else ()

    def _miss_of(self, number: NodeId) -> Miss:
        """Return why a node runs; one whose stored value was lost runs although it was a hit."""
        if self._context.store is None:
            return CACHE_OFF
        miss = self._misses.get(number)
        if miss is None or number in self._to_rekey:
            self._to_rekey.discard(number)
            call = self._planner.call(number)
            if miss is not None and miss.call.key != call.key:
                self._ledger.release(number)
            miss = self._misses[number] = Miss(call, _LOST if miss is None else miss.reasons)
        return miss

    def _submit(self, number: NodeId, miss: Miss) -> None:
        node = self.graph.nodes[number]
        self._announcer.started(number, miss)
        if miss.call.uncacheable and self._context.store is not None and node._fl_policy.cache:
            self._announcer.uncacheable(node, miss.call.uncacheable)
        self._n_running += 1
        self._executor.submit(self._jobs.of(number, miss))

    def _start_quick(self, nodes: tuple[NodeId, ...]) -> list[m.Fact]:
        """Put the calls of quick tasks into one batch; what is not plain enough for it goes its own way."""
        facts: list[m.Fact] = []
        calls: list[Call | Job] = []
        leased: list[Call] = []
        is_held_up = self._is_held_up()
        for number in nodes:
            call = None if is_held_up else self._jobs.call(number, self._miss_of(number))
            if call is None:
                facts += self._start(number)
            elif call.key is None or self._ledger.holds_lease(number):
                calls.append(call)
            elif call.key not in self._context.chain and self._ledger.take_lease(number, call.key):
                leased.append(call)
            else:
                facts += self._start(number)
        stored = self._stored_meanwhile([call.node for call in leased])
        for call in leased:
            if call.key in stored:
                facts += [m.Blocked(call.node), m.Unblocked(call.node)]  # decide again, now that the lease is ours
            else:
                calls.append(call)
        return facts + self._submit_batch(calls) if calls else facts

    def _submit_batch(self, calls: list[Call | Job]) -> list[m.Fact]:
        self._n_running += len(calls)
        batch = Batch(calls)
        if self._n_running > 1:
            self._executor.submit_batch(batch)
            return []
        self._executor.perform_batch(batch)  # nothing could run beside it: to hand it to a thread would only take time
        self._ledger.commit_in_time()
        return self._take(batch.take_done())

    def _is_held_up(self) -> bool:
        """Whether nothing may start just now."""
        return not self._is_stopping and (self._context.stop.is_paused or self._must_stop())

    def _assemble(self, number: NodeId) -> list[m.Fact]:
        if (dropped := self._jobs.dropped_child(number)) is not None:
            return self._lost(number, dropped)
        self._n_running += 1
        self._executor.submit(self._jobs.assembling(number, self._misses.get(number, CACHE_OFF)))
        return []

    # ---- outcomes

    def _take(self, outcomes: Sequence[Outcome]) -> list[m.Fact]:
        """Turn outcomes into facts; the many plain ones into one."""
        self._n_running -= len(outcomes)
        facts: list[m.Fact] = []
        done: list[Call] = []
        for outcome in outcomes:
            if type(outcome) is Call:
                if outcome.error is None and not outcome.has_expansion:
                    done.append(outcome)
                    continue
                self._announcer.started(outcome.node, self._miss_of(outcome.node))
            facts += self._outcome_facts(outcome)
        if done:
            facts.insert(0, self._all_done(done))
        return facts + self._paced(outcomes)

    def _all_done(self, calls: Sequence[Call]) -> m.Done:
        """Keep what plain calls gave. The inner loop of a run of many quick tasks."""
        if self._context.emitter.is_watched:
            self._announce(calls)
        for call in calls:
            stored_under = self._keep(call.node, call) if call.wants_digest else None
            self.values.made(call.node, call.value, stored_under)
        if self._feeds.are_fed:
            for call in calls:
                self._feeds.offer(call.node, call.value, self.values)
        return m.Done([call.node for call in calls])

    def _announce(self, calls: Sequence[Call]) -> None:
        for worker, group in itertools.groupby(calls, key=lambda call: call.worker):
            ran = list(group)
            self._announcer.ran_many(
                [call.node for call in ran],
                [self._miss_of(call.node) for call in ran],
                [call.duration_s for call in ran],
                [call.key for call in ran],
                [size_bytes(call.payload.content) if call.payload is not None else 0 for call in ran],
                worker,
            )

    def _paced(self, outcomes: Sequence[Outcome]) -> list[m.Paced]:
        """Learn from durations which tasks are quick."""
        nodes, pace = self.graph.nodes, self._pace
        n_calls: dict[str, int] = {}
        total_s: dict[str, float] = {}
        for outcome in outcomes:
            task = nodes[outcome.node]._fl_task.name
            if type(outcome.value) not in ATOMS:
                pace.gave(task)
            if not pace.is_usual(task, outcome.duration_s):
                n_calls[task] = n_calls.get(task, 0) + 1
                total_s[task] = total_s.get(task, 0.0) + outcome.duration_s
        return pace.took(n_calls, total_s) if n_calls else []

    def _outcome_facts(self, outcome: Outcome) -> list[m.Fact]:
        number = outcome.node
        if outcome.spoiled:
            self.values.spoilt(map(self.graph.id_of, outcome.spoiled))
        if isinstance(outcome.error, ChildEnded):
            return self._child_ended(number, outcome.error.child)
        if outcome.lost is not None:
            return self._lost(number, self.graph.id_of(outcome.lost))
        if outcome.error is not None:
            return self._failed(number, outcome)
        if outcome.has_expansion:
            return self._expanded(number, outcome)
        return self._finished(number, outcome)

    def _lost(self, number: NodeId, producer: NodeId) -> list[m.Fact]:
        """Make a producer run again: its value is gone, or is not what the node was decided with."""
        if self.scheduler.has_value(producer):  # otherwise somebody's loss has already made it run again
            self.values.lose(producer)
            self._misses.pop(producer, None)
        self._ledger.release(number)  # the producer may need the very lease: a call may give back what it was given
        return [m.Lost(number, producer)]

    def _finished(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        key = self._misses.get(number, CACHE_OFF).call.key
        stored_under = self._keep(number, outcome)
        if outcome.borrowed:
            self.values.borrowed((number, *map(self.graph.id_of, outcome.lenders)))
        self.values.made(number, outcome.value, stored_under)
        self._announcer.finished(number, outcome, key)
        self._feeds.offer(number, outcome.value, self.values)
        return [m.Done((number,))]

    def _keep(self, number: NodeId, outcome: Outcome) -> Key | None:
        """Note a result and hand it to the store; return the key it is stored under, None if it is not."""
        node, call = self.graph.nodes[number], self._misses.pop(number, CACHE_OFF).call
        self._record(number, outcome)
        inner = self._context.inner_calls.pop(number, None)
        if outcome.not_kept and call.key is not None:
            self._announcer.not_kept(node, outcome.not_kept)
        if outcome.payload is None or outcome.digest is None or call.key is None:
            self._ledger.release(number)
            return None
        if inner is not None:
            if not inner.are_covered(node, self._planner.keys.code_version(node)):
                self._ledger.release(number)
                return None
            self._expansions.remember_watch(number, inner.watch)
        flags, watch = self._expansions.flags(number), self._expansions.watch(number)
        entry = entry_of(node, call, outcome, self._context, flags=flags, watch=watch)
        self._ledger.put(number, entry, self._planner.keys.code_version(node))
        return call.key if outcome.payload.kept else None

    def _record(self, number: NodeId, outcome: Outcome) -> None:
        """Note a node's output; what was decided by an earlier, different one gets a new key before it starts."""
        before = self._planner.outputs.get(number)
        self._planner.record(number, outcome.digest)
        if before is not None and before != outcome.digest:
            self._to_rekey.update(self.graph.dependents[number])
            self._announcer.not_deterministic(self.graph.nodes[number])

    def _expanded(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        try:
            new, children = self._expansions.add(number, outcome.expansion)
        except FlowError as error:  # too many nodes, or the node itself
            outcome.error = error
            return self._failed(number, outcome)
        self._announcer.grown(number, len(new))
        return [self._grown(new, parent=number), m.Expanded(number, children)]

    def _failed(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        node, error = self.graph.nodes[number], outcome.error
        if error is None:
            raise InternalError("A job ended with neither value nor error.", {"node": number}, "Please report it.")
        self._ledger.release(number)
        self._misses.pop(number, None)
        self._context.inner_calls.pop(number, None)
        if isinstance(error, KeyboardInterrupt):
            self._context.stop.request("interrupt")
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, RunStopped) and self._context.stop.cause):
            self._announcer.cancelled(number)
            return [m.Ended(number, "cancelled", has_value=False)]
        how = node._fl_policy.on_error or self._context.settings.on_error
        is_kept, value = kept_value(how, annotate(error, node), node)
        self._announcer.failed(number, outcome, kept=is_kept)
        if is_kept:
            if self._context.around is not None:
                self._context.around.refuse()  # failures are not stored, nor what is made of their stand-ins
            self._planner.record(number, digest_or_none(self._context, value))
            self.values.made(number, value, None)
            self._feeds.offer(number, value, self.values)
            return [m.Ended(number, "failed", has_value=True)]
        if any(self.graph.nodes[dependent]._fl_policy.always for dependent in self.graph.dependents[number]):
            self.values.made(number, failed_value(error, node), None)
        self.errors[node] = error
        if how == "stop" or isinstance(error, (SystemExit, GeneratorExit)):
            self._context.stop.request("error")
        return [m.Ended(number, "failed", has_value=False)]

    def _child_ended(self, number: NodeId, child: NodeId) -> list[m.Fact]:
        self._ledger.release(number)
        if self.scheduler.states[child] == "cancelled":
            self._announcer.cancelled(number)
            return [m.Ended(number, "cancelled", has_value=False)]
        self._announcer.skipped(number, child)
        return [m.Ended(number, "skipped", has_value=False)]

    # ---- leases, pauses, targets

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

    def _fetch_targets(self) -> list[m.Fact]:
        """Load the targets that were hits; one that cannot be loaded is made again in this run."""
        facts: list[m.Fact] = []
        if self.errors or self._context.stop.cause == "interrupt":
            return facts  # nobody will get them
        for number in self.targets:
            if self.values.has(number) and not self.values.fetch(number):
                self.values.lose(number)
                self._misses.pop(number, None)
                facts.append(m.ValueLost(number))
        return facts

    def _grown(self, ids: Sequence[NodeId], targets: tuple[NodeId, ...] = (), parent: NodeId | None = None) -> m.Grown:
        """Prepare everything for new nodes and return the fact that they are there."""
        self._feeds.note(ids)
        self._planner.freeze(ids)
        if self._context.around is not None:
            self._context.around.declare(map(self.graph.nodes.__getitem__, ids), self._context.identity.digest)
        traits = [self._jobs.traits(number) for number in ids]
        for pool in {self.graph.nodes[number]._fl_policy.pool for number in ids}:
            if pool is not None:
                self.scheduler.add_pool(pool.name, pool.slots)
        return m.Grown([self.graph.dependencies[number] for number in ids], traits, targets, parent)

    def _stuck(self) -> Exception:
        open_nodes = [NodeId(n) for n, state in enumerate(self.scheduler.states) if state not in FINAL_STATES]
        circle = [number for number in open_nodes if number in self._deferred]
        if circle:  # what it waits for waits for it: a task returned a call of itself
            return needs_itself(self.graph.nodes[circle[0]])
        return stuck(f"{n}: {self.scheduler.states[n]} {self.graph.nodes[n]!r}" for n in open_nodes[:5])
