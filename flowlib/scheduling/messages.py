"""What the scheduler is told (facts) and what it asks for (commands). Plain frozen values; ids only, never nodes.

What happens to thousands of nodes in a row (deciding, starting, ending well, dropping) is told of many at once.
"""

from collections.abc import Collection, Sequence

import attrs

from flowlib.events import NodeState
from flowlib.ids import NodeId
from flowlib.scheduling.budgets import Needs


@attrs.frozen(kw_only=True)
class Traits:
    """What the scheduler needs to know about a node beside its edges; shared by the calls of one task."""

    task: str = ""
    needs: Needs = ()
    """What it takes of budgets while it runs."""
    rates: tuple[str, ...] = ()
    """Budgets of which it uses up one when it starts; time brings that back, not its end."""
    always: bool = False
    """Start even when dependencies ended without a value."""
    priority: float = 0.0
    """Higher starts earlier; given by the user."""
    weight_s: float = 1.0
    """Expected seconds, for the critical path."""
    is_timed: bool = False
    """Whether it is to be told when a node is queued, because waiting counts for its timeout."""
    wants: Needs = attrs.field(init=False)
    """All that has to be there when it starts."""
    is_special: bool = attrs.field(init=False)
    """Whether anything but its rank and a slot decides when it starts."""

    @wants.default
    def _needs_and_rates(self) -> Needs:
        return (*self.needs, *[(name, 1) for name in self.rates])

    @is_special.default
    def _says_more(self) -> bool:
        return bool(self.wants) or self.is_timed


# ---- facts


@attrs.frozen
class Grown:
    """Nodes joined the graph; their ids continue where the last fact ended."""

    dependencies: Sequence[tuple[NodeId, ...]]
    traits: Sequence[Traits]
    """As many as there are new nodes, like `dependencies`."""
    targets: tuple[NodeId, ...] = ()
    """Nodes whose values somebody waits for: they are never dropped."""
    parent: NodeId | None = None
    """The node that returned them: they are ranked as part of the path to its end."""

    def kinds(self) -> Collection[Traits]:
        """Return the different traits: few, because the calls of a task share theirs."""
        return {id(traits): traits for traits in self.traits}.values()


@attrs.frozen
class Paced:
    """Calls of a task are so quick that `per_slot` of them, one after the other, are worth a slot; 1 for others."""

    task: str
    per_slot: int
    alone: bool = False
    """Whether pieces of work of such calls gain nothing beside each other: then one takes the slots of all."""
    leads: bool = False
    """Whether calls that need their values may follow them in the same piece of work."""


@attrs.frozen
class Resized:
    """From now on, so many jobs may run at once: workers of a cluster come and go."""

    slots: int


@attrs.frozen
class Hit:
    """Stored results of the nodes may be reused."""

    nodes: Sequence[NodeId]


@attrs.frozen
class Missed:
    """The nodes have to run."""

    nodes: Sequence[NodeId]


@attrs.frozen
class Deferred:
    """Another node of this run computes the same key; decide again when it has ended. If it has, the node runs."""

    node: NodeId
    until: NodeId


@attrs.frozen
class Blocked:
    """Somebody else holds the lease on the node's key; it gives its slot back."""

    node: NodeId


@attrs.frozen
class Unblocked:
    """The lease is ours now; decide again."""

    node: NodeId


@attrs.frozen
class Done:
    """The nodes' jobs are over and gave values."""

    nodes: Sequence[NodeId]


@attrs.frozen
class Found:
    """The nodes were to follow others in one piece of work, and have stored results."""

    nodes: Sequence[NodeId]


@attrs.frozen
class Ended:
    """The node is over, however it ended. A failure or a timeout that is kept as a value has one, too."""

    node: NodeId
    state: NodeState
    has_value: bool
    keeps_slot: bool = False
    """Whether its job goes on all the same, in a thread that nothing can stop, and with it the use of its slot."""
    because: NodeId | None = None
    """Of a node that is skipped after it was started: the node without a value."""


@attrs.frozen
class Retried:
    """An attempt failed. The node gives its slot back and waits for `Due`."""

    node: NodeId
    keeps_slot: bool = False
    """As for `Ended`."""


@attrs.frozen
class Due:
    """It is time for the node's next attempt. It is decided again: inputs may have been lost, and made otherwise, meanwhile."""

    node: NodeId


@attrs.frozen
class SlotFreed:
    """A job that had kept the slot of its node is over at last."""

    node: NodeId


@attrs.frozen
class Expanded:
    """The node returned other nodes, which are in the graph by now; it waits for `waits_for`.

    So does a node whose place is taken by others, because it failed or took too long.
    """

    node: NodeId
    waits_for: tuple[NodeId, ...]
    keeps_slot: bool = False
    """As for `Ended`."""


@attrs.frozen
class Returned:
    """The nodes were to follow others in one piece of work and have not begun: they wait again for what they need."""

    nodes: Sequence[NodeId]


@attrs.frozen
class Lost:
    """A node, just started or at work, cannot have its input: the producer makes it again.

    Then the node is decided again, since the input may differ. A node whose children were being put together goes on
    with that instead.
    """

    node: NodeId
    producer: NodeId


@attrs.frozen
class Freed:
    """Something that nodes need of budgets may have come back, by time or from other runs."""


@attrs.frozen
class ValueLost:
    """A target's stored value could not be loaded: the node has to make it again."""

    node: NodeId


@attrs.frozen
class Stopping:
    """Start nothing new; let what runs finish."""


Fact = (
    Grown
    | Paced
    | Resized
    | Hit
    | Missed
    | Deferred
    | Blocked
    | Unblocked
    | Done
    | Found
    | Ended
    | Retried
    | Due
    | SlotFreed
    | Freed
    | Expanded
    | Returned
    | Lost
    | ValueLost
    | Stopping
)


# ---- commands


@attrs.frozen
class Decide:
    """The nodes have every input; find out whether stored results can be reused. Answered with the next batch."""

    nodes: tuple[NodeId, ...]


@attrs.frozen
class Start:
    """Run the node's job."""

    node: NodeId


@attrs.frozen
class StartQuick:
    """Run the nodes' jobs one after the other: all are quick, and together they hold one slot.

    What can follow them in the same piece of work waits for nothing but them and those before it in `followers`.
    """

    nodes: tuple[NodeId, ...]
    followers: tuple[NodeId, ...] = ()


@attrs.frozen
class Queued:
    """The node waits for a slot from now on, and how long that takes is limited."""

    node: NodeId


@attrs.frozen
class Spent:
    """Nodes that have just started used up one of each of these rates; tell `Freed` when it comes back."""

    rates: tuple[str, ...]


@attrs.frozen
class Assemble:
    """The nodes that this node returned have ended: put their values together as its own."""

    node: NodeId


@attrs.frozen
class Skip:
    """The node will never start, because a dependency has no value. `because` is where that began."""

    node: NodeId
    because: NodeId


@attrs.frozen
class Cancel:
    """The node will never start, because the run stops."""

    node: NodeId


@attrs.frozen
class Drop:
    """Nobody will ask for the nodes' values any more."""

    nodes: tuple[NodeId, ...]


Command = Decide | Start | StartQuick | Queued | Spent | Assemble | Skip | Cancel | Drop
