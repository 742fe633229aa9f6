"""A batch on disk is one short line that says what its events say; a line that cannot be one is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from flowlib.events import Call, EventBatch, NodeFinished, NodesCached, NodesRan, NodeStarted, RunFinished, RunStarted
from flowlib.history.lines import DamagedLine, decode, encode
from flowlib.history.log import RunLog, read_ends, read_log
from flowlib.history.record import fold
from flowlib.ids import Key, NodeId, RunId
from tests.history.batches import batches

RUN = RunId("20260101-120000-00000001")


def ran(n: int = 3, at: float = 1.0, **columns: Any) -> NodesRan:
    """Return a batch of equal nodes, with other columns where given."""
    given: dict[str, Any] = {
        "calls": [Call("fit", "train.py:3", ("first seen",))],
        "call_of": [0] * n,
        "nodes": list(map(NodeId, range(n))),
        "labels": [""] * n,
        "keys": [Key(f"{i:064x}") for i in range(n)],
        "durations_ns": [80 + i for i in range(n)],
        "sizes": [12] * n,
        "worker": "main",
    }
    return NodesRan(at=at, **given | columns)


@given(batches())
def test_a_batch_comes_back_as_its_events(batch: EventBatch) -> None:
    """What readers of the log see is what observers of the run saw, to the last bit."""
    line = encode(batch)

    back = decode(line)

    assert "\n" not in line
    assert line.isascii()
    assert isinstance(back, NodesRan | NodesCached)
    assert list(back.events()) == list(batch.events())
    assert (back.n_events, back.ended_at) == (batch.n_events, batch.ended_at)


def test_events_of_nodes_that_ran_are_pairs_in_order() -> None:
    """A node's start, its end, and the next node's start at that very moment."""
    events = list(ran(2, durations_ns=[500_000_000, 250_000_000]).events())

    assert [(type(event), event.at) for event in events] == [
        (NodeStarted, 1.0),
        (NodeFinished, 1.5),
        (NodeStarted, 1.5),
        (NodeFinished, 1.75),
    ]
    first = NodeStarted(at=1.0, node=NodeId(0), task="fit", site="train.py:3", reasons=("first seen",))
    assert events[0] == first


def test_what_nodes_share_is_written_once() -> None:
    """A line costs a node its key and its time, and its number where they do not follow one another."""
    line = json.loads(encode(ran(100)))

    assert line["call"] == 0
    assert line["node"] == {"from": 0, "to": 99}
    assert (line["label"], line["size"], line["worker"]) == ("", 12, "main")
    assert len(encode(ran(100))) < 100 * 80


@pytest.mark.parametrize(
    "nodes", [[7], [7, 8], [7, 8, 9], [9, 8, 7], [7, 9, 8], [7, 7, 8], [0, 2, 4], [*range(3, 900)]]
)
def test_numbers_come_back_as_they_were(nodes: list[int]) -> None:
    """Whether they follow one another or not."""
    batch = decode(encode(ran(len(nodes), nodes=nodes)))

    assert isinstance(batch, NodesRan)
    assert batch.nodes == nodes


def test_columns_may_be_what_the_engine_has_at_hand() -> None:
    """Ranges, tuples and numpy numbers are written as well as lists."""
    batch = ran(2, nodes=range(2), sizes=(np.int64(3), np.int64(4)))
    back = decode(encode(batch))

    assert isinstance(back, NodesRan)
    assert (back.nodes, back.sizes) == ([0, 1], [3, 4])


def change(**fields: Any) -> str:
    """Return the line of a batch with some fields replaced, or left out where they are None."""
    line = {**json.loads(encode(ran())), **fields}
    return json.dumps({name: value for name, value in line.items() if value != "absent"})


@pytest.mark.parametrize(
    "line",
    [
        change(at="1.0"),
        change(at=True),
        change(at="absent"),
        change(node="absent"),
        change(node=[]),
        change(node=3),
        change(node=[0, 1, 2.0]),
        change(node={"from": 0}),
        change(node={"from": 0, "to": 2.0}),
        change(node={"from": -3, "to": -1}),
        change(node={"from": 2, "to": 0}),
        change(node={"from": 0, "to": 3}),
        change(node={"from": 0, "to": 10**15}),
        change(node=[0, 1, True]),
        change(key=["a", "b"]),
        change(key=["a", "b", 3]),
        change(key={"a": 1}),
        change(call=[0, 0, 1]),
        change(call=-1),
        change(call=False),
        change(calls=[]),
        change(calls=[["fit", "train.py:3"]]),
        change(calls=[["fit", "train.py:3", "first seen"]]),
        change(calls=[["fit", 3, []]]),
        change(calls=[[["fit"], "", [[]]]]),
        change(took_ns=[1, 2, 3, 4]),
        change(took_ns=1.5),
        change(took_ns="absent"),
        change(size=None),
        change(worker=["main", "main", "main"]),
        change(worker="absent"),
        change(label=None),
        change(event="NodesCached"),
        '{"event":"NodesRan"}',
        change(at=1).replace('"at": 1', '"at": 1' + "0" * 400),
        encode(ran())[:-1],
    ],
)
def test_a_line_that_is_no_batch_is_refused(line: str) -> None:
    """Torn and edited columns are damage, never a crash, never fewer or other events."""
    with pytest.raises(DamagedLine):
        decode(line)


def test_times_that_no_float_holds_stay_inside_the_reader(tmp_path: Path) -> None:
    """Whole numbers of any size can be written by hand; the line is damaged, the others are read."""
    path = tmp_path / "run.jsonl"
    path.write_text(change(took_ns=[1, 2, 10**400]) + "\n" + encode(ran()) + "\n")

    notice, *events = read_log(path)

    assert getattr(notice, "kind", "") == "log-damaged"
    assert events == list(ran().events())


def test_a_log_of_batches_reads_as_a_log_of_events(tmp_path: Path) -> None:
    """Batches and single events mix; the record of the run is the same either way."""
    end = RunFinished(at=3.0, status="success", duration_s=2.0, counts={"done": 600})
    whole, single = RunLog(tmp_path / "a", RUN), RunLog(tmp_path / "b", RUN)
    batch = ran(600)
    for log in (whole, single):
        log.on_event(RunStarted(run=RUN, at=1.0, n_nodes=600))
    whole.on_batch(batch)
    for event in batch.events():
        single.on_event(event)
    for log in (whole, single):
        log.on_event(end)

    assert list(read_log(whole.path)) == list(read_log(single.path))
    assert fold(read_log(whole.path)) == fold(read_log(single.path))
    assert len(whole.path.read_bytes().splitlines()) == 3


def test_batches_count_in_their_group_by_events(tmp_path: Path) -> None:
    """Whoever watches the file waits no longer than with single events, and a crash loses no more."""
    log = RunLog(tmp_path, RUN, group=10)
    log.on_event(RunStarted(run=RUN, at=1.0, n_nodes=9))

    log.on_batch(ran(4))
    before = len(list(read_log(log.path)))
    log.on_batch(ran(1))

    assert before == 1
    assert len(list(read_log(log.path))) == 11


def test_lost_batches_are_counted_by_events(tmp_path: Path) -> None:
    """What could not be written is told in the unit that readers count in."""
    (tmp_path / "runs").write_text("a file where the directory should be")
    log = RunLog(tmp_path / "runs", RUN)
    log.on_batch(ran(4))

    (tmp_path / "runs").unlink()
    log.on_batch(ran(1, at=9.0))

    notice, *events = read_log(log.path)
    assert getattr(notice, "message", "") == "8 events could not be written here"
    assert events == list(ran(1, at=9.0).events())
    assert isinstance(log.take_error(), OSError)


def test_the_ends_of_a_log_may_be_batches(tmp_path: Path) -> None:
    """A run that died after a batch ends with the last event in it."""
    path = tmp_path / "run.jsonl"
    path.write_text(encode(ran(2)) + "\n")
    events = list(ran(2).events())

    assert read_ends(path) == (events[0], events[-1])


def test_a_torn_batch_takes_only_itself(tmp_path: Path) -> None:
    """Cut anywhere in its last line, a log gives all batches before it."""
    path = tmp_path / "run.jsonl"
    first, second = encode(ran(2)) + "\n", encode(ran(3)) + "\n"

    for size in range(0, len(second), 7):
        path.write_text(first + second[:size])

        assert list(read_log(path)) == list(ran(2).events())
