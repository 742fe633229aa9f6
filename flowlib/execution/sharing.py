"""Value semantics: no task may change what another task, the user or the store holds.

Immutable values are handed over as they are. A mutable value that others still need is copied when that is cheap;
otherwise it is lent: digested before and after, and a change is an error that names the task. What can be neither
digested nor left alone is copied whatever its size.
"""

import copy
import enum
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from re import Pattern
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any
from uuid import UUID

import attrs

from flowlib.graph.args import ATOMS, children
from flowlib.graph.node import Node
from flowlib.hashing.digest import size_bytes
from flowlib.ids import Digest
from flowlib.store.codec_tensors import give_gradients

COPY_LIMIT = 1 << 20
"""Bytes up to which a shared value is copied rather than watched: copying costs less than digesting twice."""

_IMMUTABLE = (
    date, time, timedelta, tzinfo, Decimal, Fraction, PurePath, UUID, Pattern, enum.Enum,
    type, FunctionType, BuiltinFunctionType, ModuleType,
)  # fmt: skip
"""Types that `copy.deepcopy` would return as they are, or whose values cannot be changed."""

_HOOKS = ("__getstate__", "__reduce__", "__reduce_ex__", "__deepcopy__")
"""Methods by which a class decides what a copy of its instances holds."""

_READ_ONCE = tuple(
    map(
        type,
        (
            iter([]), iter(()), iter({}), iter({}.values()), iter({}.items()), iter(set()), iter(""), iter(b""),
            iter(range(0)), reversed([]), map(id, ()), zip(), filter(None, ()), enumerate(()), (_ for _ in ()),
            itertools.chain(), itertools.count(), itertools.cycle(()), itertools.islice((), 0), itertools.repeat(0),
            itertools.starmap(id, ()), itertools.takewhile(id, ()), itertools.groupby(()), itertools.product(),
        ),
    )
)  # fmt: skip


def is_read_once(value: Any) -> bool:
    """Whether a value is an iterator of Python's own: the second consumer would find it empty."""
    return isinstance(value, _READ_ONCE)


def is_immutable(value: Any) -> bool:
    """Whether a value can be shared freely: atoms, dates, paths, functions, and tuples and frozensets of them."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind in (tuple, frozenset):
        return all(is_immutable(item) for item in value)
    return isinstance(value, _IMMUTABLE) or (kind.__module__ == "numpy" and _is_numpy_scalar(value))


def _is_numpy_scalar(value: Any) -> bool:
    return hasattr(value, "dtype") and not hasattr(value, "__setitem__")


def private_copy(value: Any, *, whatever_size: bool = False) -> tuple[Any, bool]:
    """Return a copy that nobody else holds and True, or the value itself and False when copying is too dear."""
    if is_immutable(value):
        return value, True
    if not whatever_size and is_large(value):
        return value, False
    try:
        copied = copy.deepcopy(value)
    except Exception:  # the user's class may refuse to be copied; then it is watched instead
        return value, False
    give_gradients(copied, value)
    return (copied, True) if _is_whole(copied, value) else (value, False)


def _is_whole(copied: Any, value: Any) -> bool:
    """False for a copy that lacks what its class leaves out when it is pickled: a connection, a lock, a cache."""
    held = getattr(value, "__dict__", None)
    if type(held) is not dict or not any(isinstance(getattr(type(value), hook, None), FunctionType) for hook in _HOOKS):
        return True
    found = getattr(copied, "__dict__", None)
    if not isinstance(found, dict) or not held.keys() <= found.keys():
        return False
    return all(repr(found[name]) == repr(part) for name, part in held.items() if type(part) in ATOMS)


def is_large(value: Any) -> bool:
    """Whether copying a value costs more than looking at it; an instance is as large as the largest thing it holds."""
    if _is_large_itself(value):
        return True
    held = getattr(value, "__dict__", None)
    return isinstance(held, dict) and any(_is_large_itself(part) for part in list(held.values()))


def _is_large_itself(value: Any) -> bool:
    try:
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size > COPY_LIMIT
        if hasattr(value, "memory_usage"):
            return bool(getattr(value, "size", 0) * 8 > COPY_LIMIT)
    except Exception:  # an attribute of the user's own class may raise
        return False
    return isinstance(value, (list, dict, set)) and len(value) > COPY_LIMIT // 64


def loose_parts(value: Any) -> Iterator[Any]:
    """Yield what an argument holds and `replace` does not rebuild: arrays, frames, instances; each once."""
    stack, seen = [value], set[int]()
    while stack:
        item = stack.pop()
        if type(item) in ATOMS or type(item) is Node or id(item) in seen:
            continue
        seen.add(id(item))
        inside = children(item)
        if inside is not None:
            if not ATOMS.issuperset(map(type, inside)):
                stack.extend(inside)
        elif not is_immutable(item):
            yield item


@attrs.define
class _Lent:
    parameter: str
    value: Any
    before: Digest
    owner: Node | None


class Watch:
    """Remembers what was lent to a job, to tell afterwards whether the task changed it.

    Args:
        digest: Digests a value.
        copies_all: Whether what is too large to be copied is copied all the same: a job that may be tried again must find
            its inputs as they were.

    Attributes:
        has_lent: Whether the job was given anything that others hold, too.
        owners: The nodes whose values those are.
    """

    def __init__(self, digest: Callable[[Any], Digest], *, copies_all: bool = False) -> None:
        self._copies_all = copies_all
        self.has_lent = False
        self.owners: tuple[Node, ...] = ()
        self._digest = digest
        self._lent: list[_Lent] = []

    def lend(self, parameter: str, value: Any, known: Digest | None = None, owner: Node | None = None) -> Any:
        """Return what the task may get in the place of a value that others hold: a copy, or the value, watched.

        Args:
            parameter: What the task calls it.
            value: What others hold.
            known: The value's digest, if somebody knows it.
            owner: The node whose value it is.
        """
        is_small = self._copies_all or (known is not None and size_bytes(known) <= COPY_LIMIT)
        copied, is_private = private_copy(value, whatever_size=is_small)
        if is_private:
            return copied
        if not self.add(parameter, value, known, owner):
            copied, is_private = private_copy(value, whatever_size=True)
        if not is_private:
            self.has_lent = True
            self.owners += () if owner is None else (owner,)
        return copied

    def lend_all(self, parameter: str, values: Iterable[Any]) -> None:
        """Let a task use the very objects that others hold, watched as far as they have digests."""
        self.has_lent = True
        for value in values:
            self.add(parameter, value)

    def add(self, parameter: str, value: Any, known: Digest | None = None, owner: Node | None = None) -> bool:
        """Watch a value; False if it has no digest and cannot be watched."""
        try:
            before = known or self._digest(value)
        except Exception:  # no digest, or a hook of the user's own class raised
            return False
        self._lent.append(_Lent(parameter, value, before, owner))
        return True

    def changed(self) -> list[_Lent]:
        """Return what is no longer what it was."""
        return [lent for lent in self._lent if self._is_changed(lent)]

    def _is_changed(self, lent: _Lent) -> bool:
        try:
            return self._digest(lent.value) != lent.before
        except Exception:  # it had a digest before
            return True
