"""What a node does lazily, and what it refuses."""

import asyncio
import copy
import inspect
import io
import math
import operator
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from flowlib.errors import NodeMisused
from flowlib.graph.node import Node, site_of
from flowlib.graph.op import ARITHMETIC, COMPARISONS, UNARY
from flowlib.graph.task import Task, task

HERE = Path(__file__).name


@task
def load(path: str = "train.csv") -> Any:
    """Return something lazy."""


class Split(NamedTuple):
    train: str
    test: str


@task
def pair() -> tuple[int, str]:
    """Return two values, as the annotation says."""
    return 1, "one"


@task
def split() -> Split:
    """Return a named tuple."""
    return Split("a", "b")


def parts(node: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the task's name and the arguments of a node."""
    assert type(node) is Node
    return node._fl_task.name, node._fl_args


def line_here() -> int:
    """Return the caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# ---- what stays lazy


def test_items_attributes_and_calls_are_nodes() -> None:
    """Each holds what it was derived from; nothing runs."""
    node = load()

    assert parts(node["k"]) == ("getitem", (node, "k"))
    assert parts(node[1:2]) == ("getitem", (node, slice(1, 2)))
    assert parts(node[load("other")])[1][1]._fl_args == ("other",)
    assert parts(node.columns) == ("getattr", (node, "columns"))
    assert parts(node.head(3, deep=True)) == ("method", (node, "head", (3,), {"deep": True}))
    assert parts(node(1)) == ("call", (node, (1,), {}))
    assert parts(node["k"](1))[0] == "call"


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_lazy_from_both_sides(name: str) -> None:
    """The operands keep their order."""
    apply, node = getattr(operator, f"{name}_" if name in ("and", "or") else name), load()

    assert parts(apply(node, 2))[0] == name
    assert parts(apply(node, 2))[1] == (node, 2)
    assert parts(apply(2, node))[1] == (2, node)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_is_lazy(name: str) -> None:
    """Also `==` and `!=`."""
    node = load()

    assert parts(getattr(operator, name)(node, 2)) == (name, (node, 2))


@pytest.mark.parametrize("name", UNARY)
def test_unary_operators_are_lazy(name: str) -> None:
    """`-node`, `+node`, `~node`, `abs(node)`."""
    node = load()

    assert parts(getattr(operator, name)(node)) == (name, (node,))


def test_assigning_operators_make_a_new_node() -> None:
    """The name is bound again; the node that others hold is what it was."""
    first = node = load()
    node += 1

    assert parts(node) == ("add", (first, 1))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda node: np.float64(2.0) * node, "mul"),
        (lambda node: np.arange(3) + node, "add"),
        (lambda node: np.arange(3) < node, "lt"),
        (lambda node: node - np.arange(3), "sub"),
        (lambda node: np.arange(3) @ node, "matmul"),
    ],
)
def test_operators_with_numpy_on_the_left_are_lazy(make: Callable[[Any], Any], name: str) -> None:
    """Numpy asks the node before it converts it."""
    assert parts(make(load()))[0] == name


def test_a_derived_node_carries_the_line_of_the_operation() -> None:
    """So that a failing `data["x"]` points to where it was written."""
    node = load()
    derived = [node["k"], node.k, node.k(), node + 1, -node, 1 - node, np.ones(2) * node]

    assert {site_of(one).line for one in derived} == {line_here() - 2}
    assert {Path(site_of(one).file).name for one in derived} == {HERE}


# ---- unpacking


def test_unpacks_by_annotation() -> None:
    """A fixed-size tuple or a named tuple says how many values there are."""
    node = pair()
    number, text = node
    train, test = split()

    assert [parts(number), parts(text)] == [("getitem", (node, 0)), ("getitem", (node, 1))]
    assert parts(train)[1][1] == 0
    assert parts(test)[1][1] == 1


def test_unpacks_by_option() -> None:
    """`outputs=` says it where the annotation does not, for a task or for one call of it."""
    assert len(list(task(lambda: None, outputs=3)())) == 3
    assert len(list(load.options(outputs=2)())) == 2


def test_unpacking_the_wrong_number_is_an_ordinary_error() -> None:
    """Python counts."""
    with pytest.raises(ValueError, match="too many values"):
        (_only,) = pair()


# ---- what needs the value

MISUSES: dict[str, Callable[[Any], object]] = {
    "true or false": bool,
    "if": lambda node: 1 if node else 2,
    "and": lambda node: node and 1,
    "not": lambda node: not node,
    "chained comparison": lambda node: 1 < node < 3,
    "len": len,
    "iter": iter,
    "list": list,
    "star": lambda node: print(*node),
    "next": next,
    "reversed": reversed,
    "in": lambda node: 1 in node,
    "in a list": lambda node: node in [load(), 1],
    "format": format,
    "f-string": lambda node: f"{node}",
    "f-string with a spec": lambda node: f"{node:.3f}",
    "str.format": lambda node: "{}".format(node),  # noqa: UP032
    "int": int,
    "float": float,
    "complex": complex,
    "round": round,
    "floor": math.floor,
    "divmod": lambda node: divmod(node, 2),
    "divmod reflected": lambda node: divmod(2, node),
    "index": operator.index,
    "range": range,
    "as an index": lambda node: [1, 2][node],
    "sqrt": math.sqrt,
    "asarray": np.asarray,
    "array of a list": lambda node: np.array([node]),
    "array of numbers": lambda node: np.array([1.0, node]),
    "numpy function": np.log,
    "numpy in place": lambda node: operator.iadd(np.ones(3), node),
    "numpy reduction": np.add.reduce,
    "set attribute": lambda node: setattr(node, "x", 1),
    "set internal": lambda node: setattr(node, "_fl_args", ()),
    "delete attribute": lambda node: delattr(node, "x"),
    "set item": lambda node: operator.setitem(node, 0, 1),
    "delete item": lambda node: operator.delitem(node, 0),
    "add to item": lambda node: operator.setitem(node, 0, node[0] + 1),
    "path": os.fspath,
    "open": lambda node: io.FileIO(node),
    "pickle": pickle.dumps,
}


def refusals() -> dict[str, Callable[[Any], object]]:
    """Return MISUSES and those that need a statement."""

    def with_statement(node: Any) -> None:
        with node:
            pass

    async def awaiting(node: Any) -> None:
        await node

    async def async_with(node: Any) -> None:
        async with node:
            pass

    async def async_for(node: Any) -> None:
        async for _ in node:
            pass

    return MISUSES | {
        "with": with_statement,
        "await": lambda node: asyncio.run(awaiting(node)),
        "async with": lambda node: asyncio.run(async_with(node)),
        "async for": lambda node: asyncio.run(async_for(node)),
    }


@pytest.mark.parametrize("use", refusals())
def test_misuse_names_the_task_both_lines_and_both_fixes(use: str) -> None:
    """One clear error, whatever the use; it is the TypeError that people expect."""
    misuse = refusals()[use]
    node = load()

    with pytest.raises(NodeMisused) as caught:
        misuse(node)

    assert isinstance(caught.value, TypeError)
    text = str(caught.value)
    assert text.startswith("A node of task 'load' ")
    assert f"{HERE}:" in caught.value.facts["node made at"]
    assert f"{HERE}:" in caught.value.facts["used at"]
    assert "pass it to a task" in text
    assert "flowlib.run(node)" in text


def test_a_path_is_not_made_of_a_node() -> None:
    """`Path(node)` is a TypeError, too; since Python 3.12 in the words of pathlib, which drops ours."""
    with pytest.raises(TypeError, match=r"^A node of task 'load' |not 'Node'$"):
        Path(load())  # type: ignore[arg-type]


def test_misuse_points_to_the_user_s_line() -> None:
    """Not to a line of ours."""
    node = load()

    with pytest.raises(NodeMisused) as caught:
        bool(node)

    assert caught.value.facts["used at"].endswith(f"{HERE}:{line_here() - 2}")


def test_misuse_of_a_derived_node_names_the_task_it_comes_from() -> None:
    """Nobody has written a task called 'gt'."""
    with pytest.raises(
        NodeMisused, match=r"A node of task 'load' \(operator 'gt' on its result\) cannot be used as true"
    ):
        bool(load()["auc"].max() > 0.5)


def test_the_error_survives_pickling() -> None:
    """It may be raised inside a task in another process."""
    with pytest.raises(NodeMisused) as caught:
        len(load())

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# ---- what a node is


def test_repr_is_short_and_print_works(capsys: pytest.CaptureFixture[str]) -> None:
    """People print things; that must not raise."""
    node = load()
    print(node, [node])

    text = repr(node)
    assert capsys.readouterr().out == f"{text} [{text}]\n"
    assert text == f"<node load(...) made at {site_of(node)}>"
    assert str(node) == "%s" % node == text  # noqa: UP031


def test_nodes_are_dict_keys_and_set_members_by_identity() -> None:
    """Two equal calls are two nodes."""
    one, other = load("a"), load("a")

    assert {one: 1, other: 2}[one] == 1
    assert len({one, other, one}) == 2
    assert hash(one) == hash(one)


def test_copies_are_the_node_itself() -> None:
    """A node cannot change, so a copy would only be a second name for the same call."""
    node = load()

    assert copy.copy(node) is node
    assert copy.deepcopy([node])[0] is node


def test_a_node_has_no_public_attribute_of_its_own() -> None:
    """Every name but flowlib's belongs to the value."""
    public = [name for name in dir(Node) if not name.startswith("_")]

    assert public == []
    assert not hasattr(load(), "__dict__")
    for name in ("run", "result", "name", "fn", "args", "value", "task"):
        assert type(getattr(load(), name)) is Node


@pytest.mark.parametrize(
    "name",
    ["_repr_html_", "_repr_mimebundle_", "_ipython_display_", "_ipython_canary_method_should_not_exist_", "__rich__",
     "__rich_repr__", "__dataclass_fields__", "__attrs_attrs__", "__array_interface__", "__name__", "__wrapped__",
     "_fl_unknown"],
)  # fmt: skip
def test_probes_find_nothing(name: str) -> None:
    """What display hooks and libraries ask every object for is not the value's."""
    assert not hasattr(load(), name)


def test_display_in_ipython_and_rich_shows_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node as the last line of a cell is shown, not computed, and makes no other nodes."""
    from IPython.core.formatters import DisplayFormatter, PlainTextFormatter
    from IPython.lib.pretty import pretty
    from rich.pretty import pretty_repr

    derived: list[object] = []
    monkeypatch.setattr(Task, "derive", lambda self, op, operands, *site: derived.append(operands))
    node = load()
    made = DisplayFormatter().format(node)

    assert made == ({"text/plain": repr(node)}, {})
    assert PlainTextFormatter()(node) == pretty(node) == repr(node)
    assert derived == []
    assert pretty_repr(node) == repr(node)  # rich asks for a made-up attribute, gets a node, and knows not to ask more


def test_operators_are_not_counted_as_tasks_of_the_user() -> None:
    """They are flowlib's, with a code version of its own."""
    derived = load() + 1

    assert derived._fl_task.is_op
    assert derived._fl_task.own_code
