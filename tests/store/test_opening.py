"""A cache directory is made private and marked, or refused with a reason and what to do."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowlib.errors import StoreTrouble
from flowlib.store.base import Entry
from flowlib.store.files import Files
from flowlib.store.index import IndexBusy
from flowlib.store.local import LocalStore, StoreOptions, open_store


def modes(root: Path) -> dict[str, set[int]]:
    """Return the permission bits in use, of directories and of files."""
    found: dict[str, set[int]] = {"dirs": set(), "files": set()}
    for path in [root, *root.rglob("*")]:
        found["dirs" if path.is_dir() else "files"].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(
    root: Path, options: StoreOptions, entry_of: Callable[..., Entry], umask: int
) -> None:
    """Directories 0700, files 0600, complete blobs 0400."""
    old = os.umask(umask)
    try:
        store = open_store(root, options)
        store.put(entry_of(1, store.encode(b"x" * 9000)))
        store.flush()
        path = store.blobs.path_of(store.encode(b"y" * 9000).content)
        path.chmod(0o600)
        path.write_bytes(b"damage")
        path.chmod(0o400)
        assert store.blobs.quarantine(path) == " (moved to bad/)"
        found = modes(root)
        store.close()
    finally:
        os.umask(old)

    assert found == {"dirs": {0o700}, "files": {0o600, 0o400}}


def test_the_directory_is_marked_as_a_cache(store: LocalStore, root: Path) -> None:
    """Version control and backups leave it alone; other versions know what it is."""
    assert (root / ".gitignore").read_text() == "*\n"
    assert (root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (root / "format").read_text() == "1\n"


def test_missing_parents_are_made(tmp_path: Path, options: StoreOptions) -> None:
    """A path given by the user need not exist."""
    open_store(tmp_path / "a" / "b" / "cache", options).close()

    assert (tmp_path / "a" / "b" / "cache" / "format").exists()


def test_a_link_to_a_directory_of_ones_own_is_followed(tmp_path: Path, options: StoreOptions) -> None:
    """People put caches on larger disks."""
    (tmp_path / "large").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "large")

    open_store(tmp_path / "cache", options).close()

    assert (tmp_path / "large" / "format").exists()


def refuse(root: Path, options: StoreOptions) -> StoreTrouble:
    """Try to open; return the error, which names the path and has a hint."""
    with pytest.raises(StoreTrouble) as caught:
        open_store(root, options)
    assert str(root) in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_directory_open_to_others_is_refused(root: Path, options: StoreOptions, mode: int) -> None:
    """They could have put anything there."""
    root.mkdir()
    root.chmod(mode)

    assert "chmod go-w" in refuse(root, options).hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a directory of somebody else")
def test_a_directory_of_somebody_else_is_refused(root: Path, options: StoreOptions) -> None:
    """Even when it could be written."""
    root.mkdir(mode=0o700)
    os.chown(root, 65534, -1)

    assert "belongs to user 65534" in str(refuse(root, options))


def test_a_file_in_its_place_is_refused(root: Path, options: StoreOptions) -> None:
    """And left as it is."""
    root.write_text("precious")

    assert "it is a file" in str(refuse(root, options))
    assert root.read_text() == "precious"


def test_a_later_format_is_refused_and_untouched(store: LocalStore, root: Path, options: StoreOptions) -> None:
    """An older flowlib does not write into what it does not understand."""
    store.close()
    (root / "format").write_text("2\n")

    assert "format 2" in str(refuse(root, options))
    assert (root / "format").read_text() == "2\n"


def test_a_torn_format_number_that_another_process_removes(
    store: LocalStore, root: Path, opened: Callable[..., LocalStore], faulty_files: Any
) -> None:
    """Two processes find it at the same time."""
    store.close()
    (root / "format").write_text("")

    def be_slower(_: int, operation: str, arguments: tuple[Any, ...]) -> None:
        if operation == "remove" and arguments == (root / "format",):
            (root / "format").unlink()

    opened(files=faulty_files(be_slower))

    assert (root / "format").read_text().strip() == "1"


@pytest.mark.parametrize("text", ["", "x", "1", "\x00\xff"])
def test_a_torn_format_number_is_written_again(store: LocalStore, root: Path, options: StoreOptions, text: str) -> None:
    """A crash while it was written is no reason to refuse."""
    store.close()
    (root / "format").write_text(text)

    open_store(root, options).close()

    assert (root / "format").read_text().strip() == "1"


@pytest.mark.parametrize("name", ["index", "entries", "blobs", "tmp", "runs", "leases"])
def test_a_link_in_the_place_of_a_part_is_refused(
    store: LocalStore, root: Path, options: StoreOptions, tmp_path: Path, name: str
) -> None:
    """Nothing is ever written outside the directory."""
    store.close()
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())

    assert "not a directory" in str(refuse(root, options))
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


@pytest.mark.parametrize("name", ["format", "leases/0", "index/cache.db"])
@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "socket"])
def test_something_else_in_the_place_of_a_file_neither_hangs_nor_is_followed(
    store: LocalStore,
    root: Path,
    options: StoreOptions,
    tmp_path: Path,
    name: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database heals (it is disposable); for the others the directory is refused."""
    store.close()
    path = root / name
    path.unlink()
    (tmp_path / "target").write_text("precious")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "target")
    elif kind == "directory":
        path.mkdir()
    else:
        monkeypatch.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)

    if name == "index/cache.db":
        again = open_store(root, options)
        assert [kind for kind, _ in again.take_notices()] == ["index-rebuilt"]
        again.close()
    else:
        refuse(root, options)
    assert (tmp_path / "target").read_text() == "precious"


def test_a_key_must_come_from_somewhere(root: Path, options: StoreOptions) -> None:
    """And not from inside the cache: a shipped cache would bring its own."""
    refuse(root, attrs.evolve(options, secret=None))
    refuse(root, attrs.evolve(options, secret=None, state_dir=root / "state"))


def test_opening_twice_in_a_process_shares_everything(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """Two stores on one directory see each other's entries and leases."""
    one, two = opened(), opened()
    entry = entry_of(1, one.encode(1))
    one.put(entry)
    one.flush()
    lease = one.lease(entry.key)

    assert two.find([entry.key]) == {entry.key: entry}
    assert lease is not None
    assert two.lease(entry.key) is None
    two.close()
    assert opened().lease(entry.key) is None


@pytest.mark.parametrize("n_free", [0, 10_000_000])
def test_a_full_disk_is_told_from_other_trouble_of_the_index(
    root: Path, options: StoreOptions, monkeypatch: pytest.MonkeyPatch, n_free: int
) -> None:
    """SQLite only says that it could not read or write; what can be deleted is what helps then."""

    def refuse(*args: object, **options: object) -> None:
        raise IndexBusy("disk I/O error")

    monkeypatch.setattr("flowlib.store.records.Index", refuse)
    monkeypatch.setattr(Files, "free_bytes", lambda self, path: n_free)
    with pytest.raises(StoreTrouble, match="disk I/O error") as trouble:
        open_store(root, options)

    assert ("no space is left" in trouble.value.facts["reason"]) == (n_free == 0)
    assert ("`runs`" in trouble.value.hint) == (n_free == 0)
