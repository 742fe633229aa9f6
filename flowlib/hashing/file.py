"""Files and directories as values: `File(path)`, `Dir(path)`.

As Python objects they are their path; as inputs of tasks they are their content. A digest has the base name and the
content of a file, or the relative names and contents below a directory, and nothing of the directories above: moving a
project keeps its results.

Rules of the memo: a digest is kept under device, inode, size and mtime of the file. It is kept only if the mtime was more
than two seconds in the past when the file was read, because a later write within the clock's grain would leave no trace
in `stat` (the "racy timestamp" of git), and only if `stat` said the same before and after reading.
"""

import os
import stat
from pathlib import Path
from typing import IO, Any

import attrs

from flowlib.clock import Clock, SystemClock
from flowlib.errors import FileMissing
from flowlib.hashing.digest import StreamHasher
from flowlib.hashing.encoding import FileMemo, Node, Refused, Walk, named, named_head
from flowlib.ids import Digest

RACY_SECONDS = 2.0
"""The coarsest grain of timestamps in use: FAT counts two seconds."""

_CHUNK_BYTES = 1 << 20
_READ_ATTEMPTS = 3


def _as_path(path: "str | os.PathLike[str]") -> Path:
    return Path(path)


@attrs.frozen(repr=False)
class File:
    """A file as a value: equal by path in Python, by base name and content in the cache.

    >>> File("data/train.csv").name
    'train.csv'
    """

    path: Path = attrs.field(converter=_as_path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """Open the file, as the builtin `open` does."""
        return self.path.open(mode, **options)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text."""
        return self.path.read_text(encoding=encoding)

    def read_bytes(self) -> bytes:
        """Return the content."""
        return self.path.read_bytes()

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


@attrs.frozen(repr=False)
class Dir:
    """A directory as a value: equal by path in Python, by the names and contents below it in the cache.

    >>> import os
    >>> os.fspath(Dir("data"))
    'data'
    """

    path: Path = attrs.field(converter=_as_path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class FileDigests:
    """Digests of files by what `stat` says about them, for the life of a process. A store may persist its own."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, ...], Digest] = {}

    def get(self, key: tuple[int, ...]) -> Digest | None:
        """Return the digest kept under a key, if any."""
        return self._digests.get(key)

    def put(self, key: tuple[int, ...], digest: Digest) -> None:
        """Keep a digest."""
        self._digests[key] = digest


def digest_file(path: Path, memo: FileMemo | None = None, clock: Clock | None = None) -> Digest:
    """Return the digest of a file's content.

    Args:
        path: The file; links are followed.
        memo: Where digests are kept between calls.
        clock: Tells whether a timestamp is too fresh to be trusted.

    Raises:
        FileMissing: There is no file at the path.

    Cost: reading the file once; with a memo that knows it, one `stat`.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError
        known = memo.get(_memo_key(found)) if memo is not None else None
        if known is not None:
            return known
        digest, key, settled = _read(path, clock or SystemClock())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path, "file") from error
    except IsADirectoryError as error:
        unusual = "it is a pipe, a socket or a device, which gives its content once or without end"
        raise _missing(path, "file", "it is a directory" if path.is_dir() else unusual) from error
    if memo is not None and settled:
        memo.put(key, digest)
    return digest


def encode_file(value: File, walk: Walk) -> bytes:
    """Encode a file by its base name and its content."""
    content = digest_file(value.path, walk.files)
    return _content_token("File", value.path.name, content, walk)


def encode_dir(value: Dir, walk: Walk) -> Node:
    """Encode a directory by the relative names and contents of everything below it, empty directories included."""
    if not value.path.is_dir():
        raise _missing(value.path, "directory", "it is a file" if value.path.exists() else "")
    entries = _entries(value, walk)
    return named("flowlib.Dir", [token for _, token in sorted(entries)])


def _entries(value: Dir, walk: Walk) -> list[tuple[bytes, bytes]]:
    """Return (relative name, token as bytes) of everything below a directory. Links to a directory above are not followed."""
    entries: list[tuple[bytes, bytes]] = []
    open_folders: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(value.path, "", frozenset())]
    while open_folders:
        folder, prefix, above = open_folders.pop()
        here = os.stat(folder)
        above |= {(here.st_dev, here.st_ino)}
        for name in os.listdir(folder):
            path, relative = folder / name, prefix + name
            found = _stat(path)
            if found is None:
                token = named_head("flowlib.Link", 0, os.fsencode(relative) + b"\0" + os.fsencode(os.readlink(path)))
            elif stat.S_ISREG(found.st_mode):
                token = _content_token("Entry", relative, digest_file(path, walk.files), walk)
            elif not stat.S_ISDIR(found.st_mode):
                raise Refused(value, f"{relative} in it is neither a file nor a directory")
            elif (found.st_dev, found.st_ino) in above:
                token = named_head("flowlib.Loop", 0, os.fsencode(relative))
            else:
                token = named_head("flowlib.Folder", 0, os.fsencode(relative))
                open_folders.append((path, f"{relative}/", above))
            entries.append((os.fsencode(relative), token))
    return entries


def _content_token(kind: str, name: str, content: Digest, walk: Walk) -> bytes:
    algorithm, _, rest = content.partition("-")
    walk.extra += int(rest.rpartition("-")[2])
    return named_head(f"flowlib.{kind}", 0, os.fsencode(name) + b"\0" + f"{algorithm}-{rest}".encode())


def _read(path: Path, clock: Clock) -> tuple[Digest, tuple[int, ...], bool]:
    """Read a file until `stat` says the same before and after. Returns digest, memo key, whether the memo may keep it."""
    for _ in range(_READ_ATTEMPTS):
        hasher = StreamHasher()
        with path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            started_at = clock.now()
            while chunk := stream.read(_CHUNK_BYTES):
                hasher.update(chunk)
            after = os.fstat(stream.fileno())
        key = _memo_key(before)
        if key == _memo_key(after):
            return hasher.digest(), key, started_at - before.st_mtime_ns / 1e9 > RACY_SECONDS
    return hasher.digest(), key, False


def _memo_key(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def _stat(path: Path) -> os.stat_result | None:
    """Return what a path leads to; None for a link that leads nowhere."""
    try:
        return os.stat(path)
    except OSError:
        if path.is_symlink():
            return None
        raise


def _missing(path: Path, kind: str, reason: str = "") -> FileMissing:
    facts: dict[str, object] = {"path": path, "absolute": os.path.abspath(path)}
    if reason:
        facts["reason"] = reason
    return FileMissing(
        f"There is no {kind} at {str(path)!r}.", facts, "Check the path; it is relative to where Python runs."
    )
