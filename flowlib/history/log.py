"""The event log of a run: `runs/<run-id>.jsonl`, appended to while the run goes on.

Theory of operation: the writer keeps events in memory and appends them in groups, so an event costs the run about a
list append. A batch of events is kept and written as one line, and read as its events. A group goes out when it is
full, when the events themselves say that a second has passed, when the run starts and ends, and when asked, which the
engine does when it has waited for a second or is about to be held up. `kill -9` loses at most the last group and may
tear the last line; a reader passes over a torn tail. While a log is being written its file is locked, so that a reader
can tell a run that goes on from one whose process died; the system drops the lock with the process, whatever way it ends.

Invariant: only whole lines stay in the file. A write that fails half way is cut off again, and what could not be
written is counted and noted in the log itself as soon as writing works again.
Invariant: a log may be used from any thread; runs inside tasks have threads of their own.
Invariant: nothing here raises into a run. `take_error` hands the first error to whoever wants to tell the user.
"""

import contextlib
import errno
import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from flowlib.errors import FileMissing
from flowlib.events import Event, EventBatch, NodesCached, NodesRan, Noticed, RunFinished, RunStarted
from flowlib.history.lines import DamagedLine, decode, encode
from flowlib.ids import RunId

SUFFIX = ".jsonl"
GROUP = 256
"""Events kept before they are written: about 30 kB, one write."""
GROUP_S = 1.0
"""Longest time between two events of one group, so that somebody who watches the file is not kept waiting."""


def log_path(directory: str | os.PathLike[str], run: RunId) -> Path:
    """Return where the log of a run lives inside a `runs` directory."""
    return Path(directory) / f"{run}{SUFFIX}"


class RunLog:
    """An observer that writes each event of one run to its log, and lets go of the file when the run has ended.

    Args:
        directory: the `runs` directory; made (0700) with the first write.
        run: names the file (0600). A file that exists already is never touched.
        group: events kept in memory before they are written together.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     log = RunLog(runs, RunId("r1"))
    ...     log.on_event(Noticed(at=1.0, kind="not-kept", message="disk full"))
    ...     log.close()
    ...     list(read_log(log.path))
    [Noticed(at=1.0, kind='not-kept', message='disk full')]
    """

    def __init__(self, directory: str | os.PathLike[str], run: RunId, *, group: int = GROUP) -> None:
        self.path = log_path(directory, run)
        self._group = group
        self._waiting: list[Event | EventBatch] = []
        self._n_waiting = 0
        self._flushed_at = self._latest_at = float("-inf")
        self._file: int | None = None
        self._size = 0
        self._n_lost = 0
        self._error: Exception | None = None
        self._closed = False
        self._one_at_a_time = threading.RLock()

    def on_event(self, event: Event) -> None:
        """Take one event. Cost: a list append; a group costs one write."""
        with self._one_at_a_time:
            self._take(event, event.at, 1)
            if isinstance(event, RunStarted):
                self._flush()
            elif isinstance(event, RunFinished):
                self.close()

    def is_due(self, now: float) -> bool:
        """Whether something has waited for a second or the clock was set; anybody may then `flush`."""
        return bool(self._waiting) and not 0 <= now - self._flushed_at < GROUP_S

    def on_batch(self, batch: EventBatch) -> None:
        """Take the events of many nodes. Cost: a line, when its group goes out: 0.3 us a node."""
        with self._one_at_a_time:
            self._take(batch, batch.ended_at, batch.n_events)

    def flush(self) -> None:
        """Append what is waiting. Never raises; what cannot be written is counted as lost."""
        with self._one_at_a_time:
            self._flush()

    def close(self) -> None:
        """Write what is waiting and let go of the file. Closing twice is fine."""
        with self._one_at_a_time:
            self._flush()
            self._closed = True
            file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file)

    def take_error(self) -> Exception | None:
        """Return the first error met so far, once; None when all went well or it was taken already."""
        error, self._error = self._error, None
        return error

    def _take(self, said: Event | EventBatch, at: float, n_events: int) -> None:
        if self._closed:
            return
        self._waiting.append(said)
        self._n_waiting += n_events
        self._latest_at = at
        if self._n_waiting >= self._group or self.is_due(at):
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        n_waiting, self._n_waiting = self._n_waiting, 0
        if not waiting or self._closed:
            return
        self._flushed_at = self._latest_at
        if self._n_lost:
            message = f"{self._n_lost} events could not be written here"
            waiting.insert(0, Noticed(at=waiting[0].at, kind="log-incomplete", message=message))
        try:
            self._append("".join([encode(said) + "\n" for said in waiting]).encode("ascii"))
            self._n_lost = 0
        except (OSError, TypeError, ValueError) as error:
            self._n_lost += n_waiting
            self._error = self._error or error

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._open()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def _open(self) -> int:
        os.makedirs(self.path.parent, mode=0o700, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: the log works, `is_live` cannot know
            fcntl.flock(file, fcntl.LOCK_EX)
        return file


def read_log(path: str | os.PathLike[str]) -> Iterator[Event]:
    """Yield the events of a log, oldest first, also while it is being written.

    A torn last line is passed over. Damaged lines before it are passed over too, and each stretch of them is told as
    one `Noticed` of kind `log-damaged` in its place, so that whoever counts knows that counts may be short.

    Raises:
        FileMissing: there is no such log.

    Cost: O(size), one line in memory at a time; 1 us an event where events came in batches, 10 where they came alone.
    """
    n_damaged, at = 0, 0.0
    for line in _whole_lines(path):
        try:
            said = decode(line)
        except DamagedLine:
            n_damaged += 1
            continue
        if n_damaged:
            yield _damage(n_damaged, at)
            n_damaged = 0
        for event in _events_of(said):
            at = event.at
            yield event
    if n_damaged:
        yield _damage(n_damaged, at)


def read_ends(path: str | os.PathLike[str], *, window_bytes: int = 64 * 1024) -> tuple[Event | None, Event | None]:
    """Return the first and the last event of a log without reading what lies between.

    Either is None when its line is missing, damaged, or longer than `window_bytes`. Cost: O(1), two reads.

    Raises:
        FileMissing: there is no such log.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(window_bytes)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - window_bytes))
            tail = file.read()
    except FileNotFoundError:
        raise _missing(path) from None
    first = head[: head.find(b"\n") + 1]
    last = tail[: tail.rfind(b"\n") + 1].rstrip(b"\n").rpartition(b"\n")[2]
    firsts, lasts = _events_of(_decode_or_none(first)), _events_of(_decode_or_none(last))
    return next(firsts, None), next(iter(deque(lasts, maxlen=1)), None)


def is_live(path: str | os.PathLike[str]) -> bool:
    """Tell whether some process still writes this log. Where files cannot be locked the answer is True: nobody knows.

    Raises:
        FileMissing: there is no such log.
    """
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
    return False


def _whole_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        raise _missing(path) from None


def _damage(n_lines: int, at: float) -> Noticed:
    message = f"{n_lines} lines of the log are damaged; counts may be short"
    return Noticed(at=at, kind="log-damaged", message=message)


def _events_of(said: Event | EventBatch | None) -> Iterator[Event]:
    if isinstance(said, NodesRan | NodesCached):
        yield from said.events()
    elif said is not None:
        yield said


def _decode_or_none(line: bytes) -> Event | EventBatch | None:
    try:
        return decode(line)
    except DamagedLine:
        return None


def _missing(path: str | os.PathLike[str]) -> FileMissing:
    return FileMissing("There is no log of this run.", {"path": os.fspath(path)}, "List the runs that have one.")
