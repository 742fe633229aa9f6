"""Events survive being written as lines; what is not an event is refused."""

import json

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.events import EVENT_TYPES, Event, NodeCached, NodeFailed, NodeFinished, NodesAdded, RunFinished, RunStarted
from flowlib.history.lines import DamagedLine, decode, encode
from flowlib.ids import Key, NodeId, RunId

events = st.one_of(*(st.from_type(kind) for kind in EVENT_TYPES))


@given(events)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    """Any field values survive: surrogates, newlines, large integers, infinities."""
    line = encode(event)

    back = decode(line)

    assert "\n" not in line
    assert line.isascii()
    assert type(back) is type(event)
    assert all(same(getattr(back, f.name), getattr(event, f.name)) for f in attrs.fields(type(event)))


def same(a: object, b: object) -> bool:
    """Compare values; a NaN is the same as a NaN."""
    return a == b or (a != a and b != b)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_line(kind: type) -> None:
    """The closed set is covered: a new event cannot be forgotten."""
    required = {f.name: example(f.type) for f in attrs.fields(kind) if f.default is attrs.NOTHING}
    event = kind(**required)

    assert json.loads(encode(event))["event"] == kind.__name__
    assert decode(encode(event)) == event


def example(annotation: object) -> object:
    """Return some value of a field's type."""
    plain = getattr(annotation, "__supertype__", annotation)
    return {float: 1.5, int: 3, str: "word", dict[str, int]: {"done": 2}}.get(plain, "success")  # type: ignore[call-overload]


def test_defaults_are_left_out() -> None:
    """A line says only what is not obvious."""
    line = encode(NodeFinished(at=1.0, node=NodeId(3), task="fit"))

    assert json.loads(line) == {"event": "NodeFinished", "at": 1.0, "node": 3, "task": "fit"}


def test_numpy_scalars_are_written_as_numbers() -> None:
    """A duration computed with numpy does not spoil the log."""
    event = NodeFinished(at=np.float64(1.5), node=NodeId(np.int64(3)), task="fit", duration_s=np.float32(0.5))  # type: ignore[arg-type]

    assert decode(encode(event)) == NodeFinished(at=1.5, node=NodeId(3), task="fit", duration_s=0.5)


def test_the_word_of_the_first_logs_is_read() -> None:
    """A run that went well was `done` once."""
    line = '{"event":"RunFinished","at":1.0,"status":"done","duration_s":1.0,"counts":{"done":2}}'

    assert decode(line) == RunFinished(at=1.0, status="success", duration_s=1.0, counts={"done": 2})


def test_containers_come_back_in_their_own_types() -> None:
    """Tuples are tuples again, so a decoded event equals and hashes like the one written."""
    started = RunStarted(run=RunId("r"), at=1.0, n_nodes=2, tags=("a", "b"), expected_s=2.5)
    finished = RunFinished(at=2.0, status="success", duration_s=1.0, counts={"done": 2})

    assert decode(encode(started)) == started
    assert decode(encode(finished).encode("ascii")) == finished


def test_a_newer_version_can_be_read() -> None:
    """Unknown fields and unknown events are passed over."""
    assert decode('{"event":"NodesAdded","at":1.0,"parent":0,"n_nodes":1,"why":"x"}') == NodesAdded(
        at=1.0, parent=NodeId(0), n_nodes=1
    )
    assert decode('{"event":"NodeDreamt","at":1.0}') is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        '{"at":1.0}',
        '{"event":["NodesAdded"]}',
        '{"event":"NodesAdded","at":1.0,"parent":0}',
        '{"event":"NodesAdded","at":"1.0","parent":0,"n_nodes":1}',
        '{"event":"NodesAdded","at":1.0,"parent":0.5,"n_nodes":1}',
        '{"event":"NodesAdded","at":true,"parent":0,"n_nodes":1}',
        '{"event":"NodesAdded","at":1.0,"parent":0,"n_nodes":true}',
        '{"event":"RunFinished","at":1.0,"status":"great","duration_s":1.0,"counts":{}}',
        '{"event":"RunFinished","at":1.0,"status":"success","duration_s":1.0,"counts":{"done":"2"}}',
        '{"event":"RunStarted","run":"r","at":1.0,"n_nodes":1,"tags":"ab"}',
        '{"event":"NodesAdded","at":1' + "0" * 400 + ',"parent":0,"n_nodes":1}',
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_not_an_event_is_refused(line: str | bytes) -> None:
    """Torn, edited and foreign lines are one kind of error, never a crash and never a half-made event."""
    with pytest.raises(DamagedLine):
        decode(line)


def test_long_lists_of_kept_fields_stay_whole() -> None:
    """Keys, sites, labels and messages are text like any other."""
    event = NodeFailed(at=1.0, node=NodeId(1), task="t", error_type="E", message="a\nb\u2028", site="x.py:1", kept=True)
    cached = NodeCached(at=1.0, node=NodeId(1), task="t", key=Key("0" * 64), label="lr=0.1")

    assert decode(encode(event)) == event
    assert decode(encode(cached)) == cached
