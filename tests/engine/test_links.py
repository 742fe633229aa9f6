"""Links of a chain whose results are kept, gone along one by one: what stops a run stops it, and nothing is made twice.

The chains are long and quick, so most links follow others in one piece of work; see `test_followers` for which do.
"""

import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.engine import pace
from flowlib.engine.flight import Blocked
from flowlib.engine.starting import Starting
from flowlib.testing import EventLog

LINKS = 400
HALF = LINKS // 2


class World:
    """What the links of one test do beside their work. Tasks find it in a context variable: it is no part of their code."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.hooks: dict[int, Callable[[], object]] = {}

    def note(self, x: int) -> None:
        self.made.append(x)
        if x in self.hooks:
            self.hooks[x]()


worlds: contextvars.ContextVar[World] = contextvars.ContextVar("worlds")
seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=0)


@pytest.fixture
def world() -> Iterator[World]:
    """Let links note what they make."""
    token = worlds.set(World())
    yield worlds.get()
    worlds.reset(token)


@pytest.fixture
def along(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the nodes that were made on the way, in order: a test that goes another way tests nothing."""
    found: list[int] = []
    inner = Starting._go_along

    def noting(engine: Starting, links: Any) -> Any:
        facts = inner(engine, links)
        found.extend(facts[0].nodes)  # type: ignore[union-attr]
        return facts

    monkeypatch.setattr(Starting, "_go_along", noting)
    monkeypatch.setattr(pace, "QUICK_S", 60.0)  # on a busy machine, too
    monkeypatch.setattr(pace, "BATCH_S", 600.0)
    monkeypatch.setattr("flowlib.engine.starting.PATIENCE_S", 600.0)
    return found


@fl.task
def link(x: int) -> int:
    worlds.get().note(x)
    return x + 1


@fl.task
def sets(x: int) -> int:
    worlds.get().note(x)
    before = seen.get()
    seen.set(x + 1)
    return before + x + 1


@fl.task
def asks_for_an_earlier_one(x: int, upto: int) -> int:
    """The link before it is made, and not yet committed."""
    return fl.run(chain(link, upto)) + x - upto


@fl.task
def slow(x: int) -> int:
    worlds.get().note(x)
    return x


def chain(task: Any, n: int = LINKS, start: int = 0) -> Any:
    node = task(start)
    for _ in range(n - 1):
        node = task(node)
    return node


def test_each_link_sees_the_context_that_the_run_began_with(tmp_path: Path, world: World, along: list[int]) -> None:
    """What one of them sets is gone when the next begins."""
    assert fl.run(chain(sets), cache=tmp_path, progress=False) == LINKS
    assert len(along) > HALF
    assert seen.get() == 0


def test_a_stop_lets_the_link_finish_and_keeps_all(tmp_path: Path, world: World, along: list[int]) -> None:
    """What was made is there in the next run, which makes the rest."""
    is_told = threading.Event()
    world.hooks = {0: lambda: is_told.wait(60), HALF: lambda: run.cancel()}
    run = fl.start(chain(link), cache=tmp_path, progress=False)
    is_told.set()
    with pytest.raises(fl.RunStopped):
        run.result()
    assert world.made == [*range(HALF + 1)]
    assert len(along) > HALF // 2

    assert fl.run(chain(link), cache=tmp_path, progress=False) == LINKS
    assert world.made == [*range(LINKS)]


def test_a_pause_holds_the_next_link(tmp_path: Path, world: World, along: list[int]) -> None:
    """The run comes to rest after the link at work, and goes on from there."""
    is_told, is_there = threading.Event(), threading.Event()
    world.hooks = {0: lambda: is_told.wait(60), HALF: lambda: (run.pause(), is_there.set())}
    run = fl.start(chain(link), cache=tmp_path, progress=False)
    is_told.set()
    assert is_there.wait(60)
    run.pause(wait=True, timeout_s=60)
    assert world.made == [*range(HALF + 1)]

    run.resume()
    assert run.result() == LINKS
    assert world.made == [*range(LINKS)]
    assert len(along) > HALF


def test_a_failure_is_told_of_its_own_link(tmp_path: Path, world: World, along: list[int]) -> None:
    """What came before it is kept; what comes after it is skipped; mended, the run goes on from there."""
    log = EventLog()

    def fail() -> None:
        raise ValueError("here")

    world.hooks[HALF] = fail
    with pytest.raises(ValueError, match="here"):
        fl.run(chain(link), cache=tmp_path, progress=False, observers=[log])
    assert [log.counts()[name] for name in ("NodeFinished", "NodeFailed", "NodeSkipped")] == [HALF, 1, HALF - 1]
    assert HALF // 2 < len(along) < HALF
    world.hooks.clear()

    assert fl.run(chain(link), cache=tmp_path, progress=False) == LINKS
    assert world.made == [*range(HALF + 1), *range(HALF, LINKS)]


def test_a_run_inside_a_link_joins_the_run(tmp_path: Path, world: World, along: list[int]) -> None:
    """It works in the thread of the engine that goes along, and gets what that has made and not kept yet."""
    inner: list[int] = []
    world.hooks[HALF] = lambda: inner.extend(fl.run([link(-1), link(HALF - 1)]))

    assert fl.run(chain(link), cache=tmp_path, progress=False) == LINKS
    assert inner == [0, HALF]
    assert world.made == [*range(HALF + 1), -1, *range(HALF + 1, LINKS)]
    assert len(along) > HALF


def test_a_run_inside_a_link_finds_the_links_before_it(tmp_path: Path, world: World) -> None:
    """They are made, but kept together with their like only later: whoever asks gets them now."""
    node = asks_for_an_earlier_one(chain(link, HALF), HALF)
    for _ in range(HALF):
        node = link(node)

    assert fl.run(node, cache=tmp_path, progress=False) == LINKS
    assert world.made == [*range(LINKS)]


def test_a_run_inside_a_link_finds_what_others_made_while_it_waited(
    tmp_path: Path, world: World, along: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks up a key, waits for the lease on it, and looks again: what it sees then is not what the chain saw."""
    other, is_begun, may_end = World(), threading.Event(), threading.Event()
    poll, polled = Blocked.poll, list[int]()

    def waits(blocked: Blocked) -> Any:
        polled.append(len(blocked))
        if sum(polled) == 3:  # everything that this thread has to do meanwhile is done
            may_end.set()
        return poll(blocked)

    def make_elsewhere() -> None:
        worlds.set(other)
        fl.run(slow(-7), cache=tmp_path, progress=False)

    def run_inside() -> None:
        thread.start()
        assert is_begun.wait(60)
        assert fl.run(slow(-7)) == -7

    monkeypatch.setattr(Blocked, "poll", waits)
    thread = threading.Thread(target=make_elsewhere)
    other.hooks[-7] = lambda: (is_begun.set(), may_end.wait(60))
    world.hooks[HALF] = run_inside

    assert fl.run(chain(link), cache=tmp_path, progress=False) == LINKS
    thread.join(60)
    assert other.made == [-7]
    assert world.made == [*range(LINKS)]
    assert may_end.is_set()


def test_two_runs_of_one_chain_make_each_link_once(tmp_path: Path, world: World) -> None:
    """In two threads: each waits for the links that the other is at, and finds those that it has made."""
    values: list[int] = []
    both = threading.Barrier(2)

    def go() -> None:
        worlds.set(world)
        both.wait()
        values.append(fl.run(chain(link), cache=tmp_path, progress=False))

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert values == [LINKS, LINKS]
    assert sorted(world.made) == [*range(LINKS)]


PROGRAM = """
import os, sys
import flowlib as fl

@fl.task(ignore=["notes"])
def link(x, notes):
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{x} ".encode())
    os.close(file)
    if x == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return x + 1

node = 0
for _ in range(int(sys.argv[4])):
    node = link(node, sys.argv[2])
print(fl.run(node, cache=sys.argv[1], progress=False))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The file of the program, written once: several read it at the same time."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def start(program: Path, *, dies_at: int = -1) -> "subprocess.Popen[str]":
    folder = program.parent
    arguments = [str(folder / "cache"), str(folder / "notes"), str(dies_at), str(LINKS)]
    return subprocess.Popen([sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True, cwd=folder)


def test_three_processes_make_each_link_once(program: Path, tmp_path: Path) -> None:
    """Whoever is alone in the cache when it begins lets the others in when they knock."""
    processes = [start(program) for _ in range(3)]

    assert [process.communicate(timeout=120)[0].strip() for process in processes] == [str(LINKS)] * 3
    assert sorted(map(int, (tmp_path / "notes").read_text().split())) == [*range(LINKS)]


def test_a_killed_program_goes_on_where_it_had_committed(program: Path, tmp_path: Path) -> None:
    """Nothing is missing in between, whatever was lost at the end."""
    with start(program, dies_at=LINKS - 1) as process:
        assert process.wait(60) == -9
    with start(program) as process:
        assert process.communicate(timeout=60)[0].strip() == str(LINKS)

    again = (tmp_path / "notes").read_text().split()[LINKS:]
    assert [int(x) for x in again] == [*range(int(again[0]), LINKS)]
