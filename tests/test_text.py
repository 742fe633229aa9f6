"""Short words for people: bounded, on one line, harmless whatever comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.text import format_bytes, format_count, format_seconds, one_line, short_repr


@given(st.text(), st.integers(1, 50))
def test_any_text_becomes_one_bounded_harmless_line(text: str, limit: int) -> None:
    """No newline, escape character, surrogate or direction override passes."""
    shown = one_line(text, limit)

    assert len(shown) <= limit
    assert shown.isprintable() or all(char.isprintable() or char.isspace() for char in shown)
    assert "\n" not in shown
    assert "\x1b" not in shown
    shown.encode("utf-8")


@given(st.floats(0, 1e9))
def test_durations_are_short(seconds: float) -> None:
    """Every duration fits a narrow column."""
    assert len(format_seconds(seconds)) <= 13


@pytest.mark.parametrize("size", [float(10**n) * f for n in range(20) for f in (0.9994, 0.9996, 1, 5)])
def test_sizes_are_three_digits_and_a_unit(size: float) -> None:
    """No size is shown as a thousand of a unit, as long as there is a larger unit."""
    number, _ = format_bytes(size).split()

    assert float(number) < 1000 or size >= 9e17


def test_one_is_singular() -> None:
    """Sentences are sentences."""
    assert [format_count(n, "node") for n in (0, 1, 2, 100_000)] == ["0 nodes", "1 node", "2 nodes", "100,000 nodes"]


def test_a_repr_that_raises_is_replaced_by_the_type() -> None:
    """Showing a value never fails."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr today")

    assert short_repr(Broken()).startswith("<Broken instance")
    assert len(short_repr(["x" * 10_000] * 10_000)) <= 200


def test_a_huge_text_is_cut_before_it_is_cleaned() -> None:
    """The cost is that of what is shown."""
    assert one_line("a" * 10**7, 10) == "aaaaaaaaa…"
