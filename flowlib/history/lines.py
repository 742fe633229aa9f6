"""One event, one line: how events are written in a run's log. A batch of events is one line, too; see `columns`.

A line is an ASCII JSON object: `{"event": "NodeFinished", "at": 12.5, "node": 3, "task": "fit", "duration_s": 0.25}`.
Fields that have their default are left out, so most lines are about 100 bytes.

Constraints: a line never contains a newline byte, so a torn file is damaged only in its last line. Unknown fields and
unknown events are passed over, so an older flowlib reads what a newer one wrote. A log may have been edited by hand:
every field's type is checked before an event is made of it.
Rejected: pickle (unsafe to read), one JSON array per line (not readable without the class beside it).
"""

import json
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs

from flowlib.errors import InternalError
from flowlib.events import EVENT_TYPES, Event, EventBatch, NodesCached, NodesRan, RunFinished
from flowlib.history.columns import batch_of, fields_of


def _plain(value: Any) -> object:
    """Return the Python number of a numpy scalar, and the text of anything else JSON has no word for."""
    return value.item() if hasattr(value, "item") else str(value)


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, default=_plain).encode
_decode = json.JSONDecoder().decode


class DamagedLine(ValueError):
    """A line that is not a whole event."""


def encode(said: Event | EventBatch) -> str:
    """Return an event, or a batch of them, as one line of ASCII text, without its newline.

    >>> from flowlib.events import NodesAdded
    >>> encode(NodesAdded(at=1.5, parent=0, n_nodes=3))
    '{"event":"NodesAdded","at":1.5,"parent":0,"n_nodes":3}'
    """
    if isinstance(said, NodesRan | NodesCached):
        return _encode(fields_of(said))
    kind = type(said)
    line: dict[str, object] = {"event": kind.__name__}
    for name, default in _DEFAULTS[kind]:
        value = getattr(said, name)
        if value != default:
            line[name] = value
    return _encode(line)


def decode(line: str | bytes) -> Event | EventBatch | None:
    """Return what a line says, or None when it is of a kind this version does not know.

    Raises:
        DamagedLine: the line is torn, is not JSON, lacks a field, or has a field of the wrong type.

    >>> decode('{"event":"NodesAdded","at":1.5,"parent":0,"n_nodes":3,"later":true}')
    NodesAdded(at=1.5, parent=0, n_nodes=3)
    >>> decode('{"event":"FromTheFuture"}') is None
    True
    """
    try:
        fields = _decode(line.decode("ascii") if isinstance(line, bytes) else line)
    except (ValueError, RecursionError) as error:
        raise DamagedLine(str(error)) from None
    if not isinstance(fields, dict) or not isinstance(name := fields.get("event"), str):
        raise DamagedLine("not an event")
    if name in _BATCHES:
        return _build_batch(name, fields)
    kind = _KIND_BY_NAME.get(name)
    if kind is RunFinished and fields.get("status") == "done":
        fields["status"] = "success"  # the word of the first logs
    return None if kind is None else _build(kind, fields)


def _build_batch(name: str, fields: Mapping[str, Any]) -> EventBatch:
    try:
        return batch_of(name, fields)
    except (ValueError, OverflowError) as error:
        raise DamagedLine(str(error)) from None


def _build(kind: type, fields: Mapping[str, Any]) -> Event:
    values = {}
    for name, (exact, accept) in _ACCEPT[kind].items():
        if name in fields:
            value = fields[name]
            values[name] = value if type(value) is exact else accept(value)
    try:
        event: Event = kind(**values)
    except TypeError as error:
        raise DamagedLine(str(error)) from None
    return event


# ----------------------------------------------------------------------------------------------------------------------
# Field types, read once from the event classes themselves.


def _exact_type(annotation: Any) -> object:
    plain = getattr(annotation, "__supertype__", annotation)
    return plain if plain in (float, int, str, bool) else None


def _acceptor(annotation: Any) -> Callable[[Any], Any]:
    """Return a function that passes a JSON value of the annotated type and raises `DamagedLine` for any other."""
    annotation = getattr(annotation, "__supertype__", annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is float:
        return _accept_float
    if annotation in (int, str, bool):
        return lambda value: value if type(value) is annotation else _refuse(value)
    if origin is Literal:
        return lambda value: value if value in arguments else _refuse(value)
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return _accept_tuple(_acceptor(arguments[0]))
    if origin in (dict, Mapping) and arguments[0] is str:
        return _accept_dict(_acceptor(arguments[1]))
    if NoneType in arguments and len(arguments) == 2:
        inner = _acceptor(next(argument for argument in arguments if argument is not NoneType))
        return lambda value: None if value is None else inner(value)
    raise InternalError("An event has a field that its log cannot hold.", {"type": annotation})


def _accept_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return _refuse(value)  # type: ignore[no-any-return]
    try:
        return float(value)
    except OverflowError:
        raise DamagedLine("a number is too large") from None


def _accept_tuple(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tuple(map(inner, value)) if isinstance(value, list) else _refuse(value)


def _accept_dict(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {k: inner(v) for k, v in value.items()} if isinstance(value, dict) else _refuse(value)


def _refuse(value: object) -> Any:
    raise DamagedLine(f"a field holds a {type(value).__name__}")


_BATCHES = frozenset(kind.__name__ for kind in get_args(EventBatch))
_NO_DEFAULT = object()
_KIND_BY_NAME: Mapping[str, type] = {kind.__name__: kind for kind in EVENT_TYPES}
_ACCEPT: Mapping[type, Mapping[str, tuple[object, Callable[[Any], Any]]]] = {
    kind: {field.name: (_exact_type(field.type), _acceptor(field.type)) for field in attrs.fields(kind)}
    for kind in EVENT_TYPES
}
"""For each field: the type that needs no second look, and who looks at the others."""
_DEFAULTS: Mapping[type, tuple[tuple[str, object], ...]] = {
    kind: tuple(
        (field.name, _NO_DEFAULT if isinstance(field.default, attrs.Factory) or field.default is attrs.NOTHING  # type: ignore[arg-type]
         else field.default)
        for field in attrs.fields(kind)
    )
    for kind in EVENT_TYPES
}  # fmt: skip
