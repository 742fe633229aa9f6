"""Which processes belong to a process, what memory they hold, and how to end all of them.

A process belongs to another one if that is among its parents, or leads its session or its group: workers lead a session
each. One that has left all three behind is found by whoever adopts orphans (`nursery`).

Where there is no `/proc`, only the group is known.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_ROUNDS = 20
"""How often a tree is looked through again for processes that were born while it was ended."""

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """A line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    memory_bytes: int


def processes() -> dict[int, Process]:
    """Return the process table by pid; empty where there is no `/proc`. Cost: 20 us a process of the machine."""
    table: dict[int, Process] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return table
    for name in names:
        if name.isdigit():
            found = _read(name)
            if found is not None:
                table[found.pid] = found
    return table


def _read(name: str) -> Process | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            text = file.read()
    except OSError:  # it has ended
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        int(name), int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[21]) * _PAGE_BYTES
    )


def family(pid: int, table: dict[int, Process] | None = None) -> list[Process]:
    """Return the processes that belong to one, itself first if it lives."""
    table = processes() if table is None else table
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: dict[int, None] = dict.fromkeys([pid] if pid in table else [])
    stack = [pid, *(p.pid for p in table.values() if pid in (p.session, p.group))]
    while stack:
        at = stack.pop()
        found.setdefault(at)
        stack.extend(child for child in children.get(at, ()) if child not in found)
    return [table[one] for one in found if one in table]


def memory_bytes(pid: int) -> int:
    """Return the memory that a process holds, without its children; 0 where that is not known. Cost: 50 us."""
    process = _read(str(pid))
    return 0 if process is None else process.memory_bytes


def forget_peak() -> None:
    """Let the peak of this process be what it holds now, where the system can do that."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has held; 0 where that is not known."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def signal_family(pid: int, number: int, also: Iterable[int] = ()) -> list[int]:
    """Send a signal to a process and all that belong to it; return whom it reached. Never to this one or its parents."""
    table = processes()
    spared = {0, 1, *_lineage(table)}
    if pid in spared:
        return []
    reached = [process.pid for process in family(pid, table) if process.state != "Z" and process.pid not in spared]
    also = [one for one in also if one not in spared]
    for one in dict.fromkeys([*reached, *also]):
        with contextlib.suppress(OSError):
            os.kill(one, number)
    if not reached:
        with contextlib.suppress(OSError):
            os.killpg(pid, number)
    return reached


def _lineage(table: Mapping[int, Process]) -> list[int]:
    """Return this process and those above it."""
    found, at = [], os.getpid()
    while at not in found:
        found.append(at)
        at = table[at].parent if at in table else os.getppid()
    return found


def end_family(pid: int, also: Iterable[int] = ()) -> None:
    """End a process and all that belong to it, those included that are born meanwhile."""
    for _ in range(_ROUNDS):
        if not signal_family(pid, signal.SIGKILL, also):
            return
        also = ()


def die_with_parent() -> None:
    """Let the system end this process when the thread that made it ends."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of those below this process whose parents end."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
