"""What a worker process does: take parcels from a socket, perform them, answer.

A message is its length (8 bytes) and its bytes. The top bit of the length marks a batch on the way in, and on the way out
a note: something inside the task waits, or waits no more. The parcels of a batch are quick calls; the
answer to each goes into a journal, a file that lives on when the process does not. So it can be told which of them have
ended and which one was running when it died. When all are done, an empty answer says so. If whoever sends a batch marks
it so, a call that takes long has those behind it given back: a note says how many are left. Whoever sends a message empties
the journal first, and a worker's first byte in it says that it has begun: one that died before it took what it was sent
leaves nothing that could be read as an answer, and has nobody to blame.
"""

import contextlib
import os
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from flowlib.execution.base import Batch
from flowlib.execution.lookout import Lookout
from flowlib.execution.remote import Remote
from flowlib.execution.wire import Left

LENGTH = struct.Struct("<Q")
BATCH = NOTE = 1 << 63
SHARED = 1 << 62
"""Beside `BATCH`: others may make what has not begun when a call takes long."""
_BEGUN = b"b"


def serve(work: socket.socket, journal: int, name: str) -> None:
    """Perform parcels until the other end is closed."""
    sending = threading.Lock()

    def tell(note: Any) -> None:
        with sending:
            _send(work, pickle.dumps(note, protocol=5), NOTE)

    remote = Remote(name, tell)
    while True:
        try:
            taken = _receive(work)
        except KeyboardInterrupt:  # somebody signalled this process while it was idle
            continue
        if taken is None:
            return
        message, mark = taken
        os.pwrite(journal, _BEGUN, 0)
        with contextlib.suppress(OSError):  # nobody wants the answer any more; the next read says so
            if mark:
                _perform_batch(remote, message, journal, tell if mark & SHARED else None)
                answer = b""
            else:
                answer = remote.perform(message)
            with sending:
                _send(work, answer)


def _perform_batch(remote: Remote, message: bytes, journal: int, tell: Callable[[Left], None] | None) -> None:
    at = len(_BEGUN)

    def note(answer: bytes) -> None:
        nonlocal at
        data = LENGTH.pack(len(answer)) + answer
        os.pwrite(journal, data, at)
        at += len(data)

    if tell is None:
        remote.perform_calls(message, note)
    else:
        remote.perform_calls(message, note, partial(_leaving, tell))


@contextlib.contextmanager
def _leaving(tell: Callable[[Left], None], batch: Batch) -> Iterator[None]:
    """Take back what is left of a batch when one of its calls takes long, and tell how much that is: once, and in time."""
    n_seen: int | None = None
    is_told = False

    def look_after() -> None:
        nonlocal n_seen, is_told
        n_waiting = len(batch.waiting)
        if not is_told and n_waiting == n_seen and batch.current is not None:  # which is never given back
            is_told = True
            with contextlib.suppress(OSError):  # nobody listens any more
                tell(Left(len(batch.take_back())))
        n_seen = n_waiting

    lookout = Lookout(look_after)
    try:
        with lookout.away():
            yield
    finally:
        lookout.close()


def _receive(work: socket.socket) -> tuple[bytes, int] | None:
    head = _read(work, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    mark = length & (BATCH | SHARED)
    message = _read(work, length ^ mark)
    return None if message is None else (bytes(message), mark)


def _read(work: socket.socket, n_bytes: int) -> bytearray | None:
    buffer = bytearray(n_bytes)
    view, filled = memoryview(buffer), 0
    while filled < n_bytes:
        try:
            got = work.recv_into(view[filled:])
        except ConnectionError:
            return None
        if not got:
            return None
        filled += got
    return buffer


def _send(work: socket.socket, answer: bytes, mark: int = 0) -> None:
    work.sendall(LENGTH.pack(len(answer) | mark) + answer)


def has_begun(journal: int) -> bool:
    """Whether a worker had taken the message that its journal was emptied for."""
    return os.fstat(journal).st_size > 0


def answers_in(journal: int) -> list[bytes]:
    """Return the answers that are whole in a journal, oldest first."""
    answers: list[bytes] = []
    data = memoryview(os.pread(journal, os.fstat(journal).st_size, 0))
    at = len(_BEGUN)
    while at + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data):
            break
        answers.append(bytes(data[at : at + length]))
        at += length
    return answers
