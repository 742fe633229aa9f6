"""Open stores: one for each directory, a bounded number of them, and none closed that a run uses."""

import gc
import os
from pathlib import Path

import flowlib as fl
from flowlib.engine.stores import MOST_OPEN
from flowlib.testing import EventLog


@fl.task
def inc(x: int) -> int:
    return x + 1


def n_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_caches_in_a_row_leave_few_descriptors(tmp_path: Path) -> None:
    """A process that uses hundreds of caches has a few of them open."""
    before = n_descriptors()
    gc.disable()  # it must not depend on when the collector happens to come
    try:
        for number in range(200):
            assert fl.run(inc(number), cache=tmp_path / str(number), progress=False) == number + 1
        assert n_descriptors() <= before + 2 * MOST_OPEN * 25
    finally:
        gc.enable()


def test_a_directory_that_was_closed_works_again(tmp_path: Path) -> None:
    """What was stored before is found, and new results are stored."""
    log = EventLog()
    fl.run(inc(1), cache=tmp_path / "first", progress=False)
    for number in range(20):
        fl.run(inc(1), cache=tmp_path / str(number), progress=False)
    assert fl.run([inc(1), inc(2)], cache=tmp_path / "first", progress=False, observers=[log]) == [2, 3]
    assert log.ran == ["inc"]
    assert fl.plan([inc(1), inc(2)], cache=tmp_path / "first").n_cached == 2


def test_a_run_in_progress_keeps_its_directory_open(tmp_path: Path) -> None:
    """Runs on other directories take nothing from it: neither its connection nor the locks it holds."""
    pid = os.getpid()

    @fl.task
    def locks_while_others_run(n: int) -> tuple[str, str]:
        def held() -> str:
            lines = Path("/proc/locks").read_text().splitlines()
            here = {str((tmp_path / "mine/leases" / name).stat().st_ino) for name in "0123456789abcdef"}
            mine = [line.split()[5:] for line in lines if f" {pid} " in line]
            return str(sorted(place for place in mine if place[0].rpartition(":")[2] in here))

        before = held()
        for number in range(n):
            fl.start(inc(number), cache=tmp_path / f"started{number}").result()
            fl.run(inc(number), cache=tmp_path / f"joined{number}")
        return before, held()

    before, after = fl.run(locks_while_others_run(20), cache=tmp_path / "mine", progress=False)
    assert before == after != "[]"
    log = EventLog()
    fl.run(locks_while_others_run(20), cache=tmp_path / "mine", progress=False, observers=[log])
    assert log.ran == []
