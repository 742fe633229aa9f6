"""Decisions: every reason there is, and the same decisions for `plan` as for the run."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.look import make_plan
from flowlib.engine.run import execute, options_from
from flowlib.events import NodeCached, NodeStarted
from flowlib.planning.decide import Hit, Miss, Undecided
from flowlib.planning.reason import Reason, ReasonKind
from flowlib.store.memory import MemoryStore
from flowlib.testing import EventLog, random_graph


@fl.task
def load(n: int) -> list[int]:
    return list(range(n))


@fl.task
def fit(data: Any, lr: float = 0.1) -> dict[str, float]:
    return {"auc": lr}


@fl.task
def report(result: Any) -> str:
    return str(result)


@fl.task
def size(path: fl.File) -> int:
    return len(path.read_bytes())


@fl.task
def size_of_input() -> int:
    return size(fl.File("input.txt"))


@fl.task
def big(n: int) -> bytes:
    return bytes(n)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def run(target: Any, cache: Any, **options: Any) -> EventLog:
    """Run and return what happened."""
    log = EventLog()
    fl.run(target, cache=cache, progress=False, observers=[log], **options)
    return log


def reasons(target: Any, cache: Any, **options: Any) -> list[Reason]:
    """Return why the nodes of a target would run, and check that the run says the same."""
    rows = fl.plan(target, cache=cache, **options).rows
    planned = [reason for row in rows if isinstance(row.decision, Miss) for reason in row.decision.reasons]
    told = run(target, cache, **options).of(NodeStarted)
    certain = [row.node for row in rows if isinstance(row.decision, Miss)]
    assert [text for event in told if event.node in certain for text in event.reasons] == [str(r) for r in planned]
    return planned


# ---- every reason


def test_first_seen(cache: Path) -> None:
    """No call of the task is known."""
    assert reasons(fit(1), cache) == [Reason(kind="first seen")]


def test_cache_off() -> None:
    """Nothing is looked up, nothing is undecided."""
    assert reasons(report(fit(load(3))), False) == [Reason(kind="cache off")] * 3


def test_changed_code(cache: Path) -> None:
    """The function, or something it reaches, is another."""
    run(fit(1), cache)

    def fit_otherwise(data: Any, lr: float = 0.1) -> dict[str, float]:
        return {"auc": -lr}

    assert reasons(fl.task(name="fit")(fit_otherwise)(1), cache) == [Reason(kind="code changed")]


def test_changed_version(cache: Path) -> None:
    """The task's version= is another."""
    run(fit(1), cache)
    assert reasons(fit.options(version="2")(1), cache) == [Reason(kind="version changed", new="2")]
    assert reasons(fit.options(version="3")(1), cache) == [Reason(kind="version changed", old="2", new="3")]


def test_changed_argument(cache: Path) -> None:
    """The parameter is named, with short texts of both values."""
    run(fit([1, 2], lr=0.1), cache)
    expected = Reason(kind="argument changed", subject="lr", old="0.1", new="0.25")
    assert reasons(fit([1, 2], lr=0.25), cache) == [expected]
    (long,) = reasons(fit(list(range(1000)), lr=0.1), cache)
    assert (long.subject, long.old, long.new) == ("data", "[1, 2]", "[0, 1, 2, 3, 4, 5, ...]")


def test_changed_upstream(cache: Path) -> None:
    """An input gave something else; inside a container, too."""
    run(report(load(3)), cache)
    run(load(4), cache)
    assert reasons(report(load(4)), cache) == [Reason(kind="upstream changed", subject="result")]
    run(report([load(3), 1]), cache)
    assert reasons(report([load(4), 1]), cache) == [Reason(kind="upstream changed", subject="result")]


def test_changed_environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared variable is named with both values."""
    task = fit.options(env=["MODE"])
    monkeypatch.setenv("MODE", "fast")
    run(task(1), cache)
    monkeypatch.setenv("MODE", "exact")
    assert reasons(task(1), cache) == [Reason(kind="environment changed", subject="MODE", old="fast", new="exact")]


def test_changed_watched_file(cache: Path) -> None:
    """A file that an inner call declared, which the outer key does not hold."""
    Path("input.txt").write_text("one")
    run(size_of_input(), cache)
    assert reasons(size_of_input(), cache) == []
    Path("input.txt").write_text("three")
    (reason,) = reasons(size_of_input(), cache)
    assert (reason.kind, Path(reason.subject).name) == ("file changed", "input.txt")


def test_missing_watched_file(cache: Path) -> None:
    """One that is gone has changed."""
    Path("input.txt").write_text("one")
    run(size_of_input(), cache)
    Path("input.txt").unlink()
    (row,) = fl.plan(size_of_input(), cache=cache).rows
    assert isinstance(row.decision, Miss)
    assert [reason.kind for reason in row.decision.reasons] == ["file changed"]


def test_missing_declared_file(cache: Path) -> None:
    """The plan says that the call will fail, and the run does."""
    target = size(fl.File("nowhere/input.txt"))
    (row,) = fl.plan(target, cache=cache).rows
    assert isinstance(row.decision, Miss)
    assert row.decision.reasons == (Reason(kind="file missing", subject="nowhere/input.txt"),)
    with pytest.raises(fl.FileMissing):
        run(target, cache)


def test_expired() -> None:
    """After its ttl a result is not used, and that is the reason; forced to the moment by a clock."""
    clock = FrozenClock(1000.0)
    store = MemoryStore(clock)
    options = options_from({}, cache=store, clock=clock)
    task = fit.options(ttl=60)
    execute(task(1), options)

    clock.advance(59.0)
    fresh = make_plan(task(1), options).rows[0].decision
    clock.advance(1.0)
    stale = make_plan(task(1), options).rows[0].decision

    assert isinstance(fresh, Hit) and fresh.entry.expires_at == 1060.0
    assert isinstance(stale, Miss) and stale.reasons == (Reason(kind="expired"),)


def test_forced(cache: Path) -> None:
    """Whatever is stored; a forced node below others is not undecided."""
    run(report(fit(1)), cache)
    assert reasons(fit(1), cache, force=["fit"]) == [Reason(kind="forced")]
    rows = fl.plan(report(fit(1)), cache=cache, force=["fit", "report"]).rows
    assert [row.word for row in rows] == ["run", "run"]


def test_missing_result(cache: Path) -> None:
    """A stored value that cannot be loaded makes its node run again, and that is the reason."""
    run(fit(big(100_000)), cache)
    for blob in (cache / "blobs").glob("*/*"):
        blob.unlink()

    assert fl.plan(fit(big(100_000)), cache=cache).n_to_run == 0
    log = run([fit(big(100_000)), big(100_000)], cache)

    assert log.ran == ["big"]
    assert [event.reasons for event in log.of(NodeStarted)] == [(str(Reason(kind="result missing")),)]


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda: fit.options(cache=False)(1), "the task says cache=False"),
        (lambda: fit({"a": [0, threading.Lock()]}), "data['a'][1] (_thread.lock)"),
    ],
)
@pytest.mark.filterwarnings("ignore::flowlib.errors.FlowWarning")
def test_not_cached(cache: Path, call: Callable[[], Any], subject: str) -> None:
    """The reason holds the exact path to what is in the way."""
    (reason,) = reasons(call(), cache)
    assert reason.kind == "not cached"
    assert subject in reason.subject


def test_never_cached_task_below_others_is_not_undecided(cache: Path) -> None:
    """It runs whatever its inputs give."""
    rows = fl.plan(report.options(cache=False)(fit(1)), cache=cache).rows
    assert [row.word for row in rows] == ["run", "run"]


def test_new_point_of_a_sweep(cache: Path) -> None:
    """A point whose parameters varied before is new, not a changed call."""
    run(fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2])), cache)
    assert reasons(fl.fan_out(fit, load(3), over=fl.grid(lr=[0.1, 0.2, 0.3])), cache) == [Reason(kind="new arguments")]


def test_changed_sweep_says_what_changed(cache: Path) -> None:
    """Points that run again because of code, inputs or a fixed argument are not called new."""
    space = fl.grid(lr=[i / 100 for i in range(50)])
    run(fl.fan_out(fit, load(3), over=space), cache)
    run(load(4), cache)
    assert set(reasons(fl.fan_out(fit, load(4), over=space), cache)) == {
        Reason(kind="upstream changed", subject="data")
    }
    assert set(reasons(fl.fan_out(fit.options(version="2"), load(4), over=space), cache)) == {
        Reason(kind="version changed", new="2")
    }
    run(fl.fan_out(fit.options(version="x"), "one", over=fl.grid(lr=[1.0, 2.0])), cache)
    assert set(reasons(fl.fan_out(fit.options(version="x"), "two", over=fl.grid(lr=[1.0, 2.0])), cache)) == {
        Reason(kind="argument changed", subject="data", old="'one'", new="'two'")
    }


def test_every_kind_of_reason_is_tried() -> None:
    """A kind that no test of this file names would be one that cannot occur."""
    text = Path(__file__).read_text("utf-8")
    assert [kind for kind in get_args(ReasonKind) if text.count(f'kind="{kind}"') + text.count(f'"{kind}"') == 0] == []


def test_other_runs_do_not_hide_the_difference(cache: Path) -> None:
    """The call is compared with the most similar earlier one, not with the latest."""
    run(fit("a", lr=1.0), cache)
    run(fit("b", lr=2.0), cache)
    expected = Reason(kind="argument changed", subject="lr", old="1.0", new="3.0")
    assert reasons(fit("a", lr=3.0), cache) == [expected]


# ---- the plan is what the run does


def test_undecided_nodes_wait_for_what_would_run(cache: Path) -> None:
    """Below a miss nothing is known, beside it everything is."""
    run([report(load(3)), report(load(5))], cache)
    rows = fl.plan([report(load(3)), report(load(4))], cache=cache).rows
    assert [(row.task, row.word) for row in rows] == [
        ("load", "cached"),
        ("report", "cached"),
        ("load", "run"),
        ("report", "undecided"),
    ]
    assert rows[3].decision == Undecided((rows[2].node,))


def test_equal_calls_run_once(cache: Path) -> None:
    """The second of two equal calls is not counted as work."""
    target = [load(3), load(3), report(load(3))]
    plan = fl.plan(target, cache=cache)
    assert (plan.n_cached, plan.n_to_run, plan.n_undecided) == (0, 1, 3)
    assert run(target, cache).ran == ["load", "report"]


@fl.task
def add(*values: Any) -> int:
    return sum(_number(value) for value in values) % 101


@fl.task
def coarse(*values: Any) -> int:
    return sum(_number(value) for value in values) % 2


@fl.task
def listed(*values: Any) -> list[int]:
    return [_number(value) for value in values]


@fl.task
def grow(*values: Any) -> Any:
    return [add(_number(value), 1) for value in values]


@fl.task(cache=False)
def never_stored(*values: Any) -> int:
    return sum(_number(value) for value in values) % 3


def _number(value: Any) -> int:
    return sum(value) if isinstance(value, list) else int(value)


TASKS: list[Callable[..., Any]] = [add, coarse, listed, grow, never_stored]


@given(seed=st.integers(0, 10**6), n_first=st.integers(1, 15), n_more=st.integers(0, 10), force=st.booleans())
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:force= names:flowlib.FlowWarning")
def test_the_run_does_what_the_plan_says(seed: int, n_first: int, n_more: int, force: bool) -> None:
    """What the plan calls cached is used, what it says runs does, for the same reasons; the rest is one or the other."""
    store = MemoryStore()
    chooser = random.Random(seed)
    run(chooser.sample(random_graph(seed, TASKS, n_first), 1), store)
    target = [*random_graph(seed + chooser.randint(0, 1), TASKS, n_first + n_more)]
    forced = ["coarse"] if force else []

    rows = fl.plan(target, cache=store, force=forced).rows
    log = run(target, store, force=forced)

    cached = {event.node for event in log.of(NodeCached)}
    started = {event.node: event.reasons for event in log.of(NodeStarted)}
    for row in rows:
        if isinstance(row.decision, Hit):
            assert row.node in cached and row.node not in started
        elif isinstance(row.decision, Miss):
            assert started[row.node] == tuple(str(reason) for reason in row.decision.reasons)
        else:
            assert (row.node in cached) != (row.node in started)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_after_a_run_the_plan_has_nothing_new_to_do(seed: int) -> None:
    """Only what is never stored, and what stands below it, is not cached."""
    store = MemoryStore()
    run(random_graph(seed, TASKS, 12), store)

    rows = fl.plan(random_graph(seed, TASKS, 12), cache=store).rows

    assert {row.task for row in rows if row.word == "run"} <= {"never_stored"}


def test_looking_changes_nothing(cache: Path) -> None:
    """Neither `plan` nor `why` makes a directory, an entry or a run."""
    fl.plan(fit(1), cache=cache)
    fl.why(fit(1), cache=cache)
    assert not cache.exists()
    run(fit(1), cache)
    before = sorted(path for path in cache.rglob("*") if path.is_file())
    fl.plan([fit(1), fit(2)], cache=cache)
    fl.why(fit(2), cache=cache)
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == before
