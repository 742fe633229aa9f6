"""Fan-outs and fan-ins, run for real: growing, reducing along axes, failing, limiting, choosing."""

import gc
import random
import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.hashing.identity import digest
from flowlib.sweep.group import FanOut
from flowlib.sweep.point import Points, Shape
from flowlib.sweep.space import cases, grid
from flowlib.testing import EventLog


@fl.task
def load(n: int) -> list[int]:
    return list(range(n))


@fl.task
def fit(data: list[int], *, lr: float, depth: int = 4) -> dict[str, float]:
    return {"auc": lr * depth + len(data), "loss": -lr}


@fl.task
def fit_fold(lr: float, fold: int) -> dict[str, float]:
    return {"auc": lr * 10 + fold}


@fl.task
def fragile(n: int) -> dict[str, float]:
    if n % 3 == 0:
        raise ValueError(f"bad {n}")
    return {"score": float(n)}


@fl.task
def folds(k: int) -> list[int]:
    return list(range(k))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def run(target: Any, log: EventLog, cache: Path | bool, **options: Any) -> Any:
    log.clear()
    return fl.run(target, cache=cache, progress=False, observers=[log], **options)


def test_only_new_points_run_when_the_grid_grows(cache: Path, log: EventLog) -> None:
    """The headline: a point is its task and parameters, not its place in a sweep."""
    run(fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2], depth=[4, 8])), log, cache)

    run(fl.fan_out(fit, load(3), over=fl.grid(depth=[8, 2, 4], lr=[0.2, 0.1])), log, cache)

    assert log.ran == ["fit", "fit"]


def test_names_and_order_are_not_identity(cache: Path, log: EventLog) -> None:
    """Another template, another order, a union instead of a product: all points hit."""
    run(fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2])), log, cache)
    space = fl.cases(first={"lr": 0.2}) | fl.grid(lr=[0.1])
    run(fl.fan_out(fit, load(3), over=space), log, cache)
    run(fl.fan_out(fit, load(3), over=fl.grid(lr=[0.2, 0.1]), name="run-{lr:g}"), log, cache)
    assert log.ran == []


def test_best_is_found_and_cached(cache: Path, log: EventLog) -> None:
    """fan_in is a node like any other: the second run gives the same Best and runs nothing."""
    jobs = fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2], depth=[4, 8]))
    top = fl.fan_in(jobs, fl.best(max="auc"))

    first = run(top, log, cache)
    second = run(top, log, cache)

    assert first.params == {"lr": 0.2, "depth": 8}
    assert first.score == pytest.approx(4.6)
    assert second == first
    assert log.ran == []


def test_reducing_along_one_axis_keeps_the_others(cache: Path, log: EventLog) -> None:
    """along= reduces named parameters; the result is a fan-out over the rest."""
    scores = fl.fan_out(fit_fold, over=fl.grid(lr=[0.1, 0.2]) * fl.grid(fold=[0, 1, 2]))
    rows = fl.fan_in(scores, fl.mean("auc"), along="fold")
    assert len(rows) == 2
    best = run(fl.fan_in(rows, fl.best(max="auc.mean")), log, cache)
    assert best.params == {"lr": 0.2}
    assert best.score == pytest.approx(3.0)


def test_an_axis_may_be_a_node(cache: Path, log: EventLog) -> None:
    """How many points there are is known only while running; a warm run needs neither axis nor points."""
    scores = fl.fan_out(fit_fold, over=fl.grid(lr=[0.1, 0.2]) * fl.axis(fold=folds(3)))
    best = fl.fan_in(fl.fan_in(scores, fl.mean("auc"), along="fold"), fl.best(max="auc.mean"))

    assert run(best, log, cache).params == {"lr": 0.2}
    assert Counter(log.ran)["fit_fold"] == 6
    assert run(best, log, cache).params == {"lr": 0.2}
    assert log.ran == []
    result = run(scores, log, cache)
    assert len(result) == 6 and "fit_fold" not in log.ran


def test_a_late_fan_out_notices_changed_code_and_inputs(cache: Path, log: EventLog) -> None:
    """The stored whole of a late sweep is not used when the task or the axis changes."""

    def late(task: Any, k: int) -> Any:
        return fl.fan_in(fl.fan_out(task, over=fl.axis(fold=folds(k)) * fl.grid(lr=[1.0])), fl.best(max="auc"))

    @fl.task(name="fit_fold")
    def changed(lr: float, fold: int) -> dict[str, float]:
        return {"auc": lr * 100 + fold}

    assert run(late(fit_fold, 2), log, cache).score == 11
    assert run(late(fit_fold, 3), log, cache).score == 12
    assert run(late(changed, 3), log, cache).score == 102


@pytest.mark.parametrize("values", ["abc", {"a": 1}, {1, 2}, 3], ids=["text", "dict", "set", "number"])
def test_a_late_axis_is_as_strict_as_a_list(cache: Path, log: EventLog, values: object) -> None:
    """What would not be taken as the values of an axis is not taken from a node either; a set has no order."""

    @fl.task
    def made() -> Any:
        return values

    late = fl.fan_in(fl.fan_out(fit_fold, over=fl.axis(fold=made()) * fl.grid(lr=[1.0])), fl.collect())
    with pytest.raises(fl.SpaceError, match="values of axis 'fold' are not a list"):
        run(late, log, cache)


def test_a_late_fan_out_refuses_what_needs_its_points() -> None:
    """len, iteration and indexing of an unknown number of points are loud."""
    late = fl.fan_out(fit_fold, over=fl.axis(fold=folds(3)) * fl.grid(lr=[1.0]))
    for use in (len, list, lambda jobs: jobs[0], lambda jobs: jobs.sel(fold=1)):
        with pytest.raises(fl.NodeMisused, match="known only at run time"):
            use(late)  # type: ignore[operator]


def test_kept_failures_stay_in_place(cache: Path, log: EventLog) -> None:
    """on_error="keep": failed points are values, reducers see good ones, failures run again next time."""
    jobs = fl.fan_out(fragile, over=fl.grid(n=range(1, 8)), on_error="keep")

    result, best = run([jobs, fl.fan_in(jobs, fl.best(max="score"))], log, cache)

    assert [failed.params["n"] for failed in result.failed] == [3, 6]
    assert len(result.good) == 5
    assert (best.score, best.params["n"]) == (7.0, 7)
    statuses = [row["status"] for row in result.rows()]
    assert statuses.count("failed") == 2
    run(jobs, log, cache)
    assert log.ran == ["fragile", "fragile"]


def test_min_ok_refuses_a_thin_sweep(cache: Path, log: EventLog) -> None:
    """Fewer good points than min_ok is an error of the reduction, not of the points."""
    jobs = fl.fan_out(fragile, over=fl.grid(n=[1, 2, 3]), on_error="keep", min_ok=0.9)
    with pytest.raises(fl.ReducerError):
        run(fl.fan_in(jobs, fl.best(max="score")), log, cache)
    with pytest.raises(fl.ReducerError):
        run(fl.fan_in(jobs, len), log, cache)
    assert run(fl.fan_in(jobs, fl.best(max="score"), min_ok=2), log, cache).score == 2.0


@pytest.mark.parametrize("min_ok", [-1, 1.5, True, "2"])
def test_an_odd_min_ok_is_refused_before_anything_runs(min_ok: Any) -> None:
    """Not hours later, when the points are there."""
    with pytest.raises(fl.ReducerError, match="neither a number of points nor a share"):
        fl.fan_out(fragile, over=fl.grid(n=[1, 2]), min_ok=min_ok)
    with pytest.raises(fl.ReducerError, match="neither a number of points nor a share"):
        fl.fan_in(fl.fan_out(fragile, over=fl.grid(n=[1, 2])), fl.collect(), min_ok=min_ok)


@pytest.mark.parametrize("limit", [0, -1, 1.5])
def test_a_limit_is_a_number_of_points(limit: Any) -> None:
    """The message is about the limit, not about the pool that enforces it."""
    with pytest.raises(fl.TaskMisused, match="is not a number of points of 'fragile'"):
        fl.fan_out(fragile, over=fl.grid(n=[1, 2]), limit=limit)


def test_stop_and_continue(cache: Path, log: EventLog) -> None:
    """on_error="continue" tries every point and raises at the end; what was good hits next time."""
    jobs = fl.fan_out(fragile, over=fl.grid(n=range(1, 8)), on_error="continue")
    with pytest.raises(fl.SweepFailed) as caught:
        run(jobs, log, cache)
    assert len(caught.value.errors) == 2
    assert sorted(log.failed) == ["fragile", "fragile"] and len(log.finished) == 5
    with pytest.raises(ValueError, match="bad 3"):
        run(fl.fan_out(fragile, over=fl.grid(n=[1, 2, 3])), log, cache)
    assert log.ran == ["fragile"]


def test_limit_bounds_what_runs_at_once(cache: Path, log: EventLog) -> None:
    """limit= is kept however many workers there are."""
    lock, running, most = threading.Lock(), [0], [0]

    @fl.task(cache=False)
    def watch(i: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1
        return i

    run(fl.fan_out(watch, over=fl.grid(i=range(60)), limit=2), log, cache, workers=8)
    assert 1 <= most[0] <= 2


def test_tasks_and_functions_reduce(cache: Path, log: EventLog) -> None:
    """Any task or function of the list of values is a reducer; several reducers share one pass."""
    jobs = fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2]))
    assert run(fl.fan_in(jobs, len), log, cache) == 2
    both = fl.fan_in(jobs, top=fl.best(max="auc"), all=fl.mean("auc"))
    result = run(both, log, cache)
    assert result["top"].params == {"lr": 0.2}
    assert run(fl.fan_in(jobs, "best:max=auc"), log, cache) == result["top"]


def test_only_reducers_share_a_pass(cache: Path, log: EventLog) -> None:
    """Several reducers, given by name, make a dict; a function among them is refused when the graph is built."""
    jobs = fl.fan_out(fit_fold, over=fl.grid(lr=[1.0, 2.0], fold=[1]))

    both = run(fl.fan_in(jobs, values=fl.collect(), best="best:max=auc"), log, cache)
    assert ([value["auc"] for value in both["values"]], both["best"].score) == ([11.0, 21.0], 21.0)
    with pytest.raises(fl.TaskMisused, match="'n' is not a reducer"):
        fl.fan_in(jobs, n=len)  # type: ignore[arg-type]


def test_choosing_points() -> None:
    """Selection by label, position, slice and parameter, before running."""
    jobs = fl.fan_out(fit, [1], over=fl.grid(lr=[0.1, 0.2], depth=[4, 8]))
    assert len(jobs) == 4
    assert jobs["lr=0.1,depth=8"] is jobs[1]
    assert len(jobs[:3]) == 3 and isinstance(jobs[:3], FanOut)
    assert [point.params["depth"] for point in jobs.sel(lr=0.2).points] == [4, 8]
    with pytest.raises(fl.SpaceError, match=r"lr=0\.1,depth=9"):
        jobs["lr=0.1,depth=9"]


def test_sweep_result_is_a_table(cache: Path, log: EventLog) -> None:
    """frame() has one row per point with parameters, metrics and status; the repr is bounded."""
    result = run(fl.fan_out(fit, load(2), over=fl.grid(lr=[0.1] + [i / 10 for i in range(2, 30)])), log, cache)
    frame = result.frame()
    assert list(frame.columns) == ["lr", "auc", "loss", "status", "error"]
    assert len(frame) == len(result) == 29
    assert result["lr=0.2"] == result[1]
    assert result.best(max="auc").params["lr"] == 2.9
    assert len(repr(result).splitlines()) < 10


def test_metrics_and_parameters_named_like_the_outcome_are_kept_in_the_table() -> None:
    """A metric called error is common; the column that says what failed does not take its place."""
    jobs = fl.fan_out(lambda status: {"error": status / 10}, over=fl.grid(status=[1, 2]))
    rows = fl.run(jobs, cache=False, progress=False).rows()
    assert rows[1] == {"params.status": 2, "value.error": 0.2, "status": "ok", "error": None}


@given(order=st.permutations(list(range(12))))
@settings(max_examples=30)
def test_the_order_of_completion_does_not_show(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    """Reductions of points that finish in any order give the same digest."""
    gates = [threading.Event() for _ in order]
    turn = {point: position for position, point in enumerate(order)}

    @fl.task(cache=False)
    def work(i: int) -> dict[str, float]:
        gates[turn[i]].wait(30)
        if turn[i] + 1 < len(gates):
            gates[turn[i] + 1].set()
        return {"m": (i * 0.1) ** 3, "label": float(i % 3)}

    gates[0].set()
    jobs = fl.fan_out(work, over=fl.grid(i=range(12)))
    target = fl.fan_in(jobs, mean=fl.mean("m"), best=fl.best(max="m"), all=fl.collect(), vote=fl.vote("label"))
    result = fl.run(target, cache=False, workers=12, progress=False)
    assert fl.digest(result) == fl.digest(_expected())


def _expected() -> Any:
    values = [{"m": (i * 0.1) ** 3, "label": float(i % 3)} for i in range(12)]
    jobs = fl.fan_out(lambda i: values[i], over=fl.grid(i=range(12)))
    target = fl.fan_in(jobs, mean=fl.mean("m"), best=fl.best(max="m"), all=fl.collect(), vote=fl.vote("label"))
    return fl.run(target, cache=False, workers=1, executor="inline", progress=False)


def test_mean_does_not_depend_on_luck(cache: Path, log: EventLog) -> None:
    """Sums are exact: shuffled values give the same mean to the last bit."""
    values = [random.Random(1).random() * 10 ** random.Random(i).randint(-8, 8) for i in range(50)]
    shuffled = random.Random(3).sample(values, len(values))

    def mean_of(numbers: list[float]) -> Any:
        jobs = fl.fan_out(lambda v: v, over=fl.grid(v=numbers))
        return run(fl.fan_in(jobs, fl.mean()), log, False)

    assert fl.digest(mean_of(values)) == fl.digest(mean_of(shuffled))


def _shown(node: Any) -> tuple[list[str], list[int]]:
    """Return what a node was bound to, and the nodes it needs, in a form that can be compared."""
    parts = [f"node {id(arg)}" if type(arg) is type(NODE) else f"{type(arg).__name__} {arg!r}" for arg in node._fl_args]
    return parts, [id(dep) for dep in node._fl_deps]


@fl.task
def anything(a: Any, b: Any = 2, *, c: Any = 3, d: Any = 4) -> Any:
    """Take what comes."""


@fl.task
def starred(a: Any, *rest: Any, c: Any = 3, **more: Any) -> Any:
    """Take what comes, however much."""


NODE: Any = load(1)
VALUES = st.lists(st.sampled_from([1, 0.5, "s", None, (1, 2), NODE, [NODE, 3]]), min_size=1, max_size=3)


@settings(max_examples=60)
@given(
    chosen=st.sampled_from([anything, starred]),
    fixed=st.lists(st.sampled_from([7, NODE, [NODE]]), max_size=1),
    axes=st.dictionaries(st.sampled_from("bcd"), VALUES, min_size=1),
    first=VALUES,
    more=st.none() | VALUES,
)
def test_a_point_is_the_call_of_the_task(
    chosen: Any, fixed: list[Any], axes: dict[str, Any], first: list[Any], more: list[Any] | None
) -> None:
    """Same arguments, same dependencies, whatever the shapes of the points, the order of names, nodes among values."""
    if not fixed:
        axes = {**axes, "a": first}
    space = fl.grid(**axes)
    if more is not None:
        space = space | fl.grid(**{**axes, "d": more})

    jobs = fl.fan_out(chosen, *fixed, over=space)

    calls = [chosen(*fixed, **point.params) for point in space]
    assert [_shown(node) for node in jobs.nodes] == [_shown(call) for call in calls]
    assert [point.params for point in jobs.points] == [point.params for point in space]
    assert [point.index for point in jobs.points] == list(range(len(space)))


def test_a_part_of_a_fan_out_knows_where_its_points_came_from() -> None:
    """By slice, by parameter, or one point: index and parameters are those of the whole sweep."""
    jobs = fl.fan_out(fit, [1], over=fl.grid(lr=[0.1, 0.2], depth=[4, 8]))

    assert [(point.index, point.params) for point in jobs[1::2].points] == [
        (1, {"lr": 0.1, "depth": 8}),
        (3, {"lr": 0.2, "depth": 8}),
    ]
    assert [point.index for point in jobs.sel(depth=8).points[1:]] == [3]
    assert repr(jobs.points) == "Points(Point(lr=0.1, depth=4), Point(lr=0.1, depth=8), Point(lr=0.2, depth=4), ...)"


def _digest_of(space: Any) -> str:
    points = Points.of(space)
    return digest(points.columns())


def test_the_columns_of_points_say_what_their_parameters_say() -> None:
    """Spaces with the same parameters in the same order agree, however they were written; all others differ."""
    both = grid(a=[1, 2], b=["x"])
    swapped = grid(b=["x"], a=[1, 2])
    named = cases(first={"b": "x", "a": 1}, second={"a": 2, "b": "x"})

    assert _digest_of(both) == _digest_of(swapped) == _digest_of(named)
    others = [
        grid(a=[2, 1], b=["x"]), grid(a=[1, 2.0], b=["x"]), grid(a=[1, 2], c=["x"]), grid(a=[1, 2]), grid(a=[1], b=["x"]),
        grid(a=[1]) | grid(b=["x"]), grid(b=["x"]) | grid(a=[1]), grid(a=[1]) | grid(b=["x"]) | grid(a=[2]),
        grid(a=[1]) | grid(a=[2]) | grid(b=["x"]), cases({"a": 1, "b": "x"}, {"a": 2}), cases({"a": 1}, {"a": 2, "b": "x"}),
    ]  # fmt: skip
    assert len({_digest_of(space) for space in [both, *others]}) == len(others) + 1


POINTS = st.lists(
    st.dictionaries(
        st.sampled_from("abc"), st.one_of(st.integers(0, 2), st.sampled_from(["x", 1.0, True])), min_size=1
    ),
    min_size=1,
    max_size=5,
)


@given(POINTS, POINTS)
def test_columns_are_as_good_as_one_dict_for_each_point(
    left: list[dict[str, Any]], right: list[dict[str, Any]]
) -> None:
    """Two lists of points have equal columns just if their parameters are equal, one by one."""

    def columns(points: list[dict[str, Any]]) -> str:
        return digest(Points([Shape(names=tuple(p)) for p in points], [tuple(p.values()) for p in points]).columns())

    assert (columns(left) == columns(right)) is (digest(left) == digest(right))
    assert columns(left) == columns([dict(reversed(point.items())) for point in left])


# ---- points that have not started


def _peak_bytes_of_points(n: int) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        jobs = fl.fan_out(fit_fold, over=grid(lr=[float(i) for i in range(n)], fold=[1]))
        _, peak = tracemalloc.get_traced_memory()
        assert len(jobs) == n
    finally:
        tracemalloc.stop()
    return (peak - before) / n


def test_a_point_that_has_not_started_is_its_values() -> None:
    """At the peak of building a fan-out, its space included: a tuple and what is in it, no node and no label."""
    _peak_bytes_of_points(10)
    assert _peak_bytes_of_points(5_000) < 200


def test_nodes_and_labels_are_made_once_for_all_threads() -> None:
    """Whoever asks gets the same nodes: those of a run are those of the fan-out, its parts and its reductions."""
    jobs = fl.fan_out(fit_fold, over=grid(lr=[0.1 * i for i in range(500)], fold=[1]))
    found: list[Any] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(30)
        found.append((jobs.nodes, jobs.labels))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert all(nodes is jobs.nodes and labels is jobs.labels for nodes, labels in found)
    assert jobs[7] is jobs.nodes[7] is jobs[5:9].nodes[2] is list(jobs.member_nodes())[7]


def test_what_is_wrong_with_a_fan_out_is_told_when_it_is_written() -> None:
    """Not when its nodes are asked for, which may be elsewhere."""

    class Opaque:
        def __init__(self, held: Any) -> None:
            self.held = held

    with pytest.raises(fl.SpaceError, match="Two different points"):
        fl.fan_out(fit_fold, over=grid(lr=[0.1, 0.2], fold=[1]), name="{fold}")
    with pytest.raises(fl.HiddenNode):
        fl.fan_out(fit, Opaque(load(3)), over=grid(lr=[0.1]))
    with pytest.raises(fl.HiddenNode):
        fl.fan_out(fit_fold, over=grid(lr=[0.1], fold=[Opaque(load(3))]))
    with pytest.raises(fl.SpaceError):
        fl.fan_out(fit_fold, over=grid(lr=[0.1]))


def test_what_a_mutable_fixed_argument_was_decides_which_nodes_are_needed() -> None:
    """As in a call: the nodes in it are found when the fan-out is written."""
    data: list[Any] = [1, 2]
    jobs = fl.fan_out(fit, data, over=grid(lr=[0.5, 1.0]))
    data.append(3)

    assert [node._fl_deps for node in jobs.nodes] == [(), ()]
    assert [value["auc"] for value in fl.run(jobs, cache=False, progress=False)] == [5.0, 7.0]
