"""Value semantics: no task may change what another task, the user or the store holds.

Immutable values are handed over as they are. A mutable value that others still need is copied when that is cheap;
otherwise it is shared and digested before and after, and a change is an error that names the task.
"""

import copy
from collections.abc import Callable
from typing import Any

from flowlib.errors import FlowError
from flowlib.graph.args import ATOMS
from flowlib.ids import Digest

COPY_LIMIT = 1 << 20
"""Bytes up to which a shared value is copied rather than watched: copying costs less than digesting twice."""


def is_immutable(value: Any) -> bool:
    """Whether a value can be shared freely: atoms, and tuples and frozensets of them. O(size of tuples)."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind in (tuple, frozenset):
        return all(is_immutable(item) for item in value)
    return False


def private_copy(value: Any) -> tuple[Any, bool]:
    """Return a copy that nobody else holds and True, or the value itself and False when copying is too dear."""
    if _is_large(value):
        return value, False
    try:
        return copy.deepcopy(value), True
    except Exception:  # the user's class may refuse to be copied; then it is watched instead
        return value, False


def _is_large(value: Any) -> bool:
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size > COPY_LIMIT
    usage = getattr(value, "memory_usage", None)
    if usage is not None:
        return bool(getattr(value, "size", 0) * 8 > COPY_LIMIT)
    return isinstance(value, (list, dict, set)) and len(value) > COPY_LIMIT // 64


class Watch:
    """Remembers what shared inputs were, to tell afterwards whether a task changed one."""

    def __init__(self, digest: Callable[[Any], Digest]) -> None:
        self._digest = digest
        self._watched: list[tuple[str, Any, Digest]] = []

    def add(self, name: str, value: Any, known: Digest | None = None) -> None:
        """Watch a value; one without a digest cannot be watched."""
        try:
            self._watched.append((name, value, known or self._digest(value)))
        except FlowError:
            return

    def changed(self) -> str:
        """Return the name of the first value that is not what it was; empty if all are."""
        for name, value, before in self._watched:
            try:
                now = self._digest(value)
            except FlowError:
                return name
            if now != before:
                return name
        return ""
