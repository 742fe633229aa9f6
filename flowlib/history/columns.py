"""A batch of nodes as the fields of one line: columns, each written as one value where it holds only that value.

Layout: `{"event": "NodesRan", "at": 12.5, "worker": "main", "calls": [["fit", "train.py:3", ["first seen"]]],
"call": 0, "node": {"from": 4, "to": 6}, "label": "", "key": ["aa...", "bb...", "cc..."], "took_ns": [81, 75, 79],
"size": 12}`.
`calls` holds what many nodes share, `call` the place of each node's own in it. A column is a list with one place for each
node, or the value that all have; numbers of nodes that follow one another are written as the first and the last. Times are
one `at` for the line and whole nanoseconds for each node: C writes whole numbers four times as fast as decimals.

Constraints: a line may have been edited by hand, so all columns are checked, for length and for the type of each value,
before a batch is made of them. A torn line loses one batch, about as much as a torn group of single events.
Cost: writing takes about a third of a microsecond a node, most of it for its key; without one next to nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowlib.events import Call, EventBatch, NodesCached, NodesRan

_MOST_NODES = 1 << 20
"""A line holds a few thousand; what an edited one says must not fill the memory."""
_LONGEST_NS = 2**63
"""Three centuries. What is longer was not measured, and may be more than a float can hold."""


def fields_of(batch: EventBatch) -> dict[str, object]:
    """Return the fields of the line that holds a batch."""
    line: dict[str, object] = {"event": type(batch).__name__, "at": batch.at}
    if isinstance(batch, NodesRan):
        line |= {"worker": batch.worker, "took_ns": _column(batch.durations_ns), "size": _column(batch.sizes)}
    else:
        line["saved_ns"] = _column(batch.saved_ns)
    line |= {"calls": batch.calls, "call": _column(batch.call_of), "label": _column(batch.labels)}
    return line | {"key": _column(batch.keys), "node": _numbers(batch.nodes)}


def batch_of(kind: str, fields: Mapping[str, Any]) -> EventBatch:
    """Return the batch that a line holds.

    Args:
        kind: `NodesCached` or `NodesRan`.
        fields: What the line says.

    Raises:
        ValueError: A column is missing, is too short or too long, or holds a value of another type.
    """
    nodes = _spread_numbers(fields.get("node"))
    if not isinstance(nodes, list) or not nodes:
        raise ValueError("there are no nodes")
    n = len(nodes)
    calls = _calls(fields.get("calls"))
    common: dict[str, Any] = {
        "at": _number(fields.get("at")),
        "calls": calls,
        "call_of": _spread(fields, "call", n, int),
        "nodes": _checked(nodes, int),
        "labels": _spread(fields, "label", n, str),
    }
    if not all(0 <= place < len(calls) for place in common["call_of"]):
        raise ValueError("a node has a call that the line does not hold")
    if kind == "NodesCached":
        saved_ns = _nanoseconds(fields, "saved_ns", n)
        return NodesCached(**common, keys=_spread(fields, "key", n, str, type(None)), saved_ns=saved_ns)
    return NodesRan(
        **common,
        keys=_spread(fields, "key", n, str, type(None)),
        durations_ns=_nanoseconds(fields, "took_ns", n),
        sizes=_spread(fields, "size", n, int),
        worker=_checked([fields.get("worker")], str)[0],
    )


def _column(values: Sequence[object]) -> object:
    """Return a column as it is written: as one value if it holds only that. No value is a list, so it reads back."""
    first = values[0]
    return first if values[-1] == first and values.count(first) == len(values) else values


def _numbers(nodes: Sequence[int]) -> object:
    """Return the column of nodes as it is written: from the first to the last, if they follow one another."""
    first, numbers = nodes[0], list(nodes)
    if len(numbers) > 2 and numbers == [*range(first, first + len(numbers))]:
        return {"from": first, "to": numbers[-1]}
    return numbers


def _spread_numbers(column: object) -> object:
    """Return the column of nodes that was read: a list, whichever way it was written."""
    if not isinstance(column, dict) or column.keys() != {"from", "to"}:
        return column
    first, last = _checked([column["from"], column["to"]], int)
    if not 0 <= first <= last < first + _MOST_NODES:
        raise ValueError("the nodes are no range, or too many")
    return [*range(first, last + 1)]


def _spread(fields: Mapping[str, Any], name: str, n: int, *types: type) -> list[Any]:
    """Return a column that was read: a list of `n` values of one of `types`."""
    column = fields.get(name)
    if not isinstance(column, list):
        return _checked([column], *types) * n
    if len(column) != n:
        raise ValueError(f"column {name!r} has {len(column)} values for {n} nodes")
    return _checked(column, *types)


def _nanoseconds(fields: Mapping[str, Any], name: str, n: int) -> list[int]:
    column = _spread(fields, name, n, int)
    if not -_LONGEST_NS < min(column) <= max(column) < _LONGEST_NS:
        raise ValueError("a time is too large")
    return column


def _checked(values: list[Any], *types: type) -> list[Any]:
    if not set(map(type, values)) <= set(types):
        raise ValueError("a column holds a value of another type")
    return values


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise ValueError("the time is not a number")
    return float(value)  # OverflowError is the caller's to tell


def _calls(given: object) -> list[Call]:
    if not isinstance(given, list) or not all(isinstance(call, list) and len(call) == 3 for call in given):
        raise ValueError("the calls are not what a node can refer to")
    for task, site, reasons in given:
        if not isinstance(reasons, list):
            raise ValueError("the reasons are not a list")
        _checked([task, site, *reasons], str)
    return [Call(task, site, tuple(reasons)) for task, site, reasons in given]
