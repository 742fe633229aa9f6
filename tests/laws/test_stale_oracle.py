"""Random edits of random packages: a result found under a code version is the result a fresh run would give."""

import importlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flowlib.hashing.file import File
from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.identity import Identity
from tests.laws.stale_packages import EDITS, Package, edit_names, make_package, make_place

ROOT = Path(__file__).parents[2]
EDITS_PER_PACKAGE = 30
IN_PROCESS = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import importlib
from flowlib.hashing.file import File
from flowlib.hashing.identity import Identity
entry = importlib.import_module(sys.argv[3] + ".main").entry
print(json.dumps([Identity().code_version(entry).digest, entry(3, File(sys.argv[4]))]))
"""


class Oracle:
    """A cache of entry values by code version and input, checked against fresh evaluation at every look."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.seed = seed
        self.values: dict[tuple[str, str], Any] = {}
        self.applied: Counter[str] = Counter()
        self.reruns: Counter[str] = Counter()
        self.index = SourceIndex()
        self.n_loads = 0
        self.last: tuple[str, str] | None = None

    def run(self, n_edits: int, *, every_process: int) -> None:
        """Apply `n_edits` edits, a few dozen to each of many packages."""
        names = edit_names(self.rng)
        while sum(self.applied.values()) < n_edits:
            package = make_package(self.rng)
            history = [package.snapshot()]
            self.look(package, "new package", processes=False)
            for _ in range(EDITS_PER_PACKAGE):
                if self.rng.random() < 0.05:
                    package.restore(self.rng.choice(history))
                    name = "revert"
                else:
                    name = next(names)
                    if make_place(package, EDITS[name]):
                        self.applied["entry grows"] += 1
                        self.look(package, "entry grows", processes=False)
                        history.append(package.snapshot())
                    if not EDITS[name].apply(package):
                        continue
                self.applied[name] += 1
                known = len(self.values)
                before = self.last
                self.look(package, name, processes=sum(self.applied.values()) % every_process == 0)
                if name == "revert":
                    assert len(self.values) == known, f"seed {self.seed}: reverting an edit did not hit"
                elif EDITS[name].is_idle and self.last != before:
                    self.reruns[name] += 1
                history.append(package.snapshot())

    def look(self, package: Package, edit: str, *, processes: bool) -> None:
        """Evaluate a package freshly and compare with what the cache says."""
        self.n_loads += 1
        name = f"stale_{self.seed}_{self.n_loads}"
        data = self.folder / "data.txt"
        data.write_text("\n".join(str(package.data + n) for n in range(3)))
        main = load(self.folder, name, package)
        identity = Identity(self.index)
        key = (identity.code_version(main.entry).digest, identity.digest(File(data)))
        fresh = list(main.entry(3, File(data)))
        where = f"seed {self.seed}, load {self.n_loads}, edit {edit!r}"
        if processes:
            assert in_fresh_process(self.folder, name, data) == [key[0], fresh], where
        found = self.values.setdefault(key, fresh)
        unload(self.folder, name)
        self.last = key

        assert found == fresh, f"stale: {where}"


def load(folder: Path, name: str, package: Package) -> ModuleType:
    """Write a package under a name of its own and import its main module."""
    target = folder / name
    target.mkdir()
    for filename, text in package.render().items():
        (target / filename).write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(f"{name}.main")


def unload(folder: Path, name: str) -> None:
    """Forget a package and its files."""
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    shutil.rmtree(folder / name)


def in_fresh_process(folder: Path, name: str, data: Path) -> object:
    """Return [digest, value] as a new interpreter with another hash seed sees them."""
    command = [sys.executable, "-c", IN_PROCESS, str(ROOT), str(folder), name, str(data)]
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Oracle]:
    """Make an oracle in a folder that can be imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda seed: Oracle(tmp_path, seed)


def check(oracle: Oracle) -> None:
    """Every class of edits was reached, and idle edits rarely rerun anything."""
    idle = sum(count for name, count in oracle.applied.items() if name in EDITS and EDITS[name].is_idle)
    reruns = sum(oracle.reruns.values())

    assert set(EDITS) <= set(oracle.applied), f"never applied: {set(EDITS) - set(oracle.applied)}"
    assert reruns <= 0.02 * idle, f"seed {oracle.seed}: {reruns} of {idle} idle edits rerun: {oracle.reruns}"


def test_no_edit_gives_a_stale_result(oracle: Callable[[int], Oracle]) -> None:
    """Over 300 random edits: each value found in the cache equals a fresh one; edits without meaning find theirs."""
    made = oracle(20240)
    made.run(330, every_process=22)
    check(made)


@pytest.mark.oracle
def test_no_edit_of_ten_thousand_gives_a_stale_result(oracle: Callable[[int], Oracle]) -> None:
    """10,000 random edits with a new seed each time: 0 stale results."""
    made = oracle(int.from_bytes(os.urandom(4)) if os.environ.get("FLOWLIB_TEST_SEED") == "random" else 7)
    made.run(10_000, every_process=20)
    check(made)
