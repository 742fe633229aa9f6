"""Plans: counts, predictions and texts, for graphs of any size, without running or making anything."""

from pathlib import Path
from typing import Any

import attrs
import pytest

import flowlib as fl
from flowlib.clock import FrozenClock
from flowlib.engine.look import make_plan
from flowlib.engine.run import RunOptions, execute, options_from
from flowlib.planning.preview import Plan
from flowlib.store.base import TaskStats
from flowlib.store.memory import MemoryStore


@fl.task
def load(n: int) -> list[int]:
    return list(range(n))


@fl.task
def fit(data: Any, lr: float = 0.1) -> dict[str, float]:
    return {"auc": lr}


@fl.task
def report(result: Any) -> str:
    return str(result)


class Remembering(MemoryStore):
    """A store whose history says how long each task takes."""

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def stats(self, task: str) -> TaskStats | None:
        """Return what a task took in the past."""
        if task not in self._seconds:
            return None
        return TaskStats(n=1, mean_s=self._seconds[task], mean_bytes=0.0)


def options(**seconds: float) -> RunOptions:
    """Return the options of a run with four workers over a store with a history."""
    return options_from({"workers": 4}, cache=Remembering(**seconds), clock=FrozenClock())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def sweep(n: int, rates: list[float]) -> Any:
    """Return the best of a fan-out over what `load` gives."""
    return fl.fan_in(fl.fan_out(fit, load(n), over=fl.grid(lr=rates)), fl.best(max="auc"))


def counts(plan: Plan) -> tuple[int, int, int]:
    """Return how many are cached, to run, undecided."""
    return plan.n_cached, plan.n_to_run, plan.n_undecided


# ---- whole texts


def test_text_of_a_first_plan() -> None:
    """Nothing is known but that the first task runs."""
    assert str(make_plan(report(fit(load(3))), options())) == (
        "Plan: 0 cached, 1 to run, 2 undecided\n"
        "  load    to run\n"
        "            first seen\n"
        "  fit     undecided\n"
        "  report  undecided"
    )


def test_text_of_a_plan_without_work() -> None:
    """Everything is there; how long it once took is no matter."""
    given = options(load=100.0, fit=100.0)
    execute(fit(load(3)), given)
    assert str(make_plan(fit(load(3)), given)) == "Plan: 2 cached, 0 to run\n  load  cached\n  fit   cached"


def test_text_of_a_grown_sweep() -> None:
    """Points are counted, not listed, with the time that the new ones take."""
    given = options(load=1.0, fit=90.0, **{"best(fit)": 0.001})
    execute(sweep(3, [0.1, 0.2]), given)
    assert str(make_plan(sweep(3, [0.1, 0.2, 0.3, 0.4]), given)) == (
        "Plan: 3 cached, 2 to run, 1 undecided, about 1 min 30 s on 3 workers\n"
        "  load       cached\n"
        "  fit x4     2 cached, 2 to run (about 3 min 0 s of work)\n"
        "               new arguments\n"
        "  best(fit)  undecided"
    )


def test_text_of_a_changed_argument() -> None:
    """One node, one worker: no words about either."""
    given = options(fit=2.0)
    execute(fit("a"), given)
    assert str(make_plan(fit("a", lr=0.5), given)) == (
        "Plan: 0 cached, 1 to run, about 2.0 s\n  fit  to run (about 2.0 s)\n         argument changed: lr: 0.1 -> 0.5"
    )


def test_text_of_many_different_reasons() -> None:
    """The three most frequent, counted; then how many others."""
    given = options()
    execute(report("start"), given)
    texts = ["a", "b", "c", "d"]
    plan = str(make_plan([report(text) for text in texts] + [report.options(version="2")("start")], given))
    assert plan == (
        "Plan: 0 cached, 5 to run\n"
        "  report x5  5 to run\n"
        "               1 x argument changed: result: 'start' -> 'a'\n"
        "               1 x argument changed: result: 'start' -> 'b'\n"
        "               1 x argument changed: result: 'start' -> 'c'\n"
        "               ... and 2 other reasons"
    )


def test_text_of_a_plan_without_a_cache() -> None:
    """Everything runs, for one reason."""
    assert str(fl.plan([load(1), load(2)], cache=False)) == (
        "Plan: 0 cached, 2 to run\n  load x2  2 to run\n             cache off"
    )


# ---- numbers


def test_a_console_shows_the_text(cache: Path) -> None:
    """Not the fields of every row: a plan of a large sweep would fill it for minutes."""
    target = sweep(3, [0.1, 0.2, 0.3])
    plan, explanation = fl.plan(target, cache=cache), fl.why(target, cache=cache)

    assert repr(plan) == str(plan)
    assert repr(explanation) == str(explanation)
    assert len(repr(plan)) < 500


def test_rows_are_the_nodes_in_the_order_of_the_graph(cache: Path) -> None:
    """With task, label, site and decision."""
    rows = fl.plan(sweep(2, [0.1, 0.2]), cache=cache).rows
    assert [(row.node, row.task, row.label) for row in rows] == [
        (0, "load", ""),
        (1, "fit", "lr=0.1"),
        (2, "fit", "lr=0.2"),
        (3, "best(fit)", ""),
    ]
    assert all("test_preview.py:" in row.site for row in rows)


def test_stored_bytes_are_those_of_the_hits(cache: Path) -> None:
    """As encoded; what would run counts nothing."""
    value: bytes = fl.run(fl.task(name="make")(lambda n: bytes(n))(10_000), cache=cache, progress=False)
    plan = fl.plan([fl.task(name="make")(lambda n: bytes(n))(10_000), load(3)], cache=cache)
    assert len(value) <= plan.stored_bytes < len(value) + 200
    assert counts(plan) == (1, 1, 0)


def test_prediction_is_the_longest_path_or_the_work_shared_out() -> None:
    """Whichever is longer; None if a task that may run has no history."""
    given = options(load=2.0, fit=3.0, report=5.0)
    assert make_plan(report(fit(load(3))), given).expected_s == 10.0
    assert make_plan([fit(n) for n in range(40)], given).expected_s == 40 * 3.0 / 4
    assert make_plan([fit(n) for n in range(2)], given).expected_s == 3.0
    assert make_plan(report(load(3)), options(load=1.0)).expected_s is None


def test_what_is_cached_costs_nothing() -> None:
    """Neither in the sum nor on the path, though it took long."""
    given = options(load=1000.0, fit=3.0)
    execute(load(3), given)
    plan = make_plan(fit(load(3)), given)
    assert (plan.expected_s, plan.critical_s) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: 5, (0, 0, 0)),
        (lambda: [load(1), {"a": load(2)}, "text"], (0, 2, 0)),
        (lambda: load(3)[0] + 1, (0, 1, 2)),
        (lambda: fl.fan_out(fit, over=fl.axis(lr=load(3)) * fl.grid(data=[1])), (0, 1, 1)),
    ],
)
def test_any_target_has_a_plan(cache: Path, make: Any, expected: tuple[int, int, int]) -> None:
    """Values, nestings, operators, fan-outs whose length is not known yet."""
    assert counts(fl.plan(make(), cache=cache)) == expected


def test_a_long_chain_is_planned_without_recursion(cache: Path) -> None:
    """Depth is no limit."""
    node: Any = load(1)
    for _ in range(3000):
        node = report(node)
    assert counts(fl.plan(node, cache=False)) == (0, 3001, 0)
    assert counts(fl.plan(node, cache=cache)) == (0, 1, 3000)


def test_a_cache_that_is_not_there_is_not_made(cache: Path) -> None:
    """Looking makes no directory."""
    fl.plan(load(1), cache=cache)
    assert not cache.exists()


def test_a_plan_is_a_value() -> None:
    """Frozen, like everything that describes."""
    plan = make_plan(load(1), options())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        plan.rows[0].task = "other"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        plan.workers = 9  # type: ignore[misc]


def test_task_names_are_listed_once_in_order() -> None:
    """`by_task` groups rows by name."""
    grouped = dict(make_plan([report(load(1)), report(load(2)), fit(1)], options()).by_task())
    assert {task: len(rows) for task, rows in grouped.items()} == {"load": 2, "report": 2, "fit": 1}
    assert list(grouped) == ["load", "report", "fit"]
