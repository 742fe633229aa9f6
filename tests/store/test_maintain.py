"""Looking after a cache: what is there, is it sound, and how it gets smaller."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlib.clock import FrozenClock
from flowlib.errors import StoreTrouble
from flowlib.hashing.file import File
from flowlib.ids import Key
from flowlib.store.base import GENERATION, Entry
from flowlib.store.files import Files
from flowlib.store.local import LocalStore
from flowlib.store.maintain import gc, ls, repair, rm, size, verify


@pytest.fixture
def clock() -> FrozenClock:
    """A clock at 10,000 s."""
    return FrozenClock(10_000.0)


@pytest.fixture
def store(opened: Callable[..., LocalStore], clock: FrozenClock) -> LocalStore:
    """A store with a clock that stands still."""
    return opened(clock=clock)


def put(store: LocalStore, entry_of: Callable[..., Entry], number: int, n_bytes: int = 6000, **fields: Any) -> Key:
    """Put one result of `n_bytes`."""
    entry = entry_of(number, store.encode(b"%06d" % number * (n_bytes // 6)), **fields)
    store.put(entry)
    return entry.key


def blobs(store: LocalStore) -> list[Path]:
    """Return the blob files."""
    return sorted((store.root / "blobs").glob("*/*"))


def test_ls_tells_what_is_kept_newest_first(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """All, or of one task, or by the beginning of a key; nothing is decoded for it."""
    keys = [put(store, entry_of, n, task="ab"[n % 2], created_at=float(n)) for n in range(4)]

    assert [kept.key for kept in ls(store)] == keys[::-1]
    assert [kept.key for kept in ls(store, task="a")] == [keys[2], keys[0]]
    assert [kept.key for kept in ls(store, prefix=keys[1][:10])] == [keys[1]]
    assert ls(store)[0].n_bytes == 6000


def test_size_counts_every_byte(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """By kind and in total."""
    for n in range(3):
        put(store, entry_of, n)
    put(store, entry_of, 9, n_bytes=12)
    usage = size(store)

    assert (usage.n_entries, usage.n_blobs, usage.blob_bytes) == (4, 3, 18_000)
    on_disk = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    marks = sum((store.root / name).stat().st_size for name in ("format", ".gitignore", "CACHEDIR.TAG"))
    assert usage.total_bytes == on_disk - marks


def test_verify_finds_each_kind_of_damage_and_changes_nothing(
    store: LocalStore, entry_of: Callable[..., Entry], tmp_path: Path
) -> None:
    """Blobs damaged and missing, records damaged, strays."""
    keys = [put(store, entry_of, n) for n in range(4)]
    assert verify(store).is_sound
    path = {key: store.blobs.path_of(entry.payload.content) for key, entry in store.find(keys).items()}
    path[keys[0]].unlink()
    path[keys[1]].chmod(0o600)
    path[keys[1]].write_bytes(b"short")
    (store.root / "blobs" / "stray").write_bytes(b"x")
    connection = store.records.index.connection
    connection.execute("UPDATE Records SET value = x'01' WHERE name = ?", ("e:" + keys[2],))
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file() and p.parent.name != "index"}

    found = verify(store)

    assert not found.is_sound
    assert found.damaged_entries == (keys[2],)
    assert {key for key, _ in found.incomplete_entries} == {keys[0], keys[1]}
    assert {Path(name).name for name, _ in found.damaged_blobs} == {path[keys[1]].name, "stray"}
    assert before == {
        p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file() and p.parent.name != "index"
    }


def test_repair_drops_what_is_broken_and_restores_what_is_not(
    store: LocalStore, entry_of: Callable[..., Entry]
) -> None:
    """Afterwards the cache is sound; the damaged file is in quarantine, not gone."""
    keys = [put(store, entry_of, n) for n in range(4)]
    store.flush()
    path = {key: store.blobs.path_of(entry.payload.content) for key, entry in store.find(keys).items()}
    path[keys[0]].unlink()
    path[keys[1]].chmod(0o600)
    path[keys[1]].write_bytes(b"short")
    connection = store.records.index.connection
    connection.execute("DELETE FROM Records WHERE name = ?", ("e:" + keys[2],))

    done = repair(store)

    assert (done.is_index_new, done.n_restored, done.n_dropped, done.n_quarantined) == (False, 1, 2, 1)
    assert verify(store).is_sound
    assert set(store.find(keys)) == {keys[2], keys[3]}
    assert [p.read_bytes() for p in (store.root / "bad").iterdir()] == [b"short"]
    assert repair(store).n_dropped == 0


def test_repair_makes_a_new_index_when_the_old_one_is_broken(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """From the log; removed results do not come back."""
    keys = [put(store, entry_of, n, task=f"t{n}") for n in range(4)]
    assert rm(store, task="t1") == 1
    store.records.index.connection.execute("DROP TABLE Records")

    done = repair(store)

    assert (done.is_index_new, done.n_restored) == (True, 3)
    assert set(store.find(keys)) == {keys[0], keys[2], keys[3]}


def test_removed_results_stay_removed(
    store: LocalStore, opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """Also when the index is lost afterwards; and what is computed again is kept again."""
    keys = [put(store, entry_of, n) for n in range(3)]
    assert rm(store, prefix=keys[0][:12]) == 1
    assert set(store.find(keys)) == set(keys[1:])
    store.close()
    shutil.rmtree(store.root / "index")

    again = opened()
    assert set(again.find(keys)) == set(keys[1:])
    put(again, entry_of, 0, created_at=2000.0)
    again.close()
    shutil.rmtree(again.root / "index")

    assert set(opened().find(keys)) == set(keys)


def test_removing_everything_needs_saying_so(store: LocalStore) -> None:
    """No task and no key is a mistake."""
    with pytest.raises(ValueError, match="Give a task"):
        rm(store)


def test_gc_removes_by_age(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """Older than asked, measured from when it was made; expired ones go too; pinned ones stay."""
    keys = [put(store, entry_of, n, created_at=n * 1000.0) for n in range(9)]
    expired = put(store, entry_of, 50, created_at=9999.0, expires_at=9999.5)

    gone = gc(store, older_than_s=6500.0, pinned={keys[0]})

    assert set(gone.keys) == {*keys[1:4], expired}
    assert set(store.find(keys)) == {keys[0], *keys[4:]}
    assert len(blobs(store)) == 6
    assert verify(store).is_sound


def test_gc_keeps_what_saves_most_seconds_for_its_bytes(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """Least seconds per byte go first, until the rest fits."""
    slow = put(store, entry_of, 1, n_bytes=6000, duration_s=100.0)
    large = put(store, entry_of, 2, n_bytes=60_000, duration_s=100.0)
    quick = put(store, entry_of, 3, n_bytes=6000, duration_s=1.0)

    gone = gc(store, max_bytes=10_000)

    assert gone.keys == (quick, large)
    assert list(store.find([slow, large, quick])) == [slow]
    assert gone.n_blobs == 2


def test_gc_counts_a_shared_blob_once(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """It is freed when the last entry that names it goes."""
    payload = store.encode(b"x" * 9000)
    for name in range(5):
        store.put(entry_of(name, payload, duration_s=float(name)))

    assert gc(store, max_bytes=9000).keys == ()
    gone = gc(store, max_bytes=8999)

    assert len(gone.keys) == 5
    assert blobs(store) == []


def test_gc_removes_what_no_run_reaches(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """The caller says which keys its runs reach."""
    keys = [put(store, entry_of, n) for n in range(4)]

    gone = gc(store, reachable={keys[1]}, pinned={keys[2]})

    assert set(gone.keys) == {keys[0], keys[3]}


def test_a_dry_run_only_tells(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """Same keys, nothing touched."""
    keys = [put(store, entry_of, n) for n in range(4)]
    store.flush()

    told = gc(store, max_bytes=13_000, dry_run=True)

    assert set(store.find(keys)) == set(keys)
    assert len(blobs(store)) == 4
    done = gc(store, max_bytes=13_000)
    assert (told.keys, told.n_blobs) == (done.keys, done.n_blobs)


def test_gc_leaves_young_orphans_to_the_run_that_is_writing_them(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """A blob comes before its entry."""
    store = opened()
    payload = store.encode(b"x" * 9000)

    assert gc(store).n_blobs == 0
    store.put(entry_of(1, payload))
    store.flush()
    assert gc(store, grace_s=0.0).n_blobs == 0
    store.encode(b"y" * 9000)
    assert gc(store, grace_s=0.0).n_blobs == 1


def test_gc_keeps_the_contents_of_files_in_values(
    store: LocalStore, entry_of: Callable[..., Entry], tmp_path: Path
) -> None:
    """They are blobs that only a payload's `refs` name."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    payload = store.encode({"model": File(path)})
    store.put(entry_of(1, payload))

    gc(store, grace_s=0.0)

    path.unlink()
    store.load(payload)
    assert path.read_bytes() == b"weights" * 1000


def test_gc_leaves_blobs_alone_while_records_of_another_key_may_need_them(
    store: LocalStore, opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """`trust` may come later."""
    put(store, entry_of, 1)
    store.close()

    assert gc(opened(secret=b"another"), grace_s=0.0).n_blobs == 0


def test_gc_removes_temporary_files_of_dead_processes_only(store: LocalStore) -> None:
    """A living writer is not disturbed."""
    host = os.uname().nodename
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    names = {"dead": f"{host}.{child}.00", "alive": f"{host}.{os.getpid()}.00", "elsewhere": f"other.{child}.00"}
    for name in names.values():
        (store.root / "tmp" / name).write_bytes(b"xx")

    gone = gc(store)

    assert gone.n_files == 1
    assert sorted(os.listdir(store.root / "tmp")) == sorted([names["alive"], names["elsewhere"]])


def test_gc_rewrites_packs_without_what_is_out_of_date(
    store: LocalStore, opened: Callable[..., LocalStore], entry_of: Callable[..., Entry]
) -> None:
    """The log shrinks with the cache, and still restores the index."""
    for round_number in range(20):
        for n in range(10):
            put(store, entry_of, n, n_bytes=3000, created_at=float(round_number))
        store.flush()
    keys = [put(store, entry_of, n, n_bytes=3000) for n in range(10)]
    store.flush()
    before = size(store).log_bytes

    gc(store)

    assert size(store).log_bytes < before / 5
    store.put_texts({"after": "compaction"})
    store.close()
    shutil.rmtree(store.root / "index")
    again = opened()
    assert set(again.find(keys)) == set(keys)
    assert again.texts(["after"]) == {"after": "compaction"}


def test_two_maintainers_never_meet(store: LocalStore, opened: Callable[..., LocalStore]) -> None:
    """The second is told to try later."""
    with store.maintaining(), pytest.raises(StoreTrouble, match="maintains it"):
        gc(opened())

    gc(store)


def test_maintenance_of_a_broken_disk_is_an_error_with_a_reason(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], faulty_files: Callable[..., Any]
) -> None:
    """Here a person waits for an answer: no silent failure."""
    files = faulty_files(lambda *_: None)
    store = opened(files=files)
    put(store, entry_of, 1)
    store.flush()

    def broken(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "write":
            raise OSError(28, "No space left on device")

    files.before = broken

    with pytest.raises(StoreTrouble, match="No space left on device"):
        rm(store, task="fit")
    files.before = lambda *_: None


def test_gc_makes_room_on_a_full_disk(
    opened: Callable[..., LocalStore], entry_of: Callable[..., Entry], faulty_files: Callable[..., Files]
) -> None:
    """Not even a removal can be noted there: the values that are to go, go first."""
    removed: list[Path] = []

    def before(number: int, operation: str, args: tuple[Any, ...]) -> None:
        if operation == "remove" and args[0].parent.parent.name == "blobs":
            removed.append(args[0])
        if operation == "write" and not removed and is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    is_full = False
    store = opened(files=faulty_files(before))
    old = [put(store, entry_of, n, created_at=1.0) for n in range(3)]
    young = put(store, entry_of, 7, created_at=1e12)
    twin = entry_of("twin", store.encode(b"%06d" % 0 * 1000), created_at=1e12)  # needs a blob of one that goes
    store.put(twin)
    store.flush()
    is_full = True

    collected = gc(store, older_than_s=3600.0)

    assert set(collected.keys) == set(old)
    assert collected.n_bytes >= 12_000
    assert {kept.key for kept in ls(store)} == {twin.key, young}
    assert len(removed) == 2
    assert verify(store).is_sound


def test_removing_results_forgets_all_notes(store: LocalStore, entry_of: Callable[..., Entry]) -> None:
    """What was noted about results does not outlive one of them; a removal of nothing changes nothing."""
    put(store, entry_of, 1)
    put(store, entry_of, 2, task="other")
    for remove in (lambda: rm(store, task="fit"), lambda: gc(store, older_than_s=-1.0)):
        store.put_notes({GENERATION: b"1", "recipe:x": b"2"})
        assert rm(store, task="unknown") == 0
        assert len(gc(store).keys) == 0
        assert len(store.notes([GENERATION, "recipe:x"])) == 2
        remove()
        assert store.notes([GENERATION, "recipe:x"]) == {}
    store.close()
