"""The main path: a target goes in, values come out, and nothing runs twice."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.events import Noticed
from flowlib.testing import EventLog


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def add(x: int, y: int) -> int:
    return x + y


@fl.task
def pair(x: int) -> tuple[int, str]:
    return x, str(x)


@fl.task
def parity(x: int) -> int:
    return x % 2


@fl.task
def describe(x: int) -> str:
    return f"parity {x}"


@fl.task
def table(n: int) -> dict[str, Any]:
    return {"rows": list(range(n)), "name": "t"}


@fl.task
def total(values: list[int]) -> int:
    return sum(values)


def run(target: Any, log: EventLog, cache: Path | bool, **options: Any) -> Any:
    log.clear()
    return fl.run(target, cache=cache, progress=False, observers=[log], **options)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def log() -> EventLog:
    return EventLog()


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_second_run_runs_nothing(cache: Path, log: EventLog, executor: str) -> None:
    """What was computed once is reused; the same graph built again hits."""
    first = run(add(inc(1), inc(2)), log, cache, executor=executor)
    assert sorted(log.ran) == ["add", "inc", "inc"]

    second = run(add(inc(1), inc(2)), log, cache, executor=executor)

    assert (first, second) == (5, 5)
    assert log.ran == []
    assert sorted(log.cached) == ["add", "inc", "inc"]


def test_without_a_cache_everything_runs_each_time(log: EventLog) -> None:
    """cache=False neither reads nor writes."""
    assert run(add(inc(1), inc(2)), log, False) == 5
    assert run(add(inc(1), inc(2)), log, False) == 5
    assert len(log.ran) == 3


def test_early_cut_off_stops_below_an_equal_output(cache: Path, log: EventLog) -> None:
    """A changed upstream call with an equal output re-runs nothing below it."""
    run(describe(parity(3)), log, cache)

    result = run(describe(parity(5)), log, cache)

    assert result == "parity 1"
    assert log.ran == ["parity"]
    assert log.cached == ["describe"]


def test_arguments_are_bound_before_they_are_keyed(cache: Path, log: EventLog) -> None:
    """f(1, 2), f(x=1, y=2) and f(1, y=2) are one call."""
    run(add(1, 2), log, cache)
    run([add(x=1, y=2), add(1, y=2)], log, cache)
    assert log.ran == []


def test_equal_calls_in_one_run_are_computed_once(cache: Path, log: EventLog) -> None:
    """Two nodes with one key: the second waits for the first."""
    assert run([inc(1), inc(1), inc(1)], log, cache) == [2, 2, 2]
    assert log.ran == ["inc"]


def test_uncached_equal_calls_are_separate_runs(log: EventLog) -> None:
    """Without a key two calls are two runs."""
    assert run([inc(1), inc(1)], log, False) == [2, 2]
    assert log.ran == ["inc", "inc"]


def test_structure_of_the_target_is_preserved(cache: Path, log: EventLog) -> None:
    """Any nesting comes back in the same shape."""
    target = {"a": inc(1), "b": [inc(2), (inc(3), "text")], "c": {"d": 4}}
    assert run(target, log, cache) == {"a": 2, "b": [3, (4, "text")], "c": {"d": 4}}


def test_lazy_operations_give_what_python_gives(cache: Path, log: EventLog) -> None:
    """Indexing, attributes, methods, operators and unpacking stay lazy and then agree with Python."""
    number, text = pair(7)
    rows = table(5)["rows"]
    target = [number, text.upper(), rows[1:3], inc(1) + 1, 10 - inc(1), inc(1) == 2, -inc(1), rows.count(3)]
    assert run(target, log, cache) == [7, "7", [1, 2], 3, 8, True, -2, 1]
    assert run(target, log, cache) == [7, "7", [1, 2], 3, 8, True, -2, 1]
    assert log.ran == []


def test_a_part_of_an_output_cuts_off_what_another_part_changed(cache: Path, log: EventLog) -> None:
    """A consumer of data["name"] does not run again because data["rows"] changed."""

    @fl.task
    def shout(name: str) -> str:
        return name.upper()

    run(shout(table(3)["name"]), log, cache)
    run(shout(table(4)["name"]), log, cache)
    assert log.ran == ["table"]


def test_nodes_are_found_in_containers(cache: Path, log: EventLog) -> None:
    """Lists, tuples, dicts and dataclasses of nodes are replaced by values."""

    @fl.task
    def weigh(parts: dict[str, Any]) -> int:
        return sum(parts["a"]) + parts["b"][0]

    assert run(weigh({"a": [inc(1), 2], "b": (inc(5),)}), log, cache) == 10
    assert run(total([inc(i) for i in range(10)]), log, cache) == 55


def test_a_task_may_return_nodes(cache: Path, log: EventLog) -> None:
    """Returned nodes are spliced into the run, at any depth, and the whole hits next time."""

    @fl.task
    def countdown(n: int) -> int:
        return inc(0) if n == 0 else countdown(n - 1)

    assert run(countdown(3), log, cache) == 1
    assert log.ran == ["countdown"] * 4 + ["inc"]
    assert run(countdown(3), log, cache) == 1
    assert log.ran == []


def test_a_task_may_return_a_container_of_nodes(cache: Path, log: EventLog) -> None:
    """Containers of nodes come out with values in their places, mixed with plain values."""

    @fl.task
    def several(n: int) -> dict[str, Any]:
        return {"all": [inc(i) for i in range(n)], "n": n}

    assert run(several(3), log, cache) == {"all": [1, 2, 3], "n": 3}
    assert run(total(several(4)["all"]), log, cache) == 10


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("workers", [1, 3])
def test_run_inside_a_task_joins_the_run(cache: Path, log: EventLog, executor: str, workers: int) -> None:
    """fl.run in a task neither deadlocks, even with one worker, nor loses the cache."""

    @fl.task
    def outer(n: int) -> int:
        return sum(fl.run([inc(i) for i in range(n)])) + fl.run(add(inc(1), inc(2)))

    assert run([outer(3), outer(4)], log, cache, executor=executor, workers=workers) == [11, 15]
    run([outer(3), outer(4)], log, cache)
    assert log.ran == []


def test_async_tasks_run(cache: Path, log: EventLog) -> None:
    """`async def` tasks are awaited, cached and composed like any other."""

    @fl.task
    async def fetch(x: int) -> int:
        await asyncio.sleep(0)
        return x * 10

    assert run(add(fetch(1), fetch(2)), log, cache) == 30
    run(add(fetch(1), fetch(2)), log, cache)
    assert log.ran == []


def test_arun_works_in_a_running_loop(cache: Path) -> None:
    """`await arun` gives the value without blocking the loop; `run` works inside a loop, too."""

    @fl.task
    async def fetch(x: int) -> int:
        return x

    async def main() -> list[int]:
        inside = fl.run(fetch(1), cache=cache, progress=False, executor="inline")
        return [await fl.arun(fetch(2), cache=cache), inside]

    assert asyncio.run(main()) == [2, 1]


def test_start_gives_a_handle(cache: Path) -> None:
    """A background run has a status, events and a result."""
    handle = fl.start(add(inc(1), 2), cache=cache)
    assert handle.result(timeout_s=30) == 4
    assert handle.status == "success"
    assert handle.events and len(handle.nodes) == 2


def test_cancelled_run_keeps_what_finished(cache: Path, log: EventLog) -> None:
    """Cancel lets running jobs finish and stores them."""
    started, go_on = threading.Event(), threading.Event()

    @fl.task(cache=False)
    def gate(x: int) -> int:
        started.set()
        go_on.wait(30)
        return x

    handle = fl.start(inc(add(gate(1), 1)), cache=cache, workers=1)
    assert started.wait(30)
    handle.cancel()
    go_on.set()
    with pytest.raises(fl.RunStopped):
        handle.result(timeout_s=30)
    assert handle.status == "cancelled"


def test_eager_calls_run_at_once() -> None:
    """Inside eager() a task is its plain function."""
    with fl.eager():
        assert add(inc(1), inc(2)) == 5


def test_plan_and_why_run_nothing(cache: Path, log: EventLog) -> None:
    """plan shows hits, misses and undecided nodes; the run afterwards agrees."""
    run(add(inc(1), inc(2)), log, cache)

    plan = fl.plan(add(inc(1), inc(5)), cache=cache)
    reason = fl.why(inc(5), cache=cache)

    assert (plan.n_cached, plan.n_to_run, plan.n_undecided) == (1, 1, 1)
    assert "argument changed: x: " in str(reason)
    assert "cached" in str(fl.why(add(inc(1), inc(2)), cache=cache))


def test_forced_tasks_run_again(cache: Path, log: EventLog) -> None:
    """force= names tasks that run whatever is stored; what is below hits again when the output is equal."""
    run(add(inc(1), 1), log, cache)
    run(add(inc(1), 1), log, cache, force=["inc"])
    assert log.ran == ["inc"]


def test_a_forced_name_that_no_task_has_is_told(cache: Path, log: EventLog) -> None:
    """A misspelt name forces nothing; the run says so, with the name that was probably meant."""
    message = "force= names 'incc', but there is no such task in this run. Did you mean 'inc'?"
    with pytest.warns(fl.FlowWarning, match=re.escape(message)):
        assert run(add(inc(1), 1), log, cache, force=["incc", "add", "incc"]) == 3
    assert [event.message for event in log.of(Noticed)] == [message]
    with pytest.warns(fl.FlowWarning, match=r"'incc', but there is no such task so far\. Did you mean 'inc'"):
        fl.plan(inc(1), cache=cache, force="incc")
    with pytest.warns(fl.FlowWarning, match="'incc'"):
        fl.why(inc(1), cache=cache, force=["incc"])


def test_a_forced_name_may_join_while_the_run_goes_on(cache: Path, log: EventLog) -> None:
    """A task that only a returned call names is forced, too, and nothing is told."""

    @fl.task(cache=False)
    def later(x: int) -> int:
        return inc(x)

    run(later(1), log, cache)
    run(later(1), log, cache, force=["inc"])
    assert log.ran == ["later", "inc"]
    assert not log.of(Noticed)


def test_a_run_inside_a_task_tells_a_name_it_does_not_know(cache: Path, log: EventLog) -> None:
    """Once, however many such runs there are."""

    @fl.task(cache=False)
    def outer(x: int) -> int:
        return fl.run(inc(x), force=["incc"])

    with pytest.warns(fl.FlowWarning, match="'incc'"):
        run([outer(1), outer(2)], log, cache)
    assert len(log.of(Noticed)) == 1


def test_ignored_parameters_do_not_count(cache: Path, log: EventLog) -> None:
    """ignore= keeps a parameter out of the key."""

    @fl.task(ignore=["verbose"])
    def work(x: int, verbose: bool = False) -> int:
        return x

    run(work(1), log, cache)
    run(work(1, verbose=True), log, cache)
    assert log.ran == []


def test_version_and_env_count(cache: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """version= and declared environment variables are part of the key."""

    def work(x: int) -> int:
        return x

    monkeypatch.setenv("MY_MODE", "a")
    run(fl.task(work)(1), log, cache)
    run(fl.task(version="2")(work)(1), log, cache)
    assert log.ran == ["work"]
    run(fl.task(env=["MY_MODE"])(work)(1), log, cache)
    monkeypatch.setenv("MY_MODE", "b")
    run(fl.task(env=["MY_MODE"])(work)(1), log, cache)
    assert log.ran == ["work"]


def test_pause_and_resume(cache: Path) -> None:
    """A paused run starts nothing new and goes on after resume."""
    handle = fl.start(add(inc(1), inc(2)), cache=cache)
    handle.pause()
    handle.resume()
    assert handle.result(timeout_s=30) == 5


def test_many_consumers_of_a_value_known_only_by_digest(cache: Path, log: EventLog) -> None:
    """The large result of an operator is not stored twice: new consumers make it again once, all of them wait for it."""

    @fl.task
    def big() -> dict[str, Any]:
        return {"numbers": list(range(5000)), "name": "n"}

    @fl.task
    def count(numbers: list[int], k: int) -> int:
        return len(numbers) + k

    numbers = big()["numbers"]
    run(count(numbers, 0), log, cache)

    assert run([count(numbers, k) for k in range(1, 9)], log, cache, workers=4) == [5000 + k for k in range(1, 9)]
    assert log.ran == ["count"] * 8 or sorted(set(log.ran)) == ["count"]


@pytest.mark.parametrize("inside", [False, True])
def test_output_files_are_restored(cache: Path, log: EventLog, inside: bool) -> None:
    """A file that a stored result names comes back when it was deleted or edited, alone or inside another value."""

    @fl.task
    def write(n: int) -> Any:
        Path("out.txt").write_text("x" * n)
        return {"file": fl.File("out.txt"), "n": n} if inside else fl.File("out.txt")

    @fl.task
    def size(result: Any) -> int:
        file = result["file"] if isinstance(result, dict) else result
        return len(file.read_text())

    assert run(size(write(3)), log, cache) == 3
    Path("out.txt").unlink()
    assert run(size(write(3)), log, cache) == 3
    assert Path("out.txt").read_text() == "xxx"
    Path("out.txt").write_text("edited")
    run(write(3), log, cache)
    assert (Path("out.txt").read_text(), log.ran) == ("xxx", [])


def test_the_object_a_task_is_bound_to_counts(cache: Path, log: EventLog) -> None:
    """A method of an object, passed as an argument or found as a global, is another function for another object."""

    class Times:
        def __init__(self, k: int) -> None:
            self.k = k

        @fl.task
        def scale(self, x: int) -> int:
            return self.k * x

    @fl.task
    def apply(function: Any, x: int) -> int:
        return int(function.fn(*function.bound, x))

    assert run(apply(Times(2).scale, 3), log, cache) == 6
    assert run(apply(Times(5).scale, 3), log, cache) == 15


def test_a_task_may_return_a_node_that_has_been_let_go(log: EventLog) -> None:
    """A returned node that ended and was dropped before is made again, and the outer task is not called twice."""
    first = inc(1)
    calls = []

    @fl.task
    def late(y: int) -> int:
        calls.append(y)
        return first

    assert fl.run(late(add(first, 1)), cache=False, progress=False) == 2
    assert calls == [3]


def test_a_task_that_returns_its_own_node_is_told_so(log: EventLog) -> None:
    """It would wait for itself."""
    nodes: list[Any] = []

    @fl.task
    def ouroboros() -> Any:
        return nodes[0]

    nodes.append(ouroboros())
    with pytest.raises(fl.TaskMisused, match="its own call"):
        fl.run(nodes[0], cache=False, progress=False)
