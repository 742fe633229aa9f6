"""Programs that do what no manual recommends get the right value or a clear error, never a wrong one or a hang."""

import dataclasses
import os
from pathlib import Path

import pytest

import flowlib as fl


@fl.task
def square(x: int) -> int:
    """Return a number the reader knows."""
    return x * x


@fl.task(cache=False)
def square_in_a_fork(x: int, cache: str) -> str:
    """Run a task in a process forked here, and return what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(fl.run(square(x), cache=cache, progress=False)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return said.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_by_a_task_runs_on_its_own(tmp_path: Path) -> None:
    """The child has none of the threads of the run it was forked in, so it neither joins it nor waits for it."""
    cache = str(tmp_path / "cache")
    nodes = [square_in_a_fork(n, cache) for n in range(3)]
    assert fl.run(nodes, cache=cache, progress=False) == ["0", "1", "4"]
    assert fl.run([square(n) for n in range(3)], cache=cache, progress=False) == [0, 1, 4]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An error that cannot be written to, as frozen dataclasses are."""

    code: int


class Speechless(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@fl.task
def fail(error: type[Exception], code: int) -> None:
    """Raise what it is given."""
    raise error(code)


@pytest.mark.parametrize("error", [Frozen, Speechless])
@pytest.mark.parametrize("codes", [[7], [7, 8]], ids=["one", "several"])
def test_errors_that_refuse_to_be_described_reach_the_caller(error: type[Exception], codes: list[int]) -> None:
    """The note with the call is a courtesy; an exception that takes none is raised without it."""
    fallen: list[BaseException] = []
    nodes = [fail(error, code) for code in codes]
    try:
        fl.run(nodes, cache=False, progress=False, on_error="continue")
    except fl.SweepFailed as failed:
        fallen.extend(failed.errors)
    except Exception as alone:
        fallen.append(alone)
    assert [type(one) for one in fallen] == [error] * len(codes)
    assert [one.args for one in fallen] == [(code,) for code in codes] or error is Frozen
    kept = fl.run(nodes, cache=False, progress=False, on_error="keep")
    assert [type(one) for one in kept] == [fl.Failed] * len(codes)


class Client:
    """An object with state that its class leaves out of pickles, as holders of connections and caches do."""

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def __getstate__(self) -> dict[str, str]:
        return {}


class Counter:
    """An object whose pickle makes up another one."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self) -> tuple[type["Counter"], tuple[int]]:
        return Counter, (0,)


@fl.task
def ask(client: Client, counters: list[Counter]) -> tuple[str, list[int]]:
    """Use all that was passed in."""
    return client.connection, [counter.count for counter in counters]


@pytest.mark.filterwarnings("ignore:.*has no stable digest:flowlib.FlowWarning")
@pytest.mark.parametrize("keeps", [True, False], ids=["cached", "not cached"])
def test_arguments_keep_what_their_pickles_leave_out(tmp_path: Path, keeps: bool) -> None:
    """A task sees what a plain call would see, whatever the class of an argument says about copies."""
    cache = str(tmp_path / "cache") if keeps else False
    for _ in range(2):
        assert fl.run(ask(Client("open"), [Counter(3), Counter(4)]), cache=cache, progress=False) == ("open", [3, 4])
    assert fl.run(ask(Client("shut"), [Counter(5)]), cache=cache, progress=False) == ("shut", [5])
