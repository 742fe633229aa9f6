"""A call that takes long is told, and what ended before it is committed, even if it keeps the engine from doing so."""

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.engine import pace
from flowlib.engine.starting import Starting
from flowlib.events import Event, NodeFinished, NodeStarted
from flowlib.execution import inline, lookout
from flowlib.execution.lookout import Watch
from flowlib.execution.threads import ThreadExecutor
from flowlib.testing import EventLog

N = 60
SLOW = 40
PATIENCE_S = 60.0

hooks: contextvars.ContextVar[dict[int, Callable[[], object]]] = contextvars.ContextVar("hooks")


class Telling:
    """An observer that sets an event when the start of one node is told."""

    def __init__(self, node: int) -> None:
        self.node, self.is_told = node, threading.Event()

    def on_event(self, event: Event) -> None:
        """Look at one event."""
        if isinstance(event, NodeStarted) and event.node == self.node:
            self.is_told.set()


@pytest.fixture(autouse=True)
def all_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls count as quick on a busy machine, too."""
    monkeypatch.setattr(pace, "QUICK_S", 60.0)


@pytest.fixture
def hooked() -> Iterator[dict[int, Callable[[], object]]]:
    """What calls do beside their work, by argument. Tasks find it in a context variable: it is no part of their code."""
    token = hooks.set({})
    yield hooks.get()
    hooks.reset(token)


@fl.task
def link(x: int) -> int:
    hooks.get().get(x, lambda: None)()
    return x + 1


def chain(n: int = N) -> Any:
    node = link(0)
    for _ in range(n - 1):
        node = link(node)
    return node


def flat(n: int = N) -> list[Any]:
    return [link(x) for x in range(n)]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize(("shape", "slow"), [(chain, SLOW), (flat, SLOW), (flat, N - 1)])
def test_a_slow_call_is_told_while_it_is_at_work(
    tmp_path: Path, hooked: dict[int, Any], cached: bool, executor: str, shape: Callable[[], Any], slow: int
) -> None:
    """It was thought to be quick, and those are told when they have ended."""
    telling, log, told = Telling(slow), EventLog(), list[bool]()
    hooked[slow] = lambda: told.append(telling.is_told.wait(PATIENCE_S))

    fl.run(shape(), cache=tmp_path if cached else False, executor=executor, progress=False, observers=[telling, log])

    assert told == [True]
    started = [event.node for event in log.events if isinstance(event, NodeStarted)]
    finished = [event.node for event in log.events if isinstance(event, NodeFinished)]
    assert sorted(started) == sorted(finished) == [*range(N)]


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_what_ended_before_a_slow_call_is_there_for_others(
    tmp_path: Path, hooked: dict[int, Any], executor: str
) -> None:
    """Another thread gets it without waiting for the slow call, which here would be for ever."""
    values: list[int] = []

    def ask_elsewhere() -> None:
        context = contextvars.Context()
        thread = threading.Thread(target=lambda: context.run(ask), daemon=True)
        thread.start()
        thread.join(PATIENCE_S)

    def ask() -> None:
        hooks.set({})
        values.append(fl.run(chain(N - 1), cache=tmp_path, progress=False))

    hooked[N - 1] = ask_elsewhere

    assert fl.run(chain(), cache=tmp_path, executor=executor, progress=False) == N
    assert values == [N - 1]


@fl.task(on_error=lambda error: hooks.get()[-1]())
def may_fail(x: int) -> int:
    hooks.get().get(x, lambda: None)()
    if x == SLOW - 1:
        raise ValueError(x)
    return x


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the lookout has done what it does for an engine."""
    has_looked, look_after = threading.Event(), Starting._look_after

    def look(engine: Starting) -> None:
        look_after(engine)
        has_looked.set()

    monkeypatch.setattr(Starting, "_look_after", look)
    return has_looked


def test_a_fallback_is_asked_for_in_the_thread_of_the_run(hooked: dict[int, Any], looked: threading.Event) -> None:
    """Where it finds the context the run began in, however long the call behind it takes."""
    hooked[-1] = threading.get_ident
    hooked[SLOW] = lambda: looked.wait(PATIENCE_S)

    values = fl.run([may_fail(x) for x in range(N)], cache=False, executor="inline", progress=False)

    assert looked.is_set()
    assert values == [threading.get_ident() if x == SLOW - 1 else x for x in range(N)]


class Adding:
    """A reducer that remembers in which threads it was asked."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def __call__(self, so_far: int, value: int) -> int:
        self.threads.add(threading.get_ident())
        return so_far + value


def test_a_reducer_is_fed_in_the_thread_of_the_run(hooked: dict[int, Any], looked: threading.Event) -> None:
    """While the next point takes long."""
    adding = Adding()
    hooked[SLOW] = lambda: looked.wait(PATIENCE_S)
    points = fl.fan_out(link, over=fl.grid(x=range(N)))
    target = fl.fan_in(points, fl.reduce(0, adding))

    value = fl.run(target, cache=False, executor="inline", progress=False)

    assert looked.is_set()
    assert value == sum(range(1, N + 1))
    assert adding.threads == {threading.get_ident()}


@fl.task
def background(x: int) -> int:
    return x


@fl.task(executor="inline")
def asks(x: int) -> int:
    hooks.get()[x]()
    return fl.run(background(x))


@fl.task(on_error=lambda error: fl.run(background(9), cache=False, progress=False))
def falls_back(x: int) -> int:
    hooks.get()[x]()
    raise ValueError(x)


class Running:
    """An observer that runs something when a task ends."""

    def on_event(self, event: Event) -> None:
        """Look at one event."""
        if isinstance(event, NodeFinished) and event.task == "link":
            fl.run(background(8), cache=False, progress=False)


@pytest.mark.parametrize("task", [link, falls_back])
def test_code_that_runs_while_the_engine_catches_up_may_run_something(
    hooked: dict[int, Any], monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    """An observer, a fallback: the run inside a task makes the engine catch up, which calls them, and they run anew."""
    has_ended, perform = threading.Event(), ThreadExecutor.perform

    def note(executor: ThreadExecutor, *arguments: Any) -> None:
        perform(executor, *arguments)
        has_ended.set()

    monkeypatch.setattr(ThreadExecutor, "perform", note)
    hooked[1] = lambda: None
    hooked[2] = lambda: has_ended.wait(PATIENCE_S)

    values = fl.run([task(1), asks(2)], cache=False, workers=2, progress=False, observers=[Running()])

    assert values == [2 if task is link else 9, 2]


def test_what_goes_on_after_a_pause_is_looked_after(hooked: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run of one thread, what was held back is made like everything else."""
    monkeypatch.setattr(inline, "PATIENCE_S", 0.0)  # the pause is heeded after each call
    telling, is_there, may_go = Telling(SLOW), threading.Event(), threading.Event()
    told: list[bool] = []
    hooked[20] = lambda: (is_there.set(), may_go.wait(PATIENCE_S))
    hooked[SLOW] = lambda: told.append(telling.is_told.wait(PATIENCE_S))
    run = fl.start(flat(), cache=False, executor="inline", progress=False, observers=[telling])
    assert is_there.wait(PATIENCE_S)
    run.pause()
    may_go.set()
    run.pause(wait=True, timeout_s=PATIENCE_S)
    assert told == []

    run.resume()

    assert run.result() == [*range(1, N + 1)]
    assert told == [True]


class Gate:
    """An observer that makes a file once the start of one node is told and all others have finished."""

    def __init__(self, path: Path, node: int, n_others: int) -> None:
        self.path, self.node, self.n_others = path, node, n_others
        self.is_told, self.finished = False, list[int]()

    def on_event(self, event: Event) -> None:
        """Look at one event."""
        if isinstance(event, NodeStarted) and event.node == self.node:
            self.is_told = True
        elif isinstance(event, NodeFinished):
            self.finished.append(event.node)
        if self.is_told and len(self.finished) == self.n_others:
            self.path.touch()


@fl.task(ignore=["folder"])
def noted(x: int, folder: str, dies: bool = False) -> int:
    with Path(folder, "notes").open("a") as notes:
        notes.write(f"{x}\n")
    if x == SLOW:
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / 0.01)):
            if Path(folder, "gate").exists():
                break
            pause.wait(0.01)
        else:
            raise TimeoutError("the others wait for this call")
        if dies:
            os._exit(3)
    return x


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("dies", [False, True])
def test_a_slow_call_in_another_process_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool, dies: bool
) -> None:
    """Those behind it in its batch are made elsewhere, those before it are finished, and it is told."""
    monkeypatch.setattr(pace, "BATCH_S", 600.0)
    gate = Gate(tmp_path / "gate", SLOW, N - 1)
    target = [noted(x, str(tmp_path), dies) for x in range(N)]

    def run() -> list[int]:
        cache = tmp_path / "cache" if cached else False
        return fl.run(target, cache=cache, executor="processes", workers=2, progress=False, observers=[gate])

    if dies:
        with pytest.raises(fl.WorkerDied, match="noted"):
            run()
    else:
        assert run() == [*range(N)]

    assert sorted(gate.finished) == [x for x in range(N) if x != SLOW or not dies]
    assert sorted(map(int, (tmp_path / "notes").read_text().split())) == [*range(N)]


class Stopping(Gate):
    """A gate that stops the run when the start of a node is told, and opens."""

    run: Any = None

    def on_event(self, event: Event) -> None:
        """Look at one event."""
        if isinstance(event, NodeStarted) and event.node == self.node:
            self.has_run.wait(PATIENCE_S)
            self.run.cancel()
            self.path.touch()

    def __init__(self, path: Path, node: int) -> None:
        super().__init__(path, node, 0)
        self.has_run = threading.Event()


def test_what_was_behind_a_slow_call_does_not_begin_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given back to the run, which starts nothing new."""
    monkeypatch.setattr(pace, "BATCH_S", 600.0)
    gate, log = Stopping(tmp_path / "gate", SLOW), EventLog()
    target = [noted(x, str(tmp_path)) for x in range(N)]

    gate.run = fl.start(target, cache=False, executor="processes", workers=1, progress=False, observers=[gate, log])
    gate.has_run.set()
    with pytest.raises(fl.RunStopped):
        gate.run.result()

    assert [int(x) for x in (tmp_path / "notes").read_text().split()] == [*range(SLOW + 1)]
    assert log.counts()["NodeCancelled"] == N - SLOW - 1


@pytest.mark.parametrize("place", ["inline", "inline task", "inner run"])
def test_a_program_that_dies_in_a_slow_call_has_kept_the_one_before(tmp_path: Path, place: str) -> None:
    """In a run of one thread, in a task that wants the engine's, and in a run inside a task, whose thread makes its calls."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(mode: str) -> tuple[int, str]:
        arguments = [sys.executable, str(program), mode, place]
        ended = subprocess.run(arguments, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        return ended.returncode, ended.stdout

    assert run("die") == (-9, "made 0\nmade 1\n")
    assert run("live") == (0, "made 1\n2\n")


PROGRAM = """
import os, subprocess, sys
import flowlib as fl

place = sys.argv[2]

@fl.task
def step(x):
    print("made", x, flush=True)
    if x == 1 and sys.argv[1] == "die":
        # Another process gets the first step's result only once it is committed.
        subprocess.run([sys.executable, sys.argv[0], "ask", sys.argv[2]], timeout=30, stdout=subprocess.DEVNULL)
        os.kill(os.getpid(), 9)
    return x + 1

@fl.task
def outer():
    return fl.run(step(step(0)))

task = step.options(executor="inline") if place == "inline task" else step
target = task(0) if sys.argv[1] == "ask" else outer() if place == "inner run" else task(task(0))
print(fl.run(target, cache="cache", progress=False, workers=1, executor="inline" if place == "inline" else None))
"""


def test_without_a_thread_to_be_had_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, hooked: dict[int, Any]) -> None:
    """A slow call is told when it has ended then."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(lookout._shared, "watch", Watch())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert fl.run(chain(5), cache=False, executor="inline", progress=False) == 5
