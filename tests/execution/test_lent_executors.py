"""Executors and clusters of others: same values, same errors, nothing lost, nothing left hanging, nothing of theirs shut."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowlib as fl
from flowlib.engine import clusters
from flowlib.engine.run import execute, options_from
from flowlib.engine.stop import Stop
from flowlib.errors import CannotSend, ClusterTrouble, ExpansionLimit, MissingExtra, TaskTimedOut, WorkerDied
from flowlib.execution import elsewhere
from flowlib.execution.onsite import Token
from flowlib.execution.proctree import processes
from flowlib.testing import EventLog, plain_value
from tests.contracts.lent import CLUSTERS, lent, marked, new_processes
from tests.laws.test_random_graphs import targets

PATIENCE_S = 30.0


@pytest.fixture(params=marked(["pool of threads", "pool of processes", *CLUSTERS]))
def executor(request: pytest.FixtureRequest) -> Any:
    return lent(request.param)


@pytest.fixture(params=marked(["pool of processes", *CLUSTERS]))
def far(request: pytest.FixtureRequest) -> Any:
    """What takes orders."""
    return lent(request.param)


@pytest.fixture(params=marked(CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Any:
    """What performs orders in child processes, so that they can be ended."""
    return lent(request.param)


def run(target: Any, executor: Any, **options: Any) -> Any:
    return fl.run(target, **{"executor": executor, "cache": False, "progress": False, **options})


def is_gone(pid: int) -> bool:
    found = processes().get(pid)
    return found is None or found.state == "Z"


def wait_until(condition: Any, what: str) -> None:
    """Return as soon as a condition is true."""
    ended = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        ended.wait(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


# ---- results


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_agree_with_plain_evaluation(executor: Any, seed: int, tmp_path: Path) -> None:
    """Cold, warm and uncached: whatever carries the calls, the values are those of plain Python."""
    expected = plain_value(targets(seed, 12))
    for cache in (tmp_path / "c", tmp_path / "c", False):
        assert run(targets(seed, 12), executor, cache=cache) == expected


def test_what_was_stored_elsewhere_hits_here(executor: Any, tmp_path: Path) -> None:
    """Results of large and of small values are found by the next run, wherever that runs."""

    @fl.task
    def large(n: int) -> Any:
        return np.arange(n)

    @fl.task
    def total(array: Any) -> int:
        return int(array.sum())

    assert run(total(large(300_000)), executor, cache=tmp_path) == 44999850000
    log = EventLog()
    assert fl.run(total(large(300_000)), cache=tmp_path, observers=[log], progress=False) == 44999850000
    assert log.ran == []
    assert np.array_equal(fl.run(large(300_000), cache=tmp_path, progress=False), np.arange(300_000))


def test_thousands_of_quick_calls(executor: Any) -> None:
    """Quick calls travel in batches and come back each with its own value."""

    @fl.task
    def square(x: int) -> int:
        return x * x

    assert run([square(x) for x in range(2000)], executor) == [x * x for x in range(2000)]


def test_errors_are_those_of_the_task(executor: Any) -> None:
    """Type, text, attributes and the line of the task, beside results that are kept."""

    @fl.task
    def fail(x: int) -> int:
        raise KeyError("gone", x)

    @fl.task
    def fine(x: int) -> int:
        return x

    log = EventLog()
    with pytest.raises(KeyError) as caught:
        run([fail(1), fine(2)], executor, on_error="continue", observers=[log])
    assert caught.value.args == ("gone", 1)
    assert log.finished == ["fine"]
    lines = [entry.name for entry in caught.traceback]
    assert "fail" in lines


def test_every_call_begins_before_it_ends(executor: Any) -> None:
    """The log is in order, whoever did the work."""

    @fl.task
    def step(x: int) -> int:
        return x + 1

    log = EventLog()
    run(step(step(step(0))), executor, observers=[log])
    assert log.counts()["NodeStarted"] == log.counts()["NodeFinished"] == 3
    kinds = [type(event).__name__ for event in log.events if type(event).__name__ in ("NodeStarted", "NodeFinished")]
    assert kinds == ["NodeStarted", "NodeFinished"] * 3


@pytest.mark.parametrize(
    "name", marked(["inline", "threads", "processes", "pool of threads", "pool of processes", *CLUSTERS])
)
def test_a_limit_holds_wherever_the_points_run(name: str, tmp_path: Path) -> None:
    """Two desks are enough for a fan-out with a limit of two: whoever comes to work finds one of them free."""

    @fl.task
    def work(room: str, x: int) -> int:
        for desk in range(2):
            try:
                os.mkdir(f"{room}/{desk}")
            except FileExistsError:
                continue
            os.rmdir(f"{room}/{desk}")
            return desk
        raise AssertionError("three at work")

    points = fl.fan_out(work, str(tmp_path), over=fl.grid(x=range(20)), limit=2)
    where = name if name in ("inline", "threads", "processes") else lent(name)
    assert len(run(points, where).good) == 20


def test_a_failed_call_is_tried_again(executor: Any, tmp_path: Path) -> None:
    """Each attempt gets its arguments as they were."""

    @fl.task(retries=fl.Retry(max=3, first=0.0))
    def shaky(items: list[int], marks: str) -> list[int]:
        n = len(os.listdir(marks))
        Path(marks, str(n)).touch()
        items.append(9)
        if n < 2:
            raise OSError(n)
        return items

    assert run(shaky([1], str(tmp_path)), executor) == [1, 9]
    assert len(list(tmp_path.iterdir())) == 3


def test_variables_that_count_for_the_key_reach_the_worker(
    executor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored result belongs to the value that the variable has here, not to what a worker happens to have."""

    @fl.task(env="COLOUR_OF_A_TEST")
    def colour() -> str | None:
        return os.environ.get("COLOUR_OF_A_TEST")

    for value in ("red", "blue", "red"):
        monkeypatch.setenv("COLOUR_OF_A_TEST", value)
        assert run(colour(), executor, cache=tmp_path) == value
    monkeypatch.delenv("COLOUR_OF_A_TEST")
    assert run(colour(), executor, cache=tmp_path) is None


# ---- runs inside tasks


def test_runs_inside_tasks_share_the_cache_and_never_wait_for_each_other(executor: Any, tmp_path: Path) -> None:
    """More tasks than workers, each of which asks for results that the others are computing."""

    @fl.task
    def leaf(x: int) -> int:
        return x + 1

    @fl.task
    def outer(x: int) -> int:
        return sum(fl.run([leaf(0), leaf(1), leaf(x)]))

    assert run([*map(outer, range(6)), leaf(0), leaf(1)], executor, cache=tmp_path) == [4, 5, 6, 7, 8, 9, 1, 2]


def test_a_task_that_asks_for_itself_is_refused(executor: Any, tmp_path: Path) -> None:
    """Also round a corner; it must not wait for ever."""

    @fl.task
    def one(x: int) -> Any:
        return fl.run(two(x))

    @fl.task
    def two(x: int) -> Any:
        return fl.run(one(x))

    with pytest.raises((ExpansionLimit, fl.SweepFailed)):
        run([one(1), two(1)], executor, cache=tmp_path)


# ---- processes that end, tasks that do not


def test_a_task_that_ends_its_process_costs_only_itself(cluster: Any) -> None:
    """The engine's worker goes on; the error names the signal."""

    @fl.task
    def crash() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    @fl.task
    def fine(x: int) -> int:
        return x

    log = EventLog()
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        run([crash(), *map(fine, range(20))], cluster, on_error="continue", observers=[log])
    assert sorted(log.finished) == ["fine"] * 20


def test_a_timeout_ends_the_users_code_on_the_worker(cluster: Any, tmp_path: Path) -> None:
    """A task that sleeps in C code, and what it started, are gone soon after the run has said so."""

    @fl.task(timeout=1.0)
    def hang(where: str) -> None:
        import ctypes

        child = subprocess.Popen(["sleep", "600"])
        Path(where).write_text(f"{os.getpid()} {child.pid}\n")
        ctypes.CDLL(None).sleep(600)

    with pytest.raises(TaskTimedOut):
        run(hang(str(tmp_path / "pids")), cluster)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        wait_until(lambda: is_gone(pid), "the task is ended")


def test_a_run_that_is_given_up_ends_its_tasks_elsewhere(cluster: Any, tmp_path: Path) -> None:
    """A second Ctrl-C does not leave work behind on the cluster."""

    @fl.task
    def hang(where: str) -> None:
        Path(where).write_text(f"{os.getpid()}\n")
        threading.Event().wait(600)

    stop = Stop()

    def interrupt_twice() -> None:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the task runs")
        stop.interrupt()
        stop.interrupt()

    thread = threading.Thread(target=interrupt_twice)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        execute(hang(str(tmp_path / "pid")), options_from({"executor": cluster}, cache=False), stop)
    thread.join()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: is_gone(pid), "the task is ended")


def kill_engine_worker() -> None:
    """Kill the engine's worker that this child process works for."""
    nursery = processes()[os.getpid()].parent
    os.kill(processes()[nursery].parent, signal.SIGKILL)
    threading.Event().wait(600)


def test_a_lost_worker_gives_its_jobs_to_others(cluster: Any, tmp_path: Path) -> None:
    """The machine goes, the run does not."""

    @fl.task
    def doomed(x: int, mark: str) -> int:
        if x == 3 and not Path(mark).exists():
            Path(mark).touch()
            kill_engine_worker()
        return x * 10

    nodes = [doomed(x, str(tmp_path / "mark")) for x in range(8)]
    assert run(nodes, cluster) == [x * 10 for x in range(8)]


def test_a_job_that_takes_every_worker_with_it_is_to_blame(cluster: Any) -> None:
    """After a few losses it fails with an error that says so; the others have their results."""

    @fl.task
    def plague() -> None:
        kill_engine_worker()

    @fl.task
    def fine(x: int) -> int:
        return x

    log = EventLog()
    with pytest.raises(ClusterTrouble, match="lost every worker"):
        run([plague(), *map(fine, range(4))], cluster, on_error="continue", observers=[log])
    assert log.finished == ["fine"] * 4


def test_a_pool_that_breaks_fails_what_it_had_and_what_comes_later() -> None:
    """Each with an error that says what to do; the run ends, and what runs here is done."""
    pool = new_processes()

    @fl.task
    def crash() -> None:
        os._exit(3)

    @fl.task
    def later(x: int) -> int:
        return x

    @fl.task(executor="threads")
    def here(x: int) -> int:
        return x + 1

    log = EventLog()
    with pytest.raises(fl.SweepFailed) as caught:
        run([crash(), here(1), *map(later, range(4))], pool, on_error="continue", observers=[log], workers=1)
    assert log.finished == ["here"]
    assert len(log.failed) == 5
    assert "no longer works" in str(caught.value)
    with pytest.raises(ClusterTrouble, match="no longer works"):
        run(later(9), pool)
    pool.shutdown()


def test_a_call_in_a_pool_that_cannot_be_ended_is_left_behind(tmp_path: Path) -> None:
    """Its node is timed out, and the run says that its code goes on."""
    pool = new_processes()

    @fl.task(timeout=0.2)
    def hang(where: str) -> int:
        while not Path(where).exists():
            threading.Event().wait(0.01)
        return 1

    with pytest.warns(fl.FlowWarning, match="still runs"), pytest.raises(TaskTimedOut):
        run(hang(str(tmp_path / "go on")), pool)
    (tmp_path / "go on").touch()
    pool.shutdown()


# ---- what is shared, and what is not


def test_workers_that_do_not_see_the_cache_send_their_values(
    far: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run keeps them, and the next run hits; large inputs travel, too."""
    token = Token(str(tmp_path / "not there"), "x")
    monkeypatch.setattr(clusters.Clusters, "token", lambda self, root: token)

    @fl.task
    def large(n: int) -> Any:
        return np.arange(n)

    @fl.task
    def total(array: Any) -> int:
        return int(array.sum())

    log = EventLog()
    nodes = [total(large(n)) for n in (300_000, 3)]
    assert run(nodes, far, cache=tmp_path / "c", observers=[log]) == [44999850000, 3]
    assert run([total(large(n)) for n in (300_000, 3)], far, cache=tmp_path / "c", observers=[log]) == [44999850000, 3]
    assert sorted(log.ran) == ["large", "large", "total", "total"]


def test_what_is_too_large_to_be_sent_is_refused_with_the_limit(far: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of that size is squeezed through a network unasked."""
    monkeypatch.setattr(elsewhere, "MOST_BYTES", 1_000_000)

    @fl.task
    def total(array: Any) -> int:
        return int(array.sum())

    with pytest.raises(CannotSend, match=r"too large to be sent(.|\n)*limit"):
        run(total(np.zeros(1_000_000)), far)


def test_clients_and_pools_stay_open(executor: Any) -> None:
    """They are the user's, before and after."""

    @fl.task
    def one() -> int:
        return 1

    assert [run(one(), executor) for _ in range(3)] == [1, 1, 1]
    if isinstance(executor, Executor):
        assert executor.submit(abs, -4).result(PATIENCE_S) == 4


def test_a_pool_of_one_thread_is_enough_for_runs_inside_runs(tmp_path: Path) -> None:
    """A run inside a task works in the thread of the task, and on what waits behind it."""

    @fl.task
    def leaf(x: int) -> int:
        return threading.get_ident()

    @fl.task
    def outer(x: int) -> list[int]:
        return [threading.get_ident(), *fl.run([leaf(0), leaf(x)])]

    with ThreadPoolExecutor(1) as pool:
        for cache in (False, tmp_path):
            found = run([outer(1), outer(2), leaf(2)], pool, cache=cache)
            assert len({*found[0], *found[1], found[2]}) == 1


def test_a_pool_that_was_shut_says_so() -> None:
    """Also one of threads."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()

    @fl.task
    def one() -> int:
        return 1

    with pytest.raises(ClusterTrouble, match="no longer works"):
        run(one(), pool)


# ---- the way there


def test_a_missing_extra_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to guess which package."""
    for name, package in (("dask", "distributed"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"flowlib.execution.on_{name}", raising=False)
        with pytest.raises(MissingExtra, match=rf'pip install "flowlib\[{name}\]"'):
            run(fl.task(lambda: 1)(), name)


def test_words_that_are_no_executor_are_refused() -> None:
    """With the nearest word, for a run and for a task."""
    with pytest.raises(fl.ConfigError, match="dask"):
        run(fl.task(lambda: 1)(), "dusk")
    with pytest.raises(fl.ConfigError, match="no executor"):
        run(fl.task(lambda: 1)(), type("Mail", (), {"submit": print})())
    with pytest.raises(fl.TaskMisused, match="dask"):
        fl.task(executor="dask:/host")(lambda: 1)


SCRIPT = """
import sys
import flowlib as fl

class Report:
    def __init__(self, score):
        self.score = score

@fl.task
def fit(x):
    return Report(x + OFFSET)

@fl.task
def score(report):
    return (report.score, type(report) is Report, type(report).__module__)

OFFSET = 10
print("once")
for _ in range(2):
    print(fl.run(score(fit(1)), executor=sys.argv[1], cache="store", progress=False))
    print(type(fl.run(fit(1), executor=sys.argv[1], cache=False, progress=False)) is Report)
"""


@pytest.mark.clusters
@pytest.mark.parametrize("name", CLUSTERS)
def test_a_script_needs_no_guard_and_is_executed_once(name: str, tmp_path: Path) -> None:
    """What `__main__` defines, as in a notebook, goes by value; a cluster of one's own is gone with the program."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(script), name], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once", *["(11, True, '__main__')", "True"] * 2]


# ---- what a cluster has


def test_resources_are_those_of_the_cluster(cluster: Any) -> None:
    """A processor or two, and memory, any worker gives; what no worker has is an error at once, with what there is."""

    @fl.task(resources={"cpu": 1, "memory": "200 MB"})
    def modest(x: int) -> int:
        return x

    @fl.task(resources={"gpu": 4})
    def greedy() -> int:
        return 1

    assert run([*map(modest, range(4))], cluster) == [0, 1, 2, 3]
    with pytest.raises(ClusterTrouble, match="has what a task wants"):
        run(greedy(), cluster)


def test_memory_over_the_limit_is_ended_on_the_worker(cluster: Any) -> None:
    """The worker of the engine lives on."""

    @fl.task(resources={"memory": "300 MB"})
    def eat(n_bytes: int) -> int:
        held = bytearray(n_bytes)
        for at in range(0, n_bytes, 4096):
            held[at] = 1
        threading.Event().wait(PATIENCE_S)
        return len(held)

    with pytest.raises(fl.MemoryExceeded, match="300 MB"):
        run(eat(600_000_000), cluster)
    assert run(fl.task(lambda: 1)(), cluster) == 1
