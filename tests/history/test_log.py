"""A run's log: complete, private, whole after any crash, and never in the way of the run."""

import os
import stat
from pathlib import Path

import pytest

from flowlib.errors import FileMissing
from flowlib.events import Event, NodeFinished, NodeStarted, Noticed, RunFinished, RunStarted
from flowlib.history import log as log_module
from flowlib.history.log import RunLog, is_live, log_path, read_ends, read_log
from flowlib.ids import NodeId, RunId

RUN = RunId("20260101-120000-00000001")


def started(at: float = 0.0) -> RunStarted:
    """Return the first event of a run."""
    return RunStarted(run=RUN, at=at, n_nodes=3)


def node(i: int, at: float = 0.0) -> NodeStarted:
    """Return the start of a node."""
    return NodeStarted(at=at, node=NodeId(i), task="fit")


def finished(at: float = 0.0) -> RunFinished:
    """Return the last event of a run."""
    return RunFinished(at=at, status="success", duration_s=1.0, counts={"done": 3})


def write(log: RunLog, *events: Event) -> None:
    """Hand events to a log."""
    for event in events:
        log.on_event(event)


def test_a_run_is_read_back_event_by_event(tmp_path: Path) -> None:
    """What was written is what is read, in order."""
    events = [started(), node(0), NodeFinished(at=0.5, node=NodeId(0), task="fit"), finished(0.6)]

    write(RunLog(tmp_path, RUN), *events)

    assert list(read_log(log_path(tmp_path, RUN))) == events


def test_the_log_is_private(tmp_path: Path) -> None:
    """Arguments and messages in a log are the user's own business."""
    log = RunLog(tmp_path / "cache" / "runs", RUN)

    write(log, started())

    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    """Two runs never share a log; the second keeps its trouble to itself."""
    log_path(tmp_path, RUN).write_bytes(b"precious\n")
    log = RunLog(tmp_path, RUN)

    write(log, started(), finished())

    assert log.path.read_bytes() == b"precious\n"
    assert isinstance(log.take_error(), FileExistsError)


def test_events_are_written_in_groups(tmp_path: Path) -> None:
    """An event costs an append to a list; the file is touched once per group."""
    log = RunLog(tmp_path, RUN, group=10)
    write(log, started())

    write(log, *(node(i) for i in range(9)))
    before = len(list(read_log(log.path)))
    write(log, node(9))

    assert before == 1
    assert len(list(read_log(log.path))) == 11


def test_a_group_does_not_wait_longer_than_a_second(tmp_path: Path) -> None:
    """The events' own times say when somebody who watches should see them."""
    log = RunLog(tmp_path, RUN)

    write(log, started(100.0), node(0, 100.5), node(1, 101.1))

    assert len(list(read_log(log.path))) == 3


def test_flush_writes_what_is_waiting(tmp_path: Path) -> None:
    """The engine asks before it goes to sleep."""
    log = RunLog(tmp_path, RUN)
    write(log, started(), node(0))

    log.flush()

    assert len(list(read_log(log.path))) == 2


def test_a_torn_tail_is_passed_over(tmp_path: Path) -> None:
    """Cut at any byte, the log gives exactly the events whose lines are whole."""
    log = RunLog(tmp_path, RUN)
    write(log, started(), node(0), node(1), finished())
    data = log.path.read_bytes()
    torn = tmp_path / "torn.jsonl"

    for size in range(len(data) + 1):
        torn.write_bytes(data[:size])

        assert len(list(read_log(torn))) == data[:size].count(b"\n")


def test_damage_in_the_middle_is_told_in_its_place(tmp_path: Path) -> None:
    """Lost lines are not silently fewer nodes: whoever counts is told."""
    log = RunLog(tmp_path, RUN)
    write(log, started(7.0), node(0, 7.0), node(1, 7.0), finished(7.0))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + b"\0\0\0\n" + b"{}\n" + lines[3])

    first, notice, last = read_log(log.path)

    assert (first, last) == (started(7.0), finished(7.0))
    assert notice == Noticed(at=7.0, kind="log-damaged", message="2 lines of the log are damaged; counts may be short")


def test_a_missing_log_is_a_clear_error(tmp_path: Path) -> None:
    """Reading says which log is missing."""
    for look in (lambda path: list(read_log(path)), read_ends, is_live):
        with pytest.raises(FileMissing, match="no log of this run"):
            look(tmp_path / "none.jsonl")


def test_a_full_disk_never_reaches_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing write is remembered once, leaves no half line, and its loss is noted when writing works again."""
    log = RunLog(tmp_path, RUN)
    write(log, started(1.0))
    real_write = os.write

    def half_then_full(file: int, data: bytes) -> int:
        if len(data) > 20:
            return real_write(file, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_module.os, "write", half_then_full)
    write(log, node(0, 2.0), node(1, 2.0))
    log.flush()
    write(log, node(2, 9.0))
    size = log.path.stat().st_size
    monkeypatch.setattr(log_module.os, "write", real_write)
    write(log, finished(10.0))

    assert size == len(log.path.read_bytes().splitlines(keepends=True)[0])
    error = log.take_error()
    assert isinstance(error, OSError)
    assert error.errno == 28
    assert log.take_error() is None
    assert list(read_log(log.path)) == [
        started(1.0),
        Noticed(at=10.0, kind="log-incomplete", message="3 events could not be written here"),
        finished(10.0),
    ]


def test_an_unusable_directory_never_reaches_the_run(tmp_path: Path) -> None:
    """A run in a place where nothing can be written still runs; the caller may ask why there is no log."""
    (tmp_path / "runs").write_text("a file, not a directory")
    log = RunLog(tmp_path / "runs", RUN)

    write(log, started(), finished())
    log.close()

    assert isinstance(log.take_error(), OSError)


def test_a_log_is_live_until_its_run_ends(tmp_path: Path) -> None:
    """A reader can tell a run that goes on from one whose process is gone."""
    log = RunLog(tmp_path, RUN)
    write(log, started())
    while_running = is_live(log.path), is_live(log.path)

    write(log, finished())

    assert while_running == (True, True)
    assert not is_live(log.path)


def test_a_closed_log_takes_nothing_more(tmp_path: Path) -> None:
    """Closing twice, and events after the end, are harmless."""
    log = RunLog(tmp_path, RUN)
    write(log, started())

    log.close()
    log.close()
    write(log, node(0))
    log.flush()

    assert list(read_log(log.path)) == [started()]
    assert log.take_error() is None


def test_a_run_without_events_leaves_no_file(tmp_path: Path) -> None:
    """A log that was made and closed made nothing."""
    RunLog(tmp_path / "runs", RUN).close()

    assert not (tmp_path / "runs").exists()


def test_the_ends_are_read_without_the_middle(tmp_path: Path) -> None:
    """A list of runs needs two lines of each log, however long it is, and stands torn tails."""
    log = RunLog(tmp_path, RUN)
    write(log, started(), *(node(i) for i in range(2000)), finished())
    assert read_ends(log.path) == (started(), finished())

    with log.path.open("ab") as file:
        file.write(b'{"event":"NodeSt')

    assert read_ends(log.path) == (started(), finished())
    log.path.write_bytes(b"")
    assert read_ends(log.path) == (None, None)
