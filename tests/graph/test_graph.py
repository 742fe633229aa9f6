"""The closed set of nodes that targets need."""

import graphlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.graph.task import task


@task
def join(*inputs: Any) -> Any:
    """Depend on anything."""


def build(shape: list[list[int]]) -> list[Any]:
    """Return nodes; each depends on the earlier ones at some positions."""
    nodes: list[Any] = []
    for deps in shape:
        nodes.append(join(*[nodes[d % len(nodes)] for d in deps] if nodes else []))
    return nodes


def test_only_what_the_targets_need_is_in_it() -> None:
    """A node that was made and not used costs nothing in a run."""
    used, unused = join(), join()
    target = join(used)

    graph = Graph([target])

    assert [id(node) for node in graph.nodes] == [id(used), id(target)]
    assert id(unused) not in map(id, graph.nodes)
    assert len(graph) == 2


def test_dependencies_come_before_dependents_and_each_once() -> None:
    """A node used twice by another is one edge."""
    top = join()
    left, right = join(top), join(top, [top])
    graph = Graph([join(left, right, right)])

    assert graph.dependencies == [(), (0,), (0,), (1, 2)]


def test_ids_follow_the_order_of_arguments() -> None:
    """So runs with one worker go in the order that people read."""
    first, second = join(), join()
    graph = Graph([join(first, second)])

    assert [graph.id_of(node) for node in (first, second)] == [0, 1]


def test_growing_appends_only_what_is_new() -> None:
    """Ids that are there keep their meaning."""
    old = join()
    graph = Graph([old])
    new = join(old)

    assert graph.grow([new, old]) == [1]
    assert graph.grow([new]) == []
    assert graph.dependencies == [(), (0,)]
    assert graph.id_of(new) == 1


@pytest.mark.parametrize("length", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_chain_needs_no_recursion(length: int) -> None:
    """A hundred thousand steps, one after the other."""
    node = join()
    for _ in range(length):
        node = join(node)

    graph = Graph([node])

    assert len(graph) == length + 1
    assert graph.dependencies[-1] == (length - 1,)


class CountingDict(dict[Node, int]):
    """A dict that counts look-ups."""

    n_asked = 0

    def __contains__(self, key: object) -> bool:
        self.n_asked += 1
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Count, and look up."""
        self.n_asked += 1
        return super().get(key, default)


def test_work_is_linear_in_nodes_and_edges() -> None:
    """A dense graph of layers is looked at edge by edge, not path by path."""
    layer: list[Any] = [join() for _ in range(20)]
    for _ in range(20):
        layer = [join(*layer) for _ in range(20)]
    n_edges = 20 * 20 * 20
    graph = Graph()
    graph._ids = CountingDict()  # type: ignore[assignment]

    graph.grow(layer)

    assert len(graph) == 21 * 20
    assert graph._ids.n_asked < 4 * n_edges  # type: ignore[attr-defined]


def depth_first(targets: list[Any]) -> list[int]:
    """Return ids of nodes in the order of a walk with recursion: dependencies in the order of the arguments, then self.

    The law of the order of ids, which must not change: people read logs of one worker by it.
    """
    order: dict[int, None] = {}

    def visit(node: Any) -> None:
        if id(node) not in order:
            for dep in node._fl_deps:
                visit(dep)
            order[id(node)] = None

    for target in targets:
        visit(target)
    return list(order)


@given(st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=1, max_size=30), st.randoms())
def test_ids_are_those_of_a_depth_first_walk(shape: list[list[int]], dice: Any) -> None:
    """Whatever was shared, inserted twice, or there before: equal programs get equal ids."""
    nodes = build(shape)
    targets = [dice.choice(nodes) for _ in range(dice.randint(1, 5))]
    n_first = dice.randint(0, len(targets))
    grown = Graph(targets[:n_first])
    new = grown.grow(targets[n_first:])

    assert [id(node) for node in grown.nodes] == depth_first(targets)
    assert new == list(range(len(grown) - len(new), len(grown)))
    assert [id(node) for node in Graph(targets).nodes] == depth_first(targets)


@given(st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=1, max_size=30), st.randoms())
def test_any_graph_is_closed_and_in_topological_order(shape: list[list[int]], dice: Any) -> None:
    """Compared with the standard library's sorter, whatever the targets and however often it grows."""
    nodes = build(shape)
    targets = dice.sample(nodes, dice.randint(1, len(nodes)))
    needed = graphlib.TopologicalSorter[int]()
    stack = list(targets)
    while stack:
        node = stack.pop()
        needed.add(id(node), *[id(dep) for dep in node._fl_deps])
        stack += node._fl_deps
    graph = Graph()
    for target in targets:
        graph.grow([target])

    assert {id(node) for node in graph.nodes} == set(needed.static_order())
    for number, dependencies in enumerate(graph.dependencies):
        assert [id(graph.nodes[d]) for d in dependencies] == [id(dep) for dep in graph.nodes[number]._fl_deps]
        assert all(d < number for d in dependencies)
