"""Finding metrics in results of any kind."""

import dataclasses
import decimal
import fractions
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

from flowlib.errors import ReducerError
from flowlib.sweep.metric import MISSING, as_number, finder, metric_leaves, reader
from flowlib.sweep.reduce import Item


@dataclasses.dataclass
class Data:
    auc: float
    inner: dict[str, float]


@attrs.frozen
class Att:
    auc: float
    inner: dict[str, float]


class Tup(NamedTuple):
    auc: float
    inner: dict[str, float]


class Plain:
    def __init__(self, auc: float, inner: dict[str, float]) -> None:
        self.auc = auc
        self.inner = inner
        self._private = 3

    @property
    def half(self) -> float:
        """Return half of it."""
        return self.auc / 2

    def method(self) -> float:
        """Return it."""
        return self.auc


def item(value: Any) -> Item[Any]:
    """Return a value as the item p0."""
    return Item(value=value, params={}, label="p0", index=0)


def read(metric: Any, value: Any) -> Any:
    """Read a metric from a value."""
    return reader(metric)(item(value))


@pytest.mark.parametrize("kind", [Data, Att, Tup, Plain, lambda auc, inner: {"auc": auc, "inner": inner}])
def test_metrics_are_found_by_name_and_path(kind: Any):
    """Dicts, dataclasses, attrs classes, named tuples and objects alike."""
    value = kind(0.9, {"x": 0.25, "d.e": 4})

    assert read("auc", value) == 0.9
    assert read("inner.x", value) == 0.25
    assert read("inner.d.e", value) == 4
    assert metric_leaves(value) == {"auc": 0.9, "inner.x": 0.25, "inner.d.e": 4}


def test_pydantic_models_have_metrics():
    """Fields of a model are metrics."""
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("M", auc=(float, ...), name=(str, "m"))(auc=0.5)

    assert read("auc", model) == 0.5
    assert metric_leaves(model) == {"auc": 0.5}


def test_functions_and_properties_are_metrics():
    """A function gets the value; a property is an attribute."""
    assert read(lambda v: v["a"] + 1, {"a": 1}) == 2
    assert read("half", Plain(0.5, {})) == 0.25


def test_a_plain_number_is_its_own_value():
    """The metric "value" is the number itself, unless the result has a metric of that name."""
    assert read("value", 3) == 3
    assert read("value", np.float64(0.5)) == 0.5
    assert read("value", {"value": 7}) == 7
    assert metric_leaves(3.5) == {"value": 3.5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(2.5), 2.5),
        (np.bool_(True), 1),
        (True, 1),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (np.longdouble(0.5), 0.5),
    ],
)
def test_many_kinds_of_number_count(value: Any, expected: float):
    """All become an int or a float."""
    found = as_number(value)

    assert found == expected
    assert type(found) in (int, float)


@pytest.mark.parametrize("value", ["0.5", None, 1j, np.array([1.0]), np.datetime64("2020-01-01"), [1], object()])
def test_other_things_are_no_numbers(value: Any):
    """Nothing is converted by guessing."""
    assert as_number(value) is None


def test_numbers_have_no_metrics_inside():
    """The methods of numpy numbers are not metrics."""
    assert finder("mean")(np.float64(1)) is MISSING
    assert finder("real")(1.5) is MISSING


def test_a_missing_metric_lists_what_there_is():
    """The error names the point, the available metrics and the nearest of them."""
    with pytest.raises(ReducerError, match="Point 'p0' has no metric 'aux'") as caught:
        read("aux", {"auc": 1, "loss": {"train": 2}, "name": "x"})

    assert caught.value.facts["metrics"] == "auc, loss.train"
    assert "'auc'" in caught.value.hint


@pytest.mark.parametrize(
    ("metric", "value", "what", "hint"),
    [
        ("auc", 0.5, "no metric 'auc'", "'value'"),
        ("auc", "text", "no metric 'auc'", "Return a dict"),
        ("_private", Plain(1, {}), "no metric '_private'", "Known"),
        ("method", Plain(1, {}), "not a number", "lambda v: v.method()"),
        ("name", {"name": "x", "auc": 1}, "not a number", "Known: auc"),
        ("a", {"a": None}, "not a number", "Return a dict"),
        ("value", {"auc": 1}, "not a number", "Known: auc"),
        (lambda v: "x", {}, "Metric 'lambda'", "Return a dict"),
    ],
)
def test_what_is_no_metric_is_refused(metric: Any, value: Any, what: str, hint: str):
    """Each case says what was found and what to do."""
    with pytest.raises(ReducerError, match=what) as caught:
        read(metric, value)
    assert hint in caught.value.hint


def test_leaves_skip_what_is_no_metric_and_stop_somewhere():
    """Bools, texts, arrays and deep or endless structures."""
    endless: dict[str, Any] = {"a": 1}
    endless["self"] = endless

    assert metric_leaves({"ok": True, "t": "x", "v": np.arange(3), "f": len, "n": np.float64(1)}) == {"n": 1.0}
    assert metric_leaves(endless)["a"] == 1
    assert len(metric_leaves({str(i): i for i in range(5000)})) == 1000
    assert metric_leaves(None) == {}
