"""The names of things: plain strings and integers with a meaning.

A `NodeId` is the index of a node in its graph, valid inside one run. A `Key` names a call for ever: the SHA-256, in
hex, of everything its result depends on. A `Digest` names content: algorithm, hash and size in one string. A `RunId`
sorts by the moment its run began.
"""

import itertools
import os
from collections.abc import Iterator
from typing import NewType

NodeId = NewType("NodeId", int)
Key = NewType("Key", str)
Digest = NewType("Digest", str)
RunId = NewType("RunId", str)


def ids_from(first: int) -> Iterator[NodeId]:
    """Give one node id after the other, for loops over every node of a graph: a call of `NodeId` would cost 0.1 us.

    >>> next(ids_from(3))
    3
    """
    return itertools.count(first)  # type: ignore[return-value]


def new_run_id(started_at: float) -> RunId:
    """Make a run id from a wall-clock time (seconds since 1970, UTC) and 32 random bits.

    >>> len(new_run_id(0.0)) == len("19700101-000000-1f2e3d4c")
    True
    """
    from datetime import UTC, datetime

    stamp = datetime.fromtimestamp(started_at, UTC).strftime("%Y%m%d-%H%M%S")
    return RunId(f"{stamp}-{os.urandom(4).hex()}")
