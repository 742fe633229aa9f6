"""The one table of node states: which fact may move a node from where to where.

`ready` covers both "being decided" and "queued for a slot"; `waiting` covers waiting for dependencies, for a lease, for
another node with the same key, and for the nodes that this one returned.
"""

from flowlib.errors import InternalError
from flowlib.events import NodeState
from flowlib.ids import NodeId

TRANSITIONS: dict[tuple[NodeState, str], NodeState] = {
    ("waiting", "inputs-there"): "ready",
    ("waiting", "dependency-ended-without-value"): "skipped",
    ("waiting", "stopping"): "cancelled",
    ("waiting", "children-ended"): "running",
    ("ready", "hit"): "cached",
    ("ready", "missed"): "ready",
    ("ready", "deferred"): "waiting",
    ("ready", "slot-free"): "running",
    ("ready", "stopping"): "cancelled",
    ("running", "done"): "done",
    ("running", "failed"): "failed",
    ("running", "cancelled"): "cancelled",
    ("running", "skipped"): "skipped",
    ("running", "blocked"): "waiting",
    ("running", "expanded"): "waiting",
    ("running", "input-lost"): "waiting",
    ("cached", "value-lost"): "waiting",
    ("done", "value-lost"): "waiting",
}
"""(state, what happened) -> state. A pair that is not here is illegal and raises before anything changes."""

FINAL_STATES = frozenset({"done", "cached", "failed", "skipped", "stopped", "timed_out", "cancelled"})
VALUE_STATES = frozenset({"done", "cached"})


def next_state(state: NodeState, cause: str, node: NodeId) -> NodeState:
    """Return the state that follows.

    Raises:
        InternalError: The table has no such transition.
    """
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise InternalError(
            "The scheduler was told something that cannot be.",
            {"node": node, "state": state, "fact": cause},
            "This is a bug in flowlib; please report it with this text.",
        ) from None


def render_table() -> str:
    """Return the table as Markdown, for ARCHITECTURE.md; a test keeps the two equal."""
    lines = ["| from | what happened | to |", "|---|---|---|"]
    lines += [f"| {state} | {cause} | {after} |" for (state, cause), after in TRANSITIONS.items()]
    return "\n".join(lines)
