"""The process that makes workers, and ends them.

Theory of operation: one small process, started afresh, loads what workers need and then forks a worker whenever it is
asked to: in a few milliseconds, from a process that has one thread, runs no code of the user's and holds none of the
program's locks. It leads a session of its own, so that a Ctrl-C in the terminal does not reach it, and each worker leads
another. It adopts what a task leaves behind. When the program that it works for is gone, however that ended, the nursery
reads the end of its socket, ends every worker with all its children, removes the files that were on their way, and ends.

Messages are lines. In: `make ID` with the sockets of the worker, `end PID GRACE_MS`, `files PATH`, `place` with new
standard output and error. Out: `made ID PID`, `died PID STATUS PEAK_KB`, where STATUS is
negative for a signal.

Invariant: the nursery never waits for a worker, and a worker is reaped only after its family has been looked through.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowlib.clock import SystemClock
from flowlib.execution.proctree import adopt_orphans, die_with_parent, end_family, family, processes, signal_family
from flowlib.execution.serving import serve
from flowlib.execution.spill import remove_directory

_now = SystemClock().monotonic
_MOST_BYTES = 65536
_MOST_FILES = 3


def main(control: int, names: Sequence[str]) -> None:
    """Serve until the other end of a socket is closed.

    Args:
        control: The descriptor of the socket.
        names: Modules of flowlib's own that workers are going to need: loaded once, here.
    """
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all workers share is not looked at, and so not copied, by the collector of each
    nursery = _Nursery(socket.socket(fileno=control))
    try:
        nursery.serve()
    finally:
        nursery.clear()
        os._exit(0)


class _Nursery:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, list[int]] = {}
        """The living workers, and whoever belonged to them when they were asked to end."""
        self._deadlines: dict[int, float] = {}
        self._directories: list[str] = []
        self._rest = b""
        self._is_over = False
        self._pid = os.getpid()

    def serve(self) -> None:
        adopt_orphans()
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        self._signals = (read_end, write_end)
        while not self._is_over:
            waited_for: list[Any] = [self._control, read_end]
            ready, _, _ = select.select(waited_for, [], [], self._patience_s())
            if read_end in ready:
                os.read(read_end, _MOST_BYTES)
            self._reap()
            self._end_overdue()
            if self._control in ready:
                self._take()

    def clear(self) -> None:
        """End everybody and remove what was on its way."""
        for pid, also in self._workers.items():
            end_family(pid, also)
        for process in processes().values():  # adopted: they left their session, their group and their parent
            if process.parent == self._pid and process.pid not in self._workers:
                end_family(process.pid)
        for directory in self._directories:
            remove_directory(Path(directory))

    def _patience_s(self) -> float | None:
        if not self._deadlines:
            return None
        return max(0.0, min(self._deadlines.values()) - _now())

    def _take(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _MOST_BYTES, _MOST_FILES)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._is_over = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, *rest = line.decode("utf-8", "surrogateescape").split(" ", 2)
            if word == "make":
                self._make(rest[0], rest[1], descriptors)
            elif word == "end":
                self._begin_end(int(rest[0]), int(rest[1]) / 1000)
            elif word == "files":
                self._directories.append(" ".join(rest))
            elif word == "removed":
                with contextlib.suppress(ValueError):
                    self._directories.remove(" ".join(rest))
            elif word == "place":
                for target, descriptor in zip((1, 2), descriptors, strict=False):
                    os.dup2(descriptor, target)
                    os.close(descriptor)

    def _make(self, number: str, name: str, descriptors: Sequence[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker(name, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._workers[pid] = []
        self._say(f"made {number} {pid}")

    def _become_worker(self, name: str, descriptors: Sequence[int]) -> None:
        status = 70
        try:
            die_with_parent()
            if os.getppid() != self._pid:
                os._exit(status)
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            self._control.close()
            for descriptor in self._signals:
                os.close(descriptor)
            serve(socket.socket(fileno=descriptors[0]), descriptors[1], name)
            status = 0
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _begin_end(self, pid: int, grace_s: float) -> None:
        if pid not in self._workers:
            return
        if grace_s <= 0:
            end_family(pid, self._workers[pid])
            return
        self._workers[pid] = signal_family(pid, signal.SIGTERM)
        self._deadlines[pid] = _now() + grace_s

    def _end_overdue(self) -> None:
        now = _now()
        for pid, deadline in [*self._deadlines.items()]:
            if deadline <= now:
                del self._deadlines[pid]
                end_family(pid, self._workers.get(pid, ()))

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._workers:  # still in the table: what belongs to it can be told
                self._deadlines.pop(pid, None)
                for other in {one.pid for one in family(pid)} | set(self._workers.pop(pid)):
                    if other != pid:
                        end_family(other)
                _, status, usage = os.wait4(pid, 0)
                peak_kb = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
                self._say(f"died {pid} {os.waitstatus_to_exitcode(status)} {peak_kb}")
            else:
                os.waitpid(pid, 0)

    def _say(self, line: str) -> None:
        try:
            self._control.sendall(line.encode() + b"\n")
        except OSError:
            self._is_over = True
