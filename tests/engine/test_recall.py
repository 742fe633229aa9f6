"""Runs that recognise their targets: what they do, what they say, and when they must not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.config import load_settings
from flowlib.engine import recall
from flowlib.engine.stores import store_for
from flowlib.events import NodeCached, RunFinished, RunStarted
from flowlib.history.query import list_runs, load_record
from flowlib.planning.key import KeyMaker
from flowlib.planning.recognition import Recognition
from flowlib.store import maintain
from flowlib.store.base import GENERATION
from flowlib.store.memory import MemoryStore
from flowlib.testing import EventLog
from flowlib.views.tally import Tally

WORLD = "THE_WORLD"
"""What `fetch` gets, as from a server: a variable that the task does not declare, so no key and no recipe knows."""


def change_world(value: int) -> None:
    """Let the next `fetch` get something else."""
    os.environ[WORLD] = str(value)


@pytest.fixture(autouse=True)
def first_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world as it is before each test."""
    monkeypatch.setenv(WORLD, "1")


@fl.task
def fetch(name: str = "data") -> int:
    return int(os.environ[WORLD])


@fl.task
def double(x: int) -> int:
    return 2 * x


@fl.task
def add(x: int, y: int = 100) -> int:
    return x + y


@fl.task
def total(values: list[int]) -> int:
    return sum(values)


@fl.task
def blob(x: int) -> bytes:
    return bytes([x]) * 10_000


def run(target: Any, store: Any, **options: Any) -> tuple[Any, EventLog]:
    """Run a target and return its value and the log."""
    log = EventLog()
    value = fl.run(target, cache=store, progress=False, observers=[log], **options)
    return value, log


def opened(directory: Path) -> Any:
    """Return the store that runs use for a directory."""
    return store_for(None, load_settings({"cache": str(directory)}))[0]


def keyed(log: EventLog) -> list[str]:
    """Return the tasks of nodes whose stored results were looked up and used."""
    return [event.task for event in log.of(NodeCached) if event.key is not None]


def is_recognised(target: Any, store: Any, **options: Any) -> bool:
    """Run a target that has run before; say whether nothing but the target was looked at."""
    _, log = run(target, store, **options)
    return log.ran == [] and len(keyed(log)) < len(log.of(NodeCached))


# ---- what happens


def test_nothing_but_the_target_is_looked_at() -> None:
    """The second run of the same program; every node is told as cached, with a key where one was used."""
    store = MemoryStore()
    first, log = run(add(double(fetch())), store)
    assert log.ran == ["fetch", "double", "add"]

    again, log = run(add(double(fetch())), store)
    assert (first, again) == (102, 102)
    assert (log.ran, log.cached, keyed(log)) == ([], ["fetch", "double", "add"], ["add"])
    assert [event.n_nodes for event in log.of(RunStarted)] == [3]
    assert [(event.status, event.counts) for event in log.of(RunFinished)] == [("success", {"cached": 3})]


def test_a_target_noted_by_a_run_of_others_is_recognised_alone() -> None:
    """And others beside it, as long as all are known; one without dependencies is known by its key."""
    store, points = MemoryStore(), [double(number) for number in range(5)]
    run([total(points), points, fetch()], store)
    assert is_recognised(total([double(number) for number in range(5)]), store)
    assert is_recognised([total([double(number) for number in range(5)]), fetch()], store)
    value, log = run([add(double(7)), total([double(number) for number in range(5)])], store)
    assert (value, sorted(log.ran)) == ([114, 20], ["add", "double"])
    assert keyed(log).count("double") == 5


def test_values_are_loaded_and_are_the_callers_own() -> None:
    """Two targets of the same value do not share it."""
    store = MemoryStore()

    @fl.task
    def pair(x: int) -> list[int]:
        return [x]

    run([pair(double(1))], store)
    log = EventLog()
    (first,) = fl.run([pair(double(1))], cache=store, progress=False, observers=[log])
    first.append(5)
    assert fl.run([pair(double(1))], cache=store, progress=False) == [[2]]
    assert keyed(log) == ["pair"]


def test_early_cut_off_stays_as_it_is() -> None:
    """A changed program is decided by keys, and is recognised the next time."""
    store = MemoryStore()
    run(add(double(fetch("a"))), store)
    value, log = run(add(double(fetch("b"))), store)
    assert (value, log.ran, keyed(log)) == (102, ["fetch"], ["double", "add"])
    assert is_recognised(add(double(fetch("b"))), store)
    assert is_recognised(add(double(fetch("a"))), store)


def test_plan_and_why_say_what_a_run_does() -> None:
    """Cached, all of it; why says how that is known."""
    store = MemoryStore()
    run(add(double(fetch())), store)
    target = add(double(fetch()))
    assert str(fl.plan(target, cache=store)) == (
        "Plan: 3 cached, 0 to run\n  fetch   cached\n  double  cached\n  add     cached"
    )
    assert str(fl.why(target, cache=store)).splitlines()[-1] == (
        "  recognised by its recipe: code, settings and arguments of all 2 nodes above are as they were"
    )
    assert fl.plan(target, cache=store, force=["fetch"]).n_to_run == 1
    assert "recognised" not in str(fl.why(fetch(), cache=store))


def test_histories_and_displays_count_every_node(tmp_path: Path) -> None:
    """The log says which nodes were looked at; what others once took is the mean of their tasks."""
    for _ in range(2):
        run(total([double(number) for number in range(600)]), tmp_path / "c")
    record = load_record(list_runs(tmp_path / "c" / "runs")[0])
    assert record.counts == {"cached": 601}
    assert record.n_nodes == 601
    assert [node.task for node in record.nodes.values() if node.key is not None] == ["total"]
    assert all(node.saved_s >= 0 for node in record.nodes.values())

    class Display:
        """Takes events as progress displays do."""

        tally = Tally()

        def on_event(self, event: Any) -> None:
            self.tally.add(event)

        def on_batch(self, batch: Any) -> None:
            self.tally.add_batch(batch)

    seen = Display()
    fl.run(total([double(number) for number in range(600)]), cache=tmp_path / "c", observers=[seen], progress=False)
    assert (seen.tally.count("cached"), seen.tally.n_nodes) == (601, 601)


def test_another_process_recognises(tmp_path: Path) -> None:
    """Notes are in the cache, not in the process."""
    (tmp_path / "program.py").write_text(
        "import flowlib as fl\n"
        "from flowlib.testing import EventLog\n"
        "@fl.task\ndef one(x: int) -> int: return x\n"
        "@fl.task\ndef both(x: list[int]) -> int: return sum(x)\n"
        "log = EventLog()\n"
        "print(fl.run(both([one(1), one(2)]), cache='c', progress=False, observers=[log]), log.ran,\n"
        "      [event.key is not None for event in log.events if type(event).__name__ == 'NodeCached'])\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["3 ['one', 'one', 'both'] []", "3 [] [False, False, True]"]


# ---- what a note does not outlive


def test_a_forced_task_sets_recipes_aside() -> None:
    """Somebody fetches anew: results of other targets that were made of the old data are not used any more."""
    store = MemoryStore()
    run(add(double(fetch())), store)
    run(double(add(fetch())), store)
    change_world(2)
    assert run(add(double(fetch())), store, force=["fetch"])[0] == 104
    value, log = run(double(add(fetch())), store)
    assert (value, log.ran) == (204, ["double"])  # add(2) is there already
    assert is_recognised(double(add(fetch())), store)
    assert run(add(double(fetch())), store)[0] == 104


def test_a_forced_task_inside_a_task_does_so_too() -> None:
    """What runs inside replaces results like anybody else."""
    store = MemoryStore()

    @fl.task(cache=False)
    def refresh() -> int:
        return int(fl.run(fetch(), force=["fetch"]))

    run(add(double(fetch())), store)
    change_world(2)
    assert run(refresh(), store)[0] == 2
    assert run(add(double(fetch())), store)[0] == 104


@pytest.mark.parametrize("how", ["rm", "gc"])
def test_removed_results_are_made_again(tmp_path: Path, how: str) -> None:
    """A result of a task above was removed so that it is made again."""
    run(add(double(fetch())), tmp_path / "c")
    change_world(2)
    store = opened(tmp_path / "c")
    if how == "rm":
        assert maintain.rm(store, task="fetch") == 1
    else:
        kept = [item.key for item in maintain.ls(store) if item.task != "fetch"]
        assert len(maintain.gc(store, reachable=kept).keys) == 1
    value, log = run(add(double(fetch())), tmp_path / "c")
    assert (value, log.ran) == (104, ["fetch", "double", "add"])


def test_a_target_that_was_removed_is_a_miss(tmp_path: Path) -> None:
    """The rest is decided by keys."""
    run(add(double(fetch())), tmp_path / "c")
    store = opened(tmp_path / "c")
    maintain.rm(store, task="add")
    value, log = run(add(double(fetch())), tmp_path / "c")
    assert (value, log.ran) == (102, ["add"])
    assert is_recognised(add(double(fetch())), tmp_path / "c")


def test_a_lost_value_is_made_again() -> None:
    """The entry is there, its bytes are not: the run goes on by keys and makes it again. The same for one of several."""
    store = MemoryStore()
    run([blob(double(1)), blob(double(2)), add(double(1))], store)
    assert is_recognised([blob(double(1)), blob(double(2)), add(double(1))], store)
    for key in list(store._entries):
        store.blobs.forget(store._entries[key].payload.content) if store._entries[key].task == "blob" else None
    value, log = run([blob(double(1)), blob(double(2)), add(double(1))], store)
    assert (value, log.ran) == ([b"\2" * 10_000, b"\4" * 10_000, 102], ["blob", "blob"])


def test_a_note_of_an_unknown_format_or_generation_is_none() -> None:
    """Then keys decide, and the note is made anew."""
    store = MemoryStore()
    run(add(double(fetch())), store)
    (name,) = [name for name in store._notes if name != GENERATION]
    for note in (b"i\2\0\0\0", b"(\1\0\0\0i\7\0\0\0", store._notes[name].replace(store._notes[GENERATION], bytes(16))):
        store.put_notes({name: note})
        assert run(add(double(fetch())), store)[0] == 102
        assert is_recognised(add(double(fetch())), store)
    store._notes.pop(GENERATION)
    assert not is_recognised(add(double(fetch())), store)
    assert is_recognised(add(double(fetch())), store)


def test_a_note_made_while_results_are_replaced_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run looks up old data; another one replaces it before the first has noted what it made of them."""
    store = MemoryStore()
    run(fetch(), store)
    real = Recognition.remember

    def remember(self: Recognition, *results: Any) -> None:
        monkeypatch.setattr(Recognition, "remember", real)
        change_world(2)
        run(fetch(), store, force=["fetch"])
        real(self, *results)

    monkeypatch.setattr(Recognition, "remember", remember)
    assert run(add(double(fetch())), store)[0] == 102
    assert run(add(double(fetch())), store)[0] == 104


def test_a_note_made_before_replaced_results_are_committed_does_not_count() -> None:
    """The other way round: recipes were set aside, but the new data are not there yet when another run looks them up."""
    store = MemoryStore()
    run(fetch(), store)

    class Other:
        """Runs while the forced task is about to be told as started."""

        def on_event(self, event: Any) -> None:
            if type(event).__name__ == "NodeStarted" and event.task == "fetch":
                assert run(add(double(fetch())), store)[0] == 102

    change_world(2)
    fl.run([fetch()], cache=store, progress=False, force=["fetch"], observers=[Other()], executor="inline")
    assert run(add(double(fetch())), store)[0] == 104


# ---- many targets, noted together


def doubles(n: int = 40) -> list[Any]:
    """Return as many targets as are noted together."""
    return [double(number) for number in range(n)]


def test_many_targets_are_recognised_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry is found by its key, but no key is made; every target is told with its own."""
    store = MemoryStore()
    run(doubles(), store)
    monkeypatch.setattr(KeyMaker, "key_of", lambda *_: pytest.fail("a key was made"))
    value, log = run(doubles(), store)
    assert value == [2 * number for number in range(40)]
    assert (log.ran, keyed(log)) == ([], ["double"] * 40)
    assert fl.plan(doubles(), cache=store).n_to_run == 0


def test_many_targets_are_recognised_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of nodes has another order in each process; every value still goes to its own target."""
    store = MemoryStore()
    run(doubles(), store)
    monkeypatch.setattr(KeyMaker, "key_of", lambda *_: pytest.fail("a key was made"))
    assert run(doubles()[::-1], store)[0] == [2 * number for number in range(39, -1, -1)]
    assert run(set(doubles()), store)[0] == {2 * number for number in range(40)}


@pytest.mark.parametrize("change", ["one more", "one less", "other arguments"])
def test_other_targets_are_decided_by_their_keys(change: str) -> None:
    """A note of all is of these and no others."""
    store = MemoryStore()
    run(doubles(), store)
    targets = doubles(41) if change == "one more" else doubles(39 if change == "one less" else 40)
    if change == "other arguments":
        targets[7] = double(-1)
    new = {"one more": 1, "other arguments": 1}.get(change, 0)
    value, log = run(targets, store)
    assert value == [2 * node._fl_args[0] for node in targets]
    assert log.ran == ["double"] * new
    assert run(targets, store)[0] == value


def test_equal_calls_among_many_targets_share_an_entry() -> None:
    """Two nodes of one key are two targets."""
    store = MemoryStore()
    for _ in range(3):
        value, log = run([*doubles(), *doubles()], store)
        assert value == [2 * number for number in range(40)] * 2
    assert log.ran == []


def test_one_of_many_that_is_lost_is_made_again(tmp_path: Path) -> None:
    """Removed, forced, or without its bytes: the note of all does not hide it."""
    targets = [blob(number) for number in range(40)]
    for _ in range(2):
        run(targets, tmp_path / "c")
    maintain.rm(opened(tmp_path / "c"), task="blob")
    assert run(targets, tmp_path / "c")[1].ran == ["blob"] * 40
    one = sorted((tmp_path / "c" / "blobs").glob("*/*"))[0]
    one.unlink()
    value, log = run(targets, tmp_path / "c")
    assert (value, log.ran) == ([bytes([number]) * 10_000 for number in range(40)], ["blob"])
    assert run(targets, tmp_path / "c", force=["blob"])[1].ran == ["blob"] * 40


def test_a_note_of_many_does_not_outlive_a_change() -> None:
    """The world has changed, and a run of another target has fetched it anew."""
    store, targets = MemoryStore(), [fetch(), *doubles()]
    run(targets, store)
    change_world(5)
    run(fetch(), store, force=["fetch"])
    assert run(targets, store)[0][0] == 5
    assert run(targets, store)[0][0] == 5


# ---- what is not noted


@fl.task(cache=False)
def never(x: int = 1) -> int:
    return x


@fl.task(ttl=1000)
def for_a_while(x: int = 1) -> int:
    return x


@fl.task(same=lambda new, old: True)
def about_the_same(x: int = 1) -> int:
    return x


@fl.task
def failing(x: int = 1) -> int:
    raise ValueError("no")


@fl.task
def unstorable(x: int = 1) -> Any:
    return (number for number in range(x)) if x > 5 else open


@fl.task
def made_file(x: int = 1) -> fl.File:
    path = Path(f"made-{x}.txt")
    path.write_text(str(x))
    return fl.File(path.absolute())


@fl.task
def watcher(path: str) -> int:
    """Runs something that reads a file, so that the file counts for its own result."""
    return int(fl.run(size(fl.File(path))))


@fl.task
def size(file: fl.File) -> int:
    return len(file.read_text())


def notes_of(make: Callable[[], Any], **options: Any) -> int:
    """Run a target cold and warm and return how many notes there are then."""
    store = MemoryStore()
    for _ in range(2):
        fl.run(make(), cache=store, progress=False, **options)
    return len([name for name in store._notes if name != GENERATION])


@pytest.mark.parametrize(
    "make",
    [
        lambda: add(double(never())),
        lambda: add(double(for_a_while())),
        lambda: add(double(about_the_same())),
        lambda: size(made_file()),
        lambda: add(watcher(str(Path("data.txt").absolute()))),
        lambda: never(double(1)),
        lambda: double(3),
        lambda: [double(number) for number in range(5)],
        lambda: [add(node, number) for node in [double(0)] for number in range(5)],
    ],
)
def test_nothing_is_noted_about(make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be otherwise another time; what has too little above it to be worth a note."""
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("12345")
    assert notes_of(make) == 0


def test_nothing_is_noted_about_a_run_with_a_kept_failure() -> None:
    """Failures are not results, nor is what is made of what stands for them."""

    @fl.task
    def text_of(x: Any) -> str:
        return type(x).__name__

    assert notes_of(lambda: text_of(failing()), on_error="keep") == 0


def test_a_note_is_made_of_the_content_that_the_run_saw(tmp_path: Path) -> None:
    """A file changes while the run goes on, and back: the recipe does not lead to what was made of other content."""
    store, path = MemoryStore(), tmp_path / "data.txt"
    path.write_text("one")

    @fl.task
    def rewrite(text: str, at: str) -> int:
        Path(at).write_text(text)
        return 0

    @fl.task
    def read(file: fl.File, after: int) -> str:
        return file.read_text()

    assert run(read(fl.File(path), rewrite("other", str(path))), store)[0] == "other"
    path.write_text("one")
    assert run(read(fl.File(path), rewrite("other", str(path))), store)[0] == "one"
    assert [name for name in store._notes if name != GENERATION] != []
    assert run(read(fl.File(path), rewrite("other", str(path))), store)[0] == "one"


def test_runs_inside_tasks_note_nothing() -> None:
    """What they depend on belongs to the call they are made in."""
    store = MemoryStore()

    @fl.task
    def outer(x: int) -> int:
        return int(fl.run(add(double(x))))

    assert run(outer(3), store)[0] == 106
    assert run(outer(3), store, force=["outer"])[0] == 106
    assert [name for name in store._notes if name != GENERATION] == []


def test_expanded_results_are_recognised_when_their_key_covers_them() -> None:
    """A task that returns nodes is one result like others."""
    store = MemoryStore()

    @fl.task
    def grown(n: int) -> Any:
        return [double(number) for number in range(n)]

    @fl.task
    def summed(values: list[int]) -> int:
        return sum(values)

    assert run(summed(grown(double(2))), store)[0] == 12
    assert is_recognised(summed(grown(double(2))), store)


def test_a_store_that_keeps_no_notes_only_costs_time() -> None:
    """Notes may be forgotten at any time."""

    class Forgetful(MemoryStore):
        def notes(self, names: Any) -> dict[str, bytes]:
            return {}

    store = Forgetful()
    for _ in range(3):
        value, log = run(add(double(fetch())), store)
        assert value == 102
    assert keyed(log) == ["fetch", "double", "add"]


def test_reasons_that_replace_results_are_reasons() -> None:
    """The words are those of the planner."""
    from typing import get_args

    from flowlib.planning.reason import ReasonKind

    assert set(get_args(ReasonKind)) >= recall._MAY_DIFFER
