"""The loop that joins planner, scheduler, executor and store: commands become effects, effects become facts.

Theory of operation: the scheduler is handed facts in batches and answers with commands. `Decide` asks the planner for a
whole wave at once; `Start` takes the key's lease and submits a job; outcomes come back in batches and become facts. The
engine holds digests, keys and the few values that are still needed; what is stored is loaded by the worker that needs it.
"""

from collections.abc import Iterable
from typing import Any

from flowlib.engine.announce import Announcer
from flowlib.engine.commit import FLUSH_S, Ledger
from flowlib.engine.context import RunContext
from flowlib.engine.expansion import Expansions
from flowlib.engine.failure import annotate
from flowlib.engine.feed import Feeds
from flowlib.engine.values import Values
from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.execution.base import Executor, Job, Outcome
from flowlib.graph.args import Quoted, nodes_in
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Digest, Key, NodeId
from flowlib.planning.decide import Decision, Hit, Miss, Planner
from flowlib.planning.key import CallKey, previews
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler
from flowlib.store.base import Entry
from flowlib.sweep.failed import Failed

_LEASE_POLL_S = 0.02
"""How often a lease that somebody else holds is asked for again; waiting takes no slot."""


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
        self.scheduler = Scheduler(executor.capacity)
        self.values = Values(graph, context.store, self.scheduler, frozenset(self.targets))
        self._announcer = Announcer(graph, context.emitter, context.clock, context.first_id)
        self._ledger = Ledger(context.store, context.clock, self._announcer)
        self._expansions = Expansions(graph, context.settings.max_nodes)
        self._feeds = Feeds(graph, caching=context.store is not None)
        self._context = context
        self._planner = planner
        self._executor = executor
        self._deadline = None if deadline_s is None else context.clock.monotonic() + deadline_s
        self._misses: dict[NodeId, Miss] = {}
        self._blocked: dict[NodeId, Key] = {}
        self._held_back: list[NodeId] = []
        self._n_running = 0
        self._is_stopping = False

    # ---- the loop

    def run(self) -> None:
        """Bring every node to a final state and the values of the targets into memory."""
        ids = [NodeId(number) for number in range(len(self.graph))]
        facts: list[m.Fact] = [m.Grown(self._plans(ids), self.targets)]
        try:
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
        finally:
            self._ledger.commit()
            self._ledger.release_all()

    def _carry_out(self, commands: Iterable[m.Command]) -> list[m.Fact]:
        facts: list[m.Fact] = []
        for command in commands:
            match command:
                case m.Start():
                    facts += self._start(command.node)
                case m.Decide():
                    facts += self._decide(command.nodes)
                case m.Drop():
                    self.values.drop(command.node)
                case m.Assemble():
                    self._assemble(command.node)
                case m.Skip():
                    self._ledger.release(command.node)
                    self._announcer.skipped(command.node, command.because)
                case m.Cancel():
                    self._ledger.release(command.node)
                    self._blocked.pop(command.node, None)
                    self._announcer.cancelled(command.node)
        return facts

    def _wait(self) -> list[m.Fact]:
        """Wait for something to happen: an outcome, a lease, a stop, the time to commit."""
        facts = self._stop_facts()
        if facts:
            return facts
        if not self._n_running and not self._blocked and not self._held_back:
            raise self._stuck()
        for outcome in self._executor.collect(self._patience_s()):
            self._n_running -= 1
            facts += self._outcome_facts(outcome)
        self._ledger.commit_in_time()
        return facts + self._resume() + self._poll_leases()

    def _patience_s(self) -> float | None:
        """Return how long to wait at most; None is until something happens."""
        limits = [FLUSH_S] if self._ledger.has_uncommitted else []
        if self._blocked or self._context.stop.is_paused:
            limits.append(_LEASE_POLL_S)
        if self._deadline is not None and not self._is_stopping:
            limits.append(max(0.0, self._deadline - self._context.clock.monotonic()))
        return min(limits, default=None)

    def _stop_facts(self) -> list[m.Fact]:
        stop = self._context.stop
        if self._deadline is not None and self._context.clock.monotonic() >= self._deadline:
            stop.request("deadline")
        if not stop.cause or self._is_stopping:
            return []
        self._is_stopping = True
        return [m.Stopping(), *self._resume()]

    # ---- deciding

    def _decide(self, nodes: tuple[NodeId, ...]) -> list[m.Fact]:
        decisions = self._planner.decide(nodes)
        return [self._decided(node, decision) for node, decision in zip(nodes, decisions, strict=True)]

    def _decided(self, number: NodeId, decision: Decision) -> m.Fact:
        if isinstance(decision, Hit):
            if self.values.restore_files(decision.entry):
                self._use(number, decision.entry)
                self._announcer.cached(number, decision.entry)
                return m.Hit(number)
            decision = Miss(decision.call, ())
        if not isinstance(decision, Miss):
            raise InternalError("A node was decided before its inputs were known.", {"node": number}, "Please report it.")
        key = decision.call.key
        if key is not None:
            other = self._ledger.claim(number, key)
            if other is not None:
                return m.Deferred(number, other)
        self._misses[number] = decision
        return m.Missed(number)

    def _use(self, number: NodeId, entry: Entry) -> None:
        """Take a stored result as the node's."""
        self._planner.record(number, entry.output)
        self._expansions.remember_watch(number, entry.watch)
        self.values.stored(number, entry)
        self._ledger.release(number)

    # ---- starting

    def _start(self, number: NodeId) -> list[m.Fact]:
        if self._context.stop.is_paused and not self._is_stopping:
            self._held_back.append(number)
            return []
        miss = self._misses.get(number) or self._miss_again(number)
        key = miss.call.key
        if key is not None and not self._ledger.holds_lease(number):
            if key in self._context.chain:
                return self._failed(number, Outcome(node=number, error=self._needs_itself(number)))
            if not self._ledger.take_lease(number, key):
                self._blocked[number] = key
                return [m.Blocked(number)]
            entry = self._found_meanwhile(miss, key)
            if entry is not None:
                self._use(number, entry)
                return [m.Ended(number, "cached", has_value=True)]
        self._submit(number, miss)
        return []

    def _found_meanwhile(self, miss: Miss, key: Key) -> Entry | None:
        """Look again now that the lease is ours: another run may have finished between our look-up and this moment."""
        stored_will_not_do = not miss.reasons or miss.reasons[0].kind in ("forced", "file changed")
        if self._context.store is None or stored_will_not_do:
            return None
        return self._context.store.find([key]).get(key)

    def _miss_again(self, number: NodeId) -> Miss:
        """A node whose stored value was lost runs although it was a hit."""
        call = CallKey(key=None)
        if self._context.store is not None:
            call = self._planner.keys.key_of(self.graph.nodes[number], self._output_of)
        self._misses[number] = Miss(call, ())
        return self._misses[number]

    def _output_of(self, node: Node) -> Digest | None:
        return self._planner.outputs.get(self.graph.id_of(node))

    def _needs_itself(self, number: NodeId) -> RecursionError:
        name = self.graph.nodes[number]._fl_task.name
        return RecursionError(f"task {name!r} asks for its own result while it is being computed")

    def _submit(self, number: NodeId, miss: Miss) -> None:
        node = self.graph.nodes[number]
        self._announcer.started(number, miss)
        if miss.call.uncacheable and self._context.store is not None and node._fl_policy.cache:
            self._announcer.uncacheable(node, miss.call.uncacheable)
        self._n_running += 1
        self._executor.submit(self._job(number, node, miss))

    def _job(self, number: NodeId, node: Node, miss: Miss) -> Job:
        has_key = miss.call.key is not None
        recent = self._planner.recent(node._fl_task.name) if has_key and node._fl_policy.same is not None else ()
        return Job(
            node=number,
            task=node._fl_task,
            policy=node._fl_policy,
            args=node._fl_args,
            inputs=self.values.inputs(number, skip=self._feeds.fed_nodes(number) | self._quoted_only(node)),
            key=miss.call.key,
            parts=miss.call.parts,
            keep=has_key,
            digest=self._context.store is not None,
            previous=recent[0] if recent else None,
            stream=self._feeds.result_maker(number),
        )

    def _quoted_only(self, node: Node) -> frozenset[NodeId]:
        """Return the inputs that a task wants as nodes, so that their values are not loaded."""
        if not node._fl_task.quotes:
            return frozenset()
        is_quoted = [type(arg) is tuple and bool(arg) and all(type(q) is Quoted for q in arg) for arg in node._fl_args]
        loaded = nodes_in([a for a, q in zip(node._fl_args, is_quoted, strict=True) if not q], lambda i: "an argument")
        return frozenset(self.graph.id_of(dep) for dep in node._fl_deps) - {self.graph.id_of(dep) for dep in loaded}

    def _assemble(self, number: NodeId) -> None:
        """Put the values of returned nodes together, as a job: the result is stored under the key of the outer call."""
        children = self._expansions.children[number]
        without_value = next((child for child in children if not self.values.has(child)), None)
        node, miss = self.graph.nodes[number], self._misses[number]
        self._n_running += 1
        if without_value is not None:
            error = _ChildEnded(without_value)
            self._executor.submit(Job.failing(number, node._fl_task, node._fl_policy, error))
            return
        has_key = miss.call.key is not None and self._expansions.is_covered(
            number, self._planner.keys, lambda n: self.values.key_of(n) is not None, self._context.identity.digest
        )
        returned, inputs = self._expansions.returned[number], self.values.inputs_from(children)
        has_store = self._context.store is not None
        self._executor.submit(
            Job.assembling(number, node._fl_task, node._fl_policy, returned, inputs, keep=has_key, digest=has_store)
        )

    # ---- outcomes

    def _outcome_facts(self, outcome: Outcome) -> list[m.Fact]:
        number = outcome.node
        if isinstance(outcome.error, _ChildEnded):
            return self._child_ended(number, outcome.error.child)
        if outcome.lost is not None:
            producer = self.graph.id_of(outcome.lost)
            self.values.lose(producer)
            return [m.Lost(number, producer)]
        if outcome.error is not None:
            return self._failed(number, outcome)
        if outcome.has_expansion:
            return self._expanded(number, outcome)
        return self._finished(number, outcome)

    def _finished(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        node, call = self.graph.nodes[number], self._misses[number].call
        self._planner.record(number, outcome.digest)
        stored_under = None
        if outcome.payload is not None and outcome.digest is not None and call.key is not None:
            entry = self._entry(number, node, call, outcome)
            self._ledger.put(number, entry, self._planner.keys.code_version(node))
            stored_under = call.key if outcome.payload.kept else None
        else:
            self._ledger.release(number)
        if outcome.not_kept and call.key is not None:
            self._announcer.not_kept(node, outcome.not_kept)
        self.values.made(number, outcome.value, stored_under)
        self._announcer.finished(number, outcome, call.key)
        self._feeds.offer(number, outcome.value, self.values)
        return [m.Ended(number, "done", has_value=True)]

    def _entry(self, number: NodeId, node: Node, call: CallKey, outcome: Outcome) -> Entry:
        now, ttl = self._context.clock.now(), node._fl_policy.ttl
        flags = outcome.flags | self._expansions.flags(number)
        flags |= {"weak"} if call.weak else frozenset()
        if outcome.payload is None or outcome.digest is None or call.key is None:
            raise InternalError("A result without digest cannot be stored.", {"node": number}, "Please report it.")
        flags |= {"files"} if outcome.payload.codec == "file" else frozenset()
        return Entry(
            key=call.key,
            task=node._fl_task.name,
            output=outcome.digest,
            payload=outcome.payload,
            parts=dict(call.parts),
            previews=previews(node),
            run=self._context.run,
            created_at=now,
            duration_s=outcome.duration_s,
            flags=frozenset(flags),
            watch=self._expansions.watch(number),
            expires_at=None if ttl is None else now + ttl,
        )

    def _expanded(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        try:
            new, children = self._expansions.add(number, outcome.expansion)
        except RecursionError as error:
            outcome.error = error
            return self._failed(number, outcome)
        self._announcer.grown(number, len(new))
        return [m.Grown(self._plans(new)), m.Expanded(number, children)]

    def _failed(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        node, error = self.graph.nodes[number], outcome.error
        if error is None:
            raise InternalError("A job ended with neither value nor error.", {"node": number}, "Please report it.")
        self._ledger.release(number)
        if isinstance(error, KeyboardInterrupt):
            self._context.stop.request("interrupt")
            self._announcer.cancelled(number)
            return [m.Ended(number, "cancelled", has_value=False)]
        how = node._fl_policy.on_error or self._context.settings.on_error
        is_kept, value = _kept_value(how, annotate(error, node), node)
        self._announcer.failed(number, outcome, kept=is_kept)
        if is_kept:
            self._planner.record(number, _digest_or_none(self._context, value))
            self.values.made(number, value, None)
            self._feeds.offer(number, value, self.values)
            return [m.Ended(number, "failed", has_value=True)]
        if any(self.graph.nodes[dependent]._fl_policy.always for dependent in self.graph.dependents[number]):
            self.values.made(number, _failed_value(error, node), None)
        self.errors[node] = error
        if how == "stop" or isinstance(error, (SystemExit, GeneratorExit)):
            self._context.stop.request("error")
        return [m.Ended(number, "failed", has_value=False)]

    def _child_ended(self, number: NodeId, child: NodeId) -> list[m.Fact]:
        self._ledger.release(number)
        state: NodeState = "cancelled" if self.scheduler.states[child] == "cancelled" else "skipped"
        if state == "cancelled":
            self._announcer.cancelled(number)
        else:
            self._announcer.skipped(number, child)
        return [m.Ended(number, state, has_value=False)]

    # ---- leases, pauses, targets

    def _poll_leases(self) -> list[m.Fact]:
        facts: list[m.Fact] = []
        for number, key in list(self._blocked.items()):
            if self._ledger.take_lease(number, key):
                del self._blocked[number]
                facts.append(m.Unblocked(number))
        return facts

    def _resume(self) -> list[m.Fact]:
        """Start what a pause held back, or cancel it when the run stops."""
        if not self._held_back or (self._context.stop.is_paused and not self._is_stopping):
            return []
        held, self._held_back = self._held_back, []
        facts: list[m.Fact] = []
        for number in held:
            if self._is_stopping:
                self._ledger.release(number)
                self._announcer.cancelled(number)
                facts.append(m.Ended(number, "cancelled", has_value=False))
            else:
                facts += self._start(number)
        return facts

    def _fetch_targets(self) -> list[m.Fact]:
        """Load the targets that were hits; one that cannot be loaded is made again in this run."""
        facts: list[m.Fact] = []
        for number in self.targets:
            if self.values.has(number) and not self.values.fetch(number):
                self.values.lose(number)
                facts.append(m.ValueLost(number))
        return facts

    def _plans(self, ids: Iterable[NodeId]) -> tuple[m.NodePlan, ...]:
        plans = []
        for number in ids:
            node = self.graph.nodes[number]
            policy, pool = node._fl_policy, node._fl_policy.pool
            if pool is not None:
                self.scheduler.add_pool(pool.name, pool.slots)
            plan = m.NodePlan(
                dependencies=self.graph.dependencies[number],
                pool=None if pool is None else pool.name,
                always=policy.always,
                priority=policy.priority,
                weight_s=self.values.expected_s(node._fl_task.name),
            )
            plans.append(plan)
        self._feeds.note(ids)
        return tuple(plans)

    def _stuck(self) -> InternalError:
        open_nodes = [n for n, state in enumerate(self.scheduler.states) if state in ("waiting", "ready", "running")]
        story = "\n".join(f"{n}: {self.scheduler.states[n]} {self.graph.nodes[n]!r}" for n in open_nodes[:5])
        return InternalError("The run cannot go on, though nodes are open.", {"open": story}, "Please report it.")


class _ChildEnded(Exception):
    """A node returned by a task ended without a value."""

    def __init__(self, child: NodeId) -> None:
        super().__init__()
        self.child = child


def _kept_value(how: Any, error: BaseException, node: Node) -> tuple[bool, Any]:
    """Return whether a failure is turned into a value, and the value."""
    if how == "keep":
        return True, _failed_value(error, node)
    if callable(how) and isinstance(error, Exception):
        try:
            return True, how(error)
        except Exception as second:  # the user's fallback may fail, too: then the first failure stands
            error.add_note(f"the fallback {how!r} failed as well: {type(second).__name__}: {second}")
    return False, None


def _failed_value(error: BaseException, node: Node) -> Failed:
    return Failed.from_exception(error, task=node._fl_task.name, label=node._fl_label)


def _digest_or_none(context: RunContext, value: Any) -> Digest | None:
    try:
        return context.identity.digest(value)
    except TypeError:
        return None
