"""The one pool of this process: its workers stay warm from run to run."""

import os
import threading

from flowlib.execution.pool import Pool


class _Shared:
    """The pool of this process: warm workers are worth it because all runs share them."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.lock = threading.Lock()


_shared = _Shared()


def shared_pool() -> Pool:
    """Return the pool of this process."""
    with _shared.lock:
        if _shared.pool is None:
            _shared.pool = Pool()
        return _shared.pool


def _forget() -> None:
    """A child of a fork has none of this: its parent's workers must not take it for the parent."""
    pool, _shared.pool, _shared.lock = _shared.pool, None, threading.Lock()
    if pool is not None:
        pool.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
