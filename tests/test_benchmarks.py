"""The benchmarks' own machinery: answers are checked, ratios say what they compare, the report hides no loss."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import benchmarks` work wherever pytest was started."""
    monkeypatch.syspath_prepend(str(ROOT))


def results_of(cells: dict[tuple[str, str, int], list[float]]) -> Any:
    """Return results as if they had been measured."""
    from benchmarks.results import Results

    results = Results()
    run = results.begin(
        {"cpu": "a", "cores": 2, "memory_gb": 1, "system": "b", "python": "3", "load": 0.1, "commit": "c", "rounds": 3},
        {},
        {},
    )
    for (peer, label, n), samples in cells.items():
        for seconds in samples:
            results.add(run, peer, [{"label": label, "n": n, "seconds": seconds}])
    return results


@pytest.mark.parametrize("name", ["flowlib", "floor", "futures"])
def test_workloads_come_to_the_answer(name: str, tmp_path: Path) -> None:
    """What has an answer comes to it at a small size, cold and warm."""
    import importlib

    from benchmarks.peers import bodies

    peer = importlib.import_module(f"benchmarks.peers.on_{name}")
    offered = [
        workload
        for workload in ("flat", "chain", "layers", "cached", "final", "chain_cached")
        if hasattr(peer, workload)
    ]

    assert len(offered) >= 3
    for workload in offered:
        for _ in range(2):
            assert getattr(peer, workload)(300, tmp_path / workload) == bodies.answer_of(workload, 300)


def test_every_peer_says_what_it_needs() -> None:
    """Whoever is listed has a module; whoever has a module is listed."""
    from benchmarks.peers import install

    modules = {path.stem.removeprefix("on_") for path in (ROOT / "benchmarks" / "peers").glob("on_*.py")}

    assert set(install.PEERS) == modules
    for name in install.PEERS:
        assert bool(install.requirements_of(name)) or name in install.IN_THIS_PROCESS


def test_a_wrong_answer_is_never_a_time(tmp_path: Path) -> None:
    """A peer that computes something else has no figure."""
    from benchmarks.peers import child

    wrong = type(sys)("wrong")
    wrong.flat = lambda n, directory: 0  # type: ignore[attr-defined]

    with pytest.raises(ValueError, match="the answer is 0, not 55"):
        child.measure(wrong, "flat", 10, tmp_path)


def test_a_session_in_a_new_process_answers_in_lines(tmp_path: Path) -> None:
    """The measuring process prints one line for each cell, whatever the peer prints."""
    cell = {"label": "flat", "workload": "flat", "n": 10, "folder": "flat-10"}
    request = {
        "directory": str(tmp_path),
        "limit_s": 5,
        "warm_up": ["flat", 5],
        "cells": [cell, cell | {"workload": "none"}],
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.child", "floor"],
        input=json.dumps(request), capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["label"] == "flat"
    assert found["seconds"] > 0


def test_a_goal_compares_medians_of_the_largest_common_size() -> None:
    """A peer that was only measured at 1,000 is compared there, and the report says so."""
    from benchmarks.goals import all_goals
    from benchmarks.report import render

    results = results_of(
        {
            ("flowlib", "flat", 1_000): [1.0, 9.0, 2.0],
            ("flowlib", "flat", 10_000): [3.0],
            ("dask", "flat", 1_000): [800.0],
            ("floor", "flat", 10_000): [2.0],
        }
    )
    by_text = {goal.text: goal for goal in all_goals() if goal.workload == "W1"}

    assert by_text["dask.delayed"].found(results) == 2.0 / 800.0
    assert by_text["dask.delayed"].falls_short_at(results) == 1_000
    assert by_text["a loop over graphlib"].is_met(results) is True
    assert by_text["pipefunc"].is_met(results) is None
    assert "| W1 | dask.delayed (at 1,000) | 1/200 | 1/400 | met |  |" in list(render(results))


def test_the_report_names_every_loss() -> None:
    """A peer that was quicker is listed, with the size."""
    from benchmarks.report import render

    results = results_of({("flowlib", "cached warm", 100): [4.0], ("diskcache", "cached warm", 100): [1.0]})
    lines = list(render(results))

    assert "- W4 warm (cached warm), n = 100: diskcache.memoize takes 0.25 of flowlib's time." in lines


def test_an_earlier_run_of_a_cell_gives_way(tmp_path: Path) -> None:
    """Samples of two runs are never mixed, and a run that nothing is left of is forgotten."""
    results = results_of({("flowlib", "flat", 10): [1.0], ("dask", "flat", 10): [2.0]})
    results.runs["later"] = {}
    results.add("later", "flowlib", [{"label": "flat", "n": 10, "seconds": 5.0}])

    assert results.median("flowlib", "flat", 10) == 5.0
    results.add("later", "dask", [{"label": "flat", "n": 10, "seconds": 6.0}])
    results.write(tmp_path / "results.json")
    assert list(type(results).read(tmp_path / "results.json").runs) == ["later"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """One line for each peer, whatever is missing."""
    pytest.importorskip("matplotlib")
    from benchmarks.plot import draw

    labels = ("flat", "cached cold", "cached warm")
    results = results_of({("flowlib", label, n): [n * 1e-5] for label in labels for n in (100, 1_000)})
    draw(results, tmp_path / "picture.svg")

    assert (tmp_path / "picture.svg").read_text().count("<svg") == 1


def test_names_in_the_picture_do_not_lie_on_one_another() -> None:
    """Names keep their order and their distance."""
    from benchmarks.plot import spread

    moved = spread([0.3, 0.1, 0.31, 0.32, 0.9], 0.05)

    assert sorted(range(5), key=moved.__getitem__) == [1, 0, 2, 3, 4]
    assert min(b - a for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False)) >= 0.05 - 1e-9
