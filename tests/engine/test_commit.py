"""When results are committed, and what a run does meanwhile."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import flowlib as fl
from flowlib.store.files import Files
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.store.memory import MemoryStore
from flowlib.testing import EventLog

PATIENCE_S = 30


def test_a_run_goes_on_while_results_are_on_their_way_to_the_disk(tmp_path: Any) -> None:
    """The second task runs, and needs the first one's result, before that has arrived there."""
    ran_second = threading.Event()

    class SlowDisk(Files):
        def sync_path(self, path: Any) -> None:
            assert ran_second.wait(PATIENCE_S)
            super().sync_path(path)

    @fl.task
    def first(n: int) -> bytes:
        return bytes(n)

    @fl.task
    def second(data: bytes) -> int:
        ran_second.set()
        return len(data)

    options = StoreOptions(secret=b"secret", fsync="batch", flush_count=1, files=SlowDisk())
    store = open_store(tmp_path / "cache", options)
    try:
        assert fl.run(second(first(10_000)), cache=store, progress=False) == 10_000
    finally:
        store.close()

    again: LocalStore = open_store(tmp_path / "cache", StoreOptions(secret=b"secret"))
    log = EventLog()
    assert fl.run(second(first(10_000)), cache=again, progress=False, observers=[log]) == 10_000
    assert log.ran == []
    again.close()


class SlowStore(MemoryStore):
    """Says that a commit is over when it was asked about it a few times, or made to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.n_looks = 0
        self.story: list[str] = []

    def flush_soon(self) -> Callable[[], bool]:
        self.n_looks = 0
        self.story.append("begun")

        def is_done() -> bool:
            self.n_looks += 1
            if self.n_looks == 4:
                self.story.append("done")
            return self.n_looks >= 4

        return is_done

    def release_many(self, leases: Any) -> None:
        leases = list(leases)
        if leases:
            self.story.append("released")
        super().release_many(leases)


def test_leases_go_back_only_when_the_commit_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for one has to find the result; and one commit is made at a time."""
    monkeypatch.setattr("flowlib.engine.commit.FLUSH_S", 0.0)
    store = SlowStore()

    @fl.task
    def double(n: int) -> int:
        return 2 * n

    node: Any = 1
    for _ in range(40):
        node = double(node)
    assert fl.run(node, cache=store, progress=False) == 2**40

    story = " ".join(store.story)
    assert re.fullmatch(r"(begun done released ){2,}(begun )?released", story), story


@fl.task
def add(*values: int) -> int:
    return sum(values)


@fl.task
def grow(value: int) -> Any:
    return [add(value, 1)]


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("n_before", [1, 10, 40])
def test_what_returned_nodes_make_is_kept_although_they_ended_one_by_one(executor: str, n_before: int) -> None:
    """Results of lone quick calls are handed to the store a little later, and what is made of them needs them there."""
    store = MemoryStore()

    def target() -> Any:
        value: Any = add(0)
        for _ in range(n_before):
            value = add(value, 1)
        return grow(value)

    assert fl.run(target(), cache=store, executor=executor, progress=False) == [n_before + 1]

    assert fl.plan(target(), cache=store).n_to_run == 0
