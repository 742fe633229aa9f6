"""Values as text for a person."""

import dataclasses
from typing import NamedTuple

import attrs
import pytest

from flowlib.cli.show import MAX_LINES, value_text


class Point(NamedTuple):
    x: int
    y: int


@attrs.frozen
class Fit:
    name: str
    scores: list[float]
    secret: str = attrs.field(default="hidden", repr=False)


@dataclasses.dataclass
class Row:
    a: int


@attrs.frozen(repr=False)
class Own:
    a: int

    def __repr__(self) -> str:
        return "own repr"


class Broken:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two\nlines", "two\nlines"),
        (None, "None"),
        ([], "[]"),
        ((1,), "(1,)"),
        ({1}, "{1}"),
        (frozenset({1}), "frozenset({1})"),
        ({"a": 1}, "{'a': 1}"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (Fit("a", [0.5]), "Fit(name='a', scores=[0.5])"),
        (Row(1), "Row(a=1)"),
        (Own(1), "own repr"),
        (Broken(), "<Broken>"),
        (Fit, f"<class '{__name__}.Fit'>"),
    ],
)
def test_short_values_stay_on_one_line(value: object, text: str) -> None:
    """What fits looks like Python; a repr of the user's own is respected."""
    assert value_text(value, width=80) == text


def test_long_values_are_laid_out() -> None:
    """Fields get lines of their own, numbers share lines, nothing is wider than asked for."""
    text = value_text({"fit": Fit("n" * 30, [i / 2 for i in range(30)]), "n": 1}, width=60)

    assert text.splitlines()[:4] == ["{", "    'fit': Fit(", f"        name='{'n' * 30}',", "        scores=["]
    assert max(map(len, text.splitlines())) <= 60


def test_large_containers_are_cut() -> None:
    """A million items cost forty, and the others are counted."""
    assert "... 999,960 more" in value_text(list(range(1_000_000)), width=80)
    assert "... 60 more" in value_text({i: i for i in range(100)}, width=80)


def test_long_text_is_cut() -> None:
    """A log as a value does not flood the terminal."""
    lines = value_text("line\n" * 10_000, width=80).splitlines()

    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == "... and 9,600 more lines"


def test_value_that_holds_itself_ends() -> None:
    """A cycle is cut by depth."""
    value: list[object] = []
    value.append(value)

    assert "[...]" in value_text(value, width=80)
