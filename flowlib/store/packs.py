"""The log behind the index: every committed record, appended to a file, so that a lost index costs only time.

Theory of operation: each writing process appends to a pack of its own, held by a lock that dies with the process. A
flush appends its records here first and to the index second. The index notes how far into each pack it has got; what
lies beyond is replayed when the cache is opened, and everything is when the index is gone.

Layout of a frame: magic (4 bytes) | kind (1) | length of the name (2), of the record (4) | CRC-32 (4) | name | record.
Kinds: `p` a record was put under a name (the record is sealed, see `mac`), `d` the record with this seal was removed.
A frame that does not hold together (torn by a crash, damaged) is skipped: reading goes on at the next magic. The CRC
only serves that, so that a torn frame does not swallow the ones behind it.

Invariant: nothing is believed here. A reader checks the seal of every record, as it does for the index.
"""

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from flowlib.store.files import Files, NotRegular

_MAGIC = b"\xf1pk\x01"
_HEAD = struct.Struct("<4scHII")
MAX_PACK_BYTES = 64 * 1024 * 1024
_MANY_NAMES = 100
"""A collection locks whatever pack it finds, so it may get hold of a new one before its writer does."""
SUFFIX = ".pack"


@attrs.frozen
class Frame:
    """One change: `record` was put under `name`, or (`removed`) the record that begins like it was taken away."""

    name: str
    record: bytes
    removed: bool = False


def encode_frames(frames: Iterable[Frame]) -> bytes:
    """Return the bytes of frames, in order."""
    return b"".join(
        [part for frame in frames for part in _frame(frame.name, frame.record, b"d" if frame.removed else b"p")]
    )


def encode_puts(records: Mapping[str, bytes]) -> bytes:
    """Return the bytes of frames that put records under their names. Cost: 1 us a record."""
    parts: list[bytes] = []
    for name, record in records.items():
        parts += _frame(name, record, b"p")
    return b"".join(parts)


def _frame(name: str, record: bytes, kind: bytes) -> tuple[bytes, bytes, bytes]:
    label = name.encode() if name.isascii() else name.encode("utf-8", "surrogatepass")
    crc = zlib.crc32(record, zlib.crc32(label))
    return _HEAD.pack(_MAGIC, kind, len(label), len(record), crc), label, record


def decode_frames(data: bytes | bytearray) -> tuple[list[Frame], int]:
    """Return the whole frames in `data`, and where the last of them ends."""
    frames: list[Frame] = []
    at, end = 0, 0
    while (at := data.find(_MAGIC, at)) >= 0 and at + _HEAD.size <= len(data):
        _, kind, name_bytes, record_bytes, crc = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        stop = start + name_bytes + record_bytes
        frame = None
        if kind in b"pd" and stop <= len(data) and zlib.crc32(data[start:stop]) == crc:
            frame = _decode_frame(data[start : start + name_bytes], data[start + name_bytes : stop], kind)
        if frame is None:
            at += 1
            continue
        frames.append(frame)
        at = end = stop
    return frames, end


def _decode_frame(name: bytes | bytearray, record: bytes | bytearray, kind: bytes) -> Frame | None:
    try:
        return Frame(name.decode("utf-8", "surrogatepass"), bytes(record), kind == b"d")
    except UnicodeDecodeError:
        return None


def read_pack(path: Path, files: Files, start: int = 0) -> tuple[list[Frame], int, int]:
    """Return the whole frames of a pack from an offset on, where the last of them ends, and the pack's size in bytes.

    Raises:
        OSError: It cannot be read, or is no ordinary file.
    """
    descriptor, n_bytes = files.open_read(path)
    try:
        data = files.read(descriptor, max(n_bytes - start, 0), start)
    finally:
        files.close(descriptor)
    frames, end = decode_frames(data)
    return frames, start + end, n_bytes


def try_lock(descriptor: int) -> bool:
    """Take the lock of a whole file, until its descriptor is closed; False while another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def new_name() -> str:
    """Return a name for a pack that no process on any machine has given before."""
    host = os.uname().nodename.replace("/", "_")[:40]
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"


class PackWriter:
    """Appends frames to a pack no other process writes to. Not thread-safe: the store's commit lock guards it."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files
        self._descriptor = -1
        self._name = ""
        self._n_bytes = 0

    def append(self, data: bytes, clean: dict[str, int], *, sync: bool) -> tuple[str, int]:
        """Append encoded frames and return the pack's name and its size afterwards.

        Args:
            data: What to append, as one write.
            clean: Size of each pack that the index has completely, so that one of them can be written on.
            sync: Wait until the bytes are on the disk.

        Raises:
            OSError: They could not be written. What was written in part is skipped by readers.
        """
        if self._descriptor < 0 or self._n_bytes + len(data) > MAX_PACK_BYTES:
            self.close()
            self._open(clean)
        try:
            self._files.write(self._descriptor, [data])
            if sync:
                self._files.sync(self._descriptor)
        except OSError:
            self.close()  # its tail is torn: go on in another pack
            raise
        self._n_bytes += len(data)
        return self._name, self._n_bytes

    def _open(self, clean: dict[str, int]) -> None:
        self._files.make_dir(self._directory)
        for name in self._files.names(self._directory):
            n_bytes = clean.get(name, -1)
            if 0 <= n_bytes < MAX_PACK_BYTES // 2 and self._take(name, n_bytes):
                return
        for _ in range(_MANY_NAMES):
            if self._take(new_name(), 0):
                return
        raise OSError(errno.EBUSY, "another process holds every new pack")

    def _take(self, name: str, n_bytes: int) -> bool:
        try:
            descriptor = self._files.open_append(self._directory / name)
        except NotRegular:
            return False
        usable = try_lock(descriptor)
        status = os.fstat(descriptor)
        if not usable or status.st_size != n_bytes or not status.st_nlink:  # someone writes, wrote or removed it
            self._files.close(descriptor)
            return False
        self._descriptor, self._name, self._n_bytes = descriptor, name, n_bytes
        return True

    def close(self) -> None:
        """Let go of the pack, for others to write on."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._files.close(descriptor)
