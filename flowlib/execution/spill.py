"""Files for large values that are on their way between processes and are not stored.

Theory of operation: a value's bytes are written once, under their digest, and mapped by whoever needs them; the memory of
the machine (`/dev/shm`) is taken while there is plenty of it, else the disk. One process owns the directory and removes it;
should it die, whoever watches over its workers does.
"""

import os
from pathlib import Path
from typing import Any

from flowlib.hashing.digest import digest_bytes
from flowlib.store.files import Files

_ENOUGH_BYTES = 1 << 30
"""Free memory from which on large values go there."""


class SpillDirectory:
    """A private directory for large values.

    Args:
        root: Where it is.
        shares: Whether a file that is in use is used again for the same bytes. Not for one whose reader removes it.
    """

    def __init__(self, root: Path, *, shares: bool = True) -> None:
        self.root, self._shares = root, shares
        self._files = Files()
        self._uses: dict[str, int] = {}

    def keep(self, data: Any) -> str:
        """Write a buffer and return the path of its file.

        Raises:
            OSError: There is no room.
        """
        view = memoryview(data).cast("B")
        path = self.root / (digest_bytes(view) if self._shares else f"{os.getpid()}.{os.urandom(8).hex()}")
        name = str(path)
        if not self._uses.get(name):
            fresh = path.with_suffix(f".{os.urandom(4).hex()}")
            descriptor = self._files.create(fresh)
            try:
                self._files.write(descriptor, [view])
            except BaseException:
                self._files.remove(fresh)
                raise
            finally:
                self._files.close(descriptor)
            self._files.rename(fresh, path)
        if self._shares:
            self._uses[name] = self._uses.get(name, 0) + 1
        return name

    def release(self, name: str) -> None:
        """Remove a file that nobody needs any more."""
        left = self._uses.get(name, 0) - 1
        if left > 0:
            self._uses[name] = left
            return
        self._uses.pop(name, None)
        remove_file(Path(name))

    def remove(self) -> None:
        """Remove the directory and all that is in it. Never raises."""
        remove_directory(self.root)


def remove_file(path: Path) -> None:
    """Remove a file. Never raises."""
    try:
        Files().remove(path)
    except OSError:
        return


def remove_directory(root: Path) -> None:
    """Remove a directory and the files in it. Never raises."""
    files = Files()
    try:
        for name in files.names(root):
            remove_file(root / name)
        files.remove_dir(root)
    except OSError:
        return


def spill_directory(elsewhere: Path) -> SpillDirectory:
    """Make a private directory in memory, or elsewhere if there is little room in it.

    Raises:
        OSError: There is room nowhere.
    """
    name = f"flowlib-{os.getuid()}-{os.getpid()}-{os.urandom(4).hex()}"
    memory = Path("/dev/shm")
    for base in (memory, elsewhere):
        try:
            if base == memory and _free_bytes(base) < _ENOUGH_BYTES:
                continue
            Files().make_dir(base / name)
        except OSError:
            if base == elsewhere:
                raise
            continue
        return SpillDirectory(base / name)
    raise OSError("no room for large values")


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
