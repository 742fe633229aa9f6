"""What observers and the log are told, and when."""

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.engine.observe import Emitter
from flowlib.events import Event, Noticed, RunFinished
from flowlib.history.log import RunLog, is_live, read_log
from flowlib.testing import EventLog
from tests.engine.programs import PATIENCE_S

END = RunFinished(at=2.0, status="cancelled", duration_s=1.0, counts={})


def test_nothing_comes_after_the_end() -> None:
    """A run inside a task that outlives its outer run is not heard any more, not even while the end is handed on."""
    threads: list[threading.Thread] = []

    class Late:
        def on_event(self, event: Event) -> None:
            if not threads:
                late = Noticed(at=1.0, kind="late", message="too late")
                threads.append(threading.Thread(target=emitter.emit, args=(late,)))
                threads[0].start()

    log = EventLog()
    emitter = Emitter([Late(), log])
    emitter.end(END)
    threads[0].join(PATIENCE_S)
    emitter.emit(END)
    assert log.events == [END]


def test_an_observer_that_fails_at_the_end_is_told() -> None:
    """Its being dropped is the one thing that may follow."""

    class Broken:
        def on_event(self, event: Event) -> None:
            raise ValueError("broken")

    log = EventLog()
    Emitter([Broken(), log]).end(END)
    assert [type(event) for event in log.events] == [Noticed, RunFinished]


def seen_in_log(cache: Path, task: str, patience_s: float) -> bool:
    """Tell whether another process would see that a task runs, waiting for it."""
    (path,) = (cache / "runs").iterdir()
    for _ in range(int(patience_s * 100) + 1):
        if any(getattr(event, "task", "") == task for event in read_log(path)):
            return is_live(path)
        threading.Event().wait(0.01 if patience_s else 0.0)
    return False


@pytest.mark.parametrize(("executor", "patience_s"), [("inline", 0.0), ("threads", PATIENCE_S)])
def test_the_log_says_what_runs_while_it_runs(tmp_path: Path, executor: Any, patience_s: float) -> None:
    """However long a task takes, others can read that it has started; so can they inside a run inside a task."""
    cache = tmp_path / "c"

    @fl.task
    def quick(x: int) -> int:
        return x

    @fl.task(cache=False)
    def looks(x: int, name: str) -> bool:
        return seen_in_log(cache, name, patience_s)

    @fl.task(cache=False)
    def outer(x: int) -> tuple[bool, bool]:
        return seen_in_log(cache, "outer", patience_s), fl.run(looks(quick(x), "looks"))

    assert fl.run([looks(quick(1), "looks"), outer(2)], cache=cache, executor=executor, progress=False) == [
        True,
        (True, True),
    ]


def test_a_log_that_cannot_be_written_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has its results, and one warning that its log is not complete."""

    def full(log: RunLog, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @fl.task
    def double(x: int) -> int:
        return 2 * x

    monkeypatch.setattr(RunLog, "_append", full)
    log = EventLog()
    for executor in ("threads", "inline"):
        log.clear()
        with pytest.warns(fl.FlowWarning, match="The log of this run is not complete: .*No space left"):
            assert fl.run(
                [double(n) for n in range(5)],
                cache=tmp_path / executor,
                executor=executor,
                progress=False,
                observers=[log],
            ) == [0, 2, 4, 6, 8]
        assert [event.kind for event in log.of(Noticed)] == ["log-incomplete"]
