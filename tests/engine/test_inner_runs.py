"""A run inside a task: what its calls declare counts for the stored result of the call it is inside of."""

import asyncio
import contextvars
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

import flowlib as fl
from flowlib.testing import EventLog


@attrs.frozen
class Source:
    """A file with a name, given to a task as one value."""

    name: str
    file: fl.File


@fl.task
def read(p: fl.File) -> str:
    return p.read_text()


@fl.task
def read_source(source: Source) -> str:
    return source.file.read_text()


@fl.task
def names_in(directory: fl.Dir) -> list[str]:
    return sorted(p.name for p in directory.path.iterdir())


@fl.task
def by_run() -> str:
    return fl.run(read(fl.File("d.txt")))


@fl.task
def by_structure() -> str:
    return fl.run(read_source(Source("d", fl.File("d.txt"))))


@fl.task
def by_arun() -> str:
    async def main() -> str:
        return await fl.arun(read(fl.File("d.txt")))

    return asyncio.run(main())


@fl.task
async def by_await() -> str:
    return await fl.arun(read(fl.File("d.txt")))


@fl.task
def by_start() -> str:
    return fl.start(read(fl.File("d.txt"))).result()


@fl.task
def by_levels() -> str:
    return fl.run(by_run())


@fl.task
def by_started_levels() -> str:
    return fl.start(by_levels()).result()


@fl.task
def by_return() -> str:
    return read(fl.File("d.txt"))


@fl.task
def run_of_return() -> str:
    return fl.run(by_return())


@fl.task
def return_of_run() -> str:
    return by_run()


@fl.task
def return_of_mixture() -> list[str]:
    return [run_of_return(), fl.run(read(fl.File("d.txt")))]


@fl.task
def upper(text: str) -> str:
    return text.upper()


@fl.task
def return_over_run() -> str:
    return upper(by_run())


@fl.task
def other_store() -> str:
    return fl.run(read(fl.File("d.txt")), cache="other")


@fl.task
def no_store() -> str:
    return fl.run(read(fl.File("d.txt")), cache=False)


@fl.task
def no_store_between() -> str:
    return fl.run(by_run(), cache=False)


@fl.task
def late_in_run() -> str:
    return fl.run(upper(by_return()))


@fl.task
def by_threads() -> str:
    found: list[str] = []
    calls = [lambda: found.append(fl.run(read(fl.File("d.txt")))), lambda: found.append(fl.run(read(fl.File("e.txt"))))]
    threads = [threading.Thread(target=contextvars.copy_context().run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "".join(sorted(found))


FORMS = [
    by_run, by_structure, by_arun, by_await, by_start, by_levels, by_started_levels, run_of_return, return_of_run,
    return_of_mixture, return_over_run, other_store, no_store, no_store_between, late_in_run, by_threads,
]  # fmt: skip


def run(target: Any, log: EventLog, **options: Any) -> Any:
    log.clear()
    return fl.run(target, progress=False, observers=[log], **options)


@pytest.fixture
def log() -> EventLog:
    return EventLog()


@pytest.fixture(autouse=True)
def files(isolated: Path) -> None:
    """Two files beside the cache."""
    Path("d.txt").write_text("old")
    Path("e.txt").write_text("e")


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_edited_file_of_an_inner_call_is_seen(log: EventLog, form: Any, executor: str) -> None:
    """Whatever way an inner call is made: unchanged files hit, an edited one makes the outer call run again."""
    first = run(form(), log, executor=executor)
    assert run(form(), log, executor=executor) == first
    assert log.ran == []
    Path("d.txt").write_text("new")
    second = run(form(), log, executor=executor)
    assert str(second).lower() == str(first).lower().replace("old", "new")
    assert form.name in log.ran
    assert fl.plan(form()).n_cached == 1


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_files_are_handed_on_when_the_inner_call_hits(log: EventLog, form: Any) -> None:
    """A value that comes from the store depends on the files that its maker depended on."""
    run([by_run(), by_return(), by_levels(), run_of_return()], log)
    run(form(), log, cache="other")
    first = run(form(), log)
    Path("d.txt").write_text("new")
    assert run(form(), log) != first


def test_a_task_made_again_among_quick_calls_is_seen_too(log: EventLog) -> None:
    """Calls that run in batches tell what they depend on one by one."""

    @fl.task
    def nth(n: int) -> str:
        return str(n) + (fl.run(read(fl.File("d.txt"))) if n == 250 else "")

    targets = [nth(n) for n in range(300)]
    run(targets, log)
    Path("d.txt").write_text("new")
    assert run(targets, log)[250] == "250new"
    assert log.ran.count("nth") == 1


def test_a_directory_of_an_inner_call_is_watched(log: EventLog) -> None:
    """`Dir` counts like `File`."""
    Path("data").mkdir()

    @fl.task
    def listing() -> list[str]:
        return fl.run(names_in(fl.Dir("data")))

    assert run(listing(), log) == []
    Path("data/a").touch()
    assert run(listing(), log) == ["a"]


def test_inner_calls_that_no_key_covers_are_not_stored(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on the environment, on time or on calls that are never kept runs again, at every level."""

    @fl.task(env=["MODE"])
    def mode() -> str:
        return __import__("os").environ["MODE"]

    @fl.task(ttl=3600)
    def brief() -> str:
        return "brief"

    @fl.task(cache=False)
    def unkept() -> str:
        return "unkept"

    @fl.task
    def outer(which: str) -> str:
        return fl.run({"mode": mode, "brief": brief, "unkept": unkept}[which]())

    @fl.task
    def outermost(which: str) -> str:
        return fl.run(outer(which))

    @fl.task
    def returned(which: str) -> str:
        return outer(which)

    for which in ("mode", "brief", "unkept"):
        for form in (outer, outermost, returned):
            monkeypatch.setenv("MODE", "a")
            first = run(form(which), log)
            monkeypatch.setenv("MODE", "b")
            assert run(form(which), log) == first.replace("a", "b" if which == "mode" else "a")
            assert form.name in log.ran


def test_an_inner_failure_that_was_caught_depends_on_files_too(log: EventLog) -> None:
    """The files count from before the inner run starts, so it does not matter how that ends."""

    @fl.task
    def number(p: fl.File) -> int:
        return int(p.read_text())

    @fl.task
    def number_or_zero() -> int:
        try:
            return fl.run(number(fl.File("d.txt")))
        except ValueError:
            return 0

    assert run(number_or_zero(), log) == 0
    run(number_or_zero(), log)
    assert log.ran == []
    Path("d.txt").write_text("7")
    assert run(number_or_zero(), log) == 7


def test_a_missing_file_of_an_inner_call_is_looked_for_again(log: EventLog) -> None:
    """What was made without a file is not kept: the file may come."""

    @fl.task
    def read_or_nothing() -> str:
        try:
            return fl.run(read(fl.File("later.txt")))
        except fl.FlowError:
            return ""

    assert run(read_or_nothing(), log) == ""
    Path("later.txt").write_text("here")
    assert run(read_or_nothing(), log) == "here"


def test_a_failure_kept_by_the_inner_run_is_tried_again(log: EventLog) -> None:
    """Failures are never stored, nor what was made of one that stood in for a value."""
    is_broken = [True]

    @fl.task(version=str(id(is_broken)))
    def fragile() -> int:
        if Path("broken").exists():
            raise RuntimeError("no")
        return 1

    @fl.task
    def lenient() -> str:
        return type(fl.run(fragile(), on_error="keep")).__name__

    Path("broken").touch()
    assert run(lenient(), log) == "Failed"
    Path("broken").unlink()
    assert run(lenient(), log) == "int"


def test_a_file_that_changes_between_two_inner_runs_is_not_trusted(log: EventLog) -> None:
    """A value made of two states of a file belongs to neither."""

    @fl.task
    def twice() -> str:
        before = fl.run(read(fl.File("d.txt")))
        Path("d.txt").write_text(before + "!")
        return before + fl.run(read(fl.File("d.txt")))

    run(twice(), log)
    run(twice(), log)
    assert "twice" in log.ran


def test_a_file_edited_while_an_inner_call_reads_it_is_not_taken_for_what_was_read(log: EventLog) -> None:
    """Digests are taken before anything runs: for returned nodes when they join, for runs before they start."""

    @fl.task
    def read_and_spoil(p: fl.File) -> str:
        text = p.read_text()
        if text == "old":
            p.path.write_text("new")
        return text

    @fl.task
    def returns() -> str:
        return read_and_spoil(fl.File("d.txt"))

    @fl.task
    def runs() -> str:
        return fl.run(read_and_spoil(fl.File("d.txt")))

    for form in (returns, runs):
        Path("d.txt").write_text("old")
        assert run(form(), log, cache=form.name) == "old"
        assert run(form(), log, cache=form.name) == "new"


def test_tasks_that_the_outer_code_does_not_reach_are_not_covered(log: EventLog) -> None:
    """A task found by a name that only the run knows may change without the outer key knowing it; one at hand may not."""

    @fl.task
    def found(name: str) -> int:
        import sys

        return fl.run(vars(sys.modules[__name__])[name](1))

    @fl.task
    def given(task: Any) -> int:
        return fl.run(task(1))

    @fl.task
    def local() -> int:
        @fl.task
        def one() -> int:
            return 1

        return fl.run(one())

    @fl.task
    def again(n: int) -> int:
        return n if n == 0 else fl.run(again(n - 1))

    targets = lambda: [found("hidden_task"), given(hidden_task), local(), again(3)]
    values = run(targets(), log)
    assert run(targets(), log) == values
    assert log.ran == ["found"]


@fl.task
def hidden_task(n: int) -> int:
    return n


def test_what_is_stored_already_needs_no_inner_run(log: EventLog) -> None:
    """Calls without inner runs are kept as ever, beside calls with them."""
    assert run([upper("a"), by_run()], log) == ["A", "old"]
    run([upper("a"), by_run()], log)
    assert log.ran == []


def test_nodes_that_were_in_the_graph_before_count_for_what_was_returned(log: EventLog) -> None:
    """A returned call may need a node that the run has anyway; its files are the outer result's, too."""
    data = read(fl.File("d.txt"))

    @fl.task
    def through_closure() -> str:
        return upper(data)

    assert run([data, through_closure()], log) == ["old", "OLD"]
    Path("d.txt").write_text("new")
    assert run(through_closure(), log) == "NEW"


def test_files_inside_objects_count(log: EventLog) -> None:
    """A file is found where digests find it: in the attributes of an ordinary object, too."""

    class Settings:
        def __init__(self) -> None:
            self.paths = {"data": fl.File("d.txt")}

    @fl.task
    def read_settings(settings: Settings) -> str:
        return settings.paths["data"].read_text()

    @fl.task
    def runs() -> str:
        return fl.run(read_settings(Settings()))

    @fl.task
    def returns() -> str:
        return read_settings(Settings())

    for form in (runs, returns):
        Path("d.txt").write_text("old")
        assert run(form(), log) == "old"
        assert run(form(), log) == "old"
        assert log.ran == []
        Path("d.txt").write_text("new")
        assert run(form(), log) == "new"
