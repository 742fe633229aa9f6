"""What every store promises, run against every store."""

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.clock import FrozenClock
from flowlib.errors import FlowError
from flowlib.hashing.file import Dir, File
from flowlib.hashing.identity import digest
from flowlib.ids import Digest, Key
from flowlib.store.base import BlobLost, Entry, Holder, NotKept, Payload, TaskStats
from flowlib.store.codec import INLINE_BYTES, encode_scalar, encode_value
from flowlib.store.local import LocalStore, StoreOptions, open_store
from flowlib.store.memory import MemoryStore

Store = LocalStore | MemoryStore


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands still."""
    return FrozenClock(1000.0)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> Iterator[Store]:
    """Each kind of store, empty."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    local = open_store(tmp_path / "cache", StoreOptions(secret=b"secret", fsync="off", clock=clock))
    yield local
    local.close()


def key_of(name: object) -> Key:
    """Make a key from anything."""
    return Key(hashlib.sha256(repr(name).encode()).hexdigest())


def entry_of(name: object, payload: Payload, **fields: Any) -> Entry:
    """Make an entry with every field filled."""
    known: dict[str, Any] = {
        "key": key_of(name),
        "task": "fit",
        "output": payload.content,
        "payload": payload,
        "parts": {"code": "sha256-00-1", "arg:x": "sha256-11-2", "version": "2"},
        "previews": {"arg:x": "[1, 2, ...] \ud800 é"},
        "created_at": 12.5,
        "duration_s": 2.0,
        "flags": frozenset({"weak", "files"}),
        "watch": (("a/b.txt", Digest("sha256-22-3")),),
    }
    return Entry(**{**known, **fields})


def same(a: object, b: object) -> bool:
    """Equal in value, type and order, NaN included, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, dict) and isinstance(b, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@attrs.frozen
class Model:
    """A user's class."""

    weights: list[float]
    name: str


VALUES = {
    "none": None,
    "true": True,
    "one": 1,
    "minus zero": -0.0,
    "nan": math.nan,
    "infinities": [math.inf, -math.inf],
    "big integers": [2**63, -(2**64), 10**5000],
    "complex": 1 - 2j,
    "text with line ends": "a\r\nb\rc\n",
    "lone surrogate": "\ud800x\udfff",
    "large text": "ä\r\n" * 40_000,
    "bytes": bytes(range(256)),
    "large bytes": bytes(range(256)) * 1000,
    "empty containers": [[], (), {}, set(), frozenset(), "", b""],
    "nested": {"a": [1, (2, {3, 4}, frozenset({5}))], ("t", 1): {"b": b"x"}, None: ...},
    "order of a dict": {"z": 1, "a": 2, "m": 3},
    "range": range(3, 30, 2),
    "bytearray": bytearray(b"abc"),
    "shared list": [[1, 2]] * 3,
    "exception": ["before", "after"],
    "attrs": Model([1.0, 2.0], "m"),
    "large list": [{"i": i, "x": i / 7} for i in range(2000)],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_was(store: Store, name: str) -> None:
    """Type, value and order survive, for small (inline) and large (blob) values."""
    value = VALUES[name]

    loaded = store.load(store.encode(value))

    assert same(loaded, value)


@pytest.mark.parametrize("n", [3, 3000])
@pytest.mark.parametrize("kind", ["tensor", "dict", "module with gradients"])
def test_tensors_come_back_as_objects_of_ones_own(store: Store, kind: str, n: int) -> None:
    """Inline or as a blob, by whichever codec: content, gradients, and nobody else's memory."""
    torch = pytest.importorskip("torch")
    value = torch.arange(float(n))
    if kind == "dict":
        value = {"z": value, "a": torch.ones(n, dtype=torch.bfloat16)}
    elif kind.startswith("module"):
        value = torch.nn.Linear(n, 1)
        value(torch.ones(n)).sum().backward()
    payload = store.encode(value)

    one, two = store.load(payload), store.load(payload)
    assert digest(one) == digest(two) == digest(value)
    tensors = (one, two) if kind == "tensor" else [found["z"] if kind == "dict" else found.bias for found in (one, two)]
    with torch.no_grad():
        tensors[0].add_(1)
    assert not torch.equal(*tensors)
    assert digest(two) == digest(store.load(payload)) == digest(value)


def test_small_values_travel_inline_and_large_ones_as_blobs(store: Store) -> None:
    """The limit is 4 KiB."""
    assert store.encode(b"x" * 4096).inline == b"x" * 4096
    assert store.encode(b"x" * 4097).inline is None


@pytest.mark.parametrize("value", [{"a": [1, 2]}, {"a": list(range(5000))}, [Model([1.0], "x")]])
def test_every_load_gives_an_object_of_its_own(store: Store, value: Any) -> None:
    """What one consumer does to a value, another never sees."""
    payload = store.encode(value)

    first, second = store.load(payload), store.load(payload)

    assert first is not second
    assert first == second
    if isinstance(first, dict):
        first["a"].append("changed")
        assert store.load(payload) == value


def test_sharing_inside_a_value_survives(store: Store) -> None:
    """Three references to one list stay three references to one list."""
    loaded: Any = store.load(store.encode([[1]] * 3))

    assert loaded[0] is loaded[1] is loaded[2]


@pytest.mark.parametrize("value", [threading.Lock(), iter([1, 2]), (i for i in range(3)), map(str, [1])])
def test_what_cannot_be_kept_is_refused_with_a_reason(store: Store, value: object) -> None:
    """The text names the type; the value is unharmed."""
    with pytest.raises(NotKept, match=type(value).__name__):
        store.encode({"a": [value]})


def test_the_refusal_names_the_path_inside_the_value(store: Store) -> None:
    """A person can find the culprit."""
    with pytest.raises(NotKept, match=r"\['model'\]\[1\]"):
        store.encode({"model": [1, threading.Lock()]})


def test_an_open_file_is_refused(store: Store, tmp_path: Path) -> None:
    """Its pickle would be a snapshot of what is left to read."""
    (tmp_path / "a.txt").write_text("abc")
    with open(tmp_path / "a.txt") as file, pytest.raises(NotKept, match="can be read only once"):
        store.encode([file])


def test_an_unknown_codec_is_refused_with_the_known_ones(store: Store) -> None:
    """A misspelt codec gets a suggestion."""
    with pytest.raises(NotKept, match="Did you mean 'pickle5'"):
        store.encode(1, codec="pickl5")


def test_a_codec_that_does_not_fit_is_refused(store: Store) -> None:
    """Asking for `npy` does not turn a dict into an array."""
    with pytest.raises(NotKept, match="cannot keep a dict"):
        store.encode({}, codec="npy")


def test_a_codec_can_be_chosen(store: Store) -> None:
    """The task's `codec` option wins over the type."""
    payload = store.encode({"a": 1}, codec="pickle5")

    assert payload.codec == "pickle5"
    assert store.load(payload) == {"a": 1}


def test_a_lambda_comes_back_callable(store: Store) -> None:
    """What pickle cannot name goes by value."""
    offset = 5

    loaded: Any = store.load(store.encode({"f": lambda x: x + offset}))

    assert loaded["f"](1) == 6


def test_a_missing_blob_is_told_apart_from_a_value(store: Store) -> None:
    """The producer has to run again."""
    payload = attrs.evolve(store.encode(b"x" * 5000), content=Digest("sha256-" + "0" * 64 + "-5000"))

    with pytest.raises(BlobLost, match="missing"):
        store.load(payload)


def test_inline_bytes_that_changed_are_not_a_value(store: Store) -> None:
    """Even what travelled between processes is verified."""
    payload = attrs.evolve(store.encode(b"good"), inline=b"evil")

    with pytest.raises(BlobLost, match="damaged"):
        store.load(payload)


def test_entries_are_found_before_and_after_a_flush(store: Store) -> None:
    """Waiting entries count."""
    entry = entry_of("a", store.encode({"auc": 0.5}))
    store.put(entry)
    assert store.find([entry.key]) == {entry.key: entry}

    store.flush()

    assert store.find([entry.key]) == {entry.key: entry}


def test_a_flush_that_nobody_waits_for_comes_to_an_end(store: Store) -> None:
    """Whatever it had to wait for; and what it was about is found all the while."""
    entry = entry_of("a", store.encode(b"x" * 10_000))
    store.put(entry)

    is_done = store.flush_soon()

    for _ in range(10_000):
        assert store.find([entry.key]) == {entry.key: entry}
        if is_done():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never ended")


def test_only_what_is_there_is_found(store: Store) -> None:
    """A look-up of many keys returns the known ones, in one batch of any size."""
    entries = [entry_of(i, store.encode(i)) for i in range(600)]
    for entry in entries:
        store.put(entry)
    store.flush()

    found = store.find([key_of(i) for i in range(0, 1200, 2)])

    assert found == {entry.key: entry for entry in entries[::2]}
    assert store.find([]) == {}


def test_an_entry_expires(store: Store, clock: FrozenClock) -> None:
    """At its time an entry is a miss, waiting or committed; that it was there can still be told."""
    entry = entry_of("a", store.encode(1), expires_at=1010.0)
    store.put(entry)
    store.flush()
    assert list(store.find([entry.key])) == [entry.key]

    clock.advance(10.0)

    assert store.find([entry.key]) == {}
    assert store.recent(entry.task) == [entry]


def test_the_latest_entry_of_a_key_wins(store: Store) -> None:
    """A forced run replaces what was there."""
    for n in range(3):
        store.put(entry_of("a", store.encode(n)))
        store.flush()

    assert store.load(store.find([key_of("a")])[key_of("a")].payload) == 2


def test_recent_names_the_latest_entries_of_a_task_newest_first(store: Store) -> None:
    """At most 32, and none of another task."""
    for i in range(40):
        store.put(entry_of(i, store.encode(i)))
        store.put(entry_of(("other", i), store.encode(i), task="load"))
        store.flush()

    recent = store.recent("fit")

    assert [store.load(entry.payload) for entry in recent] == list(range(39, 7, -1))
    assert store.recent("unknown") == []


def test_statistics_of_a_task_are_means_over_all_runs(store: Store) -> None:
    """Numbers for predictions."""
    assert store.stats("fit") is None
    for i, seconds in enumerate([1.0, 2.0, 6.0]):
        store.put(entry_of(i, store.encode(b"x" * 10 * (i + 1)), duration_s=seconds))
        store.flush()

    assert store.stats("fit") == TaskStats(n=3, mean_s=pytest.approx(3.0), mean_bytes=pytest.approx(20.0))


def test_texts_are_kept_by_name(store: Store) -> None:
    """Sources and parts of code versions, any text, waiting or committed."""
    texts = {"sha256-0-1": "def f():\r\n\tpass\n", "empty": "", "odd \ud800": "\udfff"}
    store.put_texts(texts)
    assert store.texts([*texts, "unknown"]) == texts

    store.flush()

    assert store.texts([*texts, "unknown"]) == texts


def test_a_lease_is_held_by_one(store: Store) -> None:
    """The second asker gets None until the first gives back; giving back twice is harmless."""
    lease = store.lease(key_of("a"))
    assert lease is not None
    assert store.lease(key_of("a")) is None
    assert store.lease(key_of("b")) is not None

    lease.release()
    again = store.lease(key_of("a"))
    lease.release()

    assert again is not None
    assert store.lease(key_of("a")) is None


def test_a_lease_excludes_other_threads(store: Store) -> None:
    """Of many threads asking at once, exactly one gets it."""
    got: list[object] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        got.append(store.lease(key_of("a")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(lease is not None for lease in got) == 1


def test_many_leases_are_what_one_by_one_would_give(store: Store) -> None:
    """In order, None where another holds it; all of them can be given back at once, and twice."""
    taken = store.lease(key_of(3))
    keys = [key_of(number) for number in range(50)]

    leases = store.lease_many(keys)

    assert [lease is None for lease in leases] == [number == 3 for number in range(50)]
    assert store.lease_many(keys) == [None] * 50
    store.release_many([lease for lease in leases if lease is not None])
    store.release_many([lease for lease in leases if lease is not None])
    assert [store.lease(key) is None for key in keys] == [number == 3 for number in range(50)]
    assert taken is not None


def test_entries_can_be_put_together(store: Store) -> None:
    """`put_many` is `put` of each."""
    entries = [entry_of(number, store.encode(number)) for number in range(100)]

    store.put_many(entries)
    store.flush()

    assert store.find([entry.key for entry in entries]) == {entry.key: entry for entry in entries}
    assert [entry.key for entry in store.recent("fit")] == [entry.key for entry in entries[:-33:-1]]


def test_what_a_run_does_itself_is_not_done_by_others(store: Store) -> None:
    """Between a mark and the answer a run may commit and release what it likes."""
    holder = Holder()
    mark = store.mark(holder)
    leases = store.lease_many([key_of(number) for number in range(20)], holder)
    store.put_many([entry_of(number, store.encode(number)) for number in range(20)])
    store.flush()
    for lease in leases:
        assert lease is not None
        lease.release()

    assert not store.others_since(mark)


@pytest.mark.parametrize("n_keys", [1, 20])
def test_a_lease_that_another_run_gave_back_shows(store: Store, n_keys: int) -> None:
    """It may have stored what this one looked for in vain."""
    mine, others = Holder(), Holder()
    keys = [key_of(number) for number in range(n_keys)]
    leases = [lease for lease in store.lease_many(keys, others) if lease is not None]
    mark = store.mark(mine)
    assert store.find(keys) == {}
    assert not store.others_since(mark)

    store.put(entry_of(0, store.encode(0)))
    store.flush()
    store.release_many(leases)

    assert store.lease(keys[0], mine) is not None
    assert store.others_since(mark)
    assert not store.others_since(store.mark(mine))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary(max_size=5000)
)


@given(value=SCALARS)
def test_scalars_are_encoded_by_the_short_way_as_by_the_long_one(value: object) -> None:
    """Same codec, same bytes, same digest; and they come back."""
    store = MemoryStore()
    general = encode_value(value, store.blobs)
    data = b"".join(general.parts)

    scalar = encode_scalar(value)

    if len(data) > INLINE_BYTES:
        assert scalar is None
    else:
        assert scalar == Payload(codec=general.codec, content=general.digest(), inline=data)
    assert same(store.load(store.encode(value)), value)


class Whole(int):
    """A subclass, which the short way must leave alone."""


@pytest.mark.parametrize(
    "value", [Whole(3), bytearray(b"x"), [1], (1,), {}, 1 << 40_000, "x" * 5000], ids=lambda v: type(v).__name__
)
def test_what_is_no_small_scalar_goes_the_long_way(store: Store, value: object) -> None:
    """Containers, subclasses, large numbers and texts."""
    assert encode_scalar(value) is None
    assert same(store.load(store.encode(value)), value)


def test_threads_can_put_and_find_at_once(store: Store) -> None:
    """No entry is lost and none is mixed up."""

    def work(worker: int) -> None:
        for i in range(50):
            entry = entry_of((worker, i), store.encode([worker, i]))
            store.put(entry)
            if i % 10 == 0:
                store.flush()
            assert store.find([entry.key])[entry.key] == entry

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.flush()

    keys = [key_of((worker, i)) for worker in range(4) for i in range(50)]
    values = [store.load(entry.payload) for entry in store.find(keys).values()]
    assert sorted(values) == [[worker, i] for worker in range(4) for i in range(50)]  # type: ignore[type-var]


def test_digests_of_files_are_remembered(store: Store) -> None:
    """The memo answers for what it was told, before and after a flush."""
    memo = store.file_memo()
    memo.put((1, 2, 3), Digest("sha256-" + "0" * 64 + "-5"))
    assert memo.get((1, 2, 3)) == "sha256-" + "0" * 64 + "-5"
    store.flush()

    assert memo.get((1, 2, 3)) == "sha256-" + "0" * 64 + "-5"
    assert memo.get((1, 2, 4)) is None


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A file a task has made."""
    path = tmp_path / "out" / "model.bin"
    path.parent.mkdir()
    path.write_bytes(b"weights" * 100)
    path.chmod(0o640)
    return path


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: {"model": f, "auc": 0.9}])
def test_a_file_is_restored_when_it_is_gone(store: Store, output: Path, wrap: Callable[[File], Any]) -> None:
    """Content and mode come back, for a file alone and inside a value."""
    payload = store.encode(wrap(File(output)))
    output.unlink()

    store.load(payload)

    assert output.read_bytes() == b"weights" * 100
    assert output.stat().st_mode & 0o777 == 0o640
    assert len(payload.refs) == 1


def test_a_file_that_was_edited_is_restored_and_the_edit_is_kept(store: Store, output: Path, tmp_path: Path) -> None:
    """Nothing of the user's is lost."""
    payload = store.encode(File(output))
    output.write_bytes(b"edited")

    loaded = store.load(payload)

    assert type(loaded) is File
    assert output.read_bytes() == b"weights" * 100
    assert b"edited" in [path.read_bytes() for path in tmp_path.rglob("*model.bin*") if path.is_file()]


def test_a_directory_is_restored(store: Store, tmp_path: Path) -> None:
    """Missing files come back, changed ones are what they were, also below."""
    root = tmp_path / "plots"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.txt").write_text("one")
    (root / "2.txt").write_text("two")
    payload = store.encode(Dir(root))
    (root / "a" / "1.txt").unlink()
    (root / "2.txt").write_text("TWO")

    loaded = store.load(payload)

    assert type(loaded) is Dir
    assert (root / "a" / "1.txt").read_text() == "one"
    assert (root / "2.txt").read_text() == "two"


def test_a_directory_that_gained_files_counts_as_lost(store: Store, tmp_path: Path) -> None:
    """Nothing of the user's is deleted to make a value fit."""
    root = tmp_path / "plots"
    root.mkdir()
    (root / "1.txt").write_text("one")
    payload = store.encode(Dir(root))
    (root / "mine.txt").write_text("mine")

    with pytest.raises(BlobLost, match="mine"):
        store.load(payload)

    assert (root / "mine.txt").read_text() == "mine"


def test_a_file_that_does_not_exist_cannot_be_kept(store: Store, output: Path) -> None:
    """A task that returns a file it did not write is told so."""
    file = File(output)
    output.unlink()

    with pytest.raises((NotKept, FlowError)):
        store.encode(file)


def test_closing_twice_is_harmless(store: Store) -> None:
    """Doors close what engines have closed."""
    store.close()
    store.close()


# ---- notes


def test_a_note_takes_the_place_of_an_earlier_one(store: Store) -> None:
    """By name, whatever the name; what was never put is not there."""
    assert store.notes(["a", "b"]) == {}
    store.put_notes({"a": b"1", "b \u00e9": b"\0" * 1000})
    store.put_notes({"a": b"2", "c": b""})
    assert store.notes(["a", "b \u00e9", "c", "d"]) == {"a": b"2", "b \u00e9": b"\0" * 1000, "c": b""}


def test_notes_are_no_entries(store: Store) -> None:
    """A note under a key is not found as one, and the other way round."""
    payload = store.encode(1)
    store.put(entry_of("x", payload))
    store.put_notes({key_of("y"): b"1"})
    store.flush()
    assert (store.find([key_of("y")]), store.notes([key_of("x")])) == ({}, {})
