"""What follows from a change of one node's state for the others: who becomes ready, is skipped, is dropped, starts.

The lower half of the scheduler; `scheduler` has the facts that set it off, and the rules for both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flowlib.events import NodeState
from flowlib.ids import NodeId
from flowlib.scheduling.budgets import Budgets
from flowlib.scheduling.limits import SLOT, ReadyQueue
from flowlib.scheduling.messages import Assemble, Cancel, Command, Drop, Queued, Skip, Spent, Start, StartQuick, Traits
from flowlib.scheduling.states import FINAL_STATES, illegal, next_state
from flowlib.scheduling.stretch import followers, links
from flowlib.scheduling.table import NodeTable


class Consequences:
    """The nodes of a run, and how each waits for others.

    Args:
        slots: How many jobs may run at once.
        budgets: What nodes need beside slots.
        decides: Whether there is anything to decide; without a store every node is a miss, and nobody is asked.
    """

    def __init__(self, slots: int, budgets: Budgets | None = None, *, decides: bool = True) -> None:
        self._decides = decides
        self._table = NodeTable()
        self._budgets = budgets or Budgets()
        self._queue = ReadyQueue(slots, self._budgets, self._table.traits, self._units_of, self._units_of_kind)
        self._slots = slots
        self._share_in: dict[str, int] = {}
        """What share of a piece of work a call of a quick task is, in units; other calls are whole ones."""
        self._units_in: dict[str, int] = {}
        """What share of a slot it takes."""
        self._leading: set[str] = set()
        """Tasks whose calls others may follow in the same piece of work."""
        self._waiters: dict[NodeId, list[tuple[NodeId, bool]]] = {}
        """Nodes that wait for another to end for a reason other than a first end of an input, and whether they need
        its value: same key, children, an input that is made again."""
        self._children: dict[NodeId, tuple[NodeId, ...]] = {}
        """What expanded nodes returned, until they end."""
        self._undecided: set[NodeId] = set()
        self._leasing: set[NodeId] = set()
        self._delayed: set[NodeId] = set()
        """Nodes that wait for the time of their next attempt."""
        self._root_of: dict[NodeId, NodeId] = {}
        """Skipped node -> the node that it all began with."""
        self._must_run: set[NodeId] = set()
        """Nodes whose value was lost: whatever is stored for them, they run."""
        self._stale: set[NodeId] = set()
        """Nodes with an input that was lost after they may have been decided."""
        self._n_open = 0
        self._stopping = False
        self._ended_now: list[NodeId] = []
        self._unwanted: list[NodeId] = []
        self._decide: list[NodeId] = []
        self._ready_now: list[NodeId] = []
        self._commands: list[Command] = []

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
        """Tell the neighbours of every node that has just ended; skipped nodes end in turn. No recursion.

        The inner loop of every run: once for each edge. Those that get a value are told together at the end of a round.
        """
        table = self._table
        while self._ended_now:
            ended, self._ended_now = self._ended_now, []
            told: dict[NodeId, int] = {}
            for node in ended:
                if needed := table.dependencies[node]:
                    self._forget(needed)
                if self._children:
                    self._forget(self._children.pop(node, ()))
                if table.n_consumers[node] == 0:
                    self._unwanted.append(node)
                if self._waiters:
                    for waiter, needs_value in self._waiters.pop(node, ()):
                        self._tell((waiter,), node, needs_value=needs_value)
                if table.has_told[node]:
                    continue
                table.has_told[node] = True
                if table.has_value[node]:
                    for waiter in table.dependents[node]:
                        told[waiter] = told.get(waiter, 0) + 1
                else:
                    self._tell(table.dependents[node], node, needs_value=True)
            self._tell_many(told)

    def _tell_many(self, told: Mapping[NodeId, int]) -> None:
        """Tell nodes how many of those they wait for have ended with a value."""
        states, n_missing = self._table.states, self._table.n_missing
        for waiter, n_ended in told.items():
            if states[waiter] == "waiting":
                n_missing[waiter] -= n_ended
                if not n_missing[waiter]:
                    self._inputs_there(waiter)

    def _tell(self, waiters: Sequence[NodeId], ended: NodeId, *, needs_value: bool) -> None:
        """Tell nodes that one of those they wait for has ended."""
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
            self._push(node)
            return
        self._move(node, "inputs-there")
        if not self._decides:
            self._ready_now.append(node)
        elif node in self._must_run:
            self._to_queue(node)
        else:
            self._undecided.add(node)
            self._decide.append(node)

    def _wait_for_no_one(self, node: NodeId) -> None:
        """Forget that a node was to be told of inputs that are made again: it followed them, and will be told anew."""
        for dependency in self._table.dependencies[node]:
            if dependency in self._waiters:
                told = [waiter for waiter in self._waiters[dependency] if waiter[0] != node]
                self._waiters[dependency] = told

    def _await_inputs(self, node: NodeId) -> None:
        """Count what a waiting node lacks, from what has become of its inputs so far."""
        table = self._table
        without_value: NodeId | None = None
        for dependency in table.dependencies[node]:
            if not table.has_told[dependency]:
                table.n_missing[node] += 1
            elif table.states[dependency] not in FINAL_STATES:  # it is made again
                self._waiters.setdefault(dependency, []).append((node, True))
                table.n_missing[node] += 1
            elif not table.has_value[dependency] and not table.traits[node].always:
                without_value = dependency
        if without_value is not None:
            self._skip(node, without_value)
        elif self._is_stopped(node):
            self._cancel(node)
        elif table.n_missing[node] == 0:
            self._inputs_there(node)

    def _to_queue(self, node: NodeId) -> None:
        if self._is_stopped(node):
            self._cancel(node)
            return
        self._move(node, "missed")
        self._push(node)

    def _push(self, node: NodeId) -> None:
        """Let a ready node wait for a slot."""
        traits = self._table.traits[node]
        self._queue.push(self._table.rank(node))
        if traits.is_timed:
            self._commands.append(Queued(node))

    def _queue_all(self) -> None:
        """Let the nodes that have become ready wait for slots."""
        if not self._ready_now:
            return
        table = self._table
        nodes, self._ready_now = self._ready_now, []
        if self._stopping or table.has_special:
            nodes = self._plain_ones(nodes)
        self._queue.push_many(table.ranks(nodes))
        if self._ended_now:
            self._settle()

    def _plain_ones(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        """Return the nodes that need only a slot; push the others, and cancel, when the run stops, all that need not run."""
        table = self._table
        plain: list[NodeId] = []
        for node in nodes:
            if self._stopping and not table.traits[node].always:
                if table.states[node] == "ready":
                    self._cancel(node)
            elif table.traits[node].is_special:
                self._push(node)
            else:
                plain.append(node)
        return plain

    def _forget_wait(self, node: NodeId) -> None:
        """Let a node wait no longer for a lease or for the time of its next attempt."""
        self._delayed.discard(node)
        if node in self._leasing:
            self._leasing.discard(node)
            self._table.n_missing[node] -= 1

    def _skip(self, node: NodeId, because: NodeId) -> None:
        self._end(node, "dependency-ended-without-value", has_value=False)
        root = self._root_of[node] = self._root_of.get(because, because)
        self._commands.append(Skip(node, root))

    def _cancel(self, node: NodeId) -> None:
        self._undecided.discard(node)
        self._forget_wait(node)
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

    def _set_slots(self, slots: int) -> None:
        for task, units in self._units_in.items():
            if units != self._share_in[task]:  # one takes the slots of all
                self._units_in[task] = self._share_in[task] * slots
        self._slots = slots
        self._queue.resize(slots)

    def _set_pace(self, task: str, per_slot: int, *, alone: bool, leads: bool) -> None:
        share = SLOT // per_slot
        self._share_in[task] = share
        self._units_in[task] = share * self._slots if alone and share < SLOT else share
        (self._leading.add if leads else self._leading.discard)(task)

    def _units_of(self, node: NodeId) -> int:
        """Return the share of a slot that a node takes; what is put together from children is worth a whole one.

        A queued node that was cancelled takes nothing: it is in nobody's way.
        """
        if self._table.states[node] != "ready":
            return 0
        units = self._units_in.get(self._table.traits[node].task, SLOT)
        return SLOT if node in self._children else units

    def _units_of_kind(self, traits: Traits) -> int:
        """Return the share of a slot that each ready node with these traits takes, where none has children."""
        return self._units_in.get(traits.task, SLOT)

    def _share_of(self, node: NodeId) -> int:
        """Return the share of a piece of work that a node is; `SLOT` for one that is a piece of work by itself."""
        traits = self._table.traits[node]
        is_whole = traits.is_special or traits.always or node in self._children
        if is_whole or node in self._stale or node in self._must_run:
            return SLOT
        return self._share_in.get(traits.task, SLOT)

    def _start_what_fits(self) -> None:
        quick: list[NodeId] = []
        room = 0
        states, share_in, traits, children = self._table.states, self._share_in, self._table.traits, self._children
        must_look = bool(self._stale or children or self._stopping)
        for node in self._taken(in_waves=not must_look):
            if (must_look or states[node] != "ready") and not self._may_start(node):
                continue
            states[node] = "running"
            share = share_in.get(traits[node].task, SLOT)
            if share == SLOT or node in children:
                self._commands.append(Assemble(node) if node in children else Start(node))
                continue
            if share > room:
                self._start_quick(quick, room)
                quick, room = [], SLOT
            room -= share
            quick.append(node)
        self._start_quick(quick, room)
        if self._queue.spent:
            self._commands.append(Spent(tuple(self._queue.spent)))
            self._queue.spent.clear()

    def _taken(self, *, in_waves: bool) -> Iterator[NodeId]:
        """Take nodes out of the queue for as long as one fits."""
        if in_waves:
            yield from self._queue.take_wave()
        while (node := self._queue.take()) is not None:
            yield node

    def _start_quick(self, nodes: list[NodeId], room: int) -> None:
        """Start quick nodes as one piece of work; others follow where there is nothing to decide, or one after the other."""
        if not nodes:
            return
        behind: Sequence[NodeId] = ()
        if self._leading and not self._stopping:
            table = self._table
            if not self._decides:
                behind = followers(nodes, table, self._leading, self._share_of, SLOT, room)
            elif len(nodes) == 1 and self._queue.is_alone(nodes[0]):
                behind = [*links(nodes[0], table, self._leading, self._share_of, SLOT, room)]
            for node in behind:
                self._move(node, "followed")
                table.n_missing[node] = 0
                self._queue.hold_nothing(node)
        self._commands.append(StartQuick(tuple(nodes), tuple(behind)))

    def _may_start(self, node: NodeId) -> bool:
        """Whether a node that was queued may still start; if not, its slot is free again and it is where it belongs."""
        if self._table.states[node] != "ready":  # the run was stopped meanwhile
            self._queue.put_back(node)
            return False
        if not self._must_wait_again(node):
            return True
        self._queue.put_back(node)
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
