"""What runs in a process is what would have run here: same code, same values, same errors; and it can be ended."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowlib as fl
from flowlib.clock import SystemClock
from flowlib.engine.away import place_here
from flowlib.errors import CannotSend, Untransferable
from flowlib.execution import errands
from flowlib.execution.base import Job
from flowlib.execution.processes import ProcessExecutor
from flowlib.execution.proctree import family
from flowlib.execution.warm import shared_pool
from flowlib.execution.wire import Terms
from flowlib.execution.worker import Worker
from flowlib.hashing.identity import Identity
from flowlib.history.query import list_runs, load_record
from flowlib.ids import NodeId

PATIENCE_S = 30.0


def run(target: Any, **options: Any) -> Any:
    return fl.run(target, **{"executor": "processes", "cache": False, "workers": 2, **options})


def run_program(code: str, *arguments: str, folder: Path) -> str:
    """Run a script in a process of its own and return what it prints."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, cwd=folder, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- where it runs


def test_tasks_run_in_other_processes_and_operators_here() -> None:
    """Each call is made in a worker; what is done with its result is not."""

    @fl.task
    def where() -> dict[str, int]:
        return {"pid": os.getpid()}

    assert run(where()["pid"]) != os.getpid()


def test_a_task_and_a_call_choose_for_themselves() -> None:
    """`executor=` of a task, or of one call, is stronger than the run's."""

    @fl.task
    def where() -> int:
        return os.getpid()

    away, here = where.options(executor="processes"), where.options(executor="threads")
    pids = fl.run([where(), away()], cache=False)
    assert pids[0] == os.getpid() != pids[1]
    pids = run([where(), here()])
    assert pids[1] == os.getpid() != pids[0]


def test_inline_runs_stay_inline() -> None:
    """A run that was told to stay in its thread, for a breakpoint, does so."""

    @fl.task(executor="processes")
    def where() -> int:
        return os.getpid()

    assert fl.run(where(), executor="inline", cache=False) == os.getpid()


def test_a_script_is_not_executed_again(tmp_path: Path) -> None:
    """No `if __name__ == "__main__"` is needed, and classes of the script are the script's on both sides."""
    printed = run_program(
        """
        import flowlib as fl
        print("once")

        class Report:
            def __init__(self, score):
                self.score = score

        @fl.task
        def fit(x):
            return Report(x + OFFSET)

        @fl.task
        def score(report):
            return (report.score, type(report).__name__, report.__class__.__module__)

        OFFSET = 10
        for _ in range(2):
            report = fl.run(fit(1), executor="processes", cache="store")
            print(type(report) is Report, report.score)
        print(fl.run(score(fit(1)), executor="processes", cache="store"))
        """,
        folder=tmp_path,
    )
    assert printed.splitlines() == ["once", "True 11", "True 11", "(11, 'Report', '__main__')"]


def test_results_of_scripts_hit_in_the_next_process_whatever_made_them(tmp_path: Path) -> None:
    """What a worker stored of a script's class loads in the next run of the script, in threads and in processes."""
    code = """
        import sys
        import flowlib as fl

        class Report:
            def __init__(self, score):
                self.score = score

        @fl.task
        def fit(x):
            print("ran", flush=True)
            return Report(x)

        report = fl.run(fit(1), executor=sys.argv[1], cache="store")
        print(type(report) is Report, report.score)
        """
    assert run_program(code, "processes", folder=tmp_path).splitlines() == ["ran", "True 1"]
    assert run_program(code, "threads", folder=tmp_path).splitlines() == ["True 1"]
    assert run_program(code, "processes", folder=tmp_path).splitlines() == ["True 1"]


def test_surroundings_are_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take on directory, environment and path at each run, also when they are warm."""

    @fl.task
    def around() -> tuple[str, str, bool]:
        return os.getcwd(), os.environ.get("FLOWLIB_TEST_COLOUR", ""), str(tmp_path) in sys.path

    monkeypatch.setenv("NOTE", "red")

    @fl.task
    def note() -> tuple[str, str | None]:
        return os.getcwd(), os.environ.get("NOTE")

    assert run(note()) == (os.getcwd(), "red")
    monkeypatch.delenv("NOTE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(note()) == (str(tmp_path), None)
    assert run(around())[2]


def test_what_a_worker_prints_is_seen(tmp_path: Path) -> None:
    """Standard output and error of a task are the program's."""
    printed = run_program(
        """
        import sys
        import flowlib as fl

        @fl.task
        def talk():
            print("from the task")

        fl.run(talk(), executor="processes", cache=False)
        """,
        folder=tmp_path,
    )
    assert printed == "from the task\n"


# ---- the code that runs is the code of the key

MODULE = """
    import flowlib as fl

    FACTOR = {factor}

    def helper(x):
        return x * FACTOR

    @fl.task
    def scaled(x):
        return helper(x)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's own that can be imported: the module, and a function that writes it anew."""
    import importlib

    name = "scaling_" + tmp_path.name.replace("-", "_")
    path = tmp_path / f"{name}.py"

    def write(factor: int) -> None:
        path.write_text(textwrap.dedent(MODULE.format(factor=factor)))
        importlib.invalidate_caches()

    write(2)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loaded = importlib.import_module(name)
    yield loaded, write
    sys.modules.pop(name, None)


@pytest.mark.parametrize("cache", [False, "store"])
def test_a_global_that_was_changed_here_is_changed_there(module: Any, cache: Any) -> None:
    """A worker that imports a module finds other data than the program has: it must not use it."""
    loaded, _ = module
    assert run(loaded.scaled(1), cache=cache) == 2
    loaded.FACTOR = 7
    assert run(loaded.scaled(1), cache=cache) == 7


def test_a_file_that_was_edited_after_its_import_does_not_count(module: Any) -> None:
    """The code that is loaded here is the code of the key, so it is the code that runs there."""
    loaded, write = module
    write(5)
    assert run(loaded.scaled(1), cache="store") == 2


def test_a_reloaded_module_is_new_for_warm_workers(module: Any) -> None:
    """A worker that has imported the module before its edit does not run the old code."""
    import importlib

    loaded, write = module
    assert run(loaded.scaled(1), cache="store") == 2
    write(30)
    importlib.reload(loaded)
    assert run(loaded.scaled(1), cache="store") == 30


CLASSES = """
    import flowlib as fl

    class Model:
        def __init__(self, data):
            self.data = data

        def score(self):
            return len(self.data) * {factor}

    @fl.task
    def fit(n):
        return Model("x" * n)
"""


def test_a_class_changed_here_is_changed_in_stored_values_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored instance is loaded in a worker with the code that its class has here, though nothing else names it."""
    import importlib

    name = "models_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(CLASSES.format(factor=1)))
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded: Any = importlib.import_module(name)

    @fl.task
    def score(model: Any) -> int:
        return int(model.score())

    def doubled(self: Any) -> int:
        return len(self.data) * 2

    assert run(score(loaded.fit(5000)), cache="store") == 5000
    loaded.Model.score = doubled
    assert run(score(loaded.fit(5000)), cache="store") == 10_000
    assert run(score(loaded.fit(10)), cache="store") == 20
    sys.modules.pop(name)


def test_a_helper_of_a_module_reached_from_a_closure(module: Any) -> None:
    """A function that goes by value and uses a module runs with the module as it is here."""
    loaded, _ = module
    loaded.FACTOR = 11

    @fl.task
    def through(x: int) -> int:
        return int(loaded.helper(x))

    assert run(through(1), cache="store") == 11


# ---- values


@pytest.mark.parametrize("cache", [False, "store"])
def test_large_arrays_arrive_whole_and_writable(cache: Any) -> None:
    """An array that goes from task to task through files is a task's own."""

    @fl.task
    def make() -> Any:
        return np.arange(100_000.0)

    @fl.task
    def change(array: Any) -> float:
        array[0] = 5.0
        return float(array.sum())

    made = make()
    total = float(np.arange(100_000.0).sum())
    assert run([change(made), change(made), made[0]], cache=cache) == [total + 5.0, total + 5.0, 0.0]


def test_arguments_that_are_large(tmp_path: Path) -> None:
    """A large argument of many calls arrives in each, and no file of it is left."""
    table = {"x": np.ones(50_000), "name": "t" * 100_000}

    @fl.task
    def total(table: Any, k: int) -> float:
        return float(table["x"].sum()) + k + len(table["name"])

    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert run([total(table, k) for k in range(6)]) == [150_000.0 + k for k in range(6)]
    after = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert not [name for name in after - before if name.startswith(f"flowlib-{os.getuid()}-{os.getpid()}-")]


def test_stored_values_stay_in_the_store() -> None:
    """A result that is kept does not travel: the next task loads it from the store, and so does the program."""

    @fl.task
    def make() -> Any:
        return np.ones(100_000)

    @fl.task
    def total(array: Any) -> float:
        return float(array.sum())

    assert run(total(make()), cache="store") == 100_000.0
    assert run(make(), cache="store").sum() == 100_000.0
    assert fl.run(total(make()), cache="store", executor="threads") == 100_000.0


def test_tasks_that_return_nodes() -> None:
    """A graph grows by what a worker returns; tasks in it are the program's own."""

    @fl.task
    def leaf(x: int) -> int:
        return x + 1

    @fl.task
    def tree(depth: int) -> Any:
        return leaf(0) if depth == 0 else [tree(depth - 1), leaf(depth)]

    assert run(tree(3)) == [[[1, 2], 3], 4]
    assert run(tree(3), cache="store") == [[[1, 2], 3], 4]
    assert fl.run(tree(3), cache="store", executor="threads") == [[[1, 2], 3], 4]


def test_long_chains_of_returned_nodes() -> None:
    """Thousands of nodes that depend on each other come back without the end of the stack."""

    @fl.task
    def step(x: int) -> int:
        return x + 1

    @fl.task
    def chain(n: int) -> Any:
        at = step(0)
        for _ in range(n):
            at = step(at)
        return at

    assert run(chain(3000)) == 3001


# ---- errors


class Demanding(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


def test_errors_have_their_type_text_attributes_and_lines() -> None:
    """The exception is the user's own, with the lines of the task in its traceback and its cause."""

    @fl.task
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise Demanding(3, "enough") from error

    with pytest.raises(Demanding) as caught:
        run(fail())
    error = caught.value
    assert (str(error), error.code, error.reason) == ("3: enough", 3, "enough")
    assert isinstance(error.__cause__, KeyError)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    assert last is not None
    assert last.tb_frame.f_code.co_filename == __file__
    assert last.tb_frame.f_code.co_name == "fail"
    assert "in task" in error.__notes__[0]


def test_what_cannot_be_sent_there_is_an_error_that_names_the_argument() -> None:
    """A lock among the arguments: the task, the argument and what to do."""

    @fl.task
    def use(x: int, guard: Any) -> int:
        return x

    with pytest.raises(CannotSend, match="'use'") as caught:
        run(use(1, threading.Lock()))
    assert caught.value.facts["argument"] == "guard"


def test_what_cannot_be_sent_back_is_an_error_of_its_task() -> None:
    """A lock as a result costs its task, and nobody else."""

    @fl.task
    def lock(x: int) -> Any:
        return threading.Lock() if x == 1 else x

    values = run([lock(x) for x in range(3)], on_error="keep")
    assert values[0] == 0
    assert values[2] == 2
    assert values[1].error_type == "CannotSend"


class _Worst(Exception):
    """Refuses everything."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> Any:
        os._exit(1)


class _NoText(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


class _Liar(Exception):
    def __reduce__(self) -> Any:
        return int, (1,)


class _Hidden:
    """Does something else when it is loaded."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __reduce__(self) -> Any:
        return _cannot_load, (self.what,)


def _cannot_load(what: str) -> None:
    if what == "ends":
        os._exit(1)
    raise LookupError(what)


def deep(n: int) -> list[Any]:
    """Return a list in a list in a list ..."""
    found: list[Any] = []
    for _ in range(n):
        found = [found]
    return found


def forever() -> int:
    """Call itself until the stack ends."""
    return forever() + 1


ZOO = {
    "lambda": lambda: lambda x: x,
    "local class": lambda: type("Local", (), {})(),
    "lock": lambda: threading.Lock(),
    "open file": lambda: open(os.devnull),  # noqa: SIM115
    "generator": lambda: (x for x in range(3)),
    "module": lambda: os,
    "deep": lambda: deep(100_000),
    "recursion": forever,
    "loads badly": lambda: _Hidden("fails"),
    "ends when loaded": lambda: _Hidden("ends"),
    "thread": threading.current_thread,
    "frame": sys._getframe,
    "system exit": lambda: sys.exit("bye"),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "no text": lambda: (_ for _ in ()).throw(_NoText("x")),
    "worst": lambda: (_ for _ in ()).throw(_Worst("x")),
    "liar": lambda: (_ for _ in ()).throw(_Liar("x")),
    "group": lambda: (_ for _ in ()).throw(ExceptionGroup("many", [ValueError("x"), _Liar("y")])),
    "none": lambda: None,
}


@pytest.mark.parametrize("animal", ZOO)
def test_odd_values_and_errors_cost_their_own_task(animal: str) -> None:
    """Whatever a task returns or raises, it has one outcome, and the next job runs."""
    executor = executor_of()
    try:
        first = outcome_of(executor, fl.task(ZOO[animal])())
        second = outcome_of(executor, fl.task(lambda: 5)())
    finally:
        executor.close()
    assert (first.node, second.value) == (0, 5)
    assert first.lost is None
    if animal == "liar":
        assert type(first.error) in (Untransferable, _Liar)


@pytest.mark.filterwarnings("ignore::flowlib.FlowWarning")
@pytest.mark.parametrize("animal", sorted(ZOO.keys() - {"interrupt", "system exit"}))
def test_odd_values_of_a_sweep_are_kept_or_told_apart(animal: str) -> None:
    """With a cache, too: one call of three is odd, and the other two have their values and are stored."""

    @fl.task
    def odd(x: int, animal: str) -> Any:
        return ZOO[animal]() if x == 1 else x

    values = run([odd(x, animal) for x in range(3)], on_error="keep", cache="store")
    assert (values[0], values[2]) == (0, 2)
    ran = run([odd(x, animal) for x in (0, 2)], cache="store", force=[])
    assert ran == [0, 2]


def executor_of() -> ProcessExecutor:
    worker = Worker(
        store=None,
        identity=Identity(),
        clock=SystemClock(),
        call_in_run=lambda call: call(),
        call_quick=lambda call: call(),
    )
    return ProcessExecutor(worker, Terms(run="test", root=None, place=place_here()), 2)


def outcome_of(executor: ProcessExecutor, node: Any, number: int = 0) -> Any:
    executor.submit(job_of(node, number))
    (outcome,) = executor.collect(PATIENCE_S)
    return outcome


def job_of(node: Any, number: int = 0) -> Job:
    return Job(
        node=NodeId(number),
        task=node._fl_task,
        policy=node._fl_policy,
        args=node._fl_args,
        inputs={},
        keep=False,
        wants_digest=False,
    )


# ---- ending


@pytest.mark.parametrize("how", ["sleep", "busy", "in C", "ignores SIGTERM"])
def test_a_job_is_ended_with_its_own_error(how: str, tmp_path: Path) -> None:
    """`kill` ends a job that sleeps, computes, is in C code or does not listen; its outcome has the error given."""
    executor = executor_of()
    started = tmp_path / "started"

    def hang() -> None:
        if how == "ignores SIGTERM":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        started.touch()
        while how == "busy":
            pass
        if how == "in C":
            import re

            re.match(r"(a+)+$", "a" * 100 + "b")
        threading.Event().wait()

    executor.submit(job_of(fl.task(hang)()))
    waiting = threading.Event()
    while not started.exists():
        waiting.wait(0.005)
    reason = TimeoutError("too long")
    assert executor.kill(NodeId(0), reason)
    (outcome,) = executor.collect(PATIENCE_S)
    assert outcome.error is reason
    assert outcome_of(executor, fl.task(lambda: 5)()).value == 5
    assert not executor.kill(NodeId(0), reason)
    executor.close()


def test_a_job_that_waits_is_ended_before_it_begins() -> None:
    """`kill` of a queued job takes it out of the queue."""
    executor = executor_of()
    for number in range(4):
        executor.submit(job_of(fl.task(lambda: threading.Event().wait())(), number))
    reason = TimeoutError("too long")
    assert executor.kill(NodeId(3), reason)
    (outcome,) = executor.collect(PATIENCE_S)
    assert (outcome.node, outcome.error) == (3, reason)
    executor.close()


# ---- what is recorded, and limits


def test_processor_seconds_and_memory_are_recorded(isolated: Path) -> None:
    """Each call's own, in its event and in the record of the run; what a child computed counts, too."""

    @fl.task
    def work(mb: int) -> int:
        import subprocess as inner

        held = bytearray(mb * 1_000_000)
        inner.run([sys.executable, "-c", "sum(range(2_000_000))"], check=True)
        return len(held)

    run([work(120), work(1)], cache="store", workers=1)
    (log,) = list_runs(isolated / "store" / "runs")
    record = load_record(log)
    large, small = record.nodes[NodeId(0)], record.nodes[NodeId(1)]
    assert large.cpu_s > 0.005
    assert large.peak_bytes > 120_000_000 > small.peak_bytes > 1_000_000
    assert record.tasks[0].peak_bytes == large.peak_bytes


def test_threads_record_processor_seconds(isolated: Path) -> None:
    """A thread has processor seconds of its own, and no memory of its own."""

    @fl.task
    def work() -> int:
        return sum(range(1_000_000))

    fl.run(work(), cache="store")
    (log,) = list_runs(isolated / "store" / "runs")
    (node,) = load_record(log).nodes.values()
    assert node.cpu_s > 0.001
    assert node.peak_bytes == 0


def test_a_task_over_its_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says the limit and what was held; the other task is not disturbed."""
    monkeypatch.setattr(errands, "cap_of", lambda call: 150_000_000 if call.task.name == "hungry" else None)

    @fl.task
    def hungry() -> int:
        held = []
        while True:
            held.append(bytearray(10_000_000))
            threading.Event().wait(0.005)

    @fl.task
    def modest(x: int) -> int:
        return len(bytearray(200_000_000)) + x

    values = run([hungry(), *(modest(x) for x in range(3))], on_error="keep")
    assert values[1:] == [200_000_000 + x for x in range(3)]
    assert values[0].error_type == "MemoryExceeded"
    with pytest.raises(fl.MemoryExceeded) as caught:
        run(hungry())
    assert caught.value.cap_bytes == 150_000_000 < caught.value.peak_bytes
    assert "150 MB" in str(caught.value)


def test_a_task_is_not_charged_with_what_others_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that holds much already is replaced before a task with a limit of memory begins in it; others stay."""
    monkeypatch.setattr(errands, "cap_of", lambda call: 1_200_000_000 if call.task.name == "limited" else None)

    @fl.task
    def hoard(n_bytes: int) -> int:
        sys.modules["hoard"] = bytearray(n_bytes)  # type: ignore[assignment]
        return os.getpid()

    @fl.task
    def limited(x: int) -> int:
        return os.getpid()

    @fl.task
    def free(x: int) -> int:
        return os.getpid()

    light, heavy = 1_000, 650_000_000
    first = run(hoard(light), workers=1)
    assert run(limited(1), workers=1) == first
    assert run(hoard(heavy), workers=1) == run(free(1), workers=1) == first
    assert run(limited(2), workers=1) != first


def test_of_idle_workers_the_one_with_room_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The full one stays, for tasks without a limit."""
    monkeypatch.setattr(errands, "cap_of", lambda call: 1_200_000_000 if call.task.name == "limited" else None)

    @fl.task
    def meet(name: str, other: str, hoarder: int) -> int:
        sys.modules["hoard"] = bytearray(650_000_000 if os.getpid() == hoarder else 1)  # type: ignore[assignment]
        (tmp_path / name).touch()
        while not (tmp_path / other).exists():
            threading.Event().wait(0.005)
        return os.getpid()

    @fl.task
    def limited(x: int) -> int:
        return os.getpid()

    both = set(run([meet("a", "b", 0), meet("b", "a", 0)]))
    full, light = [pid for pid in shared_pool().pids if pid in both]  # in the order in which they are asked
    run([meet("c", "d", full), meet("d", "c", full)])
    assert [run(limited(x)) for x in range(3)] == [light] * 3
    assert set(run([meet("e", "f", 0), meet("f", "e", 0)])) == both


def test_a_call_over_its_time_is_ended_with_its_process(tmp_path: Path) -> None:
    """`timeout=` ends a task in a process wherever it is, and its process with it."""
    noted = tmp_path / "pid"

    @fl.task(timeout=0.5)
    def endless() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        noted.write_text(str(os.getpid()))
        while True:
            pass

    with pytest.raises(fl.TaskTimedOut):
        run(endless())
    assert not [p for p in family(int(noted.read_text())) if p.state != "Z"]


# ---- where runs come from


def test_runs_from_many_threads_at_once() -> None:
    """Eight threads that begin runs at the same moment share the workers."""

    @fl.task
    def double(x: int) -> int:
        return 2 * x

    found: dict[int, list[int]] = {}

    def begin(number: int) -> None:
        found[number] = run([double(number * 10 + x) for x in range(5)])

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [2 * (number * 10 + x) for x in range(5)] for number in range(8)}


def test_the_pool_listens_while_it_is_talked_to() -> None:
    """Threads that tell the nursery things do not make the thread of the pool wait for an answer nobody gives."""
    pool, is_over = shared_pool(), threading.Event()

    def talk() -> None:
        while not is_over.is_set():
            pool.mind("/nowhere")
            pool.mind("/nowhere", is_removed=True)

    def begin() -> None:
        for number in range(20):
            found.append(run([fl.task(abs)(-number), fl.task(abs)(number)], cache=False))
            for pid in pool.pids:  # the death of a worker is news from the nursery
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    found: list[list[int]] = []
    talker, runner = threading.Thread(target=talk), threading.Thread(target=begin, daemon=True)
    talker.start()
    runner.start()
    runner.join(60)
    is_over.set()
    talker.join()
    assert found == [[number, number] for number in range(20)]


def test_a_forked_child_begins_a_pool_of_its_own(tmp_path: Path) -> None:
    """A child of a fork of the program runs tasks in processes, and the program still can."""
    printed = run_program(
        """
        import os
        import warnings
        import flowlib as fl
        warnings.simplefilter("ignore")

        @fl.task
        def double(x):
            return 2 * x

        def run(x):
            return fl.run(double(x), executor="processes", cache=False)

        print(run(1), flush=True)
        pid = os.fork()
        if pid == 0:
            print(run(2), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(run(3), flush=True)
        """,
        folder=tmp_path,
    )
    assert printed.split() == ["2", "4", "6"]


@pytest.mark.kernel
def test_functions_of_notebook_cells(tmp_path: Path) -> None:
    """Functions and classes of cells run in processes, also when a cell is executed again with other code."""
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    cells = [
        "import flowlib as fl\nfl.configure(progress=False)\nK = 2",
        "class Model:\n    def __init__(self, k): self.k = k",
        "@fl.task\ndef fit(x): return Model(x * K)",
        "@fl.task\ndef score(m): return m.k + 1",
        "def go(): return fl.run(score(fit(5)), executor='processes', cache='store')",
        "print(go(), go())",
        "K = 3",
        "print(go())",
        "@fl.task\ndef score(m): return -m.k",
        "print(go(), type(fl.run(fit(5), executor='processes', cache='store')) is Model)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stdout"
    )
    assert printed.split() == ["11", "11", "16", "-15", "True"]
