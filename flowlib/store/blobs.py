"""Payloads on disk, each under its digest: written once, read-only, verified whenever they are read.

Theory of operation: a blob is written under a temporary name, and only a complete file is renamed to its own name
`blobs/ab/<digest>`; so whatever has the name of a blob was complete once. What a disk or a person did to it later is
found on reading: length and digest must match, else the file goes to `bad/` and the reader is told `BlobLost`.

Invariant: a blob returned by `read` is in memory that belongs to the caller alone: a copy, or a private map.
"""

import itertools
import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flowlib.hashing.digest import StreamHasher, digest_bytes, is_digest, size_bytes
from flowlib.ids import Digest
from flowlib.store.base import BlobLost, NotKept
from flowlib.store.files import Buffer, Files, NotRegular
from flowlib.store.unsynced import BEGIN_BYTES, Unsynced

MAP_FROM_BYTES = 64 * 1024
"""Smaller blobs are read into memory: a map costs more than the copy."""
_VERIFY_REUSED_BYTES = 1024 * 1024
_COPY_BYTES = 1024 * 1024
_PIECE_BYTES = 8 * 1024 * 1024
"""How much of a large blob is written before the disk is told to begin with it."""
_MAX_UNSYNCED = 1000


class Blobs:
    """The blobs of one cache directory. Safe for any number of threads and processes.

    `sync` is `off`, `batch` (bytes reach the disk at `make_durable`) or `full` (before `write` returns).
    """

    def __init__(self, root: Path, files: Files, sync: str) -> None:
        self._root, self._files, self._sync = root, files, sync
        self._unsynced = Unsynced(files)
        self._shards: set[str] = set()
        self._top, self._tmp = root / "blobs", root / "tmp"
        self._tmp_prefix = f"{os.uname().nodename}.{os.getpid()}.{os.urandom(8).hex()}"
        self._number = itertools.count()

    def path_of(self, digest: Digest) -> Path:
        """Return where a blob is, or would be.

        Raises:
            BlobLost: It is no digest, so nothing can be there.
        """
        if not is_digest(digest):
            raise BlobLost(f"{digest!r:.80} names no blob")
        return self._top.joinpath(digest.split("-")[1][:2], digest)

    def write(self, parts: Sequence[Buffer], digest: Digest) -> None:
        """Write a blob whose digest is known, unless it is there already.

        Raises:
            NotKept: The operating system refused; the text says why. Nothing incomplete is left under the blob's name.
        """
        try:
            path = self.path_of(digest)
            if not self._is_there(path, digest):
                self._publish(self._write_temporary(parts), path, size_bytes(digest))
        except OSError as error:
            raise NotKept(f"its bytes cannot be written: {error.strerror or error}") from error

    def ingest(self, source: Path) -> Digest:
        """Copy a file into the store and return the digest of the bytes copied.

        Raises:
            NotKept: The file cannot be read, or the copy cannot be written.
        """
        try:
            descriptor, n_bytes = self._files.open_read(source)
            try:
                return self._ingest_open(descriptor, n_bytes)
            finally:
                self._files.close(descriptor)
        except OSError as error:
            raise NotKept(f"the file {source} cannot be copied: {error.strerror or error}") from error

    def _ingest_open(self, source: int, n_bytes: int) -> Digest:
        hasher = StreamHasher()
        temporary, target = self._create_temporary()
        try:
            at = 0
            while chunk := self._files.read(source, _COPY_BYTES, at):
                hasher.update(chunk)
                self._write_piece(target, at, [chunk], len(chunk))
                at += len(chunk)
            digest = hasher.digest()
            self._complete(target)
        except BaseException:
            self._discard(temporary)
            raise
        finally:
            self._files.close(target)
        path = self.path_of(digest)
        if self._is_there(path, digest):
            self._discard(temporary)
        else:
            self._publish(temporary, path, 0)
        return digest

    def read(self, digest: Digest) -> memoryview:
        """Return the verified bytes of a blob, writable and the caller's own. Large ones are mapped, not copied.

        Raises:
            BlobLost: It is missing, or was damaged and is now in quarantine.
        """
        try:
            return self._verified(digest)
        except FileNotFoundError:
            raise BlobLost(f"blob {digest} is missing") from None
        except NotRegular as error:
            raise BlobLost(f"blob {digest} is damaged: {error}{self.quarantine(self.path_of(digest))}") from None
        except OSError as error:
            raise BlobLost(f"blob {digest} cannot be read: {error.strerror or error}") from error

    def check(self, digest: Digest) -> str:
        """Return what is wrong with a blob, `missing` or else, or the empty string. Changes nothing."""
        try:
            self._verified(digest)
        except FileNotFoundError:
            return "missing"
        except (OSError, BlobLost) as error:
            return str(error)
        return ""

    def _verified(self, digest: Digest) -> memoryview:
        """Read a blob; NotRegular says it is damaged."""
        path = self.path_of(digest)
        n_bytes = size_bytes(digest)
        descriptor, found_bytes = self._files.open_read(path)
        try:
            if found_bytes != n_bytes:
                raise NotRegular(f"{found_bytes} bytes instead of {n_bytes}")
            view = self._view(descriptor, n_bytes)
        finally:
            self._files.close(descriptor)
        if not matches(view, digest):
            raise NotRegular("its bytes have changed")
        return view

    def has(self, digest: Digest) -> bool:
        """Say whether a blob of the right length is there."""
        try:
            return self._files.status(self.path_of(digest)).st_size == size_bytes(digest)
        except (OSError, BlobLost):
            return False

    def names(self) -> Iterator[tuple[Path, str]]:
        """Iterate over (path, name) of everything among the blobs, whether it belongs there or not."""
        for shard in self._files.names(self._top):
            directory = self._top / shard
            if self._files.is_dir(directory):
                yield from ((directory / name, name) for name in self._files.names(directory))
            else:
                yield directory, shard

    def _view(self, descriptor: int, n_bytes: int) -> memoryview:
        if n_bytes < MAP_FROM_BYTES:
            return memoryview(self._files.read(descriptor, n_bytes))
        try:
            mapped = self._files.map_private(descriptor, n_bytes)
        except OSError:  # a process may have 65,530 maps
            return memoryview(self._files.read(descriptor, n_bytes))
        if hasattr(mmap, "MADV_WILLNEED"):
            mapped.madvise(mmap.MADV_WILLNEED)
        return memoryview(mapped)

    def copy_out(self, digest: Digest, target: Path, mode: int) -> None:
        """Write a copy of a blob at a path of the user's, at once: readers see the old file or the whole new one.

        Raises:
            BlobLost: The blob is missing or damaged.
            OSError: The copy cannot be written.
        """
        view = self.read(digest)
        self._files.make_path(target.parent)
        fresh = target.with_name(f".{target.name[:100]}.{os.urandom(6).hex()}")
        descriptor = self._files.create(fresh)
        try:
            self._files.write(descriptor, [view])
            self._files.set_mode(fresh, mode)
            self._files.rename(fresh, target)
        except BaseException:
            self._discard(fresh)
            raise
        finally:
            self._files.close(descriptor)

    def digest_of_file(self, path: Path) -> Digest:
        """Return the digest of a file of the user's.

        Raises:
            OSError: It cannot be read.
        """
        hasher = StreamHasher()
        descriptor, _ = self._files.open_read(Path(os.path.realpath(path)))
        try:
            at = 0
            while chunk := self._files.read(descriptor, _COPY_BYTES, at):
                hasher.update(chunk)
                at += len(chunk)
        finally:
            self._files.close(descriptor)
        return hasher.digest()

    def make_path(self, path: Path) -> None:
        """Create a directory of the user's.

        Raises:
            OSError: It cannot be made.
        """
        self._files.make_path(path)

    def set_aside(self, path: Path) -> None:
        """Move a file of the user's to `bad/`, which may be on another disk.

        Raises:
            OSError: It cannot be moved.
        """
        self._files.make_dir(self._root / "bad")
        self._files.move(path, self._root / "bad" / f"{path.name}.{os.urandom(3).hex()}")

    @property
    def n_unsynced(self) -> int:
        """How many blobs a call of `make_durable` would have to wait for."""
        return len(self._unsynced)

    def make_durable(self) -> None:
        """Wait until every blob written so far is on the disk.

        Raises:
            OSError: A blob cannot be brought to the disk; the next call tries again.

        Cost: a wait for the disk, and about 0.1 ms of work a blob written since the last call.
        """
        self._unsynced.sync()

    def written_elsewhere(self, digests: Iterable[Digest]) -> None:
        """Take note of blobs that another process has written, so that `make_durable` covers them."""
        if self._sync == "batch":
            for path in map(self.path_of, digests):
                self._unsynced.add(path, path.parent, is_begun=False)

    def quarantine(self, path: Path) -> str:
        """Move a damaged file aside and return the end of a sentence that says so. Never raises."""
        bad = self._root / "bad"
        try:
            self._files.make_dir(bad)
            self._files.rename(path, bad / f"{path.name}.{os.urandom(3).hex()}")
        except OSError as error:
            return f" (it could not be moved to bad/: {error.strerror or error})"
        return " (moved to bad/)"

    def _is_there(self, path: Path, digest: Digest) -> bool:
        """Say whether a blob can be reused. Small ones are read again, for others the length has to do until a read."""
        try:
            status = self._files.status(path)
        except FileNotFoundError:
            return False
        n_bytes = size_bytes(digest)
        if status.st_size == n_bytes and stat.S_ISREG(status.st_mode):
            try:
                if n_bytes <= _VERIFY_REUSED_BYTES:
                    self.read(digest)
                self._files.freshen(path)
            except (BlobLost, FileNotFoundError):
                return False
            return True
        self.quarantine(path)
        return False

    def _write_temporary(self, parts: Sequence[Buffer]) -> Path:
        path, descriptor = self._create_temporary()
        try:
            at = 0
            for piece, n_bytes in _pieces(parts):
                self._write_piece(descriptor, at, piece, n_bytes)
                at += n_bytes
            self._complete(descriptor)
        except BaseException:
            self._discard(path)
            raise
        finally:
            self._files.close(descriptor)
        return path

    def _write_piece(self, descriptor: int, at: int, piece: Sequence[Buffer], n_bytes: int) -> None:
        self._files.write(descriptor, piece)
        if n_bytes >= BEGIN_BYTES and self._sync != "off":
            self._files.begin_sync(descriptor, at, n_bytes)

    def _complete(self, descriptor: int) -> None:
        if self._sync == "full":
            self._files.sync(descriptor)
        self._files.make_read_only(descriptor)

    def _publish(self, temporary: Path, path: Path, n_bytes_begun: int) -> None:
        try:
            shard = path.parent
            if shard.name not in self._shards:
                self._make_shard(shard)
            try:
                self._files.rename(temporary, path)
            except FileNotFoundError:  # the directory was removed behind our back
                self._make_shard(shard)
                self._files.rename(temporary, path)
        except BaseException:
            self._discard(temporary)
            raise
        if self._sync == "full":
            self._files.sync_path(shard)
        elif self._sync == "batch":
            n_unsynced = self._unsynced.add(path, shard, is_begun=n_bytes_begun >= BEGIN_BYTES)
            if n_unsynced >= _MAX_UNSYNCED:
                self.make_durable()

    def _make_shard(self, shard: Path) -> None:
        try:
            self._files.make_dir(shard)
        except FileNotFoundError:
            self._files.make_dir(shard.parent)
            self._files.make_dir(shard)
        self._shards.add(shard.name)

    def _create_temporary(self) -> tuple[Path, int]:
        path = self._tmp / f"{self._tmp_prefix}-{next(self._number):x}"
        try:
            return path, self._files.create_incomplete(path)
        except FileNotFoundError:
            self._files.make_dir(path.parent)
            return path, self._files.create_incomplete(path)

    def _discard(self, path: Path) -> None:
        try:
            self._files.remove(path)
        except OSError:
            return  # `gc` removes what dead processes leave


def _pieces(parts: Sequence[Buffer]) -> Iterator[tuple[Sequence[Buffer], int]]:
    """Cut the parts of a blob, in order, into what is written at once: all of a small one, a few MB of a large one."""
    views = [memoryview(part).cast("B") for part in parts]
    n_bytes = sum(map(len, views))
    if n_bytes <= _PIECE_BYTES:
        yield views, n_bytes
        return
    for view in views:
        for start in range(0, len(view), _PIECE_BYTES):
            piece = view[start : start + _PIECE_BYTES]
            yield [piece], len(piece)


def matches(view: memoryview, digest: Digest) -> bool:
    """Say whether bytes are the ones a digest names, whichever algorithm it names."""
    return digest_bytes(view, inert=not digest.startswith("sha256-")) == digest
