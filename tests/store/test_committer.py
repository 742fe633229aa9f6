"""Commits in a thread: who asks does not wait, and is told the truth about when it is over."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowlib.store.base import Entry
from flowlib.store.committer import Committer
from flowlib.store.local import LocalStore

PATIENCE_S = 30


class Commit:
    """A commit that goes on until it is let go, and how often it was made."""

    def __init__(self) -> None:
        self.n_made = 0
        self.begun, self.may_end = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun.release()
        assert self.may_end.acquire(timeout=PATIENCE_S)
        self.n_made += 1


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for another thread to get there."""
    for _ in range(PATIENCE_S * 1000):
        if is_true():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came true")


def test_many_who_ask_during_a_commit_share_the_next() -> None:
    """And none of them is told that it is over while only the one before is."""
    commit = Commit()
    committer = Committer(commit)

    first = committer.ask()
    assert commit.begun.acquire(timeout=PATIENCE_S)
    others = [committer.ask() for _ in range(5)]
    assert not first()
    commit.may_end.release()
    assert commit.begun.acquire(timeout=PATIENCE_S)

    assert first()
    assert not any(other() for other in others)
    assert committer.is_busy
    commit.may_end.release()
    wait_until(lambda: all(other() for other in others))
    assert commit.n_made == 2
    assert not committer.is_busy


def test_who_asks_is_told_what_went_wrong_once() -> None:
    """An error in the thread is not swallowed, and the next commit is made."""
    errors: list[Exception] = [RuntimeError("a fault of ours")]

    def commit() -> None:
        if errors:
            raise errors.pop()

    committer = Committer(commit)
    is_done = committer.ask()

    with pytest.raises(RuntimeError, match="of ours"):
        wait_until(is_done)
    wait_until(committer.ask())


def test_without_a_thread_the_commit_is_made_by_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower, but not lost."""
    made = []

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert Committer(lambda: made.append(1)).ask()()
    assert made == [1]


def test_a_closed_one_ends_its_thread() -> None:
    """Before it does, it makes the commits that were asked for."""
    commit = Commit()
    committer = Committer(commit)
    is_done = committer.ask()
    assert commit.begun.acquire(timeout=PATIENCE_S)
    (thread,) = [thread for thread in threading.enumerate() if getattr(thread, "_target", None) == committer._serve]

    committer.close()
    commit.may_end.release()
    thread.join(PATIENCE_S)

    assert is_done()
    assert not thread.is_alive()


def test_a_store_does_not_wait_for_the_disk_until_it_is_told_to(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], faulty_files: Callable[..., Any]
) -> None:
    """`put` and `flush_soon` return while a blob is on its way; its entry is found meanwhile, and committed after it."""
    on_its_way, may_arrive = threading.Event(), threading.Event()
    order: list[str] = []

    def hold(_: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "sync_path" and args[0].name.startswith("sha256"):
            on_its_way.set()
            assert may_arrive.wait(PATIENCE_S)
        order.append(operation)

    files = faulty_files(lambda *_: None)
    store = opened(files=files, fsync="batch", flush_count=1)
    files.before = hold
    entry = entry_of(1, store.encode(b"x" * 5000))
    other = opened()

    store.put(entry)
    assert on_its_way.wait(PATIENCE_S)
    is_done = store.flush_soon()

    assert not is_done()
    assert store.find([entry.key]) == {entry.key: entry}
    assert other.find([entry.key]) == {}
    may_arrive.set()
    store.flush()
    assert other.find([entry.key]) == {entry.key: entry}
    wait_until(is_done)
    assert order[order.index("sync_path") :].count("sync") == 1  # of the pack, after the blob
