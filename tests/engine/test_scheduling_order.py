"""What starts first, and what a node costs: counted in look-ups, calls and bytes, never in seconds."""

import gc
import math
import sys
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine import values
from flowlib.engine.run import execute, options_from
from flowlib.events import NodeCached, NodeFinished, NodeStarted, RunFinished, RunStarted
from flowlib.execution.base import Stored
from flowlib.graph.graph import Graph
from flowlib.ids import Key
from flowlib.scheduling.messages import Grown, Traits
from flowlib.scheduling.scheduler import Scheduler
from flowlib.store.base import GENERATION, Entry, Payload
from flowlib.store.memory import MemoryStore
from flowlib.testing import EventLog


@fl.task
def inc(x: int) -> int:
    return x + 1


@fl.task
def total(values: list[int]) -> int:
    return sum(values)


class CountingStore(MemoryStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def find(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        self.counts["finds"] += 1
        self.counts["keys"] += len(keys)
        return super().find(keys)

    def notes(self, names: Sequence[str]) -> dict[str, bytes]:
        self.counts["notes"] += 1
        self.counts["note names"] += len(names)
        return super().notes(names)

    def put_notes(self, notes: Mapping[str, bytes]) -> None:
        self.counts["put notes"] += 1
        super().put_notes(notes)

    def load(self, payload: Payload) -> object:
        self.counts["loads"] += 1
        return super().load(payload)

    def encode(self, value: object, *, codec: str | None = None) -> Payload:
        self.counts["encodes"] += 1
        return super().encode(value, codec=codec)

    def flush(self) -> None:
        self.counts["flushes"] += 1
        super().flush()

    def recent(self, task: str) -> list[Entry]:
        self.counts["recents"] += 1
        return super().recent(task)

    def stats(self, task: str) -> Any:
        self.counts["stats"] += 1
        return super().stats(task)


def set_recipes_aside(store: CountingStore) -> None:
    """Make the next run decide every node by its key."""
    store.put_notes({GENERATION: b"another"})


def chain(n: int, first: int = 0) -> Any:
    node: Any = first
    for _ in range(n):
        node = inc(node)
    return node


def counted(target: Any, store: CountingStore, **options: Any) -> Counter[str]:
    """Run and return what the store was asked meanwhile."""
    store.counts.clear()
    fl.run(target, cache=store, progress=False, **options)
    return Counter(store.counts)


# ---- order


def test_the_order_follows_past_durations() -> None:
    """What took long in the past starts first, though it was written last."""
    clock, order = FrozenClock(1000.0), EventLog()
    store = MemoryStore(clock)

    @fl.task(ignore=["spend"])
    def slow(x: int, spend: Any) -> int:
        spend(100.0)
        return x

    @fl.task(ignore=["spend"])
    def quick(x: int, spend: Any) -> int:
        spend(1.0)
        return x

    def run(x: int, *observers: Any) -> None:
        def spend(seconds: float) -> None:
            clock.advance(seconds)

        target = [quick(x, spend), quick(x + 1, spend), slow(x, spend)]
        options = options_from({"executor": "inline"}, cache=store, clock=clock, observers=observers)
        execute(target, options)

    run(1)
    run(5, order)
    assert order.ran == ["slow", "quick", "quick"]


def test_priority_outranks_everything() -> None:
    """A task with a higher priority starts before longer paths."""
    log = EventLog()

    @fl.task(priority=1)
    def urgent(x: int) -> int:
        return x

    fl.run([chain(5), urgent(1)], cache=False, executor="inline", progress=False, observers=[log])
    assert log.ran[0] == "urgent"


def test_one_branch_is_finished_before_the_next_is_begun() -> None:
    """Among equals the deeper node starts first, so that few values are alive at a time."""
    log = EventLog()

    @fl.task
    def begin(x: int) -> int:
        return x

    @fl.task
    def end(x: int) -> int:
        return x

    fl.run([end(begin(number)) for number in range(4)], cache=False, executor="inline", progress=False, observers=[log])
    assert log.ran.index("end") <= 4
    alive = high = 0
    for name in log.ran:
        alive += 1 if name == "begin" else -1
        high = max(high, alive)
    assert high <= 4


# ---- what is asked of the store


@pytest.mark.parametrize("n", [10, 200])
def test_a_warm_flat_run_asks_the_store_once(n: int) -> None:
    """One batch of look-ups for all nodes, however many; values are loaded for targets only."""
    store = CountingStore()
    nodes = [inc(number) for number in range(n)]
    counted(total(nodes), store)
    set_recipes_aside(store)
    counts = counted(total([inc(number) for number in range(n)]), store)
    assert (counts["finds"], counts["keys"]) == (2, n + 1)
    assert counts["loads"] == 1
    assert counts["encodes"] == counts["recents"] == 0
    assert counts["stats"] <= 2


def test_a_warm_chain_asks_once_a_level() -> None:
    """Each key depends on the output before it; nothing is loaded on the way."""
    store = CountingStore()
    counted(chain(50), store)
    set_recipes_aside(store)
    counts = counted(chain(50), store)
    assert (counts["finds"], counts["keys"], counts["loads"]) == (50, 50, 1)


@pytest.mark.parametrize("n", [10, 200])
def test_an_unchanged_run_asks_for_its_targets_only(n: int) -> None:
    """Two look-ups, one for notes and one for entries, however many nodes there are; one value is loaded."""
    store = CountingStore()
    for make in (lambda: total([inc(number) for number in range(n)]), lambda: chain(n)):
        counted(make(), store)
        counts = counted(make(), store)
        assert (counts["notes"], counts["note names"], counts["finds"], counts["keys"]) == (1, 2, 1, 1)
        assert (counts["loads"], counts["encodes"], counts["recents"], counts["put notes"]) == (1, 0, 0, 0)
        assert counts["stats"] <= 2


def test_a_cold_run_asks_once_a_node() -> None:
    """In batches, and not again when the rights to compute are there: nobody else has stored anything meanwhile."""
    store = CountingStore()
    counts = counted([inc(number) for number in range(100)], store)
    assert counts["keys"] == 100
    assert counts["encodes"] == 100
    assert counts["loads"] == 0
    assert counts["recents"] == 1
    assert counts["flushes"] < 100


def test_a_grown_sweep_computes_only_the_new_points() -> None:
    """The old points cost a key each, and nothing is read for them."""
    store, log = CountingStore(), EventLog()
    counted([inc(number) for number in range(50)], store)
    counts = counted([inc(number) for number in range(60)], store, observers=[log])
    assert log.ran == ["inc"] * 10
    assert counts["encodes"] == 10
    assert counts["keys"] == 60


@pytest.mark.parametrize("n", [10, 5_000])
def test_a_new_reduction_of_stored_points_looks_each_up_once(n: int) -> None:
    """What the look-up found is what the reduction reads; nothing is asked a second time, and each value is loaded once."""
    store = CountingStore()
    jobs = fl.fan_out(inc, over=fl.grid(x=range(n)))
    counted(jobs, store)
    counts = counted(fl.fan_in(jobs, fl.best(max="value")), store)
    assert counts["keys"] == n + 1  # the points and the reduction
    assert counts["loads"] == n + 1  # the points, and the result, to see that it comes back from its pickle
    assert counts["encodes"] == 1


def test_what_is_kept_for_a_reduction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of points, and for those with many bytes, the reduction looks up again what it reads."""
    monkeypatch.setattr(values, "_KEPT_PAYLOADS", 7)

    @fl.task
    def text(x: int) -> str:
        return "x" * (1000 if x == 3 else x)

    store = CountingStore()
    jobs = fl.fan_out(text, over=fl.grid(x=range(20)))
    counted(jobs, store)
    counts = counted(fl.fan_in(jobs, fl.reduce(int, lambda n, each: n + len(each))), store)
    assert counts["keys"] == 20 + 1 + (20 - 7)
    assert fl.run(fl.fan_in(jobs, fl.reduce(int, lambda n, each: n + len(each))), cache=store, progress=False) == 1187


def test_bytes_kept_for_a_reduction_go_when_the_point_is_something_else() -> None:
    """A point that is decided or made anew is not what it was before."""
    reduction: Any = fl.fan_in(fl.fan_out(inc, over=fl.grid(x=[1, 2])), fl.best(max="value"))
    points = list(reduction._fl_deps)
    graph = Graph((reduction,))
    scheduler = Scheduler(1, decides=True)
    scheduler.handle([Grown(graph.dependencies, [Traits()] * len(graph))])
    kept = values.Values(graph, MemoryStore(), scheduler, frozenset(), {})
    kept.expect_reductions()
    first, second = (graph.id_of(point) for point in points)
    small, large = (entry_of(MemoryStore().encode(value)) for value in ("a", "a" * 1000))
    for number in (first, second):
        kept.stored(number, small)
    assert kept.inputs_from([first, second]) == dict.fromkeys(points, small.payload)

    kept.stored(first, large)
    kept.made(second, "b", small.key)
    assert kept.inputs_from([first, second]) == {point: Stored(small.key) for point in points}


def entry_of(payload: Payload) -> Entry:
    """Return an entry with these bytes."""
    return Entry(
        key=Key("k"),
        task="inc",
        output=payload.content,
        payload=payload,
        parts={},
        run="r",
        created_at=0.0,
        duration_s=0.0,
    )


def test_a_plan_asks_once_a_level() -> None:
    """Looking costs what deciding costs."""
    store = CountingStore()
    counted(total([inc(number) for number in range(50)]), store)
    plans = []
    for n_finds in (1, 2):  # by recipe, by keys
        store.counts.clear()
        plans.append(fl.plan(total([inc(number) for number in range(50)]), cache=store))
        assert (store.counts["finds"], store.counts["loads"]) == (n_finds, 0)
        set_recipes_aside(store)
    assert [plan.n_cached for plan in plans] == [51, 51]
    assert str(plans[0]) == str(plans[1])


def test_each_node_has_two_events_when_it_runs_and_one_when_it_hits(tmp_path: Path) -> None:
    """And the run itself has two."""
    for expected in ({NodeStarted: 21, NodeFinished: 21}, {NodeCached: 21}):
        log = EventLog()
        target = total([inc(number) for number in range(20)])
        fl.run(target, cache=tmp_path / "c", progress=False, observers=[log])
        kinds = Counter(type(event) for event in log.events)
        assert kinds == Counter(expected) + Counter({RunStarted: 1, RunFinished: 1})


# ---- what a node costs


def n_calls(target: Any, cache: Any) -> int:
    """Run inline and return how many Python functions were called."""
    count = 0

    def note(frame: Any, what: str, arg: Any) -> None:
        nonlocal count
        count += what == "call"

    sys.setprofile(note)
    try:
        fl.run(target, cache=cache, executor="inline", progress=False)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", ["flat", "chain", "wide"])
@pytest.mark.parametrize("how", ["uncached", "cold", "warm"])
@pytest.mark.parametrize("quick_s", [0.0, math.inf])
def test_the_work_grows_with_the_number_of_nodes(
    shape: str, how: str, quick_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the nodes, at most twice the calls: nothing is quadratic, be the tasks taken for slow or for quick."""
    monkeypatch.setattr("flowlib.engine.pace.QUICK_S", quick_s)

    def target(n: int) -> Any:
        if shape == "chain":
            return chain(n)
        nodes = [inc(number) for number in range(n)]
        return nodes if shape == "flat" else total(nodes)

    fl.run(target(10), cache=MemoryStore(), progress=False)  # what is done once
    counts = []
    for n in (200, 400):
        store: Any = False if how == "uncached" else MemoryStore()
        if how == "warm":
            fl.run(target(n), cache=store, progress=False)
        counts.append(n_calls(target(n), store))
    assert counts[1] < 2.5 * counts[0]  # what is done each so often, by the clock, is in it; quadratic would be 4


@pytest.mark.parametrize("shape", ["flat", "chain"])
def test_a_node_takes_a_bounded_amount_of_memory(shape: str) -> None:
    """The peak of a run without a cache, graph and values included, stays below 600 bytes a node."""

    def run(n: int) -> None:
        target = chain(n) if shape == "chain" else total([inc(number) for number in range(n)])
        fl.run(target, cache=False, executor="inline", progress=False)

    run(100)
    gc.collect()
    tracemalloc.start()
    try:
        run(5000)
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / 5000 < 600
    assert left / 5000 < 100


def test_nothing_is_left_of_a_run(tmp_path: Path) -> None:
    """Repeating a run with a cache does not make the process grow."""

    def run(k: int) -> None:
        fl.run([inc(number + k) for number in range(100)], cache=tmp_path / "c", progress=False)

    for k in range(3):
        run(k)
    gc.collect()
    tracemalloc.start()
    try:
        run(0)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            run(0)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_a_hundred_thousand_nodes_deep_and_wide(tmp_path: Path, cached: bool) -> None:
    """A chain and a fan-out of 100,000 nodes finish, cold and warm, in bounded memory."""
    import resource

    cache = tmp_path / "c" if cached else False
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2 if cached else 1):
        assert fl.run(chain(100_000), cache=cache, progress=False) == 100_000
        jobs = fl.fan_out(inc, over=fl.grid(x=range(100_000)))
        assert fl.run(fl.fan_in(jobs, fl.best(max="value")), cache=cache, progress=False).score == 100_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600_000
