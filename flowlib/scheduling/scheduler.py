"""Decide what happens next: facts in, commands out.

Rules:
1. Everything that changes a node's state lives in this file, and goes through the table in `states`.
2. Nothing here reads a clock, a store or a node: the scheduler can be run, fuzzed and replayed with integers alone.

Theory of operation: each node counts the inputs it still waits for. A node at zero is *ready*: the engine decides it
(hit or miss); a miss enters the heap and starts when a slot is free. An end is final unless the value is lost later.
Counters and a heap make the whole run O(edges + nodes log nodes).
"""

import heapq
from collections.abc import Iterable, Mapping

from flowlib.events import NodeState
from flowlib.ids import NodeId
from flowlib.scheduling.messages import (
    Assemble,
    Blocked,
    Cancel,
    Command,
    Decide,
    Deferred,
    Drop,
    Ended,
    Expanded,
    Fact,
    Grown,
    Hit,
    Lost,
    Missed,
    NodePlan,
    Skip,
    Start,
    Stopping,
    Unblocked,
    ValueLost,
)
from flowlib.scheduling.priority import Rank, rank, remaining_paths
from flowlib.scheduling.states import FINAL_STATES, VALUE_STATES, next_state


class Scheduler:
    """The state of one run.

    Args:
        slots: How many jobs may run at once.
        pools: Slots by pool name.
    """

    def __init__(self, slots: int, pools: Mapping[str, int] | None = None) -> None:
        self.states: list[NodeState] = []
        self._plans: list[NodePlan] = []
        self._remaining: list[float] = []
        self._depths: list[int] = []
        self._dependents: list[list[NodeId]] = []
        self._n_missing: list[int] = []
        self._n_consumers: list[int] = []
        self._has_value: list[bool] = []
        self._settled: list[bool] = []
        """Whether the dependents have been told of a node's first end; a second end, after a rerun, tells only waiters."""
        self._waiters: dict[NodeId, list[NodeId]] = {}
        """Nodes that wait for another to end for a reason other than an edge: same key, children, lost inputs."""
        self._children: dict[NodeId, tuple[NodeId, ...]] = {}
        self._to_assemble: set[NodeId] = set()
        self._to_rerun: set[NodeId] = set()
        self._heap: list[Rank] = []
        self._parked: dict[str, list[Rank]] = {}
        """Ready nodes whose pool is full."""
        self._free_slots = slots
        self._free_in_pool = dict(pools or {})
        self._n_open = 0
        self._stopping = False
        self._handlers = {
            Grown: self._grown,
            Hit: self._hit,
            Missed: self._missed,
            Deferred: self._deferred,
            Blocked: self._blocked,
            Unblocked: self._unblocked,
            Ended: self._ended,
            Expanded: self._expanded,
            Lost: self._lost,
            ValueLost: self._value_lost,
            Stopping: self._stop,
        }
        self._ended_now: list[NodeId] = []
        self._decide: list[NodeId] = []
        self._commands: list[Command] = []

    @property
    def is_finished(self) -> bool:
        """Whether every node has reached a final state."""
        return self._n_open == 0

    def consumers_left(self, node: NodeId) -> int:
        """Return how many nodes and targets may still ask for a node's value."""
        return self._n_consumers[node]

    def add_pool(self, name: str, slots: int) -> None:
        """Make a pool known before nodes that name it are added."""
        self._free_in_pool.setdefault(name, slots)

    def handle(self, facts: Iterable[Fact]) -> list[Command]:
        """Take a batch of facts and return what to do now.

        Raises:
            InternalError: A fact is illegal in the node's state; nothing has been changed by it.
        """
        for fact in facts:
            self._handlers[type(fact)](fact)  # type: ignore[operator]
            self._settle()
        self._start_what_fits()
        if self._decide:
            self._commands.append(Decide(tuple(self._decide)))
            self._decide = []
        commands, self._commands = self._commands, []
        return commands

    # ---- facts

    def _grown(self, fact: Grown) -> None:
        first = len(self.states)
        for offset, plan in enumerate(fact.plans):
            self._add(NodeId(first + offset), plan)
        self._remaining[first:] = [0.0] * len(fact.plans)
        self._remaining = self._extend_remaining(first, fact.plans)
        for target in fact.targets:
            self._n_consumers[target] += 1
        for offset in range(len(fact.plans)):
            node = NodeId(first + offset)
            if self.states[node] != "waiting":
                continue
            if self._stopping and not self._plans[node].always:
                self._cancel(node)
            elif self._n_missing[node] == 0:
                self._inputs_there(node)

    def _extend_remaining(self, first: int, plans: tuple[NodePlan, ...]) -> list[float]:
        """Compute the critical path of new nodes only: older nodes have mostly started by the time a run grows."""
        if first == 0:
            return remaining_paths(plans)
        local = [
            NodePlan(
                dependencies=tuple([NodeId(d - first) for d in plan.dependencies if d >= first]), weight_s=plan.weight_s
            )
            for plan in plans
        ]
        return self._remaining[:first] + remaining_paths(local)

    def _add(self, node: NodeId, plan: NodePlan) -> None:
        self.states.append("waiting")
        self._plans.append(plan)
        self._dependents.append([])
        self._n_consumers.append(0)
        self._has_value.append(False)
        self._settled.append(False)
        self._n_open += 1
        n_missing = 0
        depth = 0
        lacking: NodeId | None = None
        for dependency in plan.dependencies:
            depth = max(depth, self._depths[dependency] + 1)
            self._dependents[dependency].append(node)
            self._n_consumers[dependency] += 1
            if self.states[dependency] not in FINAL_STATES:
                n_missing += 1
            elif not self._has_value[dependency] and not plan.always:
                lacking = dependency
        self._depths.append(depth)
        self._n_missing.append(n_missing)
        if lacking is not None:
            self._skip(node, lacking)

    def _hit(self, fact: Hit) -> None:
        self._end(fact.node, "hit", has_value=True)

    def _missed(self, fact: Missed) -> None:
        node = fact.node
        if self._stopping and not self._plans[node].always:
            self._cancel(node)
            return
        self.states[node] = next_state(self.states[node], "missed", node)
        heapq.heappush(self._heap, rank(node, self._plans[node], self._remaining[node], self._depths[node]))

    def _deferred(self, fact: Deferred) -> None:
        self.states[fact.node] = next_state(self.states[fact.node], "deferred", fact.node)
        self._wait_for(fact.node, (fact.until,))

    def _blocked(self, fact: Blocked) -> None:
        self.states[fact.node] = next_state(self.states[fact.node], "blocked", fact.node)
        self._release_slot(fact.node)
        self._n_missing[fact.node] += 1

    def _unblocked(self, fact: Unblocked) -> None:
        if self.states[fact.node] == "waiting":
            self._one_less(fact.node)

    def _ended(self, fact: Ended) -> None:
        self._release_slot(fact.node)
        self._end(fact.node, fact.state, has_value=fact.has_value)

    def _expanded(self, fact: Expanded) -> None:
        node = fact.node
        self.states[node] = next_state(self.states[node], "expanded", node)
        self._release_slot(node)
        self._to_assemble.add(node)
        self._children[node] = fact.waits_for
        for child in fact.waits_for:
            self._n_consumers[child] += 1
        self._wait_for(node, fact.waits_for)

    def _lost(self, fact: Lost) -> None:
        node, producer = fact.node, fact.producer
        self.states[node] = next_state(self.states[node], "input-lost", node)
        self._release_slot(node)
        self._to_rerun.add(node)
        self._reopen(producer)
        if self.states[producer] in FINAL_STATES:
            self._skip(node, producer)
        else:
            self._wait_for(node, (producer,))

    def _value_lost(self, fact: ValueLost) -> None:
        self._reopen(fact.node)

    def _stop(self, fact: Stopping) -> None:
        self._stopping = True
        for number, state in enumerate(self.states):
            node = NodeId(number)
            if state in ("waiting", "ready") and not self._plans[node].always and node not in self._to_assemble:
                self._cancel(node)

    # ---- consequences

    def _end(self, node: NodeId, cause: str, *, has_value: bool) -> None:
        self.states[node] = next_state(self.states[node], cause, node)
        self._n_open -= 1
        self._has_value[node] = has_value
        self._ended_now.append(node)

    def _settle(self) -> None:
        """Tell the neighbours of every node that has just ended; skipped nodes end in turn. No recursion."""
        while self._ended_now:
            node = self._ended_now.pop()
            self._forget(self._plans[node].dependencies)
            self._forget(self._children.pop(node, ()))
            if self._n_consumers[node] == 0 and self._has_value[node]:
                self._commands.append(Drop(node))
            self._tell_waiters(node)
            if not self._settled[node]:
                self._settled[node] = True
                self._tell_dependents(node)

    def _tell_waiters(self, node: NodeId) -> None:
        for waiter in self._waiters.pop(node, ()):
            if self.states[waiter] != "waiting":
                continue
            if waiter in self._to_rerun and not self._has_value[node]:
                self._skip(waiter, node)
            else:
                self._one_less(waiter)

    def _tell_dependents(self, node: NodeId) -> None:
        for dependent in self._dependents[node]:
            if self.states[dependent] != "waiting":
                continue
            if self._has_value[node] or self._plans[dependent].always:
                self._one_less(dependent)
            else:
                self._skip(dependent, node)

    def _skip(self, node: NodeId, because: NodeId) -> None:
        self._to_rerun.discard(node)
        self._end(node, "dependency-ended-without-value", has_value=False)
        self._commands.append(Skip(node, because))

    def _cancel(self, node: NodeId) -> None:
        self._end(node, "stopping", has_value=False)
        self._commands.append(Cancel(node))

    def _forget(self, nodes: tuple[NodeId, ...]) -> None:
        """Count one consumer less for each of `nodes`."""
        for node in nodes:
            self._n_consumers[node] -= 1
            if self._n_consumers[node] == 0 and self._has_value[node]:
                self._commands.append(Drop(node))

    def _reopen(self, node: NodeId) -> None:
        """Make a node with a lost value run again; a node that is already on its way is left alone."""
        if self.states[node] not in VALUE_STATES:
            return
        self.states[node] = next_state(self.states[node], "value-lost", node)
        self._has_value[node] = False
        self._n_open += 1
        self._to_rerun.add(node)
        for dependency in self._plans[node].dependencies:
            self._n_consumers[dependency] += 1
        self._inputs_there(node)

    def _wait_for(self, node: NodeId, others: tuple[NodeId, ...]) -> None:
        open_ones = [other for other in others if self.states[other] not in FINAL_STATES]
        for other in open_ones:
            self._waiters.setdefault(other, []).append(node)
        self._n_missing[node] += len(open_ones)
        if not open_ones:
            self._inputs_there(node)

    def _one_less(self, node: NodeId) -> None:
        self._n_missing[node] -= 1
        if self._n_missing[node] == 0:
            self._inputs_there(node)

    def _inputs_there(self, node: NodeId) -> None:
        if node in self._to_assemble:
            self._to_assemble.discard(node)
            self.states[node] = next_state(self.states[node], "children-ended", node)
            self._take_slot(node)  # given back by the `Ended` that answers `Assemble`
            self._commands.append(Assemble(node))
            return
        self.states[node] = next_state(self.states[node], "inputs-there", node)
        if node in self._to_rerun:
            self._to_rerun.discard(node)
            self._missed(Missed(node))
        else:
            self._decide.append(node)

    # ---- slots

    def _start_what_fits(self) -> None:
        while self._free_slots > 0 and self._heap:
            entry = heapq.heappop(self._heap)
            node = NodeId(entry[3])
            if self.states[node] != "ready":
                continue
            pool = self._plans[node].pool
            if pool is not None and self._free_in_pool.get(pool, 1) <= 0:
                self._parked.setdefault(pool, []).append(entry)
                continue
            self.states[node] = next_state("ready", "slot-free", node)
            self._take_slot(node)
            self._commands.append(Start(node))

    def _take_slot(self, node: NodeId) -> None:
        self._free_slots -= 1
        pool = self._plans[node].pool
        if pool is not None:
            self._free_in_pool[pool] = self._free_in_pool.get(pool, 1) - 1

    def _release_slot(self, node: NodeId) -> None:
        self._free_slots += 1
        pool = self._plans[node].pool
        if pool is not None:
            self._free_in_pool[pool] += 1
            for entry in self._parked.pop(pool, ()):
                heapq.heappush(self._heap, entry)
