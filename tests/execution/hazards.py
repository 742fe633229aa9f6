"""Tasks that end their process, or never end. A small module of its own: each new worker imports it."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HOSTILE = ("sleeps", "computes", "in C", "deaf", "children", "grandchildren")


def be_hostile(how: str, note: str) -> None:
    """Never end, in one of the ways."""
    pids = [os.getpid()]
    if how == "deaf":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if how == "children":
        pids.append(subprocess.Popen(["sleep", "1000"]).pid)
    if how == "grandchildren":
        code = "import subprocess, time; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep(1000)"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        assert child.stdout is not None
        pids += [child.pid, int(child.stdout.readline())]
    Path(note).write_text(" ".join(map(str, pids)) + "\n")
    while how == "computes":
        pass
    if how == "in C":
        re.match(r"(a+)+$", "a" * 100 + "b")
    threading.Event().wait()


def die(how: str) -> None:
    """End this process, in one of the ways."""
    if how == "exit":
        os._exit(random.randrange(1, 100))
    if how == "memory":
        held = []
        while True:
            held.append(bytearray(20_000_000))
            time.sleep(0.002)
    os.kill(os.getpid(), getattr(signal, how))
    threading.Event().wait()
