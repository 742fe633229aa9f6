"""The cache directory itself: made with its marks, or refused with a reason and what to do.

Layout, format 1:

    .flowlib/          0700; .gitignore with `*`, CACHEDIR.TAG, `format` (a number)
      index/           the database of small records
      entries/         packs: the log the index can be rebuilt from
      blobs/ab/        payloads named by digest
      runs/            one event log a run (written elsewhere)
      leases/          sixteen empty files whose bytes are locked
      tmp/             files being written: <host>.<pid>.<random>
      bad/             quarantine

Invariant: a directory that others could have written to, or that a later flowlib made, is never used.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Literal

import attrs

from flowlib.clock import Clock, SystemClock
from flowlib.errors import StoreTrouble
from flowlib.store.files import Files, NotRegular
from flowlib.store.mac import Mac, load_secret

FORMAT = 1
_OPENING_BYTES = 128 * 1024
"""What SQLite needs before it can do anything."""
_SUBDIRS = ("index", "entries", "blobs", "runs", "leases", "tmp")
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This directory is a cache made by flowlib; backups can leave it out.\n"
    "# https://bford.info/cachedir/\n"
)


@attrs.frozen(kw_only=True)
class StoreOptions:
    """How a store behaves. One of `secret` and `state_dir` has to be given."""

    secret: bytes | None = None
    """The key that authenticates records, of any length; None takes the user's own from `state_dir`."""
    state_dir: Path | None = None
    """Where the user's key lives: a private directory outside the cache."""
    fsync: Literal["off", "batch", "full"] = "batch"
    """When bytes reach the disk: when the system likes, at each flush, or before each call returns."""
    flush_after_s: float = 0.05
    flush_count: int = 1000
    clock: Clock = attrs.field(factory=SystemClock)
    files: Files = attrs.field(factory=Files)


def open_directory(root: Path, options: StoreOptions) -> Mac:
    """Make or check a cache directory and return what authenticates its records.

    Raises:
        StoreTrouble: It cannot be used as it is; the hint says what to do.
    """
    files = options.files
    try:
        _make_root(root, files)
        _check_root(root, files)
        _check_format(root, files)
        for name in _SUBDIRS:
            files.make_dir(root / name)
        _write_marks(root, files)
    except StoreTrouble:
        raise
    except NotRegular as error:
        raise unusable(root, str(error), "Move it away, or choose another directory with cache=.") from error
    except OSError as error:
        raise unusable(
            root, error.strerror or str(error), "Make it writable, or choose another directory with cache=."
        ) from error
    return Mac(_secret(root, options))


def unusable(root: Path, reason: str, hint: str) -> StoreTrouble:
    """Return the one error that says a cache directory cannot be used."""
    return StoreTrouble("The cache directory cannot be used.", {"directory": root, "reason": reason}, hint)


def no_index(root: Path, error: Exception, files: Files) -> StoreTrouble:
    """Return the error for a directory whose index cannot be opened: SQLite does not say that it is for want of space."""
    if files.free_bytes(root) >= _OPENING_BYTES:
        return unusable(root, str(error), "Free space or repair permissions, or choose another directory.")
    hint = "Free space: `runs` and `bad` in it may be deleted, or all of it at the price of computing again."
    return unusable(root, f"no space is left on its disk ({error})", hint)


def _make_root(root: Path, files: Files) -> None:
    if not os.path.lexists(root):
        files.make_path(root.parent)
        files.make_dir(root)


def _check_root(root: Path, files: Files) -> None:
    status = root.stat()  # the directory itself may be a link to a larger disk
    if not stat.S_ISDIR(status.st_mode):
        raise unusable(root, "it is a file", "Remove it, or choose another directory with cache=.")
    if status.st_uid != os.geteuid():
        raise unusable(
            root, f"it belongs to user {status.st_uid}, not to you", "Choose a directory of your own with cache=."
        )
    if status.st_mode & 0o022:
        raise unusable(root, "others may write to it", f"Run: chmod go-w '{root}'")
    probe = root / f".probe.{os.getpid()}.{os.urandom(4).hex()}"
    files.close(files.create(probe))
    files.remove(probe)


def _check_format(root: Path, files: Files) -> None:
    try:
        descriptor, n_bytes = files.open_read(root / "format")
    except FileNotFoundError:
        return
    try:
        text = bytes(files.read(descriptor, min(n_bytes, 20))).decode("ascii", "replace").strip()
    finally:
        files.close(descriptor)
    if text.isdecimal() and int(text) > FORMAT:
        raise unusable(
            root,
            f"it has format {text}; this flowlib writes format {FORMAT}",
            "Use the flowlib that made it, or choose another directory with cache=.",
        )
    if text != str(FORMAT):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            files.remove(root / "format")  # torn by a crash, or damaged: written anew below


def _write_marks(root: Path, files: Files) -> None:
    for name, text in (("format", f"{FORMAT}\n"), (".gitignore", "*\n"), ("CACHEDIR.TAG", _TAG)):
        if not os.path.lexists(root / name):
            _write_whole(root / name, text, files)


def _write_whole(path: Path, text: str, files: Files) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = files.create(fresh)
    try:
        files.write(descriptor, [text.encode()])
        files.rename(fresh, path)
    finally:
        files.close(descriptor)


def _secret(root: Path, options: StoreOptions) -> bytes:
    if options.secret is not None:
        return options.secret
    if options.state_dir is None:
        raise unusable(root, "no key is given", "Pass StoreOptions(secret=...) or StoreOptions(state_dir=...).")
    if options.state_dir.resolve().is_relative_to(root.resolve()):
        raise unusable(root, "its key would lie inside it", "Choose a state directory outside the cache.")
    return load_secret(options.state_dir, options.files)
