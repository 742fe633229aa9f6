"""Files that have been written and may not be on the disk yet, and the wait until they are.

Theory of operation: a file system brings files to the disk together far more cheaply than one by one, because all that
was begun is in one commit of its journal. So first every file is begun, without waiting; then each is waited for, of which
the first wait does the work of all; last come the directories that hold their names. Large files are begun by whoever
writes them, piece by piece: the disk works while the next piece is copied, or the next result computed.

Invariant: when `sync` returns, whatever was added before it was called is on the disk, whoever else is syncing.
"""

import contextlib
import threading
from pathlib import Path

import attrs

from flowlib.store.files import Files

BEGIN_BYTES = 256 * 1024
"""From this size on a file is begun when it is written; smaller ones are begun together."""


@attrs.frozen
class _Written:
    path: Path
    directory: Path
    is_begun: bool


class Unsynced:
    """What one process has written to one cache and not waited for. Safe for any number of threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._adding, self._syncing = threading.Lock(), threading.Lock()
        self._written: list[_Written] = []

    def add(self, path: Path, directory: Path, *, is_begun: bool) -> int:
        """Take note of a file that has its name in `directory`; return how many are noted.

        Args:
            path: The file.
            directory: Where its name has to last, too.
            is_begun: Whether its bytes are on their way to the disk already.
        """
        with self._adding:
            self._written.append(_Written(path, directory, is_begun))
            return len(self._written)

    def __len__(self) -> int:
        return len(self._written)

    def sync(self) -> None:
        """Wait until everything that was added is on the disk.

        Raises:
            OSError: Something cannot be brought there; the next call tries all of it again.

        Cost: a wait for the disk, and a call of the system for each file and each directory.
        """
        with self._syncing:  # who comes second waits for what the first has taken
            with self._adding:
                written, self._written = self._written, []
            try:
                self._sync(written)
            except OSError:
                with self._adding:
                    self._written = written + self._written
                raise

    def _sync(self, written: list[_Written]) -> None:
        for file in written:
            if not file.is_begun:
                with contextlib.suppress(FileNotFoundError):  # collected or quarantined meanwhile, here and below
                    self._files.begin_sync_path(file.path)
        directories = {file.directory.name: file.directory for file in written}
        for path in (*(file.path for file in written), *directories.values()):
            with contextlib.suppress(FileNotFoundError):
                self._files.sync_path(path)
