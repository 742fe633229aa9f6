"""Families of processes: who belongs to whom, and that ending one never reaches its own."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

from flowlib.execution.proctree import end_family, family, processes, signal_family


def start(code: str, **options: Any) -> "subprocess.Popen[str]":
    """Start a program that says when it is ready, and wait for that."""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)
    assert program.stdout is not None
    program.stdout.readline()
    return program


TREE = """
import subprocess, sys, time
code = "import time; print('ready', flush=True); time.sleep(1000)"
for alone in (False, True):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=alone)
    child.stdout.readline()
print("ready", flush=True)
time.sleep(1000)
"""


def test_a_family_is_ended_whole() -> None:
    """A process, its child, and a child that leads a session of its own."""
    program = start(TREE, start_new_session=True)
    pids = [process.pid for process in family(program.pid)]
    assert len(pids) == 3
    assert pids[0] == program.pid
    end_family(program.pid)
    program.wait(30)
    waiting = threading.Event()
    while any(pid in pids and process.state != "Z" for pid, process in processes().items()):
        waiting.wait(0.005)
    assert program.stdout is not None
    program.stdout.close()


def test_nobody_ends_itself_or_what_is_above_it() -> None:
    """This process, its parent and the first one of all are spared, whatever is asked."""
    for pid in (0, 1, os.getpid(), os.getppid()):
        assert signal_family(pid, signal.SIGKILL, also=[os.getpid(), 0, 1]) == []


def test_one_that_is_gone_belongs_to_nobody() -> None:
    """Ending what has ended is harmless."""
    program = start("print('ready', flush=True)", start_new_session=True)
    program.wait(30)
    end_family(program.pid)
    assert family(program.pid) == []
    assert program.stdout is not None
    program.stdout.close()
