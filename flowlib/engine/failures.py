"""What becomes of a failure: another attempt, something in the place of the value, or an end without one.

Theory of operation: a failed attempt is taken as the last one unless the task's `retries` say otherwise and the run goes on.
What then takes the place of the value is made at once, or by nodes that join the graph as if the task had returned them; it
is never stored under the key of the call.
"""

from collections.abc import Callable, Sequence

import attrs

from flowlib.engine.announce import Announcer
from flowlib.engine.attempts import Attempts
from flowlib.engine.commit import Ledger
from flowlib.engine.context import RunContext
from flowlib.engine.expansion import Expansions
from flowlib.engine.failure import annotate, note_on
from flowlib.engine.feed import Feeds
from flowlib.engine.on_error import Verdict, verdict_of
from flowlib.engine.recall import Recall
from flowlib.engine.results import digest_or_none, failed_value
from flowlib.engine.values import Values
from flowlib.errors import FlowError, InternalError, RunStopped
from flowlib.events import NodeState
from flowlib.execution.base import Outcome
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import NodeId
from flowlib.planning.decide import Miss, Planner
from flowlib.scheduling import messages as m
from flowlib.scheduling.scheduler import Scheduler


@attrs.define(kw_only=True, eq=False)
class Failures:
    """Turns failures of one run into facts; the parts are the engine's own."""

    context: RunContext
    graph: Graph
    scheduler: Scheduler
    planner: Planner
    values: Values
    ledger: Ledger
    announcer: Announcer
    expansions: Expansions
    feeds: Feeds
    attempts: Attempts
    recall: Recall
    misses: dict[NodeId, Miss]
    grown: Callable[[Sequence[NodeId], NodeId], m.Grown]
    """Prepares everything for new nodes of a parent."""
    errors: dict[Node, BaseException] = attrs.field(factory=dict)
    """The exception of each node that failed and was not kept, in order of failing."""
    replaced: dict[NodeId, Outcome] = attrs.field(factory=dict)
    """Nodes that failed and whose places other nodes are about to take."""

    def failed(self, number: NodeId, outcome: Outcome, *, keeps_slot: bool = False) -> list[m.Fact]:
        """Return what follows from an attempt that failed.

        Args:
            number: The node.
            outcome: What became of it.
            keeps_slot: Whether its job goes on all the same.
        """
        node, error = self.graph.nodes[number], outcome.error
        if error is None:
            raise InternalError("A job ended with neither value nor error.", {"node": number}, "Please report it.")
        self.recall.spoil()
        if number in self.replaced:
            return self.not_replaced(number)
        outcome.attempt = self.attempts.number(number)
        self.context.inner_calls.pop(number, None)
        stop = self.context.stop
        if isinstance(error, KeyboardInterrupt):
            stop.request("interrupt")
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, RunStopped) and stop.cause):
            self._forget(number)
            self.announcer.cancelled(number)
            return [m.Ended(number, "cancelled", has_value=False, keeps_slot=keeps_slot)]
        if node._fl_policy.retries is not None and self._is_tried_again(number, node, outcome):
            return self._try_again(number, outcome, keeps_slot)
        return self._give_up(number, outcome, keeps_slot)

    def give_up_delayed(self) -> list[m.Fact]:
        """End every node that waits for its next attempt: the run stops, so there will be none."""
        return [fact for number, outcome in [*self.attempts.delayed.items()] for fact in self._give_up(number, outcome)]

    def took_place(self, number: NodeId) -> list[m.Fact]:
        """Return what follows when the nodes in the place of a failed one have given its value."""
        outcome = self.replaced.pop(number)
        self.announcer.failed(number, outcome, kept=True)
        return [m.Ended(number, _state(outcome), has_value=True)]

    def not_replaced(self, number: NodeId) -> list[m.Fact]:
        """Return what follows when the nodes in the place of a failed one gave no value either."""
        outcome = self.replaced.pop(number)
        if outcome.error is not None:
            note_on(outcome.error, "what was to take its place gave no value either")
        return self._end(number, outcome, Verdict("continue"), keeps_slot=False)

    # ---- another attempt

    def _is_tried_again(self, number: NodeId, node: Node, outcome: Outcome) -> bool:
        retry, error = node._fl_policy.retries, outcome.error
        if retry is None or error is None or self.context.stop.cause or outcome.limit == "total":
            return False
        try:
            return retry.allows(error, self.attempts.number(number))
        except Exception as second:  # the user's predicate
            note_on(error, f"it was not tried again: `on` or `never` raised {type(second).__name__}: {second}")
            return False

    def _try_again(self, number: NodeId, outcome: Outcome, keeps_slot: bool) -> list[m.Fact]:
        self.ledger.release_lease(number)  # who waits for it may hold the slot that the next attempt needs
        delay_s = self.attempts.delay_s(number)
        self.attempts.fail(outcome, delay_s)
        self.announcer.retried(number, outcome, delay_s=delay_s)
        return [m.Retried(number, keeps_slot)]

    # ---- the end

    def _give_up(self, number: NodeId, outcome: Outcome, keeps_slot: bool = False) -> list[m.Fact]:
        node, error = self.graph.nodes[number], outcome.error
        assert error is not None, "only failures are given up"
        self.ledger.release(number)
        self.misses.pop(number, None)
        how = node._fl_policy.on_error
        error = annotate(error, node, outcome.attempt)
        verdict = verdict_of(self.context.settings.on_error if how is None else how, error, outcome.attempt, node)
        if verdict.word == "keep" and targets_of(verdict.value):
            return self._replace(number, outcome, verdict, keeps_slot)
        return self._end(number, outcome, verdict, keeps_slot=keeps_slot)

    def _replace(self, number: NodeId, outcome: Outcome, verdict: Verdict, keeps_slot: bool) -> list[m.Fact]:
        """Let nodes take the place of the value, as if the task had returned them."""
        try:
            new, children = self.expansions.add(number, verdict.value)
        except FlowError as second:  # too many nodes
            if outcome.error is not None:
                note_on(outcome.error, f"what was to take its place could not run: {second}")
            return self._end(number, outcome, Verdict("continue"), keeps_slot=keeps_slot)
        self.attempts.over(number)
        self.replaced[number] = outcome
        if self.context.around is not None:
            self.context.around.refuse()
        self.announcer.grown(number, len(new))
        return [self.grown(new, number), m.Expanded(number, children, keeps_slot)]

    def _end(self, number: NodeId, outcome: Outcome, verdict: Verdict, *, keeps_slot: bool) -> list[m.Fact]:
        node, error, is_kept = self.graph.nodes[number], outcome.error, verdict.word == "keep"
        assert error is not None, "only failures end here"
        self.announcer.failed(number, outcome, kept=is_kept)
        self._forget(number)
        if is_kept:
            if self.context.around is not None:
                self.context.around.refuse()  # failures are not stored, nor what is made of their stand-ins
            self.planner.record(number, digest_or_none(self.context, verdict.value))
            self.values.made(number, verdict.value, None)
            self.feeds.offer(number, verdict.value, self.values)
            return [m.Ended(number, _state(outcome), has_value=True, keeps_slot=keeps_slot)]
        if any(self.graph.nodes[dependent]._fl_policy.always for dependent in self.scheduler.dependents(number)):
            self.values.made(number, failed_value(error, node), None)
        self.errors[node] = error
        if verdict.word == "stop" or isinstance(error, (SystemExit, GeneratorExit)):
            self.context.stop.request("error")
        return [m.Ended(number, _state(outcome), has_value=False, keeps_slot=keeps_slot)]

    def _forget(self, number: NodeId) -> None:
        self.ledger.release(number)
        self.misses.pop(number, None)
        self.attempts.over(number)


def _state(outcome: Outcome) -> NodeState:
    return "timed_out" if outcome.limit else "failed"
