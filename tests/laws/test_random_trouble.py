"""The oracle under fire: values vanish or change on disk at any moment, runs are interrupted, and results stay right."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.events import Event, NodeFinished
from flowlib.testing import EventLog, plain_value, random_graph

PAD = b"." * 5000
"""Makes a value too large to lie inside its entry."""


def _n(value: Any) -> int:
    if isinstance(value, dict):
        return int(value["n"]) + sum(_n(part) for part in value.get("parts", ()))
    return sum(map(_n, value)) if isinstance(value, list) else int(value)


@fl.task
def add(*values: Any) -> dict[str, Any]:
    return {"n": sum(map(_n, values)) % 1009, "pad": PAD}


@fl.task
def coarse(*values: Any) -> dict[str, Any]:
    """Often equal outputs for different inputs: early cut-off."""
    return {"n": sum(map(_n, values)) % 3, "pad": PAD}


@fl.task
def sort_in_place(*values: Any) -> dict[str, Any]:
    """Changes its own inputs, which must not matter to anybody."""
    found = sum(map(_n, values))
    for value in values:
        if isinstance(value, dict):
            value["n"] = -1
            value["pad"] = b""
    return {"n": found % 1009, "pad": PAD}


@fl.task
def part_of(*values: Any) -> Any:
    """Returns operators' nodes: known by digest only."""
    node = add(*[_n(value) for value in values])
    return [node["n"], node["pad"]][0]


@fl.task
def grow(*values: Any) -> Any:
    """Returns nodes."""
    n = sum(map(_n, values)) % 4
    return {"n": n, "parts": [add(n, k) for k in range(n)]} if n else add(coarse(n), n)


@fl.task(cache=False)
def never_stored(*values: Any) -> dict[str, Any]:
    return {"n": sum(map(_n, values)) % 11, "pad": PAD}


@fl.task
def inner_run(*values: Any) -> dict[str, Any]:
    """Runs a pipeline of its own."""
    return fl.run(add(coarse(*[_n(value) for value in values]), 1))


TASKS: list[Callable[..., Any]] = [add, coarse, sort_in_place, part_of, grow, never_stored, inner_run]


def targets(seed: int, n_nodes: int) -> list[Any]:
    nodes = random_graph(seed, TASKS, n_nodes)
    return [nodes[-1], *random.Random(seed).sample(nodes, min(3, len(nodes)))]


def blobs(cache: Path) -> Iterator[Path]:
    return (path for path in sorted((cache / "blobs").rglob("*")) if path.is_file())


def harm(cache: Path, chooser: random.Random, share: float) -> None:
    """Remove, cut or change some blobs."""
    for path in blobs(cache):
        if chooser.random() < share:
            how = chooser.choice(["remove", "cut", "change"])
            data = bytearray(path.read_bytes())
            path.unlink()
            if how == "cut":
                path.write_bytes(data[:-1])
            elif how == "change":
                data[len(data) // 2] ^= 1
                path.write_bytes(data)


class Vandal:
    """Harms the cache while a run goes on."""

    def __init__(self, cache: Path, seed: int, share: float) -> None:
        self.cache, self.chooser, self.share = cache, random.Random(seed), share

    def on_event(self, event: Event) -> None:
        if self.chooser.random() < 0.3:
            harm(self.cache, self.chooser, self.share)


SEEDS, SIZES, WORKERS, SHARES = st.integers(0, 10**6), st.integers(2, 20), st.integers(1, 4), st.floats(0.1, 1.0)


@given(seed=SEEDS, n_nodes=SIZES, workers=WORKERS, share=SHARES)
@example(seed=20, n_nodes=18, workers=1, share=1.0)
@example(seed=44, n_nodes=4, workers=3, share=0.1)
@example(seed=149, n_nodes=9, workers=3, share=1.0)
@settings(max_examples=3)
@pytest.mark.filterwarnings("ignore::flowlib.FlowWarning")
def test_damage_between_and_during_runs_changes_no_value(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int, share: float
) -> None:
    """Cold, warm and grown runs agree with plain evaluation while blobs disappear and change."""
    run_under_fire(tmp_path_factory, seed, n_nodes, workers, share)


@pytest.mark.oracle
@given(seed=SEEDS, n_nodes=SIZES, workers=WORKERS, share=SHARES)
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore::flowlib.FlowWarning")
def test_damage_changes_no_value_however_often_it_is_tried(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int, share: float
) -> None:
    """The same, hundreds of times."""
    run_under_fire(tmp_path_factory, seed, n_nodes, workers, share)


def run_under_fire(places: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int, share: float) -> None:
    cache = places.mktemp("cache") / "c"
    chooser = random.Random(seed)
    expected = plain_value(targets(seed, n_nodes))
    grown = plain_value(targets(seed, n_nodes + 4))
    for executor in ("threads", "inline", "threads"):
        run: dict[str, Any] = {"executor": executor, "workers": workers, "progress": False, "cache": cache}
        assert fl.run(targets(seed, n_nodes), observers=[Vandal(cache, seed, share)], **run) == expected
        harm(cache, chooser, share)
        assert fl.run(targets(seed, n_nodes), **run) == expected
        harm(cache, chooser, share)
        assert fl.run(targets(seed, n_nodes + 4), observers=[Vandal(cache, seed + 1, share)], **run) == grown
    log = EventLog()
    assert fl.run(targets(seed, n_nodes), cache=cache, progress=False) == expected
    assert fl.run(targets(seed, n_nodes), cache=cache, progress=False, observers=[log]) == expected
    assert set(log.ran) <= {"never_stored"}


class Interrupter:
    """Presses Ctrl-C at a random event, sometimes twice."""

    def __init__(self, seed: int) -> None:
        self.chooser = random.Random(seed)
        self.n = 0

    def on_event(self, event: Event) -> None:
        if self.chooser.random() < 0.15:
            signal.raise_signal(signal.SIGINT)


@given(seed=st.integers(0, 10**6), n_nodes=st.integers(2, 20), workers=st.integers(1, 3))
@settings(max_examples=8)
@pytest.mark.filterwarnings("ignore::flowlib.FlowWarning")
def test_runs_that_are_interrupted_again_and_again_get_there(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int
) -> None:
    """Whatever finished before a Ctrl-C is not computed again, and the value at the end is right."""
    run_again_and_again(tmp_path_factory, seed, n_nodes, workers)


@pytest.mark.oracle
@given(seed=st.integers(0, 10**6), n_nodes=st.integers(2, 20), workers=st.integers(1, 3))
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore::flowlib.FlowWarning")
def test_interrupted_runs_get_there_however_often_it_is_tried(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int
) -> None:
    """The same, hundreds of times."""
    run_again_and_again(tmp_path_factory, seed, n_nodes, workers)


def run_again_and_again(places: pytest.TempPathFactory, seed: int, n_nodes: int, workers: int) -> None:
    cache = places.mktemp("cache") / "c"
    expected = plain_value(targets(seed, n_nodes))
    kept: set[Any] = set()
    for attempt in range(60):
        log = EventLog()
        run: dict[str, Any] = {"workers": workers, "progress": False, "cache": cache}
        executor = "inline" if attempt % 2 else "threads"
        try:
            value = fl.run(
                targets(seed, n_nodes), executor=executor, observers=[log, Interrupter(seed + attempt)], **run
            )
        except KeyboardInterrupt:
            value = None
        finished = [event.key for event in log.of(NodeFinished) if event.key is not None]
        assert not kept & set(finished)
        kept.update(finished)
        if value is not None:
            break
    assert fl.run(targets(seed, n_nodes), cache=cache, progress=False) == expected
