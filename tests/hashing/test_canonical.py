"""Value digests: the walk, cycles, depth, sharing, fast lanes, errors, pinned digests."""

import copy
import dataclasses
import gc
import itertools
import json
import pickle
import struct
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import Undigestible
from flowlib.hashing import lanes
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.cycles import components
from flowlib.hashing.digest import is_digest, size_bytes
from flowlib.hashing.encoding import MAX_SIZE, Walk, count
from flowlib.hashing.floats import LONG, hash_floats
from flowlib.hashing.lanes import LANE_LENGTH

GOLDEN = Path(__file__).with_name("golden_digests.json")


def distinct(*values: Any) -> bool:
    """Say whether all values have different digests."""
    return len({digest_value(value) for value in values}) == len(values)


class Thing:
    """A plain object with the attributes it is given."""

    def __init__(self, **state: Any) -> None:
        vars(self).update(state)


class Hashable(Thing):
    """A plain object that sets can hold; equal to nothing but itself."""

    __slots__ = ()


# ------------------------------------------------------------------------------------------------ plain values


def test_a_digest_is_written_like_one_and_has_the_size_of_the_value() -> None:
    """SHA-256 of the canonical stream, with the bytes that went in."""
    assert is_digest(digest_value([1, "a"]))
    assert digest_value(None).endswith("-1")
    assert size_bytes(digest_value("x" * 1000)) == pytest.approx(1000, abs=10)
    assert size_bytes(digest_value([b"x" * 200_000] * 3)) == pytest.approx(600_000, abs=100)
    assert size_bytes(digest_value([[0.5] * 10_000])) == pytest.approx(90_000, abs=60)


def test_all_plain_values_differ_from_each_other() -> None:
    """No two types or values meet, also where Python says they are equal."""
    assert distinct(
        None, True, False, 0, 1, -1, 255, 256, -128, 1 << 64, -(1 << 64), 10**5000, 0.0, -0.0, 1.0, 0.1, float("inf"),
        float("-inf"), float("nan"), 0j, 1j, complex(0.0, -0.0), "", "1", "a", "ä", "\ud800", "\ud83d\ude00", "😀", b"",
        b"a", bytearray(b"a"), [], (), {}, set(), frozenset(), [None], [[]], [()], ([],), {1}, {"1"}, {1: None}, {None: 1},
        {"1": None}, {True: None}, {1.0: None}, OrderedDict(), deque(), deque(maxlen=1), "None", "[]", [[], []], [[[]]],
    )  # fmt: skip


def test_zero_keeps_its_sign_and_nan_loses_its_payload() -> None:
    """Floats count by their bits, with one NaN."""
    odd_nan = np.uint64(0xFFF8_0000_0000_0123).view("f8").item()

    assert digest_value(0.0) != digest_value(-0.0)
    assert digest_value(odd_nan) == digest_value(float("nan"))
    assert digest_value([odd_nan] * 40) == digest_value([float("nan")] * 40)


def test_large_texts_and_bytes_enter_by_their_fast_hash() -> None:
    """One changed byte in a megabyte is seen, and the types stay apart."""
    text = "x" * 1_000_000

    assert distinct(text, text[:-1] + "y", text.encode(), bytearray(text.encode()), [text], (text,))
    assert digest_value([text, text]) == digest_value([text, text[:-1] + "x"])


def test_the_parts_of_a_container_cannot_be_read_in_two_ways() -> None:
    """Lengths come first, so nothing flows from one item into the next."""
    assert distinct(
        ["ab", "c"], ["a", "bc"], ["abc"], [["ab"], "c"], ["ab", ["c"]], [b"s\x01a"], ["a"], [[1], 2], [[1, 2]], [1, [2]],
        {"a": {"b": 1}}, {"a": {"b": 1}, "c": {}}, {"a": "b", "c": "d"}, {"a": "bc", "": "d"}, ["a" * 76], ["L" * 76],
    )  # fmt: skip


@given(st.integers(min_value=0, max_value=1 << 70))
def test_counts_say_where_they_end(n: int) -> None:
    """Two different counts never continue into the same bytes."""
    written = count(n)

    assert written[-1] < 128
    assert all(byte >= 128 for byte in written[:-1])
    assert sum((byte & 127) << 7 * i for i, byte in enumerate(written)) == n


# ------------------------------------------------------------------------------------------------ sharing, depth


def test_sharing_leaves_no_trace() -> None:
    """The same object twice is two equal objects, at any depth and in any container."""
    shared = {"weights": [1.5, "x"], "name": "a long enough text to be sealed in any case, and more of it"}
    tree = [shared, (shared, {"k": shared}), Thing(a=shared, b=shared)]

    assert digest_value(tree) == digest_value(eval_copy(tree))


def eval_copy(value: Any) -> Any:
    """Copy a value so that no two places share an object."""
    if isinstance(value, dict):
        return {key: eval_copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(eval_copy, value))
    if isinstance(value, Thing):
        return Thing(**eval_copy(vars(value)))
    return value


def test_shared_parts_are_walked_once() -> None:
    """Two hundred levels that each hold the next twice would take for ever otherwise; the size stops growing."""
    value: Any = [np.arange(10)]
    for _ in range(200):
        value = [value, value]

    assert size_bytes(digest_value(value)) == MAX_SIZE


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x, 1), lambda x: {"k": x}, lambda x: {1: 2, "k": x}])
def test_depth_has_no_limit(wrap: Callable[[Any], Any]) -> None:
    """Far beyond Python's recursion limit, and the innermost value counts."""
    first, second = 1, 2
    for _ in range(20 * sys.getrecursionlimit()):
        first, second = wrap(first), wrap(second)

    assert digest_value(first) != digest_value(second)


@pytest.mark.slow
def test_a_million_levels_are_walked() -> None:
    """Depth costs memory on the heap only."""
    value: list[Any] = []
    for _ in range(1_000_000):
        value = [value]

    assert size_bytes(digest_value(value)) == 2_000_002


def test_objects_that_live_only_during_the_walk_are_not_confused() -> None:
    """A digest function makes new objects all the time; an id used again must not stand for the old object."""

    class Fresh:
        def __init__(self, n: int) -> None:
            self.n = n

        def __flowlib_digest__(self) -> list[Any]:
            return [[self.n, "x" * 100], {"n": [self.n] * 3}]

    values = [Fresh(n) for n in range(300)]
    alone = [digest_value(value) for value in values]
    gc.collect()

    assert len(set(alone)) == 300
    assert digest_value(values) == digest_value([Fresh(n) for n in range(300)])
    assert digest_value(values) != digest_value(values[::-1])


# ------------------------------------------------------------------------------------------------ cycles


def ring(*payloads: Any) -> list[Any]:
    """Return the first of lists [payload, next] that form a ring."""
    lists = [[payload] for payload in payloads]
    for here, there in zip(lists, lists[1:] + lists[:1], strict=True):
        here.append(there)
    return lists[0]


@attrs.define(eq=False)
class Leaf:
    """A node of a tree that knows its parent."""

    name: str
    parent: "Leaf | None" = None
    children: Any = attrs.field(factory=list)


def tree(names: str, container: type = list) -> Leaf:
    """Return a root with one child for each letter."""
    root = Leaf("root", None)
    root.children = container(Leaf(name, root) for name in names)
    return root


def test_equal_cycles_agree_and_different_ones_differ() -> None:
    """A cycle counts by what it holds and how long it is, not by where its objects lie."""
    assert digest_value(ring(1, 2, 3)) == digest_value(ring(1, 2, 3))
    assert distinct(ring(1), ring(1, 1), ring(1, 2), ring(2, 1), ring(1, 2, 3), ring(1, 3, 2), [1, [1]], [1, None])


def test_the_place_where_a_cycle_is_entered_counts() -> None:
    """Members of one cycle differ by what they see, and each is the same in whatever it lies."""
    start = ring(1, 2)
    other = start[1]

    assert digest_value(start) != digest_value(other)
    assert digest_value([start, other]) != digest_value([other, start])
    assert digest_value({"a": start, "b": other}) == digest_value({"b": other, "a": start})
    assert digest_value([ring(1, 2), ring(2, 1)]) == digest_value([start, other])


def test_cycles_through_dicts_objects_and_keys_are_safe() -> None:
    """Every container can be part of a cycle."""
    loop: dict[Any, Any] = {"a": 1}
    loop["self"] = loop
    thing = Thing(n=1)
    thing.me = thing
    key = Hashable(n=1)
    key.table = {key: 1, "x": 2}
    array = np.array([None, 1], object)
    array[0] = array

    for value in (loop, thing, key, [loop, thing, key]):
        assert digest_value(value) == digest_value(copy.deepcopy(value))
        assert digest_value(value) == digest_value(pickle.loads(pickle.dumps(value)))
    assert distinct(loop, thing, key, array)


@pytest.mark.parametrize("container", [list, tuple, set])
def test_trees_with_parent_links_have_digests(container: type) -> None:
    """The usual cycle; children in a set have no order."""
    assert digest_value(tree("abc", container)) == digest_value(tree("abc", container))
    assert distinct(tree("abc", container), tree("abd", container), tree("ab", container), tree("abcd", container))
    assert (digest_value(tree("abc", container)) == digest_value(tree("cab", container))) is (container is set)


def test_parts_outside_a_cycle_leave_no_trace_of_sharing() -> None:
    """A cycle that holds one list twice is like one that holds two equal lists."""
    shared = [1, 2, "a long enough text to be sealed in any case, and then some more of it"]

    assert digest_value(ring((shared, shared))) == digest_value(ring((list(shared), list(shared))))


def test_a_value_beside_a_cycle_has_its_usual_token() -> None:
    """Acyclic parts are encoded alike with and without a cycle elsewhere: the same list at two places agrees."""
    part = {"x": [1.0] * 50, "y": ({"z"}, np.arange(30_000))}
    walked, cyclic = Walk(None, None), Walk(None, None)
    from flowlib.hashing.cycles import cyclic_token
    from flowlib.hashing.walk import token_of

    assert token_of([part], walked, "")[2:] == cyclic_token(part, cyclic, "")
    assert walked.extra == cyclic.extra


def test_long_chains_of_equal_members_stay_fast() -> None:
    """A doubly linked list of 3000 equal items: refinement by rounds over everything would take 1500 of them."""

    def chain(n: int, odd: int | None = None) -> list[Any]:
        items: list[Any] = [[None, None, i == odd] for i in range(n)]
        for left, right in itertools.pairwise(items):
            left[1], right[0] = right, left
        return items

    assert digest_value(chain(3000)[0]) == digest_value(chain(3000)[0])
    assert distinct(chain(3000)[0], chain(3000)[1], chain(3001)[0], chain(3000, odd=1500)[0], chain(3000, odd=1501)[0])
    assert digest_value(chain(50)) == digest_value(chain(50))


@given(st.data())
def test_any_graph_of_objects_counts_up_to_renaming(data: st.DataObject) -> None:
    """Objects in sets, lists and dicts that point at each other at random: a shuffled copy agrees, one changed link differs."""
    n = data.draw(st.integers(1, 6))
    links = data.draw(st.lists(st.lists(st.integers(0, n - 1), max_size=3), min_size=n, max_size=n))
    names = data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n))
    order = data.draw(st.permutations(range(n)))

    def build(places: Any) -> Any:
        things = {i: Hashable(name=names[i]) for i in places}
        for i in places:
            linked = [things[j] for j in links[i]]
            things[i].some = set(linked) if i % 2 else linked
            things[i].first = {"to": linked[:1]}
        return things[0]

    assert digest_value(build(range(n))) == digest_value(build(order))
    before = digest_value(build(range(n)))
    names[0] = "c"
    assert digest_value(build(range(n))) != before


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=8, max_size=8))
def test_components_are_those_of_mutual_reach(links: list[list[int]]) -> None:
    """Two vertices share a component exactly if each reaches the other; successors come first."""
    reach = {i: {i} for i in range(8)}
    for _ in range(8):
        reach = {i: {i}.union(*(reach[j] for j in links[i])) for i in range(8)}
    found = list(components(links))
    place = {i: n for n, component in enumerate(found) for i in component}

    assert set(place) == reach[0]
    for i, j in itertools.product(place, place):
        assert (place[i] == place[j]) is (i in reach[j] and j in reach[i])
        if j in reach[i]:
            assert place[j] <= place[i]


# ------------------------------------------------------------------------------------------------ lanes

SCALARS = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(-(1 << 31) - 2, 1 << 31),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.booleans(),
)


@given(st.one_of(*(st.lists(kind, min_size=14, max_size=20) for kind in (
    st.floats(), st.integers(-(1 << 31) - 2, 1 << 31), st.integers(-(1 << 63) - 1, 1 << 63), st.text(max_size=3),
    st.binary(max_size=3), st.booleans(), SCALARS,
))), st.data())  # fmt: skip
def test_long_sequences_are_told_apart_like_short_ones(values: list[Any], data: st.DataObject) -> None:
    """Packed or not, one changed item or type is seen, and a list is not a tuple."""
    place = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(SCALARS)
    changed = [*values[:place], other, *values[place + 1 :]]

    assert digest_value(values) == digest_value(list(values))
    assert digest_value(values) != digest_value(tuple(values))
    assert (digest_value(values) == digest_value(changed)) is (digest_value(values[place]) == digest_value(other))


@pytest.mark.parametrize(
    "values",
    [
        [0.5, -0.0, 1e300, float("inf"), float("nan")] * 5,
        [1, -1, 2**31 - 1, -(2**31)] * 5,
        [1, 2**31, -(2**63), 2**63 - 1] * 5,
        ["a", "ä", ""] * 6,
        [b"a", b""] * 8,
        [True, False] * 8,
    ],
)
def test_numpy_scalars_in_long_lists_meet_python_scalars(values: list[Any]) -> None:
    """A list made from `np.logspace` is the list written out; also half of each."""
    scalars = [
        {float: np.float64, int: np.int64, str: np.str_, bytes: np.bytes_, bool: np.bool_}[type(v)](v) for v in values
    ]

    assert digest_value(scalars) == digest_value(values)
    assert digest_value(scalars[:9] + values[9:]) == digest_value(values)
    assert digest_value(dict(enumerate(scalars))) == digest_value(dict(enumerate(values)))


@pytest.mark.parametrize("intruder", [True, 1, 1.0, np.float32(1), "1", b"1", None, [1.0], memoryview(b"12345678"),
                                      np.array(1.0), bytearray(9), float("nan")])  # fmt: skip
@pytest.mark.parametrize("filler", [1.0, 1, "1", b"1", True])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_one_item_of_another_type_is_never_packed_as_if_it_were_equal(filler: Any, intruder: Any, place: int) -> None:
    """The short cut through `marshal` would take some of these for bytes; the check of its records sees it."""
    values: list[Any] = [filler] * 20
    values[place] = intruder

    assert (digest_value(values) == digest_value([filler] * 20)) is (digest_value(intruder) == digest_value(filler))


@pytest.mark.parametrize("values", [[0.25 * i for i in range(100)], list(range(-50, 50))])
def test_the_quick_way_to_pack_writes_what_the_slow_way_writes(
    values: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a Python should write other records, the digests stay."""
    quick = digest_value(values)
    monkeypatch.setattr(lanes, "_QUICK", {})

    assert digest_value(values) == quick


ODD_NAN = struct.unpack("<d", b"\1\0\0\0\0\0\xf0\xff")[0]


@pytest.mark.parametrize("n", [20, 1000, LONG, LONG + 616, LONG + 617, LONG + 618, LONG + 5000])
@pytest.mark.parametrize("kind", [list, tuple])
def test_floats_in_any_number_are_what_the_slow_way_says(n: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every NaN is the one NaN wherever it stands, and infinities and large numbers stay what they are."""
    plain = [0.5 * i for i in range(n)]
    odd = list(plain)
    for place in (0, 7, n // 2, n - 1):
        odd[place] = ODD_NAN
    nan = [value if value == value else float("nan") for value in odd]
    huge = [*plain[:-3], float("inf"), float("-inf"), 1.7e308]
    quick = [digest_value(kind(values)) for values in (plain, odd, nan, huge)]
    monkeypatch.setattr(lanes, "_QUICK", {})

    assert [digest_value(kind(values)) for values in (plain, odd, nan, huge)] == quick
    assert quick[1] == quick[2]
    assert len(set(quick)) == 3


class Loud:
    """Cries when it is pickled."""

    def __reduce__(self) -> Any:
        raise AssertionError("code of an item ran")


@pytest.mark.parametrize(
    "intruder", [Loud(), Loud, 1, "1234567", b"1234567", [], {1, 2}, "x" * 100_000, np.float64(0.5)]
)
@pytest.mark.parametrize("place", [1, 999, 1000, 1001, LONG - 2])
def test_long_lists_with_anything_else_among_floats_are_no_floats(intruder: Any, place: int) -> None:
    """It is found wherever it stands and however many bytes it takes, and none of its code runs."""
    values: list[Any] = [0.5] * LONG
    assert hash_floats(values) is not None
    values[place] = intruder
    assert hash_floats(values) is None


@pytest.mark.parametrize("intruder", [1, True, np.float32(1), memoryview(b"12345678"), "1"])
def test_an_intruder_in_a_late_slice_is_seen_and_leaves_no_trace(
    intruder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices before it were hashed as floats already; nothing of that is in the digest, nor in its size."""
    values = [1.0] * 20_000
    values[-2] = intruder
    mixed = digest_value(values)

    assert mixed != digest_value([1.0] * 20_000)
    monkeypatch.setattr(lanes, "_QUICK", {})
    assert digest_value(values) == mixed


def test_keys_of_a_subclass_do_not_meet_the_remembered_keys_of_a_small_dict() -> None:
    """What dicts with the same keys share is found by the keys, and a subclass of a text may be equal to one."""

    class Name(str):
        pass

    plain, named = {"lr": 0.1, "depth": 4}, {Name("lr"): 0.1, Name("depth"): 4}

    assert plain == named
    assert digest_value(plain) == digest_value({"depth": 4, "lr": 0.1})
    assert distinct(plain, named, {"lr": 0.1}, {"lr": 4, "depth": 0.1}, {"depth": 4, "lr": 0.1, "x": 1})


def test_sequences_change_their_form_only_at_the_lane_length() -> None:
    """Lists of every length around the border differ, as lists, tuples, sets, dict keys and dict values."""
    lengths = range(LANE_LENGTH - 2, LANE_LENGTH + 3)
    for item in (0.5, 3, 2**40, "x", b"x", True):
        assert distinct(*([item] * n for n in lengths), *((item,) * n for n in lengths))
    assert distinct(*(set(range(n)) for n in lengths), *(dict.fromkeys(range(n)) for n in lengths))
    assert distinct(*({str(i): 0.5 for i in range(n)} for n in lengths))


# ------------------------------------------------------------------------------------------------ errors


def refusal(value: Any, path: str = "") -> Undigestible:
    """Return the error that a value is refused with."""
    with pytest.raises(Undigestible) as error:
        digest_value(value, path=path)
    return error.value


@dataclasses.dataclass
class Model:
    steps: Any = None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (iter([]), ""),
        ([1, iter([])], "[1]"),
        ({"model": Model([1, iter([])])}, "['model'].steps[1]"),
        ({"a": {1: (0, {2: iter([])})}}, "['a'][1][1][2]"),
        ({1: 1, "b": iter([])}, "['b']"),
        ({(1, iter([])): 1, 2: 2}, ".key(<tuple>)[1]"),
        (OrderedDict(a=1, b=iter([])), "['b']"),
        ({frozenset([iter([])])}, ".member().member()"),
        (SimpleNamespace(a=[iter([])]), "[0]['a'][0]"),
        (np.array([1, iter([])], object), "[1]"),
        ([[0.5] * 100, Thing(x=iter([]))], "[1].x"),
        ({"x" * 100: iter([])}, f"[{'x' * 36!r}...]".replace("'...", "...")),
    ],
)
def test_a_refusal_names_the_path(value: Any, path: str) -> None:
    """As one would write it in Python."""
    assert refusal(value).path == path
    assert refusal(value, "data").path == f"data{path}"


def test_a_refusal_inside_a_cycle_names_the_path_too() -> None:
    """The walk that looks for cycles knows where it is."""
    loop: list[Any] = [[1, {"a": 2}]]
    loop.append(loop)
    loop.append({"k": [0, iter([])]})

    assert refusal(loop).path == "[2]['k'][1]"


def test_iterators_come_with_the_fix() -> None:
    """Generators, maps, zips, views of dicts."""
    for value in (iter([]), (x for x in ()), map(str, []), zip(), {}.keys(), {}.items(), enumerate([])):
        assert "list(...)" in refusal(value).hint


@pytest.mark.parametrize("make", [object, threading.Lock, lambda: np.random.default_rng(0), lambda: lambda: 1,
                                  lambda: Thing, lambda: weakref.ref(Thing)])  # fmt: skip
def test_what_has_no_content_is_refused(make: Callable[[], Any]) -> None:
    """Sentinels, locks, generators of random numbers; code, when nobody names its version."""
    error = refusal([make()])

    assert error.path.startswith("[0]")
    assert error.type_name in str(error)


def test_open_files_and_coroutines_come_with_the_fix() -> None:
    """Each has its own way out."""

    async def work() -> None: ...

    coroutine = work()
    with open(__file__) as stream:
        assert "flowlib.File" in refusal(stream).hint
    assert "Await" in refusal(coroutine).hint
    coroutine.close()


def test_a_hidden_node_is_named_without_being_touched() -> None:
    """A node answers every attribute, so only its type may be looked at."""

    class Node:
        __flowlib_node__ = True

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"the node was asked for {name}")

    error = refusal({"cfg": Thing(data=Node())})

    assert error.path == "['cfg'].data"
    assert "node" in error.reason


# ------------------------------------------------------------------------------------------------ pinned digests

PINNED: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "bools": lambda: [True, False],
    "int": lambda: 42,
    "large int": lambda: -(3**500),
    "float": lambda: 0.1,
    "complex": lambda: 1 - 2j,
    "text": lambda: "grüße \ud800",
    "long text": lambda: "x" * 100_000,
    "bytes": lambda: b"\x00\xff",
    "list": lambda: [1, [2.0, "3"], None],
    "tuple": lambda: (1, (2.0, "3"), None),
    "dict": lambda: {"lr": 0.1, "layers": [4, 8], "name": None},
    "dict of mixed keys": lambda: {1: "a", "b": 2, None: 3},
    "set": lambda: {1, "a", None},
    "frozenset": lambda: frozenset("abcdef"),
    "floats": lambda: [i / 7 for i in range(100)],
    "many floats": lambda: [i / 7 for i in range(20_000)],
    "ints": lambda: list(range(100)),
    "large ints": lambda: [i << 40 for i in range(100)],
    "texts": lambda: [f"item {i}" for i in range(100)],
    "Decimal": lambda: Decimal("-1.50"),
    "dataclass": lambda: Model([1]),
    "object": lambda: Thing(a=1, b="x"),
    "cycle": lambda: ring(1, 2),
    "array": lambda: np.arange(12.0).reshape(3, 4),
    "large array": lambda: np.arange(100_000, dtype="int32"),
    "records": lambda: np.array([(1, 2.5), (3, 4.5)], [("a", "i2"), ("b", "f8")]),
}


@pytest.mark.parametrize("name", PINNED)
def test_digests_do_not_change_between_releases(name: str) -> None:
    """A change here empties every cache: raise the scheme number, say so in the changelog, and pin the new digests."""
    assert digest_value(PINNED[name]()) == json.loads(GOLDEN.read_text())[name]


def test_every_pinned_digest_has_a_value() -> None:
    """The file and the table name the same things."""
    assert list(json.loads(GOLDEN.read_text())) == list(PINNED)
