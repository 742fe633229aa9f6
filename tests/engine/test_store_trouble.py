"""The cache can only save time: whatever happens to it, a run returns its values and says once what was not kept."""

import errno
import os
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock, SystemClock
from flowlib.errors import FlowWarning
from flowlib.events import Noticed
from flowlib.store.files import Files
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.sweep.reduce import collect
from flowlib.sweep.space import grid
from flowlib.testing import EventLog
from tests.engine.programs import PATIENCE_S, run_program

N = 20_000
"""Bytes of a result that is stored as a blob, not inside its entry."""


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def big(x: int) -> bytes:
    return b"%06d" % x * (N // 6)


@fl.task
def bigger(data: bytes) -> bytes:
    return data + data


@fl.task
def size(data: bytes, k: int = 0) -> int:
    return len(data) + k


@fl.task
def table(n: int) -> dict[str, Any]:
    return {"rows": [float(i) for i in range(n)], "name": "t"}


@fl.task
def total(values: list[float], k: int = 0) -> float:
    return sum(values) + k


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def run(target: Any, log: EventLog, cache: Any, **options: Any) -> Any:
    """Run, and remember what was warned of as `log.warned`."""
    log.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return fl.run(target, cache=cache, progress=False, observers=[log], **options)
        finally:
            log.warned = [str(one.message) for one in caught if one.category is FlowWarning]  # type: ignore[attr-defined]


def warned(log: EventLog) -> list[str]:
    found: list[str] = log.warned  # type: ignore[attr-defined]
    return found


def blobs(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "blobs").rglob("*") if path.is_file())


def remove_blobs(cache: Path) -> None:
    for path in blobs(cache):
        path.unlink()


# ---- a directory that cannot be used


def a_file(cache: Path) -> None:
    cache.write_text("not a directory")


def open_to_others(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)


def of_a_later_format(cache: Path) -> None:
    cache.mkdir(0o700)
    (cache / "format").write_text("99\n")


@pytest.mark.parametrize("spoil", [a_file, open_to_others, of_a_later_format])
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_an_unusable_directory_costs_the_cache_only(
    cache: Path, log: EventLog, spoil: Callable[[Path], None], executor: str
) -> None:
    """The run goes on without a cache, says why once, and leaves the directory as it is."""
    spoil(cache)
    for _ in range(2):
        assert run([inc(1), size(big(1))], log, cache, executor=executor) == [2, N - N % 6]
        (message,) = warned(log)
        assert message.startswith("The cache directory cannot be used.")
        assert str(cache) in message
        assert len(log.ran) == 3


def test_a_directory_of_someone_else_is_not_used(cache: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that belongs to another user is never read, because its pickles are code."""
    run(inc(1), log, cache)
    copy = shutil.copytree(cache, cache.with_name("copy"))
    copy.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert run(inc(1), log, copy) == 2
    assert log.ran == ["inc"]
    assert "not to you" in warned(log)[0]


@pytest.mark.parametrize("path", ["/proc/flowlib-cache", "a\0b", "\ud800", "x" * 300])
def test_a_directory_that_cannot_be_made(log: EventLog, path: str) -> None:
    """Nobody can make a directory there, not even the superuser; some texts are no path at all."""
    assert run(inc(1), log, path) == 2
    assert len(warned(log)) == 1


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_a_directory_where_nothing_can_be_written(
    cache: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Read-only, full or broken: the value comes back, once with one notice."""
    run([inc(1), big(1)], log, cache)
    copy = shutil.copytree(cache, cache.with_name("copy"))
    copy.chmod(0o700)

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    for name in ("create", "write", "rename"):
        monkeypatch.setattr(Files, name, refuse)
    assert run([inc(1), inc(2), size(big(2))], log, copy) == [2, 3, N - N % 6]
    assert len(warned(log)) == 1


def test_a_disk_that_fills_up_while_running(cache: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on nothing is kept, which is said once for each task; the values are right, and later runs store again."""
    real_write = Files.write
    is_full = threading.Event()

    def write(self: Files, *args: Any) -> Any:
        if is_full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(self, *args)

    monkeypatch.setattr(Files, "write", write)
    run(big(0), log, cache)
    is_full.set()
    expected = [N - N % 6 + k for k in range(5)]
    assert run([size(big(k), k) for k in range(5)], log, cache) == expected
    assert any("No space left" in message for message in warned(log))
    assert len(warned(log)) <= 3
    is_full.clear()
    assert run([size(big(k), k) for k in range(5)], log, cache) == expected
    assert run([size(big(k), k) for k in range(5)], log, cache) == expected
    assert log.ran == []


FULL = """
import resource, sys, warnings
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
import flowlib as fl

@fl.task
def big(x):
    return b"%06d" % x * 50_000

@fl.task
def size(data):
    return len(data)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(fl.run([size(big(x)) for x in range(4)], cache=sys.argv[1], progress=False))
print(len(caught))
print(*[str(warning.message) for warning in caught], sep="\\n")
"""


@pytest.mark.parametrize(
    "limit", [1000, 200_000, pytest.param(0, marks=pytest.mark.slow), pytest.param(40_000, marks=pytest.mark.slow)]
)
def test_files_may_not_grow(tmp_path: Path, limit: int) -> None:
    """A quota that ends every write at some size: the values come out, with few words, and without traces of failure."""
    lines, errors = run_program(tmp_path / "program.py", FULL, tmp_path / "cache", limit)
    assert lines[0] == "[300000, 300000, 300000, 300000]"
    assert 1 <= int(lines[1]) <= 4
    assert "Traceback" not in errors
    lines, _ = run_program(tmp_path / "program.py", FULL, tmp_path / "cache", 10**9)
    assert lines == ["[300000, 300000, 300000, 300000]", "0", ""] or int(lines[1]) <= 1


# ---- a directory that goes away


def test_a_cache_deleted_between_runs_starts_afresh(cache: Path, log: EventLog) -> None:
    """In the same process, also when somebody else has made the directory again."""
    for make_again in (False, True):
        run([inc(1), big(1)], log, cache)
        shutil.rmtree(cache)
        if make_again:
            cache.mkdir(0o700)
        assert run([inc(1), size(big(1))], log, cache) == [2, N - N % 6]
        assert sorted(log.ran) == ["big", "inc", "size"]
        run([inc(1), size(big(1))], log, cache)
        assert log.ran == []
        shutil.rmtree(cache)


def test_a_cache_deleted_while_running(cache: Path, log: EventLog) -> None:
    """A task that removes the cache directory harms only the cache."""

    @fl.task(cache=False)
    def wipe(data: bytes) -> int:
        shutil.rmtree(cache, ignore_errors=True)
        return 1

    @fl.task
    def use(data: bytes, after: int, k: int) -> int:
        return len(data) + k

    data = big(1)
    wiped = wipe(data)
    assert run([use(data, wiped, k) for k in range(3)], log, cache) == [N - N % 6 + k for k in range(3)]
    assert run([use(data, wiped, k) for k in range(3)], log, cache) == [N - N % 6 + k for k in range(3)]


# ---- damage between runs


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


DAMAGE = [flip, truncate, empty, remove]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_blob_behind_a_hit_runs_its_producer_again(
    cache: Path, log: EventLog, damage: Callable[[Path], None]
) -> None:
    """The consumer that needs it gets it, in the same run; nothing else runs."""
    run(size(big(1)), log, cache)
    for path in blobs(cache):
        damage(path)
    assert run([size(big(1), 5), inc(3)], log, cache) == [N - N % 6 + 5, 4]
    assert sorted(log.finished) == ["big", "inc", "size"]
    assert run([size(big(1), 6)], log, cache) == [N - N % 6 + 6]
    assert log.ran == ["size"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_target_is_made_again(cache: Path, log: EventLog, damage: Callable[[Path], None]) -> None:
    """A target that was a hit and cannot be loaded is computed in the same run, and its reason says so."""
    run(big(1), log, cache)
    for path in blobs(cache):
        damage(path)
    assert len(run(big(1), log, cache)) == N - N % 6
    assert log.ran == ["big"]
    (started,) = [event for event in log.events if type(event).__name__ == "NodeStarted"]
    assert started.reasons == ("result missing",)


def test_a_damaged_blob_is_told_once(cache: Path, log: EventLog) -> None:
    """Damage is a notice, not an error; the damaged file is kept aside."""
    run([big(1), big(2)], log, cache)
    for path in blobs(cache):
        flip(path)
    assert [len(value) for value in run([big(1), big(2)], log, cache)] == [N - N % 6] * 2
    assert len(warned(log)) == 1
    assert len(list((cache / "bad").iterdir())) == 2


def test_what_is_two_levels_up_is_made_again(cache: Path, log: EventLog) -> None:
    """The producer's own input is lost, too: it runs again first."""
    run(size(bigger(big(1))), log, cache)
    remove_blobs(cache)
    assert run(size(bigger(big(1)), 7), log, cache) == 2 * (N - N % 6) + 7
    assert log.finished.count("big") == 1
    assert log.finished.count("bigger") == 1


def test_an_input_that_is_never_stored_is_made_again(cache: Path, log: EventLog) -> None:
    """A lost value is made from its input again, also if that one had left memory and was never stored."""

    @fl.task(cache=False)
    def source(x: int) -> list[int]:
        return [x] * 3

    @fl.task
    def wide(values: list[int]) -> bytes:
        return b"%06d" % sum(values) * 5000

    run(size(wide(source(1))), log, cache)
    remove_blobs(cache)
    assert run([size(wide(source(1)), 7)], log, cache) == [30_007]
    remove_blobs(cache)
    assert run(wide(source(1)), log, cache) == b"000003" * 5000


def test_operators_are_kept_by_digest_only(cache: Path, log: EventLog) -> None:
    """A large result of an operator is not stored; when it is needed it is made from its parent, stored or not."""
    rows = table(2000)["rows"]
    run(total(rows), log, cache)
    before = len(blobs(cache))
    assert before == 1  # the table, not its part
    assert run(total(table(2000)["rows"], 1), log, cache) == sum(range(2000)) + 1
    assert sorted(log.finished) == ["getitem", "total"]
    assert len(blobs(cache)) == before
    remove_blobs(cache)
    assert run(total(table(2000)["rows"], 2), log, cache) == sum(range(2000)) + 2
    assert sorted(log.finished) == ["getitem", "table", "total"]
    assert run(table(2000)["rows"][10:12], log, cache) == [10.0, 11.0]
    assert "table" not in log.ran


def test_lost_points_of_a_reduction_are_made_again(cache: Path, log: EventLog) -> None:
    """A reduction that reads its points from the store gets each of them, however many are gone."""
    jobs = fl.fan_out(big, over=grid(x=range(8)))
    run(jobs, log, cache)
    for path in blobs(cache)[::2]:
        path.unlink()
    result = run(fl.fan_in(jobs, collect()), log, cache)
    assert [int(bytes(value[:6])) for value in result] == list(range(8))
    assert sorted(set(log.ran)) == ["big", "collect(big)"]


def test_lost_parts_of_returned_nodes_are_made_again(cache: Path, log: EventLog) -> None:
    """What a task returned as nodes is put together again after one of them was lost."""

    @fl.task
    def several(n: int) -> dict[str, Any]:
        return {"all": [big(k) for k in range(n)], "n": n}

    run([big(k) for k in range(3)], log, cache)
    remove_blobs(cache)
    value = run(several(3), log, cache)
    assert [len(part) for part in value["all"]] == [N - N % 6] * 3
    remove_blobs(cache)
    assert run(several(3), log, cache) == value


def test_a_blob_deleted_while_running_is_made_again_for_everyone(cache: Path, log: EventLog) -> None:
    """Several consumers that start after the loss all get the value."""

    @fl.task(cache=False)
    def wipe(data: bytes) -> int:
        remove_blobs(cache)
        return 1

    @fl.task
    def use(data: bytes, after: int, k: int) -> int:
        return len(data) + k

    run(big(1), log, cache)
    for workers in (1, 4):
        data = big(1)
        wiped = wipe(data)
        uses = [use(data, wiped, k + workers * 10) for k in range(5)]
        expected = [N - N % 6 + k + workers * 10 for k in range(5)]
        assert run(uses, log, cache, workers=workers) == expected


def test_a_task_that_gives_another_result_the_second_time_poisons_nothing(cache: Path, log: EventLog) -> None:
    """What is computed from the new result is stored under the new result's digest, and the change is told."""
    counter = cache.with_name("counter")
    counter.write_text("0")

    @fl.task(ignore=["file"])
    def unsteady(file: str) -> bytes:
        n = int(Path(file).read_text()) + 1
        Path(file).write_text(str(n))
        return b"%06d" % n * 5000

    @fl.task
    def read(data: bytes, k: int) -> int:
        return int(data[:6]) * 10 + k

    assert run(read(unsteady(str(counter)), 0), log, cache) == 10
    remove_blobs(cache)
    assert run(read(unsteady(str(counter)), 1), log, cache) == 21
    assert any("another result" in message for message in warned(log))
    counter.write_text("0")  # now it gives the first result again
    assert run(read(unsteady(str(counter)), 1), log, cache, force=["unsteady"]) == 11


def test_a_result_replaced_by_another_run_is_not_taken_for_the_old_one(cache: Path, log: EventLog) -> None:
    """A value is used only if it is the one that the consumer's key was made from."""
    counter = cache.with_name("counter")
    counter.write_text("0")

    @fl.task(ignore=["file"])
    def unsteady(file: str) -> bytes:
        n = int(Path(file).read_text()) + 1
        Path(file).write_text(str(n))
        return b"%06d" % n * 5000

    @fl.task(cache=False)
    def meanwhile() -> int:
        """Another run computes it again, with another result."""
        return len(fl.start(unsteady(str(counter)), cache=cache, force=["unsteady"]).result())

    @fl.task
    def read(data: bytes, after: int, k: int) -> int:
        return int(data[:6]) * 10 + k

    assert run(unsteady(str(counter)), log, cache)[:6] == b"000001"
    value = run(read(unsteady(str(counter)), meanwhile(), 1), log, cache)
    counter.write_text("0")
    again = run(read(unsteady(str(counter)), 30_000, 1), log, cache, force=["unsteady"])
    assert again == 11
    assert value in (11, 21, 31)  # whichever it used, it is filed under that one


class Gate:
    """Events that tasks wait for. Known by name only, so that their state is no part of a key."""

    mutated = threading.Event()
    second_started = threading.Event()


@fl.task(cache=False)
def unstored(x: int) -> list[int]:
    return [x] * 3


@fl.task
def spoil_first(values: list[int]) -> bytes:
    found = sum(values)
    values[:] = [-1, -1, -1]
    Gate.mutated.set()
    assert Gate.second_started.wait(PATIENCE_S)
    return b"%06d" % found * 5000


@fl.task
def spoil_second(values: list[int]) -> bytes:
    return b"%06d" % sum(values) * 5000


@fl.task(cache=False)
def mutated() -> int:
    assert Gate.mutated.wait(PATIENCE_S)
    return 0


@fl.task
def first_number(data: bytes, after: int, k: int) -> int:
    return int(data[:6]) + after + k


def test_what_the_last_consumer_was_given_is_nobody_elses_again(cache: Path) -> None:
    """A value handed over as it is belongs to its consumer, also if a loss brings the value another consumer later."""

    class Watcher:
        def on_event(self, event: Any) -> None:
            if type(event).__name__ == "NodeStarted" and event.task == "spoil_second":
                Gate.second_started.set()

    def target(k: int) -> Any:
        values = unstored(1)
        return [first_number(spoil_first(values), 0, k), first_number(spoil_second(values), mutated(), k)]

    for k in range(2):
        Gate.mutated.clear()
        Gate.second_started.clear()
        run = {"workers": 4, "progress": False, "observers": [Watcher()]}
        assert fl.run(target(k), cache=cache, **run) == [3 + k, 3 + k]  # type: ignore[arg-type]
        remove_blobs(cache)


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_a_run_inside_a_task_may_need_what_the_outer_run_has_just_made(
    cache: Path, log: EventLog, executor: str
) -> None:
    """The outer run keeps the right to compute it until it commits, which it cannot while its thread is busy here."""

    @fl.task(cache=False)
    def inside(after: int) -> int:
        remove_blobs(cache)
        return fl.run(size(big(1), 9))

    assert run(inside(size(big(1), 5)), log, cache, executor=executor) == N - N % 6 + 9


def test_a_call_that_gives_back_its_input_may_be_lost(cache: Path, log: EventLog) -> None:
    """The call on its own result has its own key: both are lost at once, and only one may compute at a time."""

    @fl.task
    def same(data: bytes) -> bytes:
        return data

    def target(k: int) -> Any:
        return size(same(same(b"%06d" % 1 * 5000)), k)

    assert run(target(0), log, cache) == 30_000
    for executor in ("threads", "inline"):
        remove_blobs(cache)
        assert run(target(len(executor)), log, cache, executor=executor) == 30_000 + len(executor)


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_damaged_index_and_logs_cost_time_only(cache: Path, log: EventLog, damage: Callable[[Path], None]) -> None:
    """Whatever file of a cache is damaged, values are right and later runs hit again."""
    run([inc(1), size(big(1))], log, cache)
    whole = shutil.copytree(cache, cache.with_name("whole"))  # a cache that is closed meanwhile has fewer files
    n_files = len([path for path in whole.rglob("*") if path.is_file()])
    for number in range(n_files):
        copy = shutil.copytree(whole, cache.with_name(f"copy{number}"))
        copy.chmod(0o700)
        victim = sorted(path for path in copy.rglob("*") if path.is_file())[number]
        if victim.name in ("format", "lock", "CACHEDIR.TAG", ".gitignore") or not victim.stat().st_size:
            continue
        damage(victim)
        assert run([inc(1), size(big(1)), size(big(1), 1)], log, copy) == [2, N - N % 6, N - N % 6 + 1], victim
        run([inc(1), size(big(1)), size(big(1), 1)], log, copy)
        assert log.ran == [], victim


def test_a_cache_with_another_key_is_not_read(cache: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that were written with a foreign key are computed again, and that is said once."""
    run([inc(1), inc(2)], log, cache)
    copy = shutil.copytree(cache, cache.with_name("copy"))
    copy.chmod(0o700)
    monkeypatch.setenv("FLOWLIB_CACHE_KEY", "of somebody else")
    assert run([inc(1), inc(2)], log, copy) == [2, 3]
    assert log.ran == ["inc", "inc"]
    (message,) = warned(log)
    assert "flowlib cache trust" in message
    run([inc(1), inc(2)], log, copy)
    assert log.ran == []


# ---- values that cannot be kept


class Stubborn:
    """Refuses to be pickled, with an exception of its own."""

    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error("I stay here")


class Restless:
    """Its digest hook raises."""

    def __flowlib_digest__(self) -> Any:
        raise LookupError("no digest today")


@fl.task
def make_odd(kind: str) -> Any:
    return {
        "lock": threading.Lock,
        "stubborn": Stubborn,
        "recursive": lambda: Stubborn(RecursionError),
        "restless": Restless,
        "lambda": lambda: lambda x: x + 1,
        "held": lambda: {"a": [1, threading.Lock()]},
    }[kind]()


@fl.task
def type_of(value: Any) -> str:
    return type(value).__name__


@pytest.mark.parametrize("kind", ["lock", "stubborn", "recursive", "held"])
def test_a_result_that_cannot_be_kept_is_returned(cache: Path, log: EventLog, kind: str) -> None:
    """It reaches the user and the tasks below, runs again next time, and is told once."""
    for _ in range(2):
        made = make_odd(kind)
        value, name, again = run([made, type_of(made), type_of(made)], log, cache)
        assert type(value).__name__ == name == again
        assert log.ran.count("make_odd") == 1
        assert sum("was not kept" in message for message in warned(log)) == 1


@pytest.mark.parametrize("kind", ["restless", "lambda"])
def test_a_result_without_a_digest_is_kept_by_its_bytes(cache: Path, log: EventLog, kind: str) -> None:
    """What cannot be digested but can be pickled is stored all the same."""
    run(type_of(make_odd(kind)), log, cache)
    assert run(type_of(make_odd(kind)), log, cache) == {"restless": "Restless", "lambda": "function"}[kind]
    assert log.ran == []


def test_an_argument_whose_digest_raises_is_uncacheable(cache: Path, log: EventLog) -> None:
    """An error in a class of the user's own costs the cache of that call, and names the argument."""
    for _ in range(2):
        assert run([type_of(Restless()), inc(1)], log, cache) == ["Restless", 2]
        (message,) = warned(log)
        assert "'type_of' cannot be cached" in message
        assert "'value'" in message
        assert "no digest today" in message
    assert log.ran == ["type_of"]


def test_background_runs_warn_too(cache: Path) -> None:
    """`start` and `arun` tell what was not kept when their result is taken."""
    import asyncio

    with pytest.warns(FlowWarning, match="was not kept"):
        fl.start(make_odd("lock"), cache=cache).result()
    with pytest.warns(FlowWarning, match="was not kept"):
        asyncio.run(fl.arun(make_odd("lock"), cache=cache))


# ---- expiry, equality


def store_with(cache: Path, clock: FrozenClock) -> LocalStore:
    return open_store(cache, StoreOptions(secret=b"of the test", clock=clock))


def test_results_expire(cache: Path, log: EventLog) -> None:
    """After `ttl` seconds a result is computed again."""
    clock = FrozenClock(SystemClock.now())
    store = store_with(cache, clock)
    short = inc.options(ttl=60)
    run([short(1), inc(2)], log, store)
    run([short(1), inc(2)], log, store)
    assert log.ran == []
    clock.advance(3600)
    run([short(1), inc(2)], log, store)
    assert log.ran == ["inc"]
    store.close()


def test_a_result_that_expires_while_running_is_used(cache: Path, log: EventLog) -> None:
    """It was valid when the run decided; nothing runs for ever."""
    clock = FrozenClock(SystemClock.now())
    store = store_with(cache, clock)

    @fl.task(cache=False)
    def wait(x: Any) -> int:
        clock.advance(3600)
        return 1

    short = big.options(ttl=60)(1)
    run(short, log, store)
    waited = wait(0)
    assert run([size.options(cache=False)(short, waited + k) for k in range(3)], log, store, workers=1) == [
        N - N % 6 + 1 + k for k in range(3)
    ]
    jobs = fl.fan_out(big.options(ttl=0.001), over=grid(x=range(3)))
    assert len(run(fl.fan_in(jobs, collect()), log, store)) == 3
    store.close()


def test_results_as_good_as_the_last_one_are_replaced_by_it(cache: Path, log: EventLog) -> None:
    """same= keeps the earlier result of the same call, so that what is below hits."""
    source = cache.with_name("source")

    @fl.task
    def measure(file: fl.File) -> float:
        return float(file.read_text())

    @fl.task(same=lambda old, new: abs(old - new) < 0.1)
    def smooth(value: float) -> float:
        return value

    @fl.task
    def report(value: float) -> str:
        return f"{value}"

    source.write_text("1.0")
    assert run(report(smooth(measure(fl.File(source)))), log, cache) == "1.0"
    source.write_text("1.05")
    assert run(report(smooth(measure(fl.File(source)))), log, cache) == "1.0"
    assert log.ran == ["measure", "smooth"]
    source.write_text("1.5")
    assert run(report(smooth(measure(fl.File(source)))), log, cache) == "1.5"


def test_same_never_mixes_different_calls(cache: Path, log: EventLog) -> None:
    """Points with other arguments, and points of a sweep over nodes, keep their own results."""

    @fl.task(same=lambda old, new: abs(old - new) < 10)
    def score(x: int, k: int) -> int:
        return x + k

    assert run(score(1, 1), log, cache) == 2
    assert run(score(2, 1), log, cache) == 3
    assert run(score(2, 2), log, cache) == 4
    assert run([score(inc(k), 0) for k in range(3)], log, cache) == [1, 2, 3]
    assert run([score(inc(k), 0) for k in range(3, 6)], log, cache) == [4, 5, 6]


def test_notices_are_events(cache: Path, log: EventLog) -> None:
    """What is warned of is in the run's events, too."""
    run(make_odd("lock"), log, cache)
    assert [event.kind for event in log.of(Noticed)] == ["not-kept"]
