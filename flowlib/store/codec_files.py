"""Files as values: `File` and `Dir`, alone or anywhere inside a pickled value.

Theory of operation: encoding copies the contents into the store, as blobs of their own, and notes path, digest and
permission bits of each file in a manifest. Decoding first makes the files what they were: a missing one is written
again, one that has changed is moved aside and written again. Only then does the value come into being.

Invariant: nothing of a user's is ever deleted or overwritten: what stands in the way is moved to `bad/`. A directory
that has gained files is not trimmed; its value counts as lost and is made again.

Layout before a pickle: length of the manifest (8 bytes) | manifest | zeros up to a multiple of 64.
"""

import marshal
import os
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from flowlib.hashing.file import Dir, File
from flowlib.ids import Digest
from flowlib.store.base import BlobLost, NotKept

_LENGTH = struct.Struct("<Q")
_ALIGN = 64
_MARSHAL_VERSION = 2

FileNote = tuple[str, str, int]
"""Path (inside a directory: relative to it), digest (of a folder: empty), permission bits."""
Note = tuple[str, str, list[FileNote]]
"""Kind (`file` or `dir`), path as the user wrote it, its files."""


class FileBlobs(Protocol):
    """What codecs need of a blob store."""

    def ingest(self, source: Path) -> Digest:
        """Keep a copy of a file; raises NotKept."""

    def copy_out(self, digest: Digest, target: Path, mode: int) -> None:
        """Write a copy of a blob at a path; raises BlobLost or OSError."""

    def digest_of_file(self, path: Path) -> Digest:
        """Return the digest of a file of the user's; raises OSError."""

    def make_path(self, path: Path) -> None:
        """Create a directory of the user's; raises OSError."""

    def set_aside(self, path: Path) -> None:
        """Move a file of the user's out of the way, where it can be found again; raises OSError."""


def _note(value: File | Dir, blobs: FileBlobs) -> Note:
    root = Path(value.path)
    try:
        if isinstance(value, File):
            return "file", str(value.path), [_note_file(root, "", blobs)]
        return "dir", str(value.path), [_note_file(root / name, name, blobs) for name in _names_under(root)]
    except OSError as error:
        raise NotKept(f"{root} cannot be copied into the cache: {error.strerror or error}") from error


def _note_file(path: Path, name: str, blobs: FileBlobs) -> FileNote:
    real = Path(os.path.realpath(path))
    mode = real.stat().st_mode
    if not stat.S_ISDIR(mode):
        return name, str(blobs.ingest(real)), stat.S_IMODE(mode)
    if path.is_symlink() or not name:
        raise NotKept(f"{path} is a {'link to a directory' if name else 'directory; return flowlib.Dir instead'}")
    return name, "", stat.S_IMODE(mode)


def _names_under(root: Path) -> list[str]:
    """Return the names below a directory, folders before what is in them."""
    if not root.is_dir():
        raise NotADirectoryError(None, "no such directory")
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def encode_file(value: object, blobs: FileBlobs) -> tuple[bytes, tuple[Digest, ...]] | None:
    """Return the manifest of a file or directory and the blobs it names; None for any other value.

    Raises:
        NotKept: A file cannot be read or copied.
    """
    if type(value) is not File and type(value) is not Dir:
        return None
    note = _note(value, blobs)
    return marshal.dumps(note, _MARSHAL_VERSION), _digests([note])


def decode_file(data: memoryview, blobs: FileBlobs) -> object:
    """Restore what is missing or changed, and return the file or directory.

    Raises:
        BlobLost: It cannot be restored.
    """
    note: Note = marshal.loads(data)
    _restore(note, blobs)
    return File(note[1]) if note[0] == "file" else Dir(note[1])


class FilesInside:
    """Collects the files met while a value is pickled."""

    def __init__(self, blobs: FileBlobs) -> None:
        self._blobs = blobs
        self._notes: dict[tuple[type, str], Note] = {}
        self.reducers: dict[type, Callable[[Any], Any]] = {File: self._reduce, Dir: self._reduce}

    def _reduce(self, value: File | Dir) -> Any:
        name = (type(value), str(value.path))
        if name not in self._notes:
            self._notes[name] = _note(value, self._blobs)
        return value.__reduce_ex__(5)

    @property
    def refs(self) -> tuple[Digest, ...]:
        """The blobs of the files met."""
        return _digests(self._notes.values())

    def manifest(self) -> bytes:
        """Return the section that goes before the pickle."""
        notes = marshal.dumps(list(self._notes.values()), _MARSHAL_VERSION) if self._notes else b""
        section = _LENGTH.pack(len(notes)) + notes
        return section + bytes(-len(section) % _ALIGN)


def restore_files(data: memoryview, blobs: FileBlobs) -> memoryview:
    """Restore the files that a manifest lists and return the bytes behind it.

    Raises:
        BlobLost: A file cannot be restored.
    """
    (length,) = _LENGTH.unpack_from(data)
    if length:
        for note in marshal.loads(data[_LENGTH.size : _LENGTH.size + length]):
            _restore(note, blobs)
    end = _LENGTH.size + length
    return data[end + -end % _ALIGN :]


def _digests(notes: Iterable[Note]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(Digest(digest) for _, _, files in notes for _, digest, _ in files if digest))


def _restore(note: Note, blobs: FileBlobs) -> None:
    kind, root, files = note
    try:
        if kind == "dir":
            blobs.make_path(Path(root))
            extra = set(_names_under(Path(root))) - {name for name, _, _ in files}
            if extra:
                raise BlobLost(f"directory {root} has files that do not belong to it: {', '.join(sorted(extra)[:3])}")
        for name, digest, mode in files:
            path = Path(root, name) if name else Path(root)
            if digest:
                _restore_file(path, Digest(digest), mode, blobs)
            else:
                blobs.make_path(path)
    except OSError as error:
        raise BlobLost(f"{root} cannot be restored: {error.strerror or error}") from error


def _restore_file(path: Path, digest: Digest, mode: int, blobs: FileBlobs) -> None:
    if os.path.lexists(path):
        if path.is_file() and blobs.digest_of_file(path) == digest:
            return
        blobs.set_aside(path)
    blobs.copy_out(digest, path, mode)
