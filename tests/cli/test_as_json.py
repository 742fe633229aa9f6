"""Values as JSON, or a refusal that names the part."""

import dataclasses
import enum
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import attrs
import numpy as np
import pandas as pd
import pytest

from flowlib.cli.as_json import to_plain
from flowlib.errors import UsageError


class Point(NamedTuple):
    x: int
    y: float


class Kind(enum.Enum):
    TREE = "tree"


@attrs.frozen
class Fit:
    kind: Kind
    at: Point


@dataclasses.dataclass
class Row:
    a: int


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        ("é", "é"),
        ((1, [2]), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: "a", "b": 2}, {"1": "a", "b": 2}),
        (Fit(Kind.TREE, Point(1, 2.0)), {"kind": "tree", "at": {"x": 1, "y": 2.0}}),
        (Row(1), {"a": 1}),
        (Path("a/b"), "a/b"),
        (Decimal("0.1"), "0.1"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(minutes=1), 60.0),
        (np.float32(0.5), 0.5),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        (pd.Series([1, 2]), [1, 2]),
    ],
)
def test_plain_forms(value: object, plain: object) -> None:
    """Containers, records, dates and arrays have one obvious form each, and it is JSON."""
    assert to_plain(value) == plain
    assert json.loads(json.dumps(to_plain(value), allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "the value"),
        ({"a": [1, b"bytes"]}, "the value['a'][1]"),
        (Fit(Kind.TREE, len), "the value.at"),
        ({(1, 2): 3}, "a key of the value"),
        ({1: "a", "1": "b"}, "a key of the value"),
    ],
)
def test_refusals_name_the_part(value: object, where: str) -> None:
    """Nothing is shown by its repr, and no two keys fall together."""
    with pytest.raises(UsageError) as caught:
        to_plain(value)

    assert caught.value.facts["where"] == where


def test_value_that_holds_itself_is_refused() -> None:
    """A cycle ends with a sentence, not with a RecursionError."""
    value: list[object] = []
    value.append(value)

    with pytest.raises(UsageError, match="cannot be written as JSON"):
        to_plain(value)
