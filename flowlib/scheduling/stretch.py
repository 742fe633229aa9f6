"""Which nodes can follow quick ones in the same piece of work, so that a chain is not a command for each of its links."""

from collections.abc import Callable, Collection, Iterator, Sequence

from flowlib.ids import NodeId
from flowlib.scheduling.table import NodeTable

_NEVER = 1 << 60


def followers(
    nodes: Sequence[NodeId],
    table: NodeTable,
    leading: Collection[str],
    share_of: Callable[[NodeId], int],
    whole: int,
    room: int,
) -> list[NodeId]:
    """Return waiting nodes that lack nothing but the ends of `nodes` and of those before them in the list.

    Args:
        nodes: Quick nodes that are about to start.
        table: The nodes of the run.
        leading: Tasks whose calls may be followed.
        share_of: What share of a piece of work a node is.
        whole: The share of what may not follow.
        room: How much of the piece of work is left.

    Cost: O(edges that leave the nodes and their followers).
    """
    states, dependents, n_missing, traits = table.states, table.dependents, table.n_missing, table.traits
    lacking: dict[NodeId, int] = {}
    found: list[NodeId] = []
    kind, leads = None, False
    for part in (nodes, found):  # `found` grows while it is looked at
        for node in part:
            if traits[node] is not kind:
                kind = traits[node]
                leads = kind.task in leading
            if not leads:
                continue
            for dependent in dependents[node]:
                left = lacking.get(dependent)
                if left is None:
                    left = n_missing[dependent] if states[dependent] == "waiting" else _NEVER
                lacking[dependent] = left = left - 1
                if left:
                    continue
                share = share_of(dependent)
                if share == whole or share > room:
                    continue  # it is told when its inputs have ended, like everybody else
                room -= share
                found.append(dependent)
    return found


def links(
    node: NodeId, table: NodeTable, leading: Collection[str], share_of: Callable[[NodeId], int], whole: int, room: int
) -> Iterator[NodeId]:
    """Iterate over waiting nodes each of which lacks only the one before it, and is all that needs that one.

    Arguments are as for `followers`. Cost: O(1) for each.
    """
    states, dependents, n_missing, traits = table.states, table.dependents, table.n_missing, table.traits
    while traits[node].task in leading and len(dependents[node]) == 1:
        node = dependents[node][0]
        share = share_of(node)
        if states[node] != "waiting" or n_missing[node] != 1 or share == whole or share > room:
            return
        room -= share
        yield node
