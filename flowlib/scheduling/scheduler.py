"""Decide what happens next: facts in, commands out.

Rules:
1. Everything that changes a node's state lives here and in `consequences`, and goes through the table in `states`.
2. Nothing here reads a clock, a store or a node: the scheduler can be run, fuzzed and replayed with integers alone.

Theory of operation: each node counts what it still waits for. A node at zero is *ready*: the engine decides it (hit or
miss); a miss enters the queue and starts when a slot is free. An end is final unless the value is lost later: then the
node runs again, and everybody who has not started yet waits for it and is decided again, since the value may differ.
Counters and a heap make the whole run O(edges + nodes log nodes).

Invariant: a node starts only when each of its inputs has ended, with a value unless the node runs `always`, and none of
them was made again since the node was decided.
"""

from collections.abc import Iterable, Sequence

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId, ids_from
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.consequences import Consequences
from flowlib.scheduling.limits import SLOT
from flowlib.scheduling.messages import (
    Blocked,
    Command,
    Decide,
    Deferred,
    Done,
    Due,
    Ended,
    Expanded,
    Fact,
    Found,
    Freed,
    Grown,
    Hit,
    Lost,
    Missed,
    Paced,
    Resized,
    Retried,
    Returned,
    SlotFreed,
    Stopping,
    Unblocked,
    ValueLost,
)
from flowlib.scheduling.states import FINAL_STATES, VALUE_STATES, illegal


class Scheduler(Consequences):
    """The state of one run: what it is told and what it asks for."""

    def __init__(self, slots: int, budgets: Budgets | None = None, *, decides: bool = True) -> None:
        super().__init__(slots, budgets, decides=decides)
        self._handlers = {
            Grown: self._grown,
            Paced: self._paced,
            Resized: self._resized,
            Hit: self._hit,
            Missed: self._missed,
            Deferred: self._deferred,
            Blocked: self._blocked,
            Unblocked: self._unblocked,
            Done: self._done,
            Found: self._found,
            Ended: self._ended,
            Retried: self._retried,
            Due: self._due,
            SlotFreed: self._slot_freed,
            Freed: self._freed,
            Expanded: self._expanded,
            Returned: self._returned,
            Lost: self._lost,
            ValueLost: self._value_lost,
            Stopping: self._stop,
        }

    @property
    def states(self) -> list[NodeState]:
        """The state of each node, by id; for reading."""
        return self._table.states

    @property
    def is_finished(self) -> bool:
        """Whether every node has reached a final state."""
        return self._n_open == 0

    def may_end(self, node: NodeId) -> bool:
        """Whether a node may be ended from outside: it runs, is queued, or waits for a lease or its next attempt."""
        state = self._table.states[node]
        is_waiting = node in self._delayed or node in self._leasing
        return state == "running" or is_waiting or (state == "ready" and node not in self._undecided)

    def root_of(self, node: NodeId) -> NodeId:
        """Return the node that a skip began with: the first that ended without a value."""
        return self._root_of.get(node, node)

    def has_value(self, node: NodeId) -> bool:
        """Whether a node has ended with a value, a kept failure included."""
        return bool(self._table.has_value[node])

    def consumers_left(self, node: NodeId) -> int:
        """Return how many nodes and targets may still ask for a node's value."""
        return self._table.n_consumers[node]

    def dependents(self, node: NodeId) -> Sequence[NodeId]:
        """Return the nodes that need a node, each once."""
        return self._table.dependents[node]

    @property
    def has_parked(self) -> bool:
        """Whether any node waits for a budget that has too little left."""
        return self._queue.has_parked

    def give_back_early(self, nodes: Iterable[NodeId]) -> None:
        """Give back what jobs held of budgets that have ended, although the facts about them cannot be handled yet."""
        self._queue.give_back_early(nodes)

    def handle(self, facts: Iterable[Fact]) -> list[Command]:
        """Take a batch of facts and return what to do now.

        Raises:
            InternalError: A fact is illegal in the node's state; nothing has been changed by it.
        """
        for fact in facts:
            self._handlers[type(fact)](fact)  # type: ignore[operator]
            if self._ended_now:
                self._settle()
        self._queue_all()
        self._start_what_fits()
        while self._ready_now:  # what could not start after all waits for others, and may not have to
            self._queue_all()
            self._start_what_fits()
        if self._unwanted:
            self._drop_unwanted()
        if self._decide:
            asked = tuple([node for node in self._decide if node in self._undecided])
            if asked:
                self._commands.append(Decide(asked))
            self._decide.clear()
        commands, self._commands = self._commands, []
        return commands

    # ---- facts

    def _grown(self, fact: Grown) -> None:
        table = self._table
        kinds = fact.kinds()
        for wants in {traits.wants for traits in kinds}:
            for name, amount in wants:
                if amount > (self._budgets.size(name) or 0):
                    raise InternalError("A node needs more than there is.", {"of": name}, "Please report it.")
        new = table.add(fact)
        table.has_special = table.has_special or any(traits.is_special for traits in kinds)
        first = new.start
        self._n_open += len(new)
        if first == 0 and not self._stopping:
            self._begin(fact.dependencies)
            return
        for number in new:
            node, needed = NodeId(number), table.dependencies[number]
            if needed and needed[0] >= first and min(needed) >= first:  # all as new as itself: the common case
                table.n_missing[node] = len(needed)
                if self._is_stopped(node):
                    self._cancel(node)
            else:
                self._await_inputs(node)

    def _begin(self, dependencies: Sequence[tuple[NodeId, ...]]) -> None:
        """Take the first nodes: nothing has happened to any of them."""
        states = self._table.states
        self._table.n_missing[:] = map(len, dependencies)
        ready = [node for node, needed in zip(ids_from(0), dependencies, strict=False) if not needed]
        for node in ready:
            states[node] = "ready"
        if self._decides:
            self._undecided.update(ready)
            self._decide += ready
        else:
            self._ready_now += ready

    def _paced(self, fact: Paced) -> None:
        self._set_pace(fact.task, min(max(1, fact.per_slot), SLOT), alone=fact.alone, leads=fact.leads)

    def _resized(self, fact: Resized) -> None:
        self._set_slots(max(1, fact.slots))

    def _hit(self, fact: Hit) -> None:
        """Take note of many stored results at once: what `_check_decision` and `_end` do for one."""
        states, undecided = self._table.states, self._undecided
        for node in fact.nodes:
            if node not in undecided or states[node] != "ready":
                raise illegal(node, self._state(node), "hit")
        undecided.difference_update(fact.nodes)
        self._have_ended(fact.nodes, "cached")

    def _missed(self, fact: Missed) -> None:
        for node in fact.nodes:
            self._check_decision(node, "missed")
        self._ready_now += fact.nodes

    def _deferred(self, fact: Deferred) -> None:
        node, until = fact.node, fact.until
        if node == until:
            raise illegal(node, self._state(node), fact)
        is_over = self._state(until) in FINAL_STATES  # then to decide again would only bring the same answer
        self._check_decision(node, "deferred")
        if is_over:
            self._to_queue(node)
            return
        self._move(node, "deferred")
        self._wait_for(node, (until,), needs_value=False)

    def _blocked(self, fact: Blocked) -> None:
        node = fact.node
        self._move(node, "blocked")
        self._queue.release(node)
        if self._is_stopped(node):
            self._cancel(node)
        else:
            self._leasing.add(node)
            self._table.n_missing[node] += 1

    def _unblocked(self, fact: Unblocked) -> None:
        if fact.node not in self._leasing:
            raise illegal(fact.node, self._state(fact.node), fact)
        self._leasing.discard(fact.node)
        self._tell((fact.node,), fact.node, needs_value=False)  # what it waited for was nobody's end but the lease's

    def _done(self, fact: Done) -> None:
        """Take note of many good ends at once: what `_ended` does for one."""
        self._are_over(fact.nodes, "done")

    def _found(self, fact: Found) -> None:
        self._are_over(fact.nodes, "cached")

    def _are_over(self, nodes: Sequence[NodeId], state: NodeState) -> None:
        states = self._table.states
        for node in nodes:
            if not 0 <= node < len(states) or states[node] != "running":
                raise illegal(node, self._state(node), state)
        self._queue.release_many(nodes)
        self._have_ended(nodes, state)

    def _have_ended(self, nodes: Sequence[NodeId], state: NodeState) -> None:
        states, has_value, is_dropped = self._table.states, self._table.has_value, self._table.is_dropped
        for node in nodes:
            states[node], has_value[node], is_dropped[node] = state, True, False
        self._n_open -= len(nodes)
        if self._must_run:
            self._must_run.difference_update(nodes)
        self._ended_now += nodes

    def _ended(self, fact: Ended) -> None:
        if fact.state not in ("failed", "timed_out") and fact.has_value != (fact.state in VALUE_STATES):
            raise illegal(fact.node, self._state(fact.node), fact)
        before = self._state(fact.node)
        self._check_wait(fact.node, before, fact)
        self._end(fact.node, fact.state, has_value=fact.has_value)
        self._let_go(fact.node, before, keeps_slot=fact.keeps_slot)
        if fact.because is not None:
            self._root_of[fact.node] = self.root_of(fact.because)

    def _check_wait(self, node: NodeId, state: NodeState, fact: Fact) -> None:
        """Refuse the end of a node that waits for others, who may not have ended, or that is being decided."""
        if (state == "waiting" and node not in self._delayed and node not in self._leasing) or node in self._undecided:
            raise illegal(node, state, fact)

    def _let_go(self, node: NodeId, before: NodeState, *, keeps_slot: bool) -> None:
        """Take the slot back from a node that ran, unless its job keeps it."""
        if before != "running":
            self._forget_wait(node)
            self._queue.wake_all()  # it may have been in the way of others that want the same
        elif keeps_slot:
            self._queue.keep(node)
        else:
            self._queue.release(node)

    def _retried(self, fact: Retried) -> None:
        self._move(fact.node, "attempt-failed")
        self._let_go(fact.node, "running", keeps_slot=fact.keeps_slot)
        self._delayed.add(fact.node)

    def _due(self, fact: Due) -> None:
        node = fact.node
        if node not in self._delayed:
            raise illegal(node, self._state(node), fact)
        self._delayed.discard(node)
        if self._is_stopped(node):
            self._cancel(node)
        else:
            self._wait_for_inputs(node)

    def _slot_freed(self, fact: SlotFreed) -> None:
        if not self._queue.is_kept(fact.node):
            raise illegal(fact.node, self._state(fact.node), fact)
        self._queue.return_kept(fact.node)

    def _freed(self, fact: Freed) -> None:
        self._queue.wake_all()

    def _expanded(self, fact: Expanded) -> None:
        node, children = fact.node, fact.waits_for
        before = self._state(node)
        if node in children or not all(0 <= child < len(self._table.states) for child in children):
            raise illegal(node, before, fact)
        self._check_wait(node, before, fact)
        self._move(node, "expanded")
        self._let_go(node, before, keeps_slot=fact.keeps_slot)
        for child in children:
            self._table.n_consumers[child] += 1
        self._forget(self._children.get(node, ()))
        self._children[node] = children
        self._wait_for(node, children, needs_value=False)

    def _returned(self, fact: Returned) -> None:
        for node in fact.nodes:
            self._move(node, "returned")
            self._queue.release(node)
            self._wait_for_no_one(node)
            self._await_inputs(node)

    def _lost(self, fact: Lost) -> None:
        node, producer = fact.node, fact.producer
        self._state(producer)
        self._move(node, "input-lost")
        self._queue.release(node)
        if self._is_stopped(node):
            self._cancel(node)
            return
        self._make_again(producer)
        if node in self._children:
            self._wait_for(node, (producer,), needs_value=False)
        else:
            self._wait_for_inputs(node)

    def _value_lost(self, fact: ValueLost) -> None:
        self._state(fact.node)
        if not self._table.has_value[fact.node]:
            raise illegal(fact.node, self._state(fact.node), fact)
        self._make_again(fact.node)

    def _stop(self, fact: Stopping) -> None:
        self._stopping = True
        for number, state in enumerate(self._table.states):
            node = NodeId(number)
            if state in ("waiting", "ready") and self._is_stopped(node) and node not in self._children:
                self._cancel(node)
