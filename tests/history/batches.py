"""Batches of events as hypothesis draws them, for the tests of everything that takes them."""

from hypothesis import strategies as st

from flowlib.events import Call, EventBatch, NodesCached, NodesRan
from flowlib.ids import Key, NodeId

TIMES = st.floats(0, 2e9)
NANOSECONDS = st.integers(0, 10**15)
CALLS = st.builds(Call, st.text(max_size=5), st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2).map(tuple))
KEYS = st.text("0123456789abcdef", min_size=64, max_size=64).map(Key)


@st.composite
def batches(draw: st.DrawFn, max_nodes: int = 8, tasks: st.SearchStrategy[Call] = CALLS) -> EventBatch:
    """Draw a batch: each node once, columns of one value as likely as columns of many."""
    nodes = draw(st.lists(st.integers(0, 20).map(NodeId), min_size=1, max_size=max_nodes, unique=True))
    calls = draw(st.lists(tasks, min_size=1, max_size=3, unique=True))
    n = len(nodes)

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.one_of(values.map(lambda value: [value] * n), st.lists(values, min_size=n, max_size=n)))

    common = {
        "at": draw(TIMES),
        "calls": calls,
        "call_of": column(st.integers(0, len(calls) - 1)),
        "nodes": nodes,
        "labels": column(st.text(max_size=5)),
    }
    if draw(st.booleans()):
        return NodesCached(**common, keys=column(KEYS), saved_ns=column(NANOSECONDS))  # type: ignore[arg-type]
    return NodesRan(
        **common,  # type: ignore[arg-type]
        keys=column(st.none() | KEYS),  # type: ignore[arg-type]
        durations_ns=column(NANOSECONDS),  # type: ignore[arg-type]
        sizes=column(NANOSECONDS),  # type: ignore[arg-type]
        worker=draw(st.text(max_size=5)),
    )
