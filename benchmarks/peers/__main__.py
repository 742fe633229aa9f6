"""Measure flowlib, floors and peers in turns, and write what came out.

    python -m benchmarks.peers                          # everything: results.json, RESULTS.md, overhead.svg
    python -m benchmarks.peers --only flowlib floor     # these; the others' results of an earlier run stay
    python -m benchmarks.peers --rounds 1 --output /tmp/try.json

Every round measures every peer once, each session in a new process, in another order each round: what the machine does
meanwhile hits all of them. A peer that cannot be installed is reported and left out.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import plot, report
from benchmarks.peers import install
from benchmarks.peers.cells import SESSIONS, Session
from benchmarks.results import Results, describe_machine

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    """Install, measure, write; return the exit code."""
    options = _parse(arguments)
    pythons, missing = _install(options.only or list(install.PEERS), options.home)
    results = Results.read(options.output) if options.only else Results()
    versions = {name: install.version_of(name, python) for name, python in pythons.items()}
    run = results.begin(describe_machine(ROOT) | {"rounds": options.rounds}, versions, missing)
    for number in range(options.rounds):
        scratch = Path(tempfile.mkdtemp(prefix="flowlib-bench-", dir=options.scratch))
        try:
            _measure_round(number, pythons, scratch, options, results, run)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if options.output == HERE / "results.json":
        report.main()
        plot.main()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="PEER", choices=install.PEERS, help="measure these, keep the others' results"
    )
    parser.add_argument("--sessions", nargs="+", metavar="NAME", choices=[session.name for session in SESSIONS])
    parser.add_argument("--rounds", type=int, default=5, help="times each cell is measured; the median counts (5)")
    parser.add_argument("--largest", type=int, default=10**9, metavar="N", help="leave out the sizes above this")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that one measurement may take (5)")
    parser.add_argument("--home", type=Path, default=install.default_home(), help="where the peers are installed")
    parser.add_argument("--scratch", type=Path, default=None, help="where caches are made and removed: a local disk")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    return parser.parse_args(arguments)


def _install(names: list[str], home: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the interpreters of those that are there, and why the others are not."""
    pythons, missing = {}, {}
    for name in names:
        try:
            pythons[name] = install.python_of(name, home)
        except install.InstallFailed as error:
            missing[name] = str(error)
            print(f"{name}: cannot be installed here: {error}", flush=True)
    return pythons, missing


def _measure_round(
    number: int, pythons: dict[str, Path], scratch: Path, options: argparse.Namespace, results: Results, run: str
) -> None:
    """Measure every session of every peer once; the peer that begins is another each round."""
    names = list(pythons)
    names = names[number % len(names) :] + names[: number % len(names)]
    for session in SESSIONS:
        if options.sessions and session.name not in options.sessions:
            continue
        for name in names:
            if not session.only or name in session.only:
                found = measure(name, pythons[name], session, scratch / name, options.limit, options.largest)
                results.add(run, name, found)
        results.write(options.output)
        print(f"round {number + 1} of {options.rounds}: {session.name}", flush=True)


def measure(
    name: str, python: Path, session: Session, directory: Path, limit_s: float, largest: int
) -> list[dict[str, object]]:
    """Run one session of one peer in a new process; return one dict for each cell that it can express."""
    directory.mkdir(parents=True, exist_ok=True)
    request = {
        "directory": str(directory),
        "limit_s": limit_s,
        "warm_up": session.warm_up,
        "cells": [vars(cell) | {"folder": cell.folder} for cell in session.cells if cell.n <= largest],
    }
    command = [str(python), "-m", "benchmarks.peers.child", name]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, cwd=directory,
            env=_environment(directory), timeout=60 + 20 * limit_s, check=False,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            print(f"{name}, {session.name}: {last[:300]}", file=sys.stderr, flush=True)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print(f"{name}, {session.name}: took too long", file=sys.stderr, flush=True)
    return []


def _environment(directory: Path) -> dict[str, str]:
    """Return the user's environment without settings of who is measured, with compiled modules, and homes that leave no trace."""
    left_out = ("FLOWLIB_", "PREFECT_", "RAY_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "FLOWLIB_STATE_DIR": str(directory / "state"),
        "PREFECT_HOME": str(directory / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HAMILTON_TELEMETRY_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
