"""Decide what happens next: facts in, commands out.

Rules:
1. Everything that changes a node's state lives in this file, and goes through the table in `states`.
2. Nothing here reads a clock, a store or a node: the scheduler can be run, fuzzed and replayed with integers alone.

Theory of operation: each node counts what it still waits for. A node at zero is *ready*: the engine decides it (hit or
miss); a miss enters the queue and starts when a slot is free. An end is final unless the value is lost later: then the
node runs again, and everybody who has not started yet waits for it and is decided again, since the value may differ.
Counters and a heap make the whole run O(edges + nodes log nodes).

Invariant: a node starts only when each of its inputs has ended, with a value unless the node runs `always`, and none of
them was made again since the node was decided.
"""

from collections.abc import Iterable, Mapping, Sequence

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId
from flowlib.scheduling.limits import SLOT, ReadyQueue
from flowlib.scheduling.messages import (
    Assemble,
    Blocked,
    Cancel,
    Command,
    Decide,
    Deferred,
    Done,
    Drop,
    Ended,
    Expanded,
    Fact,
    Grown,
    Hit,
    Lost,
    Missed,
    Paced,
    Skip,
    Start,
    StartQuick,
    Stopping,
    Unblocked,
    ValueLost,
)
from flowlib.scheduling.states import FINAL_STATES, VALUE_STATES, illegal, next_state
from flowlib.scheduling.table import NodeTable


class Scheduler:
    """The state of one run.

    Args:
        slots: How many jobs may run at once.
        pools: Slots by pool name.
        decides: Whether there is anything to decide; without a store every node is a miss, and nobody is asked.
    """

    def __init__(self, slots: int, pools: Mapping[str, int] | None = None, *, decides: bool = True) -> None:
        self._decides = decides
        self._table = NodeTable()
        self._queue = ReadyQueue(slots, pools or {}, self._units_of)
        self._per_slot: dict[str, int] = {}
        self._waiters: dict[NodeId, list[tuple[NodeId, bool]]] = {}
        """Nodes that wait for another to end for a reason other than a first end of an input, and whether they need
        its value: same key, children, an input that is made again."""
        self._children: dict[NodeId, tuple[NodeId, ...]] = {}
        """What expanded nodes returned, until they end."""
        self._undecided: set[NodeId] = set()
        self._leasing: set[NodeId] = set()
        self._must_run: set[NodeId] = set()
        """Nodes whose value was lost: whatever is stored for them, they run."""
        self._stale: set[NodeId] = set()
        """Nodes with an input that was lost after they may have been decided."""
        self._n_open = 0
        self._stopping = False
        self._handlers = {
            Grown: self._grown,
            Paced: self._paced,
            Hit: self._hit,
            Missed: self._missed,
            Deferred: self._deferred,
            Blocked: self._blocked,
            Unblocked: self._unblocked,
            Done: self._done,
            Ended: self._ended,
            Expanded: self._expanded,
            Lost: self._lost,
            ValueLost: self._value_lost,
            Stopping: self._stop,
        }
        self._ended_now: list[NodeId] = []
        self._unwanted: list[NodeId] = []
        self._decide: list[NodeId] = []
        self._ready_now: list[NodeId] = []
        self._commands: list[Command] = []

    @property
    def states(self) -> list[NodeState]:
        """The state of each node, by id; for reading."""
        return self._table.states

    @property
    def is_finished(self) -> bool:
        """Whether every node has reached a final state."""
        return self._n_open == 0

    def has_value(self, node: NodeId) -> bool:
        """Whether a node has ended with a value, a kept failure included."""
        return bool(self._table.has_value[node])

    def consumers_left(self, node: NodeId) -> int:
        """Return how many nodes and targets may still ask for a node's value."""
        return self._table.n_consumers[node]

    def add_pool(self, name: str, slots: int) -> None:
        """Make a pool known before nodes that name it are added."""
        self._queue.add_pool(name, slots)

    def handle(self, facts: Iterable[Fact]) -> list[Command]:
        """Take a batch of facts and return what to do now.

        Raises:
            InternalError: A fact is illegal in the node's state; nothing has been changed by it.
        """
        for fact in facts:
            self._handlers[type(fact)](fact)  # type: ignore[operator]
            if self._ended_now:
                self._settle()
        if self._ready_now:
            self._queue_all(self._ready_now)
            self._ready_now.clear()
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
        if not all(self._queue.knows_pool(pool) for pool in {traits.pool for traits in fact.traits}):
            raise InternalError("A node names a pool that the scheduler does not know.", {}, "Please report it.")
        new, has_told, first = table.add(fact), table.has_told, len(table.states) - len(fact.dependencies)
        self._n_open += len(new)
        for number in new:
            node, needed = NodeId(number), table.dependencies[number]
            lacking: NodeId | None = None
            if needed and needed[0] >= first and min(needed) >= first:  # all as new as itself: the common case
                table.n_missing[node] = len(needed)
            else:
                for dependency in needed:
                    if not has_told[dependency]:
                        table.n_missing[node] += 1
                    elif table.states[dependency] not in FINAL_STATES:  # it is made again
                        self._waiters.setdefault(dependency, []).append((node, True))
                        table.n_missing[node] += 1
                    elif not table.has_value[dependency] and not table.traits[node].always:
                        lacking = dependency
            if lacking is not None:
                self._skip(node, lacking)
            elif self._is_stopped(node):
                self._cancel(node)
            elif table.n_missing[node] == 0:
                self._inputs_there(node)

    def _paced(self, fact: Paced) -> None:
        self._per_slot[fact.task] = min(max(1, fact.per_slot), SLOT)

    def _hit(self, fact: Hit) -> None:
        for node in fact.nodes:
            self._check_decision(node, "hit")
            self._end(node, "hit", has_value=True)

    def _missed(self, fact: Missed) -> None:
        for node in fact.nodes:
            self._check_decision(node, "missed")
        self._ready_now += fact.nodes

    def _queue_all(self, nodes: Iterable[NodeId]) -> None:
        """Let ready nodes wait for slots."""
        table, ranks = self._table, []
        for node in nodes:
            if self._stopping and not table.traits[node].always:
                if table.states[node] == "ready":
                    self._cancel(node)
            elif table.traits[node].pool is not None:
                self._queue.push(table.rank(node), table.traits[node].pool)
            else:
                ranks.append(table.rank(node))
        self._queue.push_many(ranks)
        if self._ended_now:
            self._settle()

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
        states, has_value, is_dropped = self._table.states, self._table.has_value, self._table.is_dropped
        for node in fact.nodes:
            if self._state(node) != "running":
                raise illegal(node, states[node], "done")
        release = self._queue.release
        for node in fact.nodes:
            states[node], has_value[node], is_dropped[node] = "done", True, False
            release(node)
        self._n_open -= len(fact.nodes)
        self._must_run.difference_update(fact.nodes)
        self._ended_now += fact.nodes

    def _ended(self, fact: Ended) -> None:
        if fact.state != "failed" and fact.has_value != (fact.state in VALUE_STATES):
            raise illegal(fact.node, self._state(fact.node), fact)
        self._end(fact.node, fact.state, has_value=fact.has_value)
        self._queue.release(fact.node)

    def _expanded(self, fact: Expanded) -> None:
        node, children = fact.node, fact.waits_for
        if node in children or not all(0 <= child < len(self._table.states) for child in children):
            raise illegal(node, self._state(node), fact)
        self._move(node, "expanded")
        self._queue.release(node)
        for child in children:
            self._table.n_consumers[child] += 1
        self._forget(self._children.get(node, ()))
        self._children[node] = children
        self._wait_for(node, children, needs_value=False)

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

    # ---- consequences

    def _state(self, node: NodeId) -> NodeState:
        if not 0 <= node < len(self._table.states):
            raise illegal(node, "unknown", "a fact about it")
        return self._table.states[node]

    def _move(self, node: NodeId, cause: str) -> None:
        states = self._table.states
        states[node] = next_state(states[node] if 0 <= node < len(states) else "unknown", cause, node)

    def _is_stopped(self, node: NodeId) -> bool:
        return self._stopping and not self._table.traits[node].always

    def _check_decision(self, node: NodeId, cause: str) -> None:
        """Take note that a node has been decided; one that nobody asked about cannot be."""
        if node not in self._undecided:
            raise illegal(node, self._state(node), cause)
        self._undecided.discard(node)

    def _end(self, node: NodeId, cause: str, *, has_value: bool) -> None:
        self._move(node, cause)
        self._n_open -= 1
        self._table.has_value[node] = has_value
        self._table.is_dropped[node] = False
        self._must_run.discard(node)
        self._ended_now.append(node)

    def _settle(self) -> None:
        """Tell the neighbours of every node that has just ended; skipped nodes end in turn. No recursion."""
        table = self._table
        for node in self._ended_now:  # it grows meanwhile
            self._forget(table.dependencies[node])
            if self._children:
                self._forget(self._children.pop(node, ()))
            if table.n_consumers[node] == 0:
                self._unwanted.append(node)
            if self._waiters:
                for waiter, needs_value in self._waiters.pop(node, ()):
                    self._tell((waiter,), node, needs_value=needs_value)
            if not table.has_told[node]:
                table.has_told[node] = True
                self._tell(table.dependents[node], node, needs_value=True)
        self._ended_now.clear()

    def _tell(self, waiters: Sequence[NodeId], ended: NodeId, *, needs_value: bool) -> None:
        """Tell nodes that one of those they wait for has ended. The inner loop of every run: once for each edge."""
        table = self._table
        states, n_missing = table.states, table.n_missing
        will_do = not needs_value or table.has_value[ended]
        for waiter in waiters:
            if states[waiter] != "waiting":
                continue
            if will_do or table.traits[waiter].always:
                n_missing[waiter] -= 1
                if not n_missing[waiter]:
                    self._inputs_there(waiter)
            else:
                self._skip(waiter, ended)

    def _inputs_there(self, node: NodeId) -> None:
        if node in self._children:
            self._move(node, "children-ended")
            self._queue.push(self._table.rank(node), self._table.traits[node].pool)
            return
        self._move(node, "inputs-there")
        if not self._decides:
            self._ready_now.append(node)
        elif node in self._must_run:
            self._to_queue(node)
        else:
            self._undecided.add(node)
            self._decide.append(node)

    def _to_queue(self, node: NodeId) -> None:
        if self._is_stopped(node):
            self._cancel(node)
            return
        self._move(node, "missed")
        self._queue.push(self._table.rank(node), self._table.traits[node].pool)

    def _skip(self, node: NodeId, because: NodeId) -> None:
        self._end(node, "dependency-ended-without-value", has_value=False)
        self._commands.append(Skip(node, because))

    def _cancel(self, node: NodeId) -> None:
        self._undecided.discard(node)
        self._leasing.discard(node)
        self._end(node, "stopping", has_value=False)
        self._commands.append(Cancel(node))

    def _forget(self, nodes: tuple[NodeId, ...]) -> None:
        """Count one consumer less for each of `nodes`."""
        n_consumers = self._table.n_consumers
        for node in nodes:
            n_consumers[node] -= 1
            if not n_consumers[node]:
                self._unwanted.append(node)

    def _drop_unwanted(self) -> None:
        """Drop each value once; a later fact of the same batch may have found it a new consumer."""
        table = self._table
        dropped = []
        for node in self._unwanted:
            if table.n_consumers[node] == 0 and table.has_value[node] and not table.is_dropped[node]:
                table.is_dropped[node] = True
                dropped.append(node)
        if dropped:
            self._commands.append(Drop(tuple(dropped)))
        self._unwanted.clear()

    # ---- values that were lost

    def _make_again(self, node: NodeId) -> None:
        """Make a node with a lost value run again; a node that is already on its way is left alone."""
        table = self._table
        if not table.has_value[node]:
            return
        self._move(node, "value-lost")
        table.has_value[node] = False
        self._n_open += 1
        self._must_run.add(node)
        for dependency in table.dependencies[node]:
            table.n_consumers[dependency] += 1
        not_started = [d for d in table.dependents[node] if table.states[d] in ("waiting", "ready")]
        self._stale.update(d for d in not_started if d not in self._children)
        self._wait_for_inputs(node)

    def _wait_for_inputs(self, node: NodeId) -> None:
        """Make a waiting node wait for those of its inputs that are being made again."""
        table = self._table
        self._stale.discard(node)
        dependencies = table.dependencies[node]
        if not table.traits[node].always:
            for dependency in dependencies:
                if table.states[dependency] in FINAL_STATES and not table.has_value[dependency]:
                    self._skip(node, dependency)
                    return
        self._wait_for(node, dependencies, needs_value=True)

    def _wait_for(self, node: NodeId, others: tuple[NodeId, ...], *, needs_value: bool) -> None:
        open_ones = [other for other in others if self._table.states[other] not in FINAL_STATES]
        for other in open_ones:
            self._waiters.setdefault(other, []).append((node, needs_value))
        self._table.n_missing[node] += len(open_ones)
        if not open_ones:
            self._inputs_there(node)

    # ---- slots

    def _units_of(self, node: NodeId) -> int:
        """Return the share of a slot that a node takes; what is put together from children is worth a whole one."""
        per_slot = self._per_slot.get(self._table.traits[node].task, 1)
        return SLOT if per_slot == 1 or node in self._children else SLOT // per_slot

    def _start_what_fits(self) -> None:
        quick: list[NodeId] = []
        units_left = 0
        states, must_look = self._table.states, bool(self._stale or self._children or self._stopping)
        while (node := self._queue.take()) is not None:
            if (must_look or states[node] != "ready") and not self._may_start(node):
                continue
            states[node] = "running"
            units = self._queue.units_held(node)
            if units == SLOT:
                self._commands.append(Assemble(node) if node in self._children else Start(node))
                continue
            if units > units_left:
                self._start_quick(quick)
                quick, units_left = [], SLOT
            units_left -= units
            quick.append(node)
        self._start_quick(quick)

    def _start_quick(self, nodes: list[NodeId]) -> None:
        if nodes:
            self._commands.append(StartQuick(tuple(nodes)))

    def _may_start(self, node: NodeId) -> bool:
        """Whether a node that was queued may still start; if not, its slot is free again and it is where it belongs."""
        if self._table.states[node] != "ready":  # the run was stopped meanwhile
            self._queue.release(node)
            return False
        if not self._must_wait_again(node):
            return True
        self._queue.release(node)
        self._move(node, "input-lost")
        if node in self._children:
            self._wait_for(node, self._children[node], needs_value=False)
        else:
            self._wait_for_inputs(node)
        self._settle()
        return False

    def _must_wait_again(self, node: NodeId) -> bool:
        """Whether something that a queued node needs was lost while it was queued."""
        if node in self._children:
            return any(self._table.states[child] not in FINAL_STATES for child in self._children[node])
        return node in self._stale
