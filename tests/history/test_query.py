"""Past runs are found by name, newest first, and a dead run is never shown as running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import flowlib.history.log
from flowlib.errors import FileMissing, UsageError
from flowlib.events import NodeStarted, RunFinished, RunStarted
from flowlib.history.log import RunLog, log_path
from flowlib.history.query import find_run, list_runs, load_record, summarize_run
from flowlib.ids import NodeId, RunId

OLD, MIDDLE, NEW = "20260101-120000-aaaa0000", "20260102-120000-bbbb0000", "20260103-120000-bbbb1111"


def record_run(directory: Path, name: str, *, at: float = 0.0, ends: bool = True) -> RunLog:
    """Write the log of a run with one node."""
    log = RunLog(directory, RunId(name))
    log.on_event(RunStarted(run=RunId(name), at=at, n_nodes=2, tags=("t",)))
    log.on_event(NodeStarted(at=at, node=NodeId(0), task="fit"))
    log.flush()
    if ends:
        log.on_event(RunFinished(at=at + 3, status="success", duration_s=3.0, counts={"done": 2, "failed": 0}))
    return log


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a directory with three runs."""
    for name in (MIDDLE, OLD, NEW):
        record_run(tmp_path / "runs", name)
    return tmp_path / "runs"


def test_runs_are_listed_newest_first(runs: Path) -> None:
    """Only logs count; other files in the directory do not."""
    (runs / "notes.txt").write_text("hello")
    (runs / "folder.jsonl").mkdir()

    assert [path.stem for path in list_runs(runs)] == [NEW, MIDDLE, OLD]


def test_no_directory_is_no_runs(tmp_path: Path) -> None:
    """Before the first run there is nothing to list."""
    assert list_runs(tmp_path / "runs") == []


def test_runs_of_one_second_are_listed_as_they_began(tmp_path: Path) -> None:
    """Ids carry seconds; within one, the logs themselves know the order."""
    for name, at in [("20260101-120000-bbbbbbbb", 0.1), ("20260101-120000-aaaaaaaa", 0.2)]:
        record_run(tmp_path, name, at=at)

    assert find_run(tmp_path, "last").stem.endswith("aaaaaaaa")


@pytest.mark.parametrize(
    ("name", "found"), [("last", NEW), ("last~0", NEW), ("last~2", OLD), (OLD, OLD), ("20260102", MIDDLE)]
)
def test_a_run_is_found_by_name(runs: Path, name: str, found: str) -> None:
    """`last`, `last~N`, an id, or the unique beginning of one."""
    assert find_run(runs, name) == log_path(runs, RunId(found))


def test_an_exact_name_wins_over_a_longer_one(runs: Path) -> None:
    """An id that is the beginning of another can still be named."""
    record_run(runs, OLD + "-again")

    assert find_run(runs, OLD).stem == OLD


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2026", "Several runs begin with '2026'"),
        ("last~3", "There is no run 'last~3'"),
        ("20260102-120000-bbbb0001", f"Did you mean '{MIDDLE}'"),
        ("../secret", "There is no run"),
    ],
)
def test_a_name_that_is_not_one_run_is_refused(runs: Path, name: str, message: str) -> None:
    """The error says what there is instead."""
    with pytest.raises(UsageError, match=message):
        find_run(runs, name)


def test_nothing_to_find_says_so(tmp_path: Path) -> None:
    """The first look at an empty history is not a puzzle."""
    with pytest.raises(UsageError, match="There are no runs yet"):
        find_run(tmp_path)


def test_a_run_that_ended_is_summarized_from_its_ends(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of runs does not read whole logs."""
    monkeypatch.setattr("flowlib.history.query.read_log", lambda path: pytest.fail("read a whole log"))

    summary = summarize_run(find_run(runs))

    assert (summary.run, summary.status, summary.duration_s, summary.tags) == (NEW, "success", 3.0, ("t",))
    assert (summary.n_nodes, summary.counts) == (2, {"done": 2})


def test_a_run_that_goes_on_is_running(tmp_path: Path) -> None:
    """While its process holds the log, a run without an end is alive."""
    log = record_run(tmp_path, NEW, ends=False)

    summary = summarize_run(log.path)

    assert (summary.status, summary.counts) == ("running", {"waiting": 1, "running": 1})


def test_a_run_whose_process_was_killed_is_crashed(tmp_path: Path) -> None:
    """After `kill -9` nobody is left to say so; the history says it anyway."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from flowlib.events import RunStarted; from flowlib.history.log import RunLog\n"
        "log = RunLog(sys.argv[1], 'r1'); log.on_event(RunStarted(run='r1', at=1.0, n_nodes=1))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    root = Path(flowlib.history.log.__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while_alive = load_record(tmp_path / "r1.jsonl").status
        process.send_signal(signal.SIGKILL)

    assert while_alive == "running"
    assert load_record(tmp_path / "r1.jsonl").status == "crashed"


def test_a_log_without_its_beginning_is_named_by_its_file(tmp_path: Path) -> None:
    """A damaged log is still a run in the list."""
    path = tmp_path / f"{OLD}.jsonl"
    path.write_bytes(b"garbage\n")

    record = load_record(path)

    assert (record.run, record.status) == (OLD, "crashed")
    assert [notice.kind for notice in record.notices] == ["log-damaged"]


def test_a_missing_run_cannot_be_loaded(tmp_path: Path) -> None:
    """Loading says so instead of returning an empty run."""
    with pytest.raises(FileMissing):
        load_record(tmp_path / "none.jsonl")
