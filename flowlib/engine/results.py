"""What becomes of a job's end: the entry of a success, the value that stands for a failure."""

from typing import Any

from flowlib.engine.context import RunContext
from flowlib.errors import InternalError
from flowlib.execution.base import Outcome
from flowlib.graph.node import Node
from flowlib.ids import Digest
from flowlib.planning.key import CallKey
from flowlib.planning.previews import texts
from flowlib.store.base import NO_FLAGS, NO_TEXTS, Entry
from flowlib.sweep.failed import Failed


def entry_of(
    node: Node,
    call: CallKey,
    outcome: Outcome,
    context: RunContext,
    *,
    flags: frozenset[str] = NO_FLAGS,
    watch: tuple[tuple[str, Digest], ...] = (),
) -> Entry:
    """Return the entry of a finished job.

    Args:
        node: The call.
        call: Its key and parts.
        outcome: What the job answered.
        context: The run.
        flags: What is known about it beside the outcome's own flags.
        watch: Files that the value depends on beyond its key.
    """
    if outcome.payload is None or outcome.digest is None or call.key is None:
        raise InternalError("A result without digest cannot be stored.", {"node": node}, "Please report it.")
    now, ttl = context.clock.now(), node._fl_policy.ttl
    if outcome.flags:
        flags |= outcome.flags
    if call.weak:
        flags |= {"weak"}
    if outcome.payload.refs:
        flags |= {"files"}
    return Entry(
        call.key,
        node._fl_task.name,
        outcome.digest,
        outcome.payload,
        call.details(texts(node)),
        NO_TEXTS,
        context.run,
        now,
        outcome.duration_s,
        flags,
        watch,
        None if ttl is None else now + ttl,
    )


def failed_value(error: BaseException, node: Node) -> Failed:
    """Return what stands in the place of a failed node's value."""
    return Failed.from_exception(error, task=node._fl_task.name, label=node._fl_label)


def digest_or_none(context: RunContext, value: Any) -> Digest | None:
    """Return the digest of a value, or None if it has none."""
    try:
        return context.identity.digest(value)
    except Exception:  # refused, or a hook of the user's own class raised
        return None
