"""Every file operation of the store, in one small class, so that a test can make any single one of them fail or crash.

Invariant: nothing here follows a symbolic link in the last step of a path, waits on a FIFO, or depends on the umask.
Directories are 0700, files 0600 while they are written and 0400 once they are complete.
"""

import errno
import functools
import mmap
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Buffer = bytes | bytearray | memoryview

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "lustre", "9p", "glusterfs", "beegfs", "fuse.sshfs"}
)
_CALL_BYTES = 256 * 1024
"""How much is written in one call. Linux takes as large a piece of memory for its copy as the call is long, and those of a
megabyte are rare: to find and clear one costs up to five times as much as four small ones."""
_SYNC_FILE_RANGE_WRITE = 2
_MAX_PARTS = 512  # below IOV_MAX everywhere


class NotRegular(OSError):
    """The path names something that is not an ordinary file: a link, a directory, a FIFO, a device."""


class Files:
    """The operating system as the store sees it. Stateless; tests replace it by one that fails on purpose."""

    def make_dir(self, path: Path) -> bool:
        """Create a private directory, and say whether it is new.

        Raises:
            NotRegular: Something else is there, a link to a directory included.
        """
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotRegular(f"not a directory: {path}") from None
            return False
        os.chmod(path, 0o700)
        return True

    def make_path(self, path: Path) -> None:
        """Create a directory of the user's and those above it, with the usual modes."""
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet and return its descriptor, open for writing, mode 0600."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def create_incomplete(self, path: Path) -> int:
        """Create a file like `create`, whose mode the umask may narrow until `make_read_only` sets it."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)

    def open_append(self, path: Path) -> int:
        """Open an ordinary file for appending, creating it with mode 0600."""
        descriptor, _ = _open_ordinary(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def open_read(self, path: Path) -> tuple[int, int]:
        """Open an ordinary file for reading; return its descriptor and its size in bytes."""
        return _open_ordinary(path, os.O_RDONLY)

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one after another, however many calls that takes. Cost: 0.3 ms a MB."""
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        while views:
            written = os.writev(descriptor, _first_of(views, _CALL_BYTES))
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]

    def read(self, descriptor: int, n_bytes: int, offset: int = 0) -> bytearray:
        """Return up to `n_bytes` from `offset`, in a buffer of the caller's own."""
        buffer = bytearray(n_bytes)
        view, filled = memoryview(buffer), 0
        while filled < n_bytes:
            got = os.preadv(descriptor, [view[filled:]], offset + filled)
            if not got:
                break
            filled += got
        view.release()
        del buffer[filled:]
        return buffer

    def map_private(self, descriptor: int, n_bytes: int) -> mmap.mmap:
        """Map a file copy-on-write: pages are read when touched, writes never reach the file."""
        return mmap.mmap(descriptor, n_bytes, access=mmap.ACCESS_COPY)

    def begin_sync(self, descriptor: int, offset: int, n_bytes: int) -> None:
        """Let the disk begin with some bytes of a file, so that a later `sync` waits less. May do nothing."""
        _begin_writing(descriptor, offset, n_bytes)

    def begin_sync_path(self, path: Path) -> None:
        """Let the disk begin with the bytes of a file. May do nothing."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
        try:
            _begin_writing(descriptor, 0, 0)
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Wait until a file's bytes are on the disk."""
        os.fsync(descriptor)

    def sync_path(self, path: Path) -> None:
        """Wait until the bytes of a file, or the names in a directory, are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_read_only(self, descriptor: int) -> None:
        """Mark a complete file: mode 0400."""
        os.fchmod(descriptor, 0o400)

    def set_mode(self, path: Path, mode: int) -> None:
        """Set the permission bits of a path."""
        os.chmod(path, mode)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name at once, replacing what had that name."""
        os.rename(source, target)

    def move(self, source: Path, target: Path) -> None:
        """Move a file, to another file system if need be."""
        import shutil

        shutil.move(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; fails if the name is taken."""
        os.link(source, target, follow_symlinks=False)

    def remove(self, path: Path) -> None:
        """Remove a name."""
        os.unlink(path)

    def remove_dir(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def freshen(self, path: Path) -> None:
        """Make a file young again, so that a collector at work leaves it alone."""
        os.utime(path, follow_symlinks=False)

    def status(self, path: Path) -> os.stat_result:
        """Return what `lstat` says."""
        return os.lstat(path)

    def free_bytes(self, path: Path) -> int:
        """Return how many bytes can still be written where a path lies."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def is_ordinary(self, path: Path) -> bool:
        """Say whether a path names an ordinary file, and no link to one."""
        return stat.S_ISREG(os.lstat(path).st_mode)

    def is_dir(self, path: Path) -> bool:
        """Say whether a path names a directory, and no link to one."""
        return stat.S_ISDIR(os.lstat(path).st_mode)

    def names(self, path: Path) -> list[str]:
        """Return the sorted names in a directory; none if it does not exist."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def truncate(self, descriptor: int, n_bytes: int) -> None:
        """Cut an open file to a length."""
        os.ftruncate(descriptor, n_bytes)


def _open_ordinary(path: Path, flags: int) -> tuple[int, int]:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | _FLAGS, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotRegular(f"a symbolic link: {path}") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotRegular(f"not an ordinary file: {path}")
    return descriptor, status.st_size


def _first_of(views: list[memoryview], n_bytes: int) -> list[memoryview]:
    """Return the first bytes of some views, uncopied."""
    first: list[memoryview] = []
    for view in views[:_MAX_PARTS]:
        first.append(view[:n_bytes])
        n_bytes -= len(first[-1])
        if not n_bytes:
            break
    return first


def _begin_writing(descriptor: int, offset: int, n_bytes: int) -> None:
    """Begin to write bytes back, to the end of the file if `n_bytes` is 0. What goes wrong with it, `fsync` tells."""
    call = _sync_file_range()
    if call is not None:
        call(descriptor, offset, n_bytes, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return the system call of that name, which Python does not have; None where Linux is not. Cost: 2 ms, once."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


def is_network_path(path: Path, mounts: str | None = None) -> bool:
    """Say whether a path lies on a network file system, where SQLite's shared-memory log must not be used.

    >>> is_network_path(Path("/data/x"), "host:/export /data nfs4 rw 0 0")
    True
    >>> is_network_path(Path("/data/x"), "/dev/sda1 / ext4 rw 0 0")
    False
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return False
    best, kind, asked = "", "", f"{path}/"
    for line in mounts.splitlines():
        _, point, file_system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and asked.startswith(point if point == "/" else f"{point}/"):
            best, kind = point, file_system
    return kind in _NETWORK
