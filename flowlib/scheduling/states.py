"""The one table of node states: which fact may move a node from where to where.

`ready` covers "being decided", "queued for a slot" and "queued to be put together"; `waiting` covers waiting for
dependencies, for a lease, for another node with the same key, for the nodes that this one returned or that take its place,
and for the time of its next attempt.
"""

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId

TRANSITIONS: dict[tuple[str, str], NodeState] = {
    ("waiting", "inputs-there"): "ready",
    ("waiting", "children-ended"): "ready",
    ("waiting", "dependency-ended-without-value"): "skipped",
    ("waiting", "stopping"): "cancelled",
    ("waiting", "failed"): "failed",
    ("waiting", "timed_out"): "timed_out",
    ("waiting", "expanded"): "waiting",
    ("waiting", "followed"): "running",
    ("ready", "hit"): "cached",
    ("ready", "missed"): "ready",
    ("ready", "deferred"): "waiting",
    ("ready", "slot-free"): "running",
    ("ready", "input-lost"): "waiting",
    ("ready", "stopping"): "cancelled",
    ("ready", "timed_out"): "timed_out",
    ("ready", "expanded"): "waiting",
    ("running", "done"): "done",
    ("running", "cached"): "cached",
    ("running", "failed"): "failed",
    ("running", "timed_out"): "timed_out",
    ("running", "attempt-failed"): "waiting",
    ("running", "cancelled"): "cancelled",
    ("running", "skipped"): "skipped",
    ("running", "blocked"): "waiting",
    ("running", "expanded"): "waiting",
    ("running", "input-lost"): "waiting",
    ("running", "returned"): "waiting",
    ("cached", "value-lost"): "waiting",
    ("done", "value-lost"): "waiting",
    ("failed", "value-lost"): "waiting",
    ("timed_out", "value-lost"): "waiting",
}
"""(state, what happened) -> state. A pair that is not here is illegal and raises before anything changes."""

FINAL_STATES = frozenset({"done", "cached", "failed", "skipped", "stopped", "timed_out", "cancelled"})
VALUE_STATES = frozenset({"done", "cached"})
"""States that always come with a value; a failure may be kept as one."""


def next_state(state: str, cause: str, node: NodeId) -> NodeState:
    """Return the state that follows.

    Raises:
        InternalError: The table has no such transition.
    """
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise illegal(node, state, cause) from None


def illegal(node: NodeId, state: str, fact: object) -> InternalError:
    """Return the error for a fact that cannot be true of a node in its state."""
    return InternalError(
        "The scheduler was told something that cannot be.",
        {"node": node, "state": state, "fact": fact},
        "This is a bug in flowlib; please report it with this text.",
    )
