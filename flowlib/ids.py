"""The names of things: plain strings and integers with a meaning.

A `NodeId` is the index of a node in its graph, valid inside one run. A `Key` names a call for ever: the SHA-256, in
hex, of everything its result depends on. A `Digest` names content: algorithm, hash and size in one string. A `RunId`
sorts by the moment its run began.
"""

import os
from typing import NewType

NodeId = NewType("NodeId", int)
Key = NewType("Key", str)
Digest = NewType("Digest", str)
RunId = NewType("RunId", str)


def new_run_id(started_at: float) -> RunId:
    """Make a run id from a wall-clock time (seconds since 1970, UTC) and 32 random bits.

    >>> len(new_run_id(0.0)) == len("19700101-000000-1f2e3d4c")
    True
    """
    from datetime import UTC, datetime

    stamp = datetime.fromtimestamp(started_at, UTC).strftime("%Y%m%d-%H%M%S")
    return RunId(f"{stamp}-{os.urandom(4).hex()}")
