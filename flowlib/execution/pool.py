"""Worker processes, kept warm between the runs of one program.

Theory of operation: one thread waits for everything: answers of workers, news from the nursery that makes and ends them,
work that has come in. A worker has one errand at a time; who has none gets the next one. A worker that dies ends its
errand, and another takes its place. What the user's classes do when they are packed and unpacked happens elsewhere, in the
threads of the runs, so nothing can keep this thread from answering.

Rules: this thread never waits for one socket. Those of the workers do not block; that of the nursery does when it is
written to, by any thread and under the lock, and is read with a flag that says not to wait: a mode of the socket would be
every thread's. `_lock` is held for moments only, and never while an errand is told anything.
"""

import collections
import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from flowlib.clock import SystemClock
from flowlib.execution.proctree import Process, end_family, family, processes
from flowlib.execution.serving import has_begun
from flowlib.execution.workers import Death, Errand, WorkerProcess, nameless_file

GRACE_S = 0.5
"""How long a process that is told to end may clean up before it is killed with all its children."""

_NEEDED = (
    "flowlib.graph.",
    "flowlib.hashing.",
    "flowlib.store.",
    "flowlib.planning.",
    "flowlib.execution.",
    "flowlib.engine.",
)
"""What workers are going to need, as far as this process has it: the nursery loads it once for all of them."""
MEMORY_LOOK_S = 0.05
"""How often workers with a limit of memory are looked at."""

_BOOT = "import sys; sys.path[:] = {path!r}; from flowlib.execution.nursery import main; main({control}, {names!r})"


class Pool:
    """The worker processes of this program."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._queue: collections.deque[Errand] = collections.deque()
        self._workers: dict[int, WorkerProcess] = {}
        self._limits: dict[object, int] = {}
        self._n_made = 0
        self._selector: selectors.DefaultSelector | None = None
        self._control: socket.socket | None = None
        self._news = b""
        self._wake_in, self._wake_out = -1, -1
        self._places: dict[str, tuple[int, int]] = {}
        self._is_lost = False
        self._marks: dict[str, object] = {}
        self._clock, self._looked_at = SystemClock(), 0.0
        self._nursery: subprocess.Popen[bytes] | None = None

    # ---- what runs ask for

    def join(self, who: object, limit: int) -> None:
        """Let a run use up to a number of workers."""
        with self._lock:
            self._limits[who] = limit
            self._start()

    def leave(self, who: object) -> None:
        """A run needs no more workers; they stay for the next one."""
        with self._lock:
            self._limits.pop(who, None)

    def put(self, errand: Errand, *, first: bool = False) -> None:
        """Queue an errand."""
        with self._lock:
            (self._queue.appendleft if first else self._queue.append)(errand)
        self._wake()

    def take_back(self, wanted: Callable[[Errand], bool]) -> list[Errand]:
        """Return the queued errands that are wanted; they are nobody's then."""
        with self._lock:
            taken = [errand for errand in self._queue if wanted(errand)]
            for errand in taken:
                self._queue.remove(errand)
            return taken

    def end(self, wanted: Callable[[Errand], bool], grace_s: float = GRACE_S) -> bool:
        """End the workers that are at errands that are wanted; False if there is none. They are told that they died."""
        with self._lock:
            found = [w for w in self._workers.values() if w.errand is not None and wanted(w.errand)]
            for worker in found:
                worker.is_ending = True
                self._tell(f"end {worker.pid} {round(grace_s * 1000)}")
        return bool(found)

    def mind(self, directory: str, *, is_removed: bool = False) -> None:
        """Let the nursery remove a directory if this program dies."""
        with self._lock:
            self._tell(f"{'removed' if is_removed else 'files'} {directory}")

    def renew(self, marks: Mapping[str, object]) -> None:
        """Let go of workers that are out of date: the idle ones now, the others when they have done what they are at.

        Args:
            marks: What workers have taken on when they were made or since (where output goes, files of modules), with what
                tells an old one from a new one.
        """
        with self._lock:
            before, self._marks = self._marks, {**self._marks, **marks}
            if self._control is None or all(before.get(name, mark) == mark for name, mark in marks.items()):
                return
            self._tell("place", [1, 2])
            for worker in self._workers.values():
                worker.is_old = True
                self._retire(worker)

    def _retire(self, worker: WorkerProcess) -> None:
        if worker.is_old and worker.errand is None and not worker.is_ending:
            worker.is_ending = True
            self._tell(f"end {worker.pid} 0")

    def abandon(self) -> None:
        """Close the sockets of a pool that belongs to another process."""
        if self._control is not None:
            self._control.close()
        for worker in self._workers.values():
            worker.socket.close()

    @property
    def pids(self) -> list[int]:
        """The pids of the workers that live."""
        with self._lock:
            return [worker.pid for worker in self._workers.values() if worker.pid]

    # ---- starting

    def _start(self) -> None:
        if self._control is not None:
            return
        ours, theirs = socket.socketpair()
        names = [name for name in sys.modules if name.startswith(_NEEDED)]
        code = _BOOT.format(path=sys.path, control=theirs.fileno(), names=names)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        self._nursery = subprocess.Popen(
            [sys.executable, *flags, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._control = ours
        self._news = b""
        self._is_lost = False
        self._selector.register(ours, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        threading.Thread(target=self._serve, args=(self._selector,), name="flowlib-pool", daemon=True).start()

    def _tell(self, line: str, descriptors: Sequence[int] = ()) -> None:
        data = line.encode("utf-8", "surrogateescape") + b"\n"
        with self._lock:
            if self._control is None:
                return
            try:  # it may block: the nursery runs nobody's code, so it always reads
                if descriptors:
                    socket.send_fds(self._control, [data], list(descriptors))
                else:
                    self._control.sendall(data)
            except OSError:
                self._is_lost = True

    def _make_worker(self) -> None:
        ours, theirs = socket.socketpair()
        journal = nameless_file()
        self._n_made += 1
        worker = WorkerProcess(self._n_made, f"process-{self._free_place()}", ours, journal)
        self._workers[worker.number] = worker
        ours.setblocking(False)
        self._tell(f"make {worker.number} {worker.name}", [theirs.fileno(), journal])
        theirs.close()
        assert self._selector is not None
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _free_place(self) -> int:
        taken = {worker.name for worker in self._workers.values()}
        place = 1
        while f"process-{place}" in taken:
            place += 1
        return place

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # full: it is awake
            os.write(self._wake_out, b"x")

    # ---- the thread

    def _serve(self, selector: selectors.DefaultSelector) -> None:
        while not self._is_lost:
            try:
                self._serve_once(selector)
            except Exception:  # a bug of ours must not leave runs waiting for ever: it is shown, and all begins anew
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
                self._is_lost = True
        self._lose()

    def _serve_once(self, selector: selectors.DefaultSelector) -> None:
        for key, mask in selector.select(self._patience_s()):
            if key.fileobj == self._wake_in:
                with contextlib.suppress(OSError):
                    os.read(self._wake_in, 65536)
            elif key.fileobj is self._control:
                self._hear()
            elif not self._is_lost:
                self._attend(key.data, mask)
        if not self._is_lost:
            self._look_at_memory()
            self._hand_out()

    def _patience_s(self) -> float | None:
        """Return how long to wait at most: for ever if no worker has a limit of memory."""
        is_any = any(w.errand is not None and w.errand.cap_bytes is not None for w in self._workers.values())
        return MEMORY_LOOK_S if is_any else None

    def _look_at_memory(self) -> None:
        """End workers that hold more than what they are at may hold."""
        now = self._clock.monotonic()
        if now - self._looked_at < MEMORY_LOOK_S / 2:
            return
        self._looked_at = now
        table: dict[int, Process] = {}
        for worker in self._workers.values():
            cap_bytes = None if worker.errand is None or worker.is_ending else worker.errand.cap_bytes
            if cap_bytes is None or worker.errand is None or not worker.pid:
                continue
            table = table or processes()
            held_bytes = sum(process.memory_bytes for process in family(worker.pid, table))
            worker.peak_bytes = max(worker.peak_bytes, held_bytes)
            if held_bytes > cap_bytes:
                worker.errand.exceeded(held_bytes, worker.journal)
                with self._lock:
                    worker.is_ending = True
                    self._tell(f"end {worker.pid} 0")

    def _hand_out(self) -> None:
        """Give queued errands to idle workers, making workers as far as runs allow."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                idle = [w for w in self._workers.values() if w.errand is None and w.is_open and not w.is_ending]
                worker = next((w for w in idle if not w.is_too_full_for(self._queue[0])), None)
                if worker is None and idle:
                    idle[0].is_old = True
                    self._retire(idle[0])
                    continue
                if worker is None:
                    # One that waits for what others compute must not keep them from being computed.
                    n_working = sum(not w.is_ending and not w.n_waits for w in self._workers.values())
                    if n_working >= max(1, sum(self._limits.values())):
                        return
                    self._make_worker()
                    continue
                errand = self._queue.popleft()
                worker.errand = errand
            message = errand.message(worker.known, worker.name)
            if message is None:
                with self._lock:
                    worker.errand = None
                    self._retire(worker)
                continue
            worker.put(*message)
            self._watch(worker)

    def _attend(self, worker: WorkerProcess, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            worker.send()
            self._watch(worker)
        if mask & selectors.EVENT_READ and worker.is_open:
            is_there = worker.receive()
            if not is_there:
                self._close(worker)
                self._tell(f"end {worker.pid} 0")  # it has let go of its socket: nobody would hear from it again
            self._take_answers(worker)

    def _watch(self, worker: WorkerProcess) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outgoing else 0)
        if self._selector is not None and worker.is_open:
            self._selector.modify(worker.socket, events, worker)

    def _take_answers(self, worker: WorkerProcess) -> None:
        for answer, is_note in worker.answers():
            if is_note:
                if worker.errand is not None:
                    worker.n_waits += worker.errand.noted(answer, worker.journal)
                continue
            with self._lock:
                errand, worker.errand, worker.n_waits = worker.errand, None, 0
            if errand is not None:
                errand.answered(answer, worker.journal)
        with self._lock:
            self._retire(worker)

    def _close(self, worker: WorkerProcess) -> None:
        if worker.is_open:
            worker.is_open = False
            if self._selector is not None:
                self._selector.unregister(worker.socket)
            worker.socket.close()

    # ---- news of the nursery

    def _hear(self) -> None:
        assert self._control is not None
        while True:
            try:
                data = self._control.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._is_lost = True
                break
            self._news += data
        *lines, self._news = self._news.split(b"\n")
        for line in lines:
            word, *numbers = line.decode().split()
            if word == "made":
                worker = self._workers.get(int(numbers[0]))
                if worker is not None:
                    worker.pid = int(numbers[1])
                    if worker.is_ending:
                        self._tell(f"end {worker.pid} 0")
            elif word == "died":
                self._bury(int(numbers[0]), int(numbers[1]), int(numbers[2]) * 1024)

    def _bury(self, pid: int, status: int, peak_bytes: int) -> None:
        worker = next((one for one in self._workers.values() if one.pid == pid), None)
        if worker is None:
            return
        worker.receive()
        self._take_answers(worker)
        death = Death(
            signal_number=-status if status < 0 else 0,
            exit_code=status if status >= 0 else None,
            peak_bytes=peak_bytes,
            is_blameless=worker.is_ending or not has_begun(worker.journal),
        )
        self._remove(worker, death)

    def _remove(self, worker: WorkerProcess, death: Death) -> None:
        self._close(worker)
        with self._lock:
            self._workers.pop(worker.number, None)
            errand, worker.errand = worker.errand, None
        if errand is not None:
            errand.died(death, worker.journal)
        os.close(worker.journal)

    def _lose(self) -> None:
        """The nursery has died, and with it every worker: begin anew, and let nobody be blamed."""
        for worker in [*self._workers.values()]:
            if worker.pid:
                end_family(worker.pid)
            worker.receive()
            self._take_answers(worker)
            self._remove(worker, Death(signal_number=9, exit_code=None, peak_bytes=0, is_blameless=True))
        with self._lock:
            self._let_go()
            if self._limits:
                self._start()
        self._wake()

    def _let_go(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        for descriptor in (self._wake_in, self._wake_out):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_in = self._wake_out = -1
        if self._nursery is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._nursery.wait(1.0)
