"""Nodes inside arguments: found, replaced, or refused with the path to them."""

import enum
import functools
import itertools
import types
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import HiddenNode, TaskMisused
from flowlib.graph.args import Composite, Quoted, children, map_structure, nodes_in, replace, targets_of
from flowlib.graph.node import Node
from flowlib.graph.task import task


@task
def make(name: str = "x") -> Any:
    """Return something lazy."""


@task
def use(x: Any, **more: Any) -> Any:
    """Take anything."""


N, M = make("n"), make("m")
VALUES = {id(N): "value of n", id(M): "value of m"}


def value_of(node: Any) -> str:
    """Return what stands in a node's place."""
    return VALUES[id(node)]


def found(value: Any) -> list[int]:
    """Return the ids of the nodes inside a value, in the order found."""
    return [id(node) for node in nodes_in([value], lambda _: "the value")]


@dataclass
class Config:
    data: Any
    depth: int = 3


@dataclass(frozen=True, slots=True)
class Frozen:
    data: Any


@dataclass
class Derived:
    data: Any
    twice: Any = field(init=False)
    unset: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.twice = [self.data, self.data]


@attrs.define
class Model:
    data: Any


@attrs.frozen
class FrozenModel:
    data: Any = attrs.field(converter=lambda value: value)


class Pair(NamedTuple):
    left: Any
    right: Any


class PickyPair(namedtuple("PickyPair", ["left", "right"])):
    """A named tuple that checks its arguments, which a node would not pass a second time."""

    __slots__ = ()

    def __new__(cls, left: Any, right: Any, *, ok: bool) -> Any:
        return super().__new__(cls, left, right)


class Triple(tuple):  # type: ignore[type-arg]
    """A plain subclass of tuple."""


CONTAINERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    # name -> (put a node into the container, take what is in its place out again)
    "list": (lambda x: [1, x], lambda c: c[1]),
    "tuple": (lambda x: (x, 2), lambda c: c[0]),
    "dict value": (lambda x: {"k": x}, lambda c: c["k"]),
    "dict key": (lambda x: {x: 1}, lambda c: next(iter(c))),
    "set": (lambda x: {1, x}, lambda c: next(item for item in c if type(item) is not int)),
    "frozenset": (lambda x: frozenset([x]), lambda c: next(iter(c))),
    "slice": (lambda x: slice(1, x), lambda c: c.stop),
    "namedtuple": (lambda x: Pair(1, x), lambda c: c.right),
    "picky namedtuple": (lambda x: PickyPair(1, x, ok=True), lambda c: c.right),
    "tuple subclass": (lambda x: Triple((1, x)), lambda c: c[1]),
    "OrderedDict": (lambda x: OrderedDict(k=x), lambda c: c["k"]),
    "defaultdict": (lambda x: defaultdict(list, k=x), lambda c: c["k"]),
    "Counter": (lambda x: Counter({"k": x}), lambda c: c["k"]),
    "dataclass": (lambda x: Config(x), lambda c: c.data),
    "frozen dataclass with slots": (lambda x: Frozen(x), lambda c: c.data),
    "dataclass with computed fields": (lambda x: Derived(x), lambda c: c.twice[1]),
    "attrs": (lambda x: Model(x), lambda c: c.data),
    "frozen attrs": (lambda x: FrozenModel(x), lambda c: c.data),
    "nested": (lambda x: [{"a": (Config(Frozen([x])),)}], lambda c: c[0]["a"][0].data.data[0]),
}


# ---- found and replaced


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_node_in_a_container_is_a_dependency_and_gets_its_value(name: str) -> None:
    """The container keeps its type; the one that was passed keeps its node."""
    put, take = CONTAINERS[name]
    container = put(N)

    rebuilt = replace(container, value_of)

    assert found(container) == [id(N)]
    assert [id(dep) for dep in use(container)._fl_deps] == [id(N)]
    assert take(rebuilt) == "value of n"
    assert type(rebuilt) is type(container)
    assert rebuilt is not container
    assert take(container) is N


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_without_nodes_comes_back_equal(name: str) -> None:
    """Whatever it holds."""
    put, _ = CONTAINERS[name]
    container = put("plain") if name != "Counter" else put(3)

    assert found(container) == []
    assert replace(container, value_of) == container


def test_mutable_containers_are_always_new_and_immutable_ones_only_if_they_must() -> None:
    """A task can change what it is given without changing what others hold."""
    inner = [1]
    container = ([1, 2], {"a": inner}, {3}, Config(inner))

    rebuilt = replace(container, value_of)

    assert rebuilt == container
    assert all(new is not old for new, old in zip(rebuilt, container, strict=True))
    assert rebuilt[1]["a"] is not inner
    for plain in ((1, "a", (2.0, None)), frozenset([1, (2,)]), Pair(1, (2,))):
        assert replace(plain, value_of) is plain


def test_what_is_shared_inside_an_argument_stays_shared() -> None:
    """As it is in a plain call."""
    inner = [N]

    first, second = replace([inner, inner], value_of)

    assert first is second
    assert first == ["value of n"]


def test_a_default_dict_keeps_its_default_and_an_ordered_dict_its_order() -> None:
    """Copies are of the same kind in every respect."""
    counts = replace(defaultdict(int, a=N), value_of)
    ordered = replace(OrderedDict([("b", N), ("a", 1)]), value_of)

    assert counts["new"] == 0
    assert list(ordered) == ["b", "a"]


def test_a_dataclass_is_rebuilt_without_running_its_init() -> None:
    """What a user's `__init__` does may depend on the value, or must not happen twice."""
    ran = []

    @dataclass
    class Loud:
        data: Any

        def __post_init__(self) -> None:
            ran.append(self.data)

    loud = Loud(N)
    ran.clear()

    assert replace(loud, value_of) == Loud("value of n")
    assert ran == ["value of n"]  # by the comparison's own Loud


def test_nodes_are_found_once_each_in_the_order_met() -> None:
    """The order decides ids, and so the order of runs with one worker."""
    assert found([M, {"a": N, "b": [M]}, (N,)]) == [id(M), id(N)]
    assert [id(n) for n in use([N], y=M, z=N)._fl_deps] == [id(N), id(M)]


def test_members_of_enums_are_not_taken_apart() -> None:
    """Even if they are dataclasses: there is only one of each."""

    class Level(Config, enum.Enum):
        LOW = (1, 2)

    assert replace([Level.LOW], value_of)[0] is Level.LOW
    assert children(Level.LOW) is None


def test_structures_get_the_values_that_a_run_made() -> None:
    """`run` returns the shape it was given."""
    assert map_structure({"a": [N, 1], "b": (M,)}, {N: 10, M: 20}) == {"a": [10, 1], "b": (20,)}
    assert [id(node) for node in targets_of({"a": [N, 1], "b": (M,)})] == [id(N), id(M)]
    assert map_structure(N, {N: 10}) == 10


class Fan(Composite):
    """A container of flowlib's own."""

    def __init__(self, *nodes: Any) -> None:
        self.nodes = nodes

    def member_nodes(self) -> Iterable[Node]:
        """Return the nodes."""
        return self.nodes

    def assemble(self, values: list[Any]) -> Any:
        """Return what a run returns."""
        return ("result", values)

    def argument(self, values: list[Any]) -> Any:
        """Return what a task receives."""
        return values


def test_a_composite_becomes_one_thing_for_tasks_and_another_for_runs() -> None:
    """A fan-out is a list of values as an argument, a sweep result as a target."""
    fan = Fan(N, M)

    assert found([fan]) == [id(N), id(M)]
    assert replace([fan], value_of) == [["value of n", "value of m"]]
    assert map_structure((fan,), {N: 1, M: 2}) == (("result", [1, 2]),)
    assert Composite.identity(fan) is None
    assert Composite.argument(fan, [1]) == ("result", [1])


def test_a_quoted_node_is_a_dependency_that_stays_a_node() -> None:
    """Its digest enters the key, its value is not loaded."""
    quoted = Quoted(N)

    assert found((quoted,)) == [id(N)]
    assert replace((quoted,), value_of)[0] is N


def test_flowlib_s_own_values_hold_no_nodes() -> None:
    """They are not searched; what holds nodes is a composite."""
    assert children(site := types.SimpleNamespace()) is None
    assert children(N._fl_policy) == ()
    assert replace([N._fl_policy, site], value_of) == [N._fl_policy, site]


# ---- depth, width, circles


def nest(depth: int, wrap: Callable[[Any], Any]) -> Any:
    """Return a node inside so many containers."""
    value: Any = N
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("name", ["list", "tuple", "dict value", "namedtuple", "attrs", "frozen attrs", "slice"])
@pytest.mark.parametrize("depth", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_levels_need_no_recursion(depth: int, name: str) -> None:
    """Found and replaced at any depth."""
    put, take = CONTAINERS[name]
    container = nest(depth, put)

    assert found(container) == [id(N)]
    rebuilt = replace(container, value_of)
    for _ in range(depth):
        rebuilt = take(rebuilt)
    assert rebuilt == "value of n"


def test_a_node_in_a_deep_plain_object_is_found_as_deep_as_containers_go() -> None:
    """Containers do not count as levels of the search for hidden nodes."""
    hidden = nest(1_000, lambda x: [x])
    hidden_in = nest(1_000, lambda x: [x])
    assert found(hidden) == found(hidden_in)

    box = types.SimpleNamespace(inside=N)
    with pytest.raises(HiddenNode):
        nodes_in([nest(5_000, lambda x: [x] if type(x) is not Node else [box])], lambda _: "the value")


def circles() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """Return containers that hold themselves, with a way back to the container."""
    in_list: list[Any] = [N]
    in_list.append(in_list)
    in_dict: dict[str, Any] = {"n": N}
    in_dict["me"] = in_dict
    in_dataclass = Config(N)
    in_dataclass.depth = in_dataclass  # type: ignore[assignment]
    middle: list[Any] = []
    in_tuple = (middle, N)
    middle += [in_tuple, in_tuple]
    deep: list[Any] = [N]
    deep.append({"a": (deep, [deep])})
    return {
        "list": (in_list, lambda c: c[1]),
        "dict": (in_dict, lambda c: c["me"]),
        "dataclass": (in_dataclass, lambda c: c.depth),
        "tuple through a list": (in_tuple, lambda c: c[0][1]),
        "deep": (deep, lambda c: c[1]["a"][1][0]),
    }


@pytest.mark.parametrize("name", circles())
def test_a_container_that_holds_itself_does_so_in_the_result(name: str) -> None:
    """No hang, no recursion, and the same shape."""
    container, back = circles()[name]

    rebuilt = replace(container, value_of)

    assert found(container) == [id(N)]
    assert type(back(rebuilt)) is type(container)
    first = back(rebuilt)
    assert back(first) is first
    assert back(container) is container


def test_work_is_linear_in_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide, shared and nested containers are taken apart once each."""
    from flowlib.graph import rebuild

    shared = [N]
    wide = [[shared, (shared, [n])] for n in range(1_000)]
    asked: Counter[int] = Counter()
    inner = rebuild.children
    monkeypatch.setattr(rebuild, "children", lambda item: asked.update([id(item)]) or inner(item))

    replace(wide, value_of)

    assert max(asked.values()) <= 2
    assert len(asked) == 3 * 1_000 + 2


LEAVES = st.one_of(st.integers(), st.text(max_size=2), st.just("node"), st.just("other"))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.builds(Config, inner),
        st.builds(FrozenModel, inner),
    ),
    max_leaves=15,
)


@given(TREES)
def test_replacing_is_what_the_definition_says(tree: Any) -> None:
    """Compared with the recursion that everybody would write."""

    def plant(value: Any, leaf: Callable[[Any], Any]) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(plant(item, leaf) for item in value)
        if isinstance(value, dict):
            return {key: plant(item, leaf) for key, item in value.items()}
        if isinstance(value, Config):
            return Config(plant(value.data, leaf))
        if isinstance(value, FrozenModel):
            return FrozenModel(plant(value.data, leaf))
        return leaf(value)

    planted = plant(tree, lambda leaf: {"node": N, "other": M}.get(leaf, leaf))
    expected = plant(tree, lambda leaf: {"node": "value of n", "other": "value of m"}.get(leaf, leaf))

    assert replace(planted, value_of) == expected


# ---- hidden


class Box:
    """An ordinary object."""

    def __init__(self, inside: Any = None) -> None:
        self.inside = inside

    def method(self) -> None:
        """Do nothing."""


class Slotted:
    """An object without a `__dict__`."""

    __slots__ = ("__private", "empty", "inside")

    def __init__(self, inside: Any) -> None:
        self.inside = inside
        self.__private = 1


class Words(list):  # type: ignore[type-arg]
    """A subclass of list, which flowlib does not rebuild."""


class Table(dict):  # type: ignore[type-arg]
    """A subclass of dict, which flowlib does not rebuild."""


class Steps:
    """A class with a task as a method."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    @task
    def step(self, x: int) -> int:
        """Do nothing."""
        return x


def closure(inside: Any) -> Callable[[], Any]:
    """Return a function that closes over a value."""
    return lambda: inside


def with_default(inside: Any) -> Callable[[], Any]:
    """Return a function with a value as a default."""

    def fn(a: int = 1, b: Any = inside, *, c: Any = None) -> None: ...

    return fn


def beside(inside: Any) -> Config:
    """Return a dataclass with an attribute that is not a field."""
    config = Config(1)
    config.extra = inside  # type: ignore[attr-defined]
    return config


def object_array(inside: Any) -> Any:
    """Return a numpy array of objects."""
    array = np.empty((2, 2), dtype=object)
    array[1, 1] = inside
    return array


HIDDEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "attribute": (lambda x: Box(x), "argument 'x'.inside"),
    "attribute of an attribute": (lambda x: Box(Box(x)), "argument 'x'.inside.inside"),
    "list in an attribute": (lambda x: Box([0, x]), "argument 'x'.inside[1]"),
    "dict in an attribute": (lambda x: Box({"k": x}), "argument 'x'.inside['k']"),
    "key in an attribute": (lambda x: Box({x: 1}), "argument 'x'.inside (key 0)"),
    "set in an attribute": (lambda x: Box({x}), "argument 'x'.inside (member 0)"),
    "slice in an attribute": (lambda x: Box(slice(x)), "argument 'x'.inside[1]"),
    "dataclass in an attribute": (lambda x: Box(Config(x)), "argument 'x'.inside.data"),
    "namespace": (lambda x: types.SimpleNamespace(a=x), "argument 'x'.a"),
    "slot": (lambda x: Slotted(x), "argument 'x'.inside"),
    "closure": (closure, "argument 'x' (closure variable 'inside')"),
    "default": (with_default, "argument 'x' (default 1)"),
    "partial by position": (lambda x: functools.partial(print, 1, x), "argument 'x'.args[1]"),
    "partial by keyword": (lambda x: functools.partial(print, end=x), "argument 'x'.keywords['end']"),
    "partial of a closure": (lambda x: functools.partial(closure(x)), "argument 'x'.func (closure variable 'inside')"),
    "bound method": (lambda x: Box(x).method, "argument 'x'.__self__.inside"),
    "bound task": (lambda x: Steps(x).step, "argument 'x'.bound[0].inside"),
    "task with a closure": (lambda x: task(closure(x)), "argument 'x'.fn (closure variable 'inside')"),
    "object array": (object_array, "argument 'x' (element 3)"),
    "subclass of list": (lambda x: Words([1, x]), "argument 'x'[1]"),
    "subclass of dict": (lambda x: Table(k=x), "argument 'x'['k']"),
    "UserDict": (lambda x: UserDict(k=x), "argument 'x'.data['k']"),
    "deque": (lambda x: deque([x]), "argument 'x'[0]"),
    "mapping proxy": (lambda x: types.MappingProxyType({"k": x}), "argument 'x'['k']"),
    "list iterator": (lambda x: iter([x]), "argument 'x' (inside its list_iterator)[0]"),
    "itertools": (lambda x: itertools.cycle([x]), "argument 'x' (inside its cycle)"),
    "beside the fields of a dataclass": (lambda x: beside(x), "argument 'x'.extra"),
    "in a container": (lambda x: [{"a": Box(x)}], "argument 'x'[0]['a'].inside"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_node_is_refused_with_the_path_to_it(name: str) -> None:
    """When the call is written; with the argument, the task that made the node, and where a node may be."""
    hide, path = HIDDEN[name]

    with pytest.raises(HiddenNode) as caught:
        use(hide(N))

    assert isinstance(caught.value, TypeError)
    assert caught.value.facts["path"].startswith(path)
    assert "A node of task 'make' is hidden inside argument 'x'" in str(caught.value)
    assert "test_args.py" in caught.value.facts["node made at"]
    assert "Pass it as an argument of its own" in caught.value.hint


@pytest.mark.parametrize("name", HIDDEN)
def test_the_same_objects_without_a_node_are_fine(name: str) -> None:
    """They are passed on as they are."""
    hide, _ = HIDDEN[name]
    item = hide("plain")

    assert use(item)._fl_deps == ()
    if "container" not in name and "dataclass" not in name:
        assert replace(item, value_of) is item


def test_a_node_hidden_in_a_target_is_refused_too() -> None:
    """`run` would hand it back as a node."""
    with pytest.raises(HiddenNode, match=r"hidden inside the target\[0\]\.inside"):
        targets_of([Box(N)])


def test_an_operand_may_hide_one_as_well() -> None:
    """Operators are calls like others."""
    with pytest.raises(HiddenNode, match=r"hidden inside operand 1 of 'add'\.inside"):
        make() + Box(N)


@pytest.mark.parametrize(
    "read_once",
    [(x for x in [1]), map(str, [1]), filter(None, [1]), zip([1], strict=True), enumerate([1])],
    ids=lambda x: type(x).__name__,
)
def test_an_iterator_that_can_be_read_once_is_refused(read_once: Any) -> None:
    """The second run of the node would find it empty, and return something else."""
    with pytest.raises(
        TaskMisused, match=r"cannot be used as argument 'x'\[0\]: it can be read only once.\n.*\nUse list\("
    ):
        use([read_once])


def test_objects_that_hold_themselves_are_searched_once() -> None:
    """No hang."""
    box = Box()
    box.inside = [box, Box(box)]

    assert use(box)._fl_deps == ()


def test_the_search_does_not_call_the_object_s_code() -> None:
    """A property may be slow, or have effects."""

    class Touchy:
        def __init__(self) -> None:
            self.plain = 1

        @property
        def inside(self) -> Any:
            raise AssertionError("called")

        def __iter__(self) -> Any:
            raise AssertionError("called")

        def __len__(self) -> int:
            raise AssertionError("called")

    assert use(Touchy())._fl_deps == ()


def test_the_search_is_bounded() -> None:
    """A large object costs no more than a small one: the search is for mistakes, not a proof."""
    looked_at = []

    class Spy:
        @property
        def __dict__(self) -> dict[str, Any]:
            looked_at.append(self)
            return {}

    use(Box([Spy() for _ in range(5_000)]))
    use([Spy() for _ in range(5_000)])

    assert 0 < len(looked_at) < 1_000


def test_empty_cells_modules_and_classes_are_passed_over() -> None:
    """A closure may name what does not exist yet; modules and classes are not searched."""

    def early() -> Callable[[], Any]:
        def fn() -> Any:
            return later

        assert use(fn)._fl_deps == ()
        later = 1
        return fn

    early()
    assert use(types)._fl_deps == use(Box)._fl_deps == ()


def test_numeric_arrays_are_not_searched() -> None:
    """They cannot hold a node."""
    array = np.ones(3)

    assert use(array)._fl_deps == ()
    assert replace([array], value_of)[0] is array
