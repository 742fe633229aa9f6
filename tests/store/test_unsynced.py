"""What was written gets to the disk: together, in the right order, and without a gap between two who wait."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlib.store.files import Files
from flowlib.store.unsynced import Unsynced

Log = list[tuple[str, str]]


@pytest.fixture
def logged(faulty_files: Callable[..., Any]) -> tuple[Files, Log]:
    """File operations, and what has been asked of them: (operation, name)."""
    log: Log = []
    return faulty_files(lambda _, operation, args: log.append((operation, args[0].name))), log


def written(directory: Path, *names: str) -> list[Path]:
    """Write files of a few bytes."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(b"content")
    return [directory / name for name in names]


def test_all_are_begun_before_any_is_waited_for_and_directories_come_last_once_each(
    logged: tuple[Files, Log], tmp_path: Path
) -> None:
    """The order that lets the file system write its journal once. A file that was begun is not begun again."""
    files, log = logged
    unsynced = Unsynced(files)
    one, two = written(tmp_path / "aa", "one", "two")
    (three,) = written(tmp_path / "bb", "three")
    for path, is_begun in [(one, False), (two, True), (three, False)]:
        unsynced.add(path, path.parent, is_begun=is_begun)

    unsynced.sync()

    begun = [("begin_sync_path", "one"), ("begin_sync_path", "three")]
    assert log == begun + [("sync_path", name) for name in ("one", "two", "three", "aa", "bb")]
    unsynced.sync()
    assert len(log) == 7


def test_what_has_gone_meanwhile_holds_up_nothing(logged: tuple[Files, Log], tmp_path: Path) -> None:
    """A collector may have removed a file, or a reader put it in quarantine."""
    files, log = logged
    unsynced = Unsynced(files)
    for path in written(tmp_path / "aa", "gone", "there"):
        unsynced.add(path, path.parent, is_begun=False)
    (tmp_path / "aa" / "gone").unlink()

    unsynced.sync()

    assert log[-3:] == [("sync_path", "gone"), ("sync_path", "there"), ("sync_path", "aa")]


def test_after_a_failure_all_of_it_is_tried_again(faulty_files: Callable[..., Any], tmp_path: Path) -> None:
    """What was added meanwhile comes after it."""
    synced: list[str] = []

    def refuse_once(_: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "sync_path":
            synced.append(args[0].name)
            if synced == ["one", "two"]:
                raise OSError(5, "Input/output error")

    unsynced = Unsynced(faulty_files(refuse_once))
    one, two, three = written(tmp_path / "aa", "one", "two", "three")
    unsynced.add(one, one.parent, is_begun=True)
    unsynced.add(two, two.parent, is_begun=True)

    with pytest.raises(OSError, match="Input/output"):
        unsynced.sync()
    unsynced.add(three, three.parent, is_begun=True)
    unsynced.sync()

    assert synced == ["one", "two", "one", "two", "three", "aa"]


def test_who_syncs_second_returns_only_when_what_the_first_took_is_on_the_disk(
    faulty_files: Callable[..., Any], tmp_path: Path
) -> None:
    """Otherwise entries would be committed before the blobs they name, because another thread has these in hand."""
    in_hand, may_go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def hold(_: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "sync_path" and args[0].name == "one":
            in_hand.set()
            assert may_go_on.wait(10)
            order.append("one is on the disk")

    unsynced = Unsynced(faulty_files(hold))
    (one,) = written(tmp_path / "aa", "one")
    unsynced.add(one, one.parent, is_begun=True)
    first = threading.Thread(target=unsynced.sync)
    first.start()
    assert in_hand.wait(10)

    def sync_second() -> None:
        unsynced.sync()
        order.append("the second returned")

    second = threading.Thread(target=sync_second)
    second.start()
    may_go_on.set()
    first.join()
    second.join()

    assert order == ["one is on the disk", "the second returned"]
