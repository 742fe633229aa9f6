"""HTML that is safe, small, and touches nothing outside itself."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.events import NODE_STATES
from flowlib.views import html
from flowlib.views.palette import LOOKS

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;</div></table>"


class Reader(HTMLParser):
    """Collects the tags and the visible text of markup, and insists on its nesting."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    """Whatever a task was named, a reader of the markup sees no element of it."""
    page = Reader(html.fragment(html.tag("b", text), html.table(["x"], [[text]]), html.badge(text), text))

    assert page.tags == {"div", "style", "b", "table", "tr", "th", "td", "span"}


def test_a_hostile_name_is_shown_as_it_is() -> None:
    """Escaped once, not twice: the reader sees the very characters."""
    page = Reader(html.table([HOSTILE], [[HOSTILE, html.tag("i", HOSTILE)]]))

    assert page.text == HOSTILE * 3
    assert "script" not in page.tags


def test_attributes_are_escaped() -> None:
    """A quote in a value does not end it."""
    assert html.tag("a", "x", title='"><script>') == '<a title="&quot;&gt;&lt;script&gt;">x</a>'


def test_an_element_name_is_never_data() -> None:
    """A name with a space could carry attributes."""
    with pytest.raises(ValueError, match="not the name of an element"):
        html.tag("b onclick=alert(1)")


def test_styles_stay_inside_the_fragment() -> None:
    """Every selector begins with the one class, and nothing is loaded or run."""
    style = re.search(r"<style>(.*?)</style>", html.fragment("x"), re.DOTALL)
    assert style is not None
    selectors = [s.strip() for rule in re.findall(r"([^{}]+)\{", style[1]) for s in rule.split(",")]

    assert selectors
    assert all(selector.startswith(".flowlib") for selector in selectors)
    assert not re.search(r"url\(|@import|<script|javascript:", html.fragment("x"))


def test_text_colours_come_from_the_theme() -> None:
    """No colour of text or paper is fixed, so dark and light themes both read."""
    markup = html.fragment(html.badge("failed"))

    assert "var(--jp-content-font-color1, var(--vscode-foreground, inherit))" in markup
    assert not re.search(r"[ {;]color: *#", markup)
    assert not re.search(r"background: *#", markup)


def test_every_state_has_its_looks() -> None:
    """One list of states, everywhere."""
    assert tuple(LOOKS) == NODE_STATES
    assert all(f"badge-{state}" in html.fragment(html.badge(state)) for state in NODE_STATES)
    assert all(len(look.glyph) == 1 and look.ascii.isascii() for look in LOOKS.values())


def test_a_long_table_counts_what_it_leaves_out() -> None:
    """Sixty rows are enough to look at; the total stays."""
    page = Reader(html.table(["n"], [[i] for i in range(100)] + [["sum"]], last_is_total=True))

    assert "and 40 more rows" in page.text
    assert page.text.endswith("sum")


def test_a_fragment_is_bounded() -> None:
    """Whatever is put in, a notebook file stays small, and the markup whole."""
    markup = html.fragment(*(html.tag("p", html.Html("é" * 10_000)) for _ in range(50)))

    assert len(markup.encode()) <= html.LARGEST_FRAGMENT
    assert "The rest is too large to show here." in Reader(markup).text


def test_none_is_an_empty_cell() -> None:
    """What is not known is not called None."""
    assert Reader(html.table([], [[None, 1]])).text == "1"
