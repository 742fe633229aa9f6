"""What becomes of outcomes: they are kept, told and turned into facts. The lower half of the engine.

Theory of operation: a run of many quick tasks ends its calls by the thousand, and `_all_done` takes them in one loop;
whatever is out of the ordinary (an error, nodes in the result, a lost input) goes its own way, one by one.
"""

import itertools
from collections.abc import Iterable, Sequence
from operator import attrgetter

from flowlib.engine.announce import Announcer
from flowlib.engine.attempts import Attempts
from flowlib.engine.batches import Batches
from flowlib.engine.commit import Ledger
from flowlib.engine.context import RunContext
from flowlib.engine.cpu_bound import CpuBound
from flowlib.engine.expansion import Expansions
from flowlib.engine.failures import Failures
from flowlib.engine.feed import Feeds
from flowlib.engine.jobs import ChildEnded, Jobs
from flowlib.engine.overtime import Overtime
from flowlib.engine.recall import Recall
from flowlib.engine.results import entry_of
from flowlib.engine.values import Values
from flowlib.errors import FlowError
from flowlib.execution.base import Call, Executor, Job, Outcome
from flowlib.execution.quick import is_small
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import CACHE_OFF, Miss, Planner
from flowlib.planning.key import CallKey
from flowlib.planning.reason import Reason
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler
from flowlib.store.base import Entry

_MOST_UNKEPT = 128
"""Results of calls made one by one that are kept together; a run that is killed may lose so many, and what waits for the next
commit."""

LOST = (Reason(kind="result missing"),)


class Settling:
    """The parts of one run, and what is done when a node has ended.

    Attributes:
        errors: The exception of each node that failed and was not kept, in order of failing.
        recall: Ends the run at once if its targets are recognised, and notes what became of them if not.
        values: The values of the targets, once the run is over.
    """

    def __init__(
        self, context: RunContext, graph: Graph, targets: Iterable[Node], planner: Planner, executor: Executor
    ) -> None:
        self.graph = graph
        self.targets = tuple(dict.fromkeys(graph.id_of(node) for node in targets))
        self.scheduler = Scheduler(executor.capacity, context.shares.budgets, decides=context.store is not None)
        self.values = Values(graph, context.store, self.scheduler, frozenset(self.targets), planner.outputs)
        self._announcer = Announcer(graph, context.emitter, context.clock, context.first_id)
        self.recall = Recall(context, planner, self.values, self._announcer)
        self._ledger = Ledger(
            context.store,
            context.clock,
            self._announcer,
            context.identity,
            context.stop.holding_off,
            waits=not context.is_far,
        )
        self._expansions, self._feeds = Expansions(graph, context), Feeds(graph, caching=context.store is not None)
        self._attempts = Attempts(graph, context.clock, context.chance)
        self._jobs = Jobs(context, graph, planner, self.values, self._feeds, self._expansions, self._attempts)
        self._batches = Batches(executor, graph, self.values.plain_arguments)
        self._context, self._planner, self._executor = context, planner, executor
        self._misses, self._to_rekey = dict[NodeId, Miss](), set[NodeId]()
        """Nodes that were decided before one of their inputs turned out to be something else."""
        self._failures = self._make_failures()
        self._overtime = Overtime(context, graph, self.scheduler, executor, self._attempts, self._failures)
        self.errors = self._failures.errors
        self._unkept: dict[Key | NodeId | None, Call] = {}
        """Calls that ended well one by one, in a row: they are kept and told together. By key, if they have one."""
        self._early: list[m.Fact] = []
        """What became known at a time when no fact could be handed on."""
        self._n_running, self.cpu_bound = 0, CpuBound()

    def _make_failures(self) -> Failures:
        return Failures(
            context=self._context,
            graph=self.graph,
            scheduler=self.scheduler,
            planner=self._planner,
            values=self.values,
            ledger=self._ledger,
            announcer=self._announcer,
            expansions=self._expansions,
            feeds=self._feeds,
            attempts=self._attempts,
            recall=self.recall,
            misses=self._misses,
            grown=lambda new, parent: self._grown(new, parent=parent),
        )

    def _grown(self, ids: Sequence[NodeId], targets: tuple[NodeId, ...] = (), parent: NodeId | None = None) -> m.Grown:
        """Prepare everything for new nodes and return the fact that they are there."""
        if self._feeds.note(ids):
            self.values.expect_reductions()
        self._planner.freeze(ids)
        if self._context.around is not None:
            self._context.around.declare(map(self.graph.nodes.__getitem__, ids), self._context.identity.digest)
        traits = self._jobs.traits(ids)
        needed = self.graph.dependencies
        return m.Grown(needed[ids[0] : ids[-1] + 1] if ids else [], traits, targets, parent)

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
            miss = self._misses[number] = Miss(call, LOST if miss is None else miss.reasons)
        return miss

    def _take(self, outcomes: Sequence[Outcome]) -> list[m.Fact]:
        """Turn outcomes into facts; the many plain ones into one."""
        self._n_running -= len(outcomes)
        for outcome in outcomes:
            if outcome.cpu_s:
                self.cpu_bound.add(outcome)
        facts: list[m.Fact] = []
        done: list[Call] = []
        if self._attempts.has_left:
            outcomes, late = self._attempts.without_left(outcomes)
            facts += [fact for outcome, keeps in late for fact in self._overtime.late(outcome, keeps)]
        returned: list[NodeId] = []
        self._keep_rest()
        for outcome in outcomes:
            if type(outcome) is Call:
                if outcome.is_returned:
                    returned.append(outcome.node)
                    continue
                if (
                    outcome.error is None
                    and not outcome.has_expansion
                    and not outcome.is_announced
                    and not outcome.is_special
                ):
                    done.append(outcome)
                    continue
                if not outcome.is_announced:
                    self._announcer.started(outcome.node, self._miss_of(outcome.node))
            facts += self._outcome_facts(outcome)
        if done:
            facts.insert(0, self._all_done(done))
        if returned:
            facts.append(m.Returned(returned))
        return facts + self._batches.learn(outcomes)

    def _take_plain(self, outcome: Outcome) -> bool:
        """Take the outcome of a plain call that nothing ran beside, to be kept later with its like; say whether it was one."""
        if type(outcome) is not Call or outcome.error is not None or outcome.has_expansion or outcome.is_returned:
            return False
        if outcome.is_announced:
            return False
        self._n_running -= 1
        self._record(outcome.node, outcome)
        self.values.made(outcome.node, outcome.value, None)
        self._feeds.offer(outcome.node, outcome.value, self.values)
        self._unkept[outcome.key or outcome.node] = outcome
        if len(self._unkept) >= _MOST_UNKEPT or not is_small(outcome.value):
            self._keep_rest()
        return True

    def _keep_rest(self) -> None:
        """Keep and tell what ended one by one."""
        if not self._unkept:
            return
        calls = [*self._unkept.values()]
        self._unkept.clear()
        misses = [self._misses.pop(call.node, CACHE_OFF) for call in calls]
        if self._context.store is not None:
            for number, key in self._put(calls, misses):
                self.values.kept(number, key)
        if self._context.emitter.is_watched:
            self._announce(calls, misses)
        self._early += self._batches.learn(calls)

    def _all_done(self, calls: Sequence[Call]) -> m.Done:
        """Keep what plain calls gave. The inner loop of a run of many quick tasks."""
        misses = [self._misses.pop(call.node, CACHE_OFF) for call in calls]
        if self._context.store is not None:
            for call, (number, key) in zip(calls, self._put(calls, misses), strict=True):
                self.values.made(number, call.value, key)
        else:
            self.values.made_unkept({call.node: call.value for call in calls})
        if self._context.emitter.is_watched:
            self._announce(calls, misses)
        if self._feeds.are_fed:
            for call in calls:
                self._feeds.offer(call.node, call.value, self.values)
        return m.Done([call.node for call in calls])

    def _put(self, calls: Sequence[Call], misses: Sequence[Miss]) -> list[tuple[NodeId, Key | None]]:
        """Hand the results of plain calls to the store; return the key under which each can be loaded."""
        numbers: list[NodeId] = []
        entries: list[Entry] = []
        kept: list[tuple[NodeId, Key | None]] = []
        for call, miss in zip(calls, misses, strict=True):
            entry = self._entry(call.node, call, miss.call)
            if entry is None:
                self.recall.spoil()
            else:
                self.recall.used(entry)
                numbers.append(call.node)
                entries.append(entry)
            kept.append((call.node, _kept_under(entry)))
        nodes, version_of = self.graph.nodes, self._planner.keys.code_version
        self._ledger.put_many(numbers, entries, (version_of(nodes[number]) for number in numbers))
        return kept

    def _announce(self, calls: Sequence[Call], misses: Sequence[Miss]) -> None:
        at = 0
        for worker, group in itertools.groupby(calls, key=attrgetter("worker")):
            ran = list(group)
            self._announcer.ran_many(
                [call.node for call in ran],
                misses[at : at + len(ran)],
                [call.duration_s for call in ran],
                [call.key for call in ran],
                [call.payload.n_bytes if call.payload is not None else 0 for call in ran],
                worker,
            )
            at += len(ran)

    def _outcome_facts(self, outcome: Outcome) -> list[m.Fact]:
        number = outcome.node
        if outcome.report is not None:
            self._absorb(number, outcome)
        if self._attempts:
            self._attempts.judge(outcome)
        if outcome.spoiled:
            self.values.spoilt(map(self.graph.id_of, outcome.spoiled))
        if isinstance(outcome.error, ChildEnded):
            return self._child_ended(number, outcome.error.child)
        if outcome.lost is not None:
            return self._lost(number, self.graph.id_of(outcome.lost))
        if outcome.error is not None:
            return self._failures.failed(number, outcome)
        if outcome.has_expansion:
            return self._expanded(number, outcome)
        return self._finished(number, outcome)

    def _absorb(self, number: NodeId, outcome: Outcome) -> None:
        from flowlib.engine.away import absorb  # comes from another process, so that module is loaded already

        miss = self._misses.get(number, CACHE_OFF)
        absorb(outcome.report, number, self._context, has_key=miss.call.key is not None)

    def _lost(self, number: NodeId, producer: NodeId) -> list[m.Fact]:
        """Make a producer run again: its value is gone, or is not what the node was decided with."""
        self.recall.replacing()
        if self.scheduler.has_value(producer):  # otherwise somebody's loss has already made it run again
            self.values.lose(producer)
            self._misses.pop(producer, None)
        self._ledger.release(number)  # the producer may need the very lease: a call may give back what it was given
        return [m.Lost(number, producer)]

    def _finished(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        is_replaced = bool(self._failures.replaced) and number in self._failures.replaced
        node, call = self.graph.nodes[number], self._misses.pop(number, CACHE_OFF).call
        entry = self._entry(number, outcome, call)
        if entry is None:
            self.recall.spoil()
        else:
            self.recall.used(entry)
            self._ledger.put_many([number], [entry], [self._planner.keys.code_version(node)])
        if outcome.borrowed:
            self.values.borrowed((number, *map(self.graph.id_of, outcome.lenders)))
        self._take_value(number, outcome, entry)
        self._feeds.offer(number, outcome.value, self.values)
        if is_replaced:
            return self._failures.took_place(number)
        self._announcer.finished(number, outcome, call.key)
        if node._fl_policy.retries is not None or node._fl_policy.timeout is not None:
            self._attempts.over(number)
        return [m.Done((number,))]

    def _take_value(self, number: NodeId, outcome: Outcome, entry: Entry | None) -> None:
        """Take what a job gave; a value that was made elsewhere stays in the store."""
        if outcome.is_away and entry is not None:
            self.values.stored(number, entry)
            return
        if outcome.is_away and outcome.payload is not None and self._context.store is not None:
            outcome.value = self._context.store.load(outcome.payload)
        self.values.made(number, outcome.value, _kept_under(entry))

    def _entry(self, number: NodeId, outcome: Outcome, call: CallKey) -> Entry | None:
        """Note a result and return its entry; None, and no claim any more, if it is not stored."""
        node = self.graph.nodes[number]
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
        return entry_of(node, call, outcome, self._context, flags=flags, watch=watch)

    def _record(self, number: NodeId, outcome: Outcome) -> None:
        """Note a node's output; what was decided by an earlier, different one gets a new key before it starts."""
        before = self._planner.outputs.get(number)
        self._planner.record(number, outcome.digest)
        if before is not None and before != outcome.digest:
            self.recall.replacing()
            self._to_rekey.update(self.scheduler.dependents(number))
            self._announcer.not_deterministic(self.graph.nodes[number])

    def _expanded(self, number: NodeId, outcome: Outcome) -> list[m.Fact]:
        try:
            new, children = self._expansions.add(number, outcome.expansion)
        except FlowError as error:  # too many nodes, or the node itself
            outcome.error = error
            return self._failures.failed(number, outcome)
        self._announcer.grown(number, len(new))
        return [self._grown(new, parent=number), m.Expanded(number, children)]

    def _child_ended(self, number: NodeId, child: NodeId) -> list[m.Fact]:
        self.recall.spoil()
        if number in self._failures.replaced:
            return self._failures.not_replaced(number)
        self._ledger.release(number)
        self._attempts.over(number)
        if self.scheduler.states[child] == "cancelled":
            self._announcer.cancelled(number)
            return [m.Ended(number, "cancelled", has_value=False)]
        self._announcer.skipped(number, self.scheduler.root_of(child))
        return [m.Ended(number, "skipped", has_value=False, because=child)]

    def _heed_pause(self) -> None:
        """Let nothing begin while the run is paused, and say when it has come to rest."""
        if not self._context.stop.is_paused:
            self._batches.go_on()
            return
        self._batches.hold()
        if self._n_running <= self._batches.n_held:
            self._ledger.commit()
            self._context.write_log()
            self._context.stop.note_still()

    def _end_jobs(self) -> None:
        """End what can be ended of a run that does not wait for what runs: coroutines; processes go with their executor."""
        if not self._context.stop.is_killed:
            return
        for number, state in enumerate(self.scheduler.states):
            if state == "running":
                self._executor.kill(NodeId(number), self._context.stop.error())

    def _cancelled(self, calls: Sequence[Call | Job]) -> list[m.Fact]:
        """Give up calls that were handed over and have not begun."""
        self._n_running -= len(calls)
        self.recall.spoil()
        for call in calls:
            self._ledger.release(call.node)
            self._announcer.cancelled(call.node)
        return [m.Ended(call.node, "cancelled", has_value=False) for call in calls]

    def _fetch_targets(self) -> list[m.Fact]:
        """Load the targets that were hits; one that cannot be loaded is made again in this run."""
        facts: list[m.Fact] = []
        if self.errors or self._context.stop.cause == "interrupt":
            return facts  # nobody will get them
        for number in self.targets:
            if self.values.has(number) and not self.values.fetch(number):
                self.recall.replacing()
                self.values.lose(number)
                self._misses.pop(number, None)
                facts.append(m.ValueLost(number))
        return facts


def _kept_under(entry: Entry | None) -> Key | None:
    """Return the key under which a value can be loaded; an entry may know its value by digest only."""
    return entry.key if entry is not None and entry.payload.kept else None
