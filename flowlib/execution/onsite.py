"""Perform parcels on a machine of a cluster: each in a child process there, so that it can be ended and its death told.

Theory of operation: an engine such as Dask or Ray runs `perform` in one of its own workers, with an order: bytes that mean
nothing to the engine. `perform` hands the parcel to a warm child process of that worker (`pool`) and waits for it. So a
task that crashes, leaks or hangs costs its child and never the engine's worker; and a task is ended by ending the child,
which no engine could do to a thread. When the engine's worker itself dies, its children die with it.

An order begins with the versions of whoever wrote it, in plain words: a worker that joined late with others says so
instead of guessing. Nothing of flowlib's own is unpickled before that.
"""

import math
import os
import pickle
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import attrs

from flowlib.config import environment
from flowlib.execution.parcel import Parcel
from flowlib.execution.serving import BATCH, answers_in
from flowlib.execution.warm import shared_pool
from flowlib.execution.workers import Death
from flowlib.store.files import Files

MOST_BYTES = 512 * 1024 * 1024
"""Largest message that goes to a worker of a cluster or comes back from it; values in a shared store are not in it."""

_MOST_ENDED = 1000
_NAP_S = 0.2
_GRANTED = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")
"""Variables by which an engine tells a task which devices it may use."""


class Token(NamedTuple):
    """A file that whoever sees the run's cache directory can read, and what is in it."""

    path: str
    text: str


@attrs.frozen(kw_only=True)
class Order:
    """What a cluster is asked to do. `message` is a parcel's."""

    ticket: str
    message: bytes
    is_batch: bool
    cap_bytes: int | None = None
    limit_s: float | None = None
    """How long it may take from the moment that a process begins with it."""
    token: Token | None = None

    def packed(self) -> bytes:
        """Return the order as bytes."""
        token = None if self.token is None else tuple(self.token)
        words = (versions(), self.ticket, self.is_batch, self.cap_bytes, self.limit_s, token, self.message)
        return pickle.dumps(words, protocol=5)


@attrs.frozen(kw_only=True)
class Reply:
    """What became of an order: the answers that there are, and how the process ended if it did."""

    answers: tuple[bytes, ...] = ()
    death: Death | None = None
    held_bytes: int = 0
    """How much memory the call held that was ended for it."""
    worker: str = ""
    """Who did it."""
    is_late: bool = False
    """Whether it was ended because it took longer than it may."""
    trouble: str = ""
    """Why nothing was done: `storeless`, `too large`, or the versions of a worker that does not fit."""


def perform(packed: bytes) -> bytes:
    """Carry out an order in a child process and return the reply. Waits until it has ended."""
    theirs, ticket, is_batch, cap_bytes, limit_s, token, message = pickle.loads(packed)
    if trouble := refusal(theirs, token):
        return told_in_size(Reply(trouble=trouble))
    visit = _Visit(_read(message), is_batch, cap_bytes)
    if ticket in _ended:
        return told_in_size(Reply(death=_ENDED))
    _visits[ticket] = visit
    pool = shared_pool()
    pool.join(visit, 1)
    try:
        if limit_s is not None:  # its time does not count while a process for it starts
            first = _Visit(Parcel(b"", (), {}), False, None)
            pool.put(first)
            first.wait()
        pool.put(visit)
        reply = visit.wait(limit_s)
        if reply is None:
            end(ticket)
            reply = attrs.evolve(visit.wait() or Reply(), answers=(), is_late=True)
    except BaseException:  # the engine interrupts its worker
        end(ticket)
        raise
    finally:
        pool.leave(visit)
        del _visits[ticket]
    return told_in_size(reply)


def end(ticket: str) -> None:
    """End what an order began, with all its children; one that has not come yet will not be begun."""
    _ended.append(ticket)
    visit = _visits.get(ticket)
    if visit is None:
        return
    pool = shared_pool()
    if pool.take_back(lambda errand: errand is visit):
        visit.died(_ENDED, -1)
    else:
        pool.end(lambda errand: errand is visit)


def refusal(theirs: Sequence[str], token: Sequence[str] | None) -> str:
    """Return why an order cannot be carried out in this process; empty if it can."""
    if tuple(theirs) != versions():
        names = ("Python", "flowlib", "cloudpickle")
        rows = zip(names, theirs, versions(), strict=True)
        return "; ".join(f"{name} {asked} is asked for, it has {own}" for name, asked, own in rows if asked != own)
    return "storeless" if token is not None and not sees(Token(*token)) else ""


def told_in_size(reply: Reply) -> bytes:
    """Return a reply as bytes; in the place of one that is too large, that it is."""
    if sum(map(len, reply.answers)) > MOST_BYTES:
        reply = Reply(trouble="too large")
    return pickle.dumps(reply, protocol=5)


@cache
def versions() -> tuple[str, str, str]:
    """Return what has to be the same on both sides: the versions of Python, flowlib and cloudpickle."""
    from importlib.metadata import PackageNotFoundError, version

    found = [".".join(map(str, sys.version_info[:2]))]
    for name in ("flowlib", "cloudpickle"):
        try:
            found.append(version(name))
        except PackageNotFoundError:  # a copy without metadata
            found.append("unknown")
    return found[0], found[1], found[2]


@cache
def sees(token: Token) -> bool:
    """Whether this process sees the directory that a token is in, and what it writes there belongs to the same user."""
    files, path = Files(), Path(token.path)
    try:
        descriptor, n_bytes = files.open_read(path)
        try:
            text = bytes(files.read(descriptor, n_bytes))
        finally:
            files.close(descriptor)
        return text == token.text.encode() and files.status(path).st_uid == os.geteuid()
    except OSError:
        return False


def _read(message: bytes) -> Parcel:
    """Return the parcel of a message, which tells the child, too, which devices the engine's worker was given."""
    needs, parts, body, variables = pickle.loads(message)
    return Parcel(body, needs, parts, variables={**_granted(), **variables})


def _granted() -> Mapping[str, str | None]:
    """Return the variables that say which devices the engine's worker was given."""
    own = environment()
    return {name: own[name] for name in _GRANTED if name in own}


class _Visit:
    """An order as an errand of the pool."""

    def __init__(self, parcel: Parcel, is_batch: bool, cap_bytes: int | None) -> None:
        self._parcel, self._is_batch, self.cap_bytes = parcel, is_batch, cap_bytes
        self._held_bytes, self._worker = 0, ""
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._replies: SimpleQueue[Reply] = SimpleQueue()

    def wait(self, limit_s: float | None = None) -> Reply | None:
        """Return the reply once it is there; None if it is not, so long after a process has begun with the order."""
        _get(self._begun)
        self._begun.put(None)
        reply: Reply | None = _get(self._replies, math.inf if limit_s is None else limit_s)
        return reply

    def message(self, known: set[str], worker: str) -> tuple[bytes, int]:
        """Return the parcel for a child that has had some parts of it."""
        self._worker = f"{os.uname().nodename}:{os.getpid()}/{worker}"
        self._begun.put(None)
        message = self._parcel.message(known)
        known.update(self._parcel.needs)
        return message, BATCH if self._is_batch else 0

    def answered(self, answer: bytes, journal: int) -> None:
        """Take the answers of the child."""
        answers = tuple(answers_in(journal)) if self._is_batch else (answer,)
        self._replies.put(Reply(answers=answers, worker=self._worker))

    def noted(self, note: bytes, journal: int) -> int:
        """Return whether something inside begins to wait, as a number."""
        return 1 if pickle.loads(note)[0] else -1

    def exceeded(self, held_bytes: int, journal: int) -> None:
        """Take note of how much the child held when it was ended for it."""
        self._held_bytes = held_bytes

    def died(self, death: Death, journal: int) -> None:
        """Reply with what had ended before the child died."""
        answers = tuple(answers_in(journal)) if self._is_batch and journal >= 0 else ()
        reply = Reply(answers=answers, death=death, held_bytes=self._held_bytes, worker=self._worker)
        self._replies.put(reply)
        self._begun.put(None)  # it may never have been


def _get(queue: "SimpleQueue[Any]", limit_s: float = math.inf) -> Any:
    """Return what comes out of a queue; None after so long.

    Waits a little at a time: an interrupt that is no signal, which is how Ray interrupts, wakes nobody.
    """
    while limit_s > 0:
        try:
            return queue.get(timeout=min(_NAP_S, limit_s))
        except Empty:
            limit_s -= _NAP_S
    return None


_ENDED = Death(signal_number=15, exit_code=None, peak_bytes=0, is_blameless=True)
_visits: dict[str, _Visit] = {}
"""What is being done in this process, by ticket."""
_ended: deque[str] = deque(maxlen=_MOST_ENDED)
"""What was to be ended, lately."""
