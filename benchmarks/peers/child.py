"""The process in which one peer is measured: reads cells from its input, prints one line of JSON for each.

    python -m benchmarks.peers.child PEER < session.json

Times are wall and processor seconds of the whole workload: describing, running, keeping, answering. A cell that would take
longer than the limit, judged by the size before it, is skipped and says so. A wrong answer is an error, never a time.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.peers import bodies, projects


def main(name: str) -> None:
    """Measure one session; what a peer prints itself goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = json.load(sys.stdin)
    peer = importlib.import_module(f"benchmarks.peers.on_{name}")
    directory = Path(session["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    offered = [cell for cell in session["cells"] if hasattr(peer, cell["workload"])]
    if offered and hasattr(peer, "start"):
        peer.start(directory)
    if offered:
        _warm_up(peer, session["warm_up"], directory)
    spent: dict[str, tuple[int, float]] = {}
    for cell in offered:
        found = _guarded(peer, cell, directory, spent, session["limit_s"])
        print(json.dumps({**cell, **found}), file=answers, flush=True)
    if offered and hasattr(peer, "stop"):
        peer.stop()


def _warm_up(peer: ModuleType, warm_up: Any, directory: Path) -> None:
    if warm_up and hasattr(peer, warm_up[0]):
        getattr(peer, warm_up[0])(warm_up[1], directory / f"warm-up-{os.getpid()}")


def _guarded(
    peer: ModuleType, cell: Any, directory: Path, spent: dict[str, tuple[int, float]], limit_s: float
) -> dict[str, object]:
    """Measure a cell, unless the size before it says that it would take too long."""
    label, n = cell["label"], cell["n"]
    complete = directory / f"{cell['folder']}.complete"
    if cell.get("again") and not complete.exists():
        return {"skipped": "no first run"}
    if label in spent:
        before, seconds = spent[label]
        expected_s = seconds * n / before
        if expected_s == float("inf"):
            return {"skipped": "failed at a smaller size"}
        if expected_s > limit_s:
            spent[label] = (n, expected_s)
            return {"skipped": f"would take about {expected_s:.0f} s"}
    try:
        found = measure(peer, cell["workload"], n, directory / cell["folder"])
    except Exception as error:
        traceback.print_exc()
        spent[label] = (n, float("inf"))
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    spent[label] = (n, float(found["seconds"]))
    complete.touch()
    return dict(found)


def measure(peer: ModuleType, workload: str, n: int, directory: Path) -> dict[str, float]:
    """Run a workload once; return seconds, processor seconds, bytes of growth at the peak, and a measured value if it has one."""
    getattr(peer, f"before_{workload}", _nothing)(n, directory)
    gc.collect()
    projects.forget_peak()
    resident, cpu, began = projects.resident_bytes(), time.process_time(), time.perf_counter()
    answer = getattr(peer, workload)(n, directory)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    expected = bodies.answer_of(workload, n)
    if expected is not None and answer != expected:
        raise ValueError(f"the answer is {answer!r}, not {expected!r}")
    found = {"seconds": seconds, "cpu": cpu, "grown": float(max(projects.peak_resident_bytes() - resident, 0))}
    return found | ({"value": float(answer)} if expected is None and answer is not None else {})


def _nothing(_n: int, _directory: Path) -> None:
    """Stand in for what a workload needs beforehand."""


if __name__ == "__main__":
    main(sys.argv[1])
