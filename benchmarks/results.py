"""What was measured, as kept in `results.json`: runs, and the samples of each peer, workload and size."""

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Sample = dict[str, Any]


@dataclass
class Results:
    """Runs by their time, and samples by peer, label and size. Only the newest run of a cell counts."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read a file; nothing if there is none."""
        if not path.exists():
            return cls()
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """Write a file that differs line by line."""
        used = {cell["run"] for cell in self.cells.values()}
        runs = {name: run for name, run in self.runs.items() if name in used}
        cells = {name: self.cells[name] for name in sorted(self.cells)}
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(cell)}" for name, cell in cells.items())
        path.write_text(f'{{"runs": {json.dumps(runs, indent=1)},\n"cells": {{\n{lines}\n}}}}\n', "utf-8")

    def begin(self, machine: dict[str, Any], versions: dict[str, str], missing: dict[str, str]) -> str:
        """Open a run and return its name."""
        name = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        self.runs[name] = machine | {"versions": versions, "missing": missing}
        return name

    def add(self, run: str, peer: str, found: list[dict[str, Any]]) -> None:
        """Take the cells of one process."""
        for each in found:
            name = _name(peer, each["label"], each["n"])
            cell = self.cells.get(name)
            if cell is None or cell["run"] != run:
                cell = self.cells[name] = {
                    "peer": peer,
                    "label": each["label"],
                    "n": each["n"],
                    "run": run,
                    "samples": [],
                }
            if "seconds" in each:
                kept = ("seconds", "cpu", "grown", "value")
                cell["samples"].append({key: float(f"{each[key]:.6g}") for key in kept if key in each})
            else:
                cell["why not"] = each.get("skipped") or each.get("failed")

    def median(self, peer: str, label: str, n: int, what: str = "seconds") -> float | None:
        """Return the median of what was measured; None if it was not."""
        cell = self.cells.get(_name(peer, label, n))
        samples = [sample[what] for sample in cell["samples"] if what in sample] if cell else []
        return statistics.median(samples) if samples else None

    def cell(self, peer: str, label: str, n: int) -> dict[str, Any] | None:
        """Return one cell as it was measured."""
        return self.cells.get(_name(peer, label, n))

    def sizes(self, peer: str, label: str) -> list[int]:
        """Return the sizes at which a peer was measured, in order."""
        found = (cell for cell in self.cells.values() if (cell["peer"], cell["label"]) == (peer, label))
        return sorted(cell["n"] for cell in found if cell["samples"])

    def peers(self) -> list[str]:
        """Return whoever was measured, flowlib first."""
        names = sorted({cell["peer"] for cell in self.cells.values()})
        return sorted(names, key=lambda name: (name != "flowlib", name not in ("floor", "futures"), name))


def _name(peer: str, label: str, n: int) -> str:
    return f"{peer} | {label} | {n}"


def describe_machine(root: Path) -> dict[str, Any]:
    """Return what a reader needs to know of this machine, its load and the checkout."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "commit": _commit(root),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit(root: Path) -> str:
    """Return the short name of the commit, with a plus if flowlib itself was changed since."""
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "flowlib"], capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")
