"""The graph of parts: digests of groups that need each other."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.hashing import code
from flowlib.hashing.code import CodeVersions
from flowlib.hashing.parts import Description, Part, join, reachable, settle
from flowlib.hashing.resolve import Link
from tests.hashing.code_project import open_project

Graph = dict[str, tuple[str, list[tuple[str, str]]]]
"""name -> (own text, [(label, name)])"""


def parts_of(graph: Graph) -> dict[str, Part]:
    """Build the parts of a graph."""
    parts = {name: Part(link=Link("", name, name), own=join(own)) for name, (own, _) in graph.items()}
    for name, (_, edges) in graph.items():
        parts[name].edges = [(label, parts[target]) for label, target in sorted(edges)]
    return parts


def digests(graph: Graph, order: list[str]) -> dict[str, str]:
    """Settle a graph, starting from its members in the order given."""
    parts = parts_of(graph)
    for name in order:
        settle(parts[name])
    return {name: part.settled for name, part in parts.items()}


@st.composite
def graphs(draw: Callable[..., object]) -> Graph:
    """Draw small graphs with many cycles and few different texts."""
    size = draw(st.integers(1, 7))
    names = [f"n{number}" for number in range(size)]  # type: ignore[arg-type]
    edges = st.lists(st.sampled_from(names), max_size=3)
    return {
        name: (draw(st.sampled_from("ab")), [(f"l{place}", target) for place, target in enumerate(draw(edges))])  # type: ignore[call-overload]
        for name in names
    }


def unfold(graph: Graph, name: str, depth: int) -> object:
    """Return what can be seen from a part along at most `depth` labels."""
    own, edges = graph[name]
    return (own, [(label, unfold(graph, target, depth - 1)) for label, target in edges] if depth else None)


@given(graphs(), st.randoms())
def test_digests_do_not_depend_on_where_the_walk_starts(graph: Graph, rng: random.Random) -> None:
    """Any order of asking gives each part the same digest."""
    names = [*graph]
    rng.shuffle(names)

    assert digests(graph, [*graph]) == digests(graph, names)


@given(graphs())
def test_parts_that_look_different_have_different_digests(graph: Graph) -> None:
    """Two parts that can be told apart by following labels never share a digest."""
    found = digests(graph, [*graph])
    for one in graph:
        for two in graph:
            if unfold(graph, one, len(graph)) != unfold(graph, two, len(graph)):
                assert found[one] != found[two]


@given(graphs(), st.data())
def test_a_change_anywhere_below_changes_the_digest(graph: Graph, data: st.DataObject) -> None:
    """Changing the text of a part changes every part that reaches it."""
    changed = data.draw(st.sampled_from([*graph]))
    edited = {**graph, changed: ("c", graph[changed][1])}
    before, after = digests(graph, [*graph]), digests(edited, [*graph])
    parts = parts_of(graph)

    for name in graph:
        touched = any(part is parts[changed] for part in reachable(parts[name]))
        assert (before[name] != after[name]) == touched


def test_a_long_chain_and_a_large_cycle_need_no_recursion() -> None:
    """Ten thousand parts in a row settle."""
    size = 10_000
    chain: Graph = {
        str(number): ("a", [("next", str(number + 1))] if number + 1 < size else []) for number in range(size)
    }
    settle(parts_of(chain)["0"])
    cycle: Graph = {str(number): (str(number % 500), [("next", str((number + 1) % 500))]) for number in range(500)}
    settle(parts_of(cycle)["0"])


def test_swapping_two_targets_changes_the_digest() -> None:
    """The same set of parts under other labels is something else."""
    leaves: Graph = {"f": ("f", []), "g": ("g", [])}
    one = digests({**leaves, "r": ("r", [("a", "f"), ("b", "g")])}, ["r"])
    two = digests({**leaves, "r": ("r", [("a", "g"), ("b", "f")])}, ["r"])

    assert one["r"] != two["r"]


SCALAR_GLOBALS = """
import os
LIMIT, RATE, NAME, FLAG, NOTHING, RAW = 10, -0.0, "ä", True, None, b"x"
HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data.csv")
LONG = "text " * 100
def entry(x, scale=2, *, shift=0.5):
    return x, scale, shift, LIMIT, RATE, NAME, FLAG, NOTHING, RAW, HOME, LONG
"""


def test_plain_scalars_have_the_digests_of_described_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are settled when they are met; the version, its parts and what may be said of them are those of the long way."""
    project = open_project(tmp_path, monkeypatch)
    main = project.load(SCALAR_GLOBALS)
    described: list[str] = []
    describe = CodeVersions._describe_value

    def counted(self: CodeVersions, part: Part) -> Description:
        described.append(part.link.name)
        return describe(self, part)

    monkeypatch.setattr(CodeVersions, "_describe_value", counted)
    quick = CodeVersions().version(main.entry)
    assert described == []
    monkeypatch.setattr(code, "LANES", {})
    slow = CodeVersions().version(main.entry)

    assert len(described) == 10
    assert quick == slow
