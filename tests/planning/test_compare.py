"""Reasons of many misses: patterns are judged once and say what a search for each call says."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowlib as fl
from flowlib.graph.graph import Graph
from flowlib.ids import Digest, Key, RunId
from flowlib.planning import compare
from flowlib.planning.compare import Recent, nearest_entry
from flowlib.planning.decide import Miss, Planner
from flowlib.planning.key import KeyMaker
from flowlib.planning.previews import preview, previews
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry, Payload
from flowlib.store.memory import MemoryStore
from flowlib.text import short_repr
from tests.planning.test_key import FixedCode

OUTPUT = Digest("sha256-" + "abcd" * 16 + "-7")


@fl.task
def load(n: int) -> int:
    return n


@fl.task
def fit(data: Any, lr: Any = 0.1, depth: Any = 4) -> Any:
    return lr


def entry_of(node: Any, maker: KeyMaker, run: str = "one") -> Entry:
    """Return an entry as a run would have left it."""
    call = maker.key_of(node, lambda dep: OUTPUT)
    assert call.key is not None
    payload = Payload(codec="none", content=OUTPUT, kept=False)
    return Entry(
        key=Key(call.key),
        task=node._fl_task.name,
        output=OUTPUT,
        payload=payload,
        parts=dict(call.parts),
        previews=previews(node),
        run=RunId(run),
    )


def some_call(chooser: random.Random) -> Any:
    data = chooser.choice([1, 2, [1, 2], load(1), [load(2), 3]])
    policy = chooser.choice([{}, {"version": "2"}, {"env": ["MODE"]}, {"ignore": ["depth"]}])
    return fit.options(**policy)(data, lr=chooser.choice([0.1, 0.2, 0.3, "x"]), depth=chooser.randrange(4))


@given(seed=st.integers(0, 10**6), n_entries=st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_a_pattern_says_what_a_search_says(seed: int, n_entries: int) -> None:
    """Calls that share a verdict are told what each would be told alone."""
    chooser = random.Random(seed)
    makers = [KeyMaker(FixedCode(), {"MODE": mode}) for mode in ("a", "b")]
    entries = [entry_of(some_call(chooser), chooser.choice(makers), chooser.choice("xyz")) for _ in range(n_entries)]
    shared = Recent(entries)
    for _ in range(20):
        node, maker = some_call(chooser), chooser.choice(makers)
        call = maker.key_of(node, lambda dep: OUTPUT)
        assert shared.reasons(node, call) == Recent(entries).reasons(node, call)


def test_new_points_are_not_compared_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep grown by a thousand points costs a handful of searches through the recent entries."""
    searches: list[object] = []
    monkeypatch.setattr(compare, "nearest_entry", lambda *args: (searches.append(args), nearest_entry(*args))[1])
    maker, store = KeyMaker(FixedCode(), {}), MemoryStore()
    for n in range(40):
        store.put(entry_of(fit("data", lr=n), maker))
    graph = Graph([fit("data", lr=n) for n in range(1000)])  # type: ignore[misc]

    decisions = Planner(graph, store, maker).decide(range(1000))  # type: ignore[arg-type]

    misses = [decision for decision in decisions if isinstance(decision, Miss)]
    assert len(misses) == 960
    assert misses[0].reasons == (Reason(kind="argument changed", subject="lr", old="39", new="40"),)
    assert misses[-1].reasons == (Reason(kind="argument changed", subject="lr", old="39", new="999"),)
    assert len(searches) <= 3


def test_calls_that_miss_alike_share_their_reasons() -> None:
    """Of a task that is new, and of points of a sweep: one tuple, so that whoever tells of them can tell once."""
    maker, store = KeyMaker(FixedCode(), {}), MemoryStore()
    graph = Graph([fit(n) for n in range(50)])  # type: ignore[misc]
    fresh = Planner(graph, store, maker).decide(range(50))  # type: ignore[arg-type]
    for n in range(3):
        store.put(entry_of(fit("data", lr=n), maker))
    sweep = Graph(fl.fan_out(fit, "data", over=fl.grid(lr=[*range(10, 60)])).member_nodes())  # type: ignore[attr-defined]
    points = Planner(sweep, store, maker).decide(range(50))  # type: ignore[arg-type]

    for decisions, kind in ((fresh, "first seen"), (points, "new arguments")):
        assert {id(decision.reasons) for decision in decisions if isinstance(decision, Miss)} == {
            id(decisions[0].reasons)  # type: ignore[union-attr]
        }
        assert decisions[0].reasons == (Reason(kind=kind),)  # type: ignore[arg-type,union-attr]


@given(
    value=st.one_of(st.integers(), st.integers(-(10**90), 10**90), st.floats(), st.text(max_size=60), st.booleans()),
    width=st.sampled_from([20, 40, 80]),
)
def test_fast_previews_are_the_general_ones(value: Any, width: int) -> None:
    """A scalar is shown as the careful way shows it, control characters, addresses and all."""
    careful = compare_text(value, width)
    assert preview(value, width) == careful
    assert previews(load(value), width=width) == {"arg:n": careful}  # type: ignore[arg-type]


def compare_text(value: Any, width: int) -> str:
    """Return a preview by the general way alone."""
    from flowlib.planning.previews import _ADDRESS

    if isinstance(value, (bool, float)):
        return repr(value)
    text = _ADDRESS.sub("", short_repr(value, width))
    return text if len(text) <= width else text[: width - 1] + "…"


@pytest.mark.parametrize("text", ["a  b", " a ", "a\tb", "f at 0x1f", "it's", 'say "no"', "back\\slash", "x" * 39])
def test_awkward_texts_are_shown_with_care(text: str) -> None:
    """What `repr` alone would not get right does not take the fast lane."""
    assert preview(text) == compare_text(text, 80)
