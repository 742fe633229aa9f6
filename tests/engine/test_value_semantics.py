"""No task can change what another task, the user or the cache holds, and no value stays longer than it is needed."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

import flowlib as fl
from flowlib.errors import InputMutated
from flowlib.sweep.reduce import collect
from flowlib.sweep.space import grid
from flowlib.testing import EventLog

LARGE = 300_000
"""Elements of an array that is too large to be copied for each consumer."""


@attrs.define
class Model:
    weights: list[float]


class Plain:
    """A class that flowlib knows nothing of."""

    def __init__(self, items: list[int]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.items == other.items

    def __hash__(self) -> int:
        return 1


def _spoil_list(value: list[Any]) -> None:
    value.append("spoilt")


def _spoil_nested(value: dict[str, Any]) -> None:
    value["a"][0].append("spoilt")


def _spoil_array(value: Any) -> None:
    value[...] = 99


def _spoil_frame(value: pd.DataFrame) -> None:
    value.loc[:, "x"] = 99


ZOO: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "list": (lambda: [1, 2], _spoil_list),
    "dict": (lambda: {"a": [[1], 2]}, _spoil_nested),
    "set": (lambda: {1, 2}, lambda value: value.add(99)),
    "bytearray": (lambda: bytearray(b"ab"), lambda value: value.extend(b"zz")),
    "array": (lambda: np.arange(6.0).reshape(2, 3), _spoil_array),
    "array in list": (lambda: [np.arange(3)], lambda value: _spoil_array(value[0])),
    "frame": (lambda: pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), _spoil_frame),
    "attrs": (lambda: Model([0.5]), lambda value: value.weights.append(9.0)),
    "object": (lambda: Plain([1]), lambda value: value.items.append(99)),
    "object in tuple": (lambda: (Plain([1]), 2), lambda value: value[0].items.append(99)),
}


@fl.task
def make(kind: str) -> Any:
    return ZOO[kind][0]()


@fl.task
def spoil(value: Any, kind: str) -> str:
    ZOO[kind][1](value)
    return "spoilt"


@fl.task
def look(value: Any, after: Any) -> str:
    return repr_of(value)


def repr_of(value: Any) -> str:
    if isinstance(value, Plain):
        return f"Plain({value.items})"
    if isinstance(value, tuple):
        return str([repr_of(item) for item in value])
    return repr(value)


@pytest.fixture(params=[True, False], ids=["cached", "uncached"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "cache" if request.param else False


@pytest.fixture(params=["threads", "inline"])
def executor(request: pytest.FixtureRequest) -> Any:
    return request.param


def run(target: Any, cache: Any, **options: Any) -> Any:
    return fl.run(target, cache=cache, progress=False, **options)


# ---- values between tasks


@pytest.mark.parametrize("kind", ZOO)
def test_no_consumer_sees_what_another_did_to_its_input(cache: Any, executor: Any, kind: str) -> None:
    """A value that one task changes in place is unchanged for the next task and for the user; later runs agree."""
    for _ in range(2):
        made = make(kind)
        spoilt = spoil(made, kind)
        seen, value = run([look(made, spoilt), made], cache, executor=executor)
        assert seen == repr_of(value) == repr_of(ZOO[kind][0]())


@pytest.mark.parametrize("kind", ZOO)
def test_a_literal_stays_what_the_user_made(cache: Any, executor: Any, kind: str) -> None:
    """An object passed to several calls is unchanged for each of them and for the user."""
    literal = ZOO[kind][0]()
    spoilt = spoil(literal, kind)
    (seen,) = run([look(literal, spoilt)], cache, executor=executor)
    assert seen == repr_of(literal) == repr_of(ZOO[kind][0]())


@pytest.mark.parametrize("kind", ZOO)
def test_a_literal_inside_a_container_stays_what_the_user_made(cache: Any, kind: str) -> None:
    """The same holds for objects inside lists and dicts, beside nodes."""

    @fl.task
    def spoil_held(held: dict[str, Any]) -> str:
        ZOO[kind][1](held["x"][0])
        ZOO[kind][1](held["node"])
        return "spoilt"

    literal, made = ZOO[kind][0](), make(kind)
    spoilt = spoil_held({"x": [literal], "node": made})
    seen = run([look(literal, spoilt), look(made, spoilt)], cache)
    assert seen == [repr_of(ZOO[kind][0]())] * 2
    assert repr_of(literal) == seen[0]


def test_a_default_argument_stays_what_it_was(cache: Any) -> None:
    """A mutable default is an argument like any other."""

    @fl.task
    def grow(x: int, items: list[int] = []) -> list[int]:
        items.append(x)
        return items

    assert run([grow(1), grow(2)], cache) == [[1], [2]]


def test_a_result_belongs_to_the_user(cache: Any) -> None:
    """Changing what `run` returned changes neither the cache nor the result of the next run."""
    first = run(make("array in list"), cache)
    first[0][:] = 99
    assert run(make("array in list"), cache)[0].tolist() == [0, 1, 2]


def test_two_targets_with_one_key_are_two_objects(tmp_path: Path) -> None:
    """Equal calls are computed once, but their values are not one object."""
    first, second = run([make("list"), make("list")], tmp_path / "cache")
    first.append(9)
    assert second == [1, 2]


def test_arrays_from_the_store_are_writable_and_private(tmp_path: Path) -> None:
    """A stored array, also a large one that is mapped, can be changed in place and changes nothing stored."""

    @fl.task
    def ones(n: int) -> Any:
        return np.ones(n)

    @fl.task
    def add_in_place(array: Any, x: int) -> float:
        array += x
        return float(array.sum())

    for n in (3, LARGE):
        run(ones(n), tmp_path / "cache")
        assert run([add_in_place(ones(n), x) for x in range(3)], tmp_path / "cache") == [n, 2.0 * n, 3.0 * n]
        again = run(ones(n), tmp_path / "cache")
        again *= 5
        assert run(ones(n), tmp_path / "cache").sum() == n


# ---- what is too large to be copied


@fl.task
def zeros(n: int) -> Any:
    return np.zeros(n)


@fl.task
def fill(array: Any, x: float) -> float:
    array[:] = x
    return x


@fl.task
def total(array: Any, after: Any = None) -> float:
    return float(array.sum())


def test_a_changed_large_literal_is_an_error_that_names_task_and_parameter(cache: Any, executor: Any) -> None:
    """What is shared because it is large is looked at again after use."""
    array = np.zeros(LARGE)
    with pytest.raises(InputMutated) as caught:
        run(fill(array, 7.0), cache, executor=executor)
    assert "Task 'fill' changed its input 'array'." in str(caught.value)
    assert "test_value_semantics.py:" in caught.value.__notes__[0]


def test_a_changed_large_literal_in_a_container_is_an_error(cache: Any) -> None:
    """The parameter that holds it is named."""

    @fl.task
    def fill_held(held: dict[str, Any]) -> int:
        held["x"][0][:] = 7
        return 1

    with pytest.raises(InputMutated, match="'held'"):
        run(fill_held({"x": [np.zeros(LARGE)]}), cache)


def test_nobody_computes_with_a_large_literal_that_was_changed(cache: Any) -> None:
    """Whoever uses the array after somebody changed it fails, too, instead of giving a wrong result."""
    array = np.zeros(LARGE)
    target = [total(array), fill.options(priority=5)(array, 7.0), total(array, 1), total(array, 2)]
    with pytest.raises((InputMutated, fl.SweepFailed)):
        run(target, cache, executor="inline", on_error="continue")
    array[:] = 0.0
    log = EventLog()
    assert run([target[0], *target[2:]], cache, observers=[log]) == [0.0, 0.0, 0.0]


def test_a_changed_large_value_is_an_error_and_is_made_again(executor: Any) -> None:
    """Without a cache a large value is shared; after somebody changed it, the others get a new one."""
    values = zeros(LARGE)
    good = [total(values, number) for number in range(3)]
    bad = fill.options(priority=5)(values, 7.0)
    kept = [total.options(on_error="keep")(values, 9), fill.options(on_error="keep", priority=5)(values, 7.0)]
    with pytest.raises(InputMutated, match="'fill' changed its input 'array'"):
        run([bad, *good], False, executor="inline")
    result = run([*kept, *good], False, executor="inline")
    assert result[1].error_type == "InputMutated"
    assert result[2:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("part", ["whole", "view", "held"])
def test_a_result_that_is_part_of_a_shared_input_is_not_handed_on(executor: Any, part: str) -> None:
    """A task that returns its input, or a view of it, does not open a way to change it."""

    @fl.task
    def some_of(array: Any) -> Any:
        return {"whole": array, "view": array[:10], "held": {"a": [array[:10]]}}[part]

    @fl.task
    def fill_part(value: Any) -> float:
        array = value["a"][0] if isinstance(value, dict) else value
        array[:] = 7.0
        return float(array.sum())

    values = zeros(LARGE)
    filled = fill_part.options(on_error="keep")(some_of(values))
    result = run([filled, total(values, filled)], False, executor=executor)
    assert result[1] == 0.0
    assert result[0] == 70.0 or (part == "whole" and result[0].error_type == "InputMutated")


def test_a_result_that_is_a_large_literal_is_not_handed_on(cache: Any) -> None:
    """The same for what the user passed in."""
    array = np.zeros(LARGE)

    @fl.task
    def same(x: Any) -> Any:
        return x

    if cache is False:
        with pytest.raises(InputMutated, match="'fill' changed its input 'array'"):
            run(fill(same(array), 7.0), cache)
    else:  # the second task gets its own copy from the store
        run(fill(same(array), 7.0), cache)
        assert array.sum() == 0.0


def test_strict_looks_at_copies_too(cache: Any) -> None:
    """With strict=True a task that changes even its own copy is told."""
    run(spoil(make("list"), "list"), cache)
    fl.configure(strict=True)
    try:
        with pytest.raises(InputMutated, match="'spoil' changed its input 'value'"):
            run(spoil(make("set"), "set"), cache)
    finally:
        fl.configure()


# ---- runs inside tasks, reductions


def test_a_task_may_change_an_array_between_two_runs_of_its_own(cache: Any) -> None:
    """What an inner run is given counts by its content at that moment, never by identity."""

    @fl.task
    def twice(n: int) -> list[float]:
        array = np.zeros(n)
        sums = []
        for _ in range(3):
            sums.append(fl.run(total(array)))
            array += 1
        return sums

    for n in (10, LARGE):
        assert run(twice(n), cache) == [0.0, 1.0 * n, 2.0 * n]


def test_a_reducer_that_builds_on_its_first_value_changes_nobody_elses(cache: Any) -> None:
    """A reduction may use the values it is given; other consumers of the points do not notice."""
    from flowlib.sweep.reduce import reduce

    def add(so_far: Any, item: Any) -> Any:
        if so_far is None:
            return item
        so_far += item
        return so_far

    @fl.task
    def ones(k: int) -> Any:
        return np.full(LARGE, float(k))

    jobs = fl.fan_out(ones, over=grid(k=[1, 2, 3]))
    summed = fl.fan_in(jobs, reduce(start=None, add=add))
    result = run([summed, *[total(node) for node in jobs]], cache)
    assert result[0].sum() == 6.0 * LARGE
    assert result[1:] == [1.0 * LARGE, 2.0 * LARGE, 3.0 * LARGE]


# ---- how long values live


class Tracked:
    """A value whose life can be watched."""

    alive: "weakref.WeakSet[Tracked]" = weakref.WeakSet()

    def __init__(self, number: int) -> None:
        self.number = number
        Tracked.alive.add(self)

    def __flowlib_digest__(self) -> int:
        return self.number


@pytest.fixture(autouse=True)
def nothing_alive() -> None:
    """Forget what earlier tests left to the collector of cycles; to collect it would take longer than the tests."""
    Tracked.alive.clear()


def test_values_leave_memory_after_their_last_consumer(cache: Any, executor: Any) -> None:
    """Along a chain at most two values are alive at a time, and none when the run is over."""

    @fl.task
    def first() -> Any:
        return Tracked(0)

    @fl.task
    def following(before: Any) -> Any:
        assert len(Tracked.alive) <= 2
        return Tracked(before.number + 1)

    @fl.task
    def number_of(value: Any) -> int:
        return int(value.number)

    chain = first()
    for _ in range(30):
        chain = following(chain)
    gc.disable()  # leaving memory must not depend on the collector of cycles
    try:
        assert run(number_of(chain), cache, executor=executor, workers=1) == 30
        assert len(Tracked.alive) == 0
    finally:
        gc.enable()


def test_a_wide_sweep_holds_a_bounded_number_of_values(cache: Any) -> None:
    """A reduction over many points holds a few of them, not all."""
    high = [0]

    @fl.task
    def point(k: int) -> Any:
        value = Tracked(k)
        high[0] = max(high[0], len(Tracked.alive))
        return value

    @fl.task
    def count(values: list[Any]) -> int:
        return len(values)

    from flowlib.sweep.reduce import reduce

    jobs = fl.fan_out(point, over=grid(k=range(200)))
    summed = fl.fan_in(jobs, reduce(start=0, add=lambda so_far, value: so_far + value.number))
    assert run(summed, cache, workers=2) == sum(range(200))
    assert high[0] < 40
    assert len(run(fl.fan_in(jobs, collect()), cache)) == 200


def test_the_last_consumer_may_get_the_very_object() -> None:
    """No copy is made of a value that nobody else will use."""

    @fl.task
    def make_large() -> Any:
        return np.zeros(LARGE)

    @fl.task
    def address(array: Any) -> int:
        array[:] = 1.0  # allowed: it is nobody else's
        return int(array.__array_interface__["data"][0])

    @fl.task
    def address_of(array: Any) -> tuple[Any, int]:
        return array, int(array.__array_interface__["data"][0])

    array, before = run(address_of(make_large()), False)
    assert array.__array_interface__["data"][0] == before
    assert isinstance(run(address(make_large()), False), int)


def test_targets_are_kept_to_the_end(cache: Any) -> None:
    """A target that others use, too, comes back as it was made."""
    made = make("list")
    assert run([spoil(made, "list"), made, spoil(made, "list")], cache) == ["spoilt", [1, 2], "spoilt"]
