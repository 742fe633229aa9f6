"""One worker process as the pool sees it: its socket, its errand, its end."""

import collections
import os
import socket
from collections.abc import Iterator
from typing import Protocol

import attrs

from flowlib.config import scratch_directory
from flowlib.execution.proctree import memory_bytes
from flowlib.execution.serving import LENGTH, NOTE
from flowlib.store.files import Files

_CHUNK_BYTES = 1 << 20


@attrs.frozen(kw_only=True)
class Death:
    """How a worker ended."""

    signal_number: int
    exit_code: int | None
    peak_bytes: int
    is_blameless: bool = False
    """Whether no task is to blame: it was ended on purpose, or with the nursery, or had not begun what it was given."""


class Errand(Protocol):
    """One thing for a worker to do. Its methods are called in the pool's thread and run no code of the user's."""

    def message(self, known: set[str], worker: str) -> tuple[bytes, int] | None:
        """Return what to send to a worker, and marks of a batch, see `serving`; None if there is nothing left to do.

        Args:
            known: The names of what the worker has got before; what is sent now is to be added.
            worker: What the worker is called.
        """

    def answered(self, answer: bytes, journal: int) -> None:
        """Take the answer of the worker."""

    @property
    def cap_bytes(self) -> int | None:
        """The most memory its worker may hold; None for no limit."""

    def exceeded(self, held_bytes: int, journal: int) -> None:
        """Take note that the worker is about to be ended because it holds more than that."""

    def noted(self, note: bytes, journal: int) -> int:
        """Take what a worker notes; return how many more waits there are inside: 1, 0 or -1."""

    def died(self, death: Death, journal: int) -> None:
        """Take note that the worker died before it answered."""


@attrs.define(eq=False)
class WorkerProcess:
    """A process that performs parcels, one message at a time."""

    number: int
    name: str
    socket: socket.socket
    journal: int
    pid: int = 0
    errand: Errand | None = None
    known: set[str] = attrs.field(factory=set)
    incoming: bytearray = attrs.field(factory=bytearray)
    outgoing: collections.deque[memoryview] = attrs.field(factory=collections.deque)
    is_open: bool = True
    n_waits: int = 0
    """How many results of others runs inside its task wait for."""
    peak_bytes: int = 0
    """The most memory it was seen to hold, its children included."""
    is_ending: bool = False
    is_old: bool = False
    has_served: bool = False
    """Whether it was given anything to do, and may have kept something of it."""

    def put(self, body: bytes, mark: int) -> None:
        """Send a message, or as much of it as the socket takes.

        The journal is emptied first: what it says from now on is about this message.
        """
        self.has_served = True
        os.ftruncate(self.journal, 0)
        self.outgoing.append(memoryview(LENGTH.pack(len(body) | mark) + body))
        self.send()

    def is_too_full_for(self, errand: Errand) -> bool:
        """Whether what earlier errands left here takes up more than half of what this one may hold: not its doing."""
        if not self.has_served or (cap_bytes := errand.cap_bytes) is None:
            return False
        return memory_bytes(self.pid) > cap_bytes // 2

    def send(self) -> None:
        """Go on sending what waits. Never blocks."""
        try:
            while self.outgoing:
                sent = self.socket.send(self.outgoing[0])
                self.outgoing[0] = self.outgoing[0][sent:]
                if not self.outgoing[0]:
                    self.outgoing.popleft()
        except BlockingIOError:
            return
        except OSError:  # it has died; the nursery says how
            self.outgoing.clear()

    def receive(self) -> bool:
        """Take what is there; False if nothing will come any more. Never blocks."""
        while self.is_open:
            try:
                data = self.socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.incoming += data
        return False

    def answers(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the answers and notes that are whole, each once, and whether it is a note."""
        while len(self.incoming) >= LENGTH.size:
            (marked,) = LENGTH.unpack_from(self.incoming)
            length = marked & ~NOTE
            if len(self.incoming) < LENGTH.size + length:
                return
            answer = bytes(self.incoming[LENGTH.size : LENGTH.size + length])
            del self.incoming[: LENGTH.size + length]
            yield answer, bool(marked & NOTE)


def nameless_file() -> int:
    """Return a new file without a name, gone with its last descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("flowlib-journal", os.MFD_CLOEXEC)
    path = scratch_directory() / f"flowlib-journal-{os.urandom(8).hex()}"
    descriptor = Files().open_append(path)
    Files().remove(path)
    return descriptor
