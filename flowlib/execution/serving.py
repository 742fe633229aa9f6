"""What a worker process does: take parcels from a socket, perform them, answer.

A message is its length (8 bytes) and its bytes. The top bit of the length marks a batch on the way in, and on the way out
a note: something inside the task waits, or waits no more. The parcels of a batch are quick calls; the
answer to each goes into a journal, a file that lives on when the process does not. So it can be told which of them have
ended and which one was running when it died. When all are done, an empty answer says so. Whoever sends a message empties
the journal first, and a worker's first byte in it says that it has begun: one that died before it took what it was sent
leaves nothing that could be read as an answer, and has nobody to blame.
"""

import contextlib
import os
import pickle
import socket
import struct
import threading
from typing import Any

from flowlib.execution.remote import Remote

LENGTH = struct.Struct("<Q")
BATCH = NOTE = 1 << 63
_BEGUN = b"b"


def serve(work: socket.socket, journal: int, name: str) -> None:
    """Perform parcels until the other end is closed."""
    sending = threading.Lock()

    def tell(wait: Any) -> None:
        with sending:
            _send(work, pickle.dumps(wait, protocol=5), NOTE)

    remote = Remote(name, tell)
    while True:
        try:
            taken = _receive(work)
        except KeyboardInterrupt:  # somebody signalled this process while it was idle
            continue
        if taken is None:
            return
        message, is_batch = taken
        os.pwrite(journal, _BEGUN, 0)
        with contextlib.suppress(OSError):  # nobody wants the answer any more; the next read says so
            if is_batch:
                _perform_batch(remote, message, journal)
                answer = b""
            else:
                answer = remote.perform(message)
            with sending:
                _send(work, answer)


def _perform_batch(remote: Remote, message: bytes, journal: int) -> None:
    at = len(_BEGUN)

    def note(answer: bytes) -> None:
        nonlocal at
        data = LENGTH.pack(len(answer)) + answer
        os.pwrite(journal, data, at)
        at += len(data)

    remote.perform_calls(message, note)


def _receive(work: socket.socket) -> tuple[bytes, bool] | None:
    head = _read(work, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    message = _read(work, length & ~BATCH)
    return None if message is None else (bytes(message), bool(length & BATCH))


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
