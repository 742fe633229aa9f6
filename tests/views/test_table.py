"""Plain tables: aligned, bounded, free of escape codes unless asked."""

import re

from hypothesis import given
from hypothesis import strategies as st

from flowlib.views.table import Column, cell_width, render_table

TASKS = [Column("task", shrinks=True), Column("state"), Column("n", "right")]


def test_columns_are_aligned() -> None:
    """Text to the left, numbers to the right, two spaces between, nothing behind."""
    text = render_table(TASKS, [("load", "done", 1), ("fit_classifier", "cached", 128)])

    assert text.splitlines() == [
        "task            state     n",
        "load            done      1",
        "fit_classifier  cached  128",
    ]


def test_wide_characters_are_aligned() -> None:
    """A name in Chinese takes two cells per character."""
    lines = render_table([Column("task"), Column("n", "right")], [("模型", 1), ("fit", 22)]).splitlines()

    assert {cell_width(line) for line in lines} == {8}


def test_a_wide_table_gives_way_where_it_may() -> None:
    """Only shrinking columns are cut, the widest first, and the line fits."""
    columns = [Column("run"), Column("short", shrinks=True), Column("long", shrinks=True)]

    lines = render_table(columns, [("r" * 10, "abc", "x" * 90)], width=40).splitlines()

    assert lines[1] == "r" * 10 + "  abc    " + "x" * 20 + "…"
    assert len(lines[1]) == 40


def test_rows_beyond_the_limit_are_counted() -> None:
    """A long table ends with how much it left out."""
    text = render_table([Column("n", "right")], [(i,) for i in range(5)], max_rows=3)

    assert text.splitlines() == ["n", "0", "1", "2", "and 2 more rows"]


def test_states_are_coloured_only_on_request() -> None:
    """Colour changes no width: taking the codes out gives the plain table."""
    rows = [("load", "done", 1), ("fit", "failed", 2), ("done", "waiting", None)]

    plain, coloured = render_table(TASKS, rows), render_table(TASKS, rows, color=True)

    assert "\x1b" not in plain
    assert "\x1b[31mfailed\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_a_hostile_cell_writes_nothing_to_the_terminal() -> None:
    """A task name is text, also when it holds escape codes and newlines."""
    text = render_table([Column("task")], [("\x1b[2Jgone\nand more",)])

    assert text.splitlines() == ["task", r"\x1b[2Jgone and more"]


@given(st.lists(st.lists(st.text(max_size=30), min_size=3, max_size=3), max_size=5), st.integers(40, 90))
def test_any_table_has_one_line_per_row(rows: list[list[str]], width: int) -> None:
    """Whatever the cells hold, the lines are as many as the rows, and fit."""
    lines = render_table([Column(title, shrinks=True) for title in "abc"], rows, width=width).split("\n")

    assert len(lines) == len(rows) + 1
    assert all(cell_width(line) <= width for line in lines)


def test_an_empty_table_is_its_header() -> None:
    """No rows are no error."""
    assert render_table([Column("a"), Column("b")], []) == "a  b"
