"""Everything else: pickle 5 with large buffers kept apart, and cloudpickle for what pickle cannot name.

Layout: head (number of buffers, then the length of the pickle stream and of each buffer, 8 bytes each) | stream |
buffers; each part starts at a multiple of 64 bytes. A loaded array lies directly on its buffer, so a dict of arrays
costs no copy, and a private map of the blob is read only where it is touched.

What can be read only once (an iterator, an open file) is refused: its pickle would be a snapshot of what happened to
be left in it.
"""

import copyreg
import io
import itertools
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flowlib.store.base import NotKept
from flowlib.store.files import Buffer
from flowlib.store.main_module import ScriptPickler, ScriptUnpickler

_ALIGN = 64
_PROTOCOL = 5
_MAX_STEPS, _MAX_PARTS = 20, 100  # how far the part to blame is searched
_BUILTIN_ITERATORS: tuple[Iterator[Any], ...] = (iter([]), iter(()), iter({}), iter({}.values()), iter({}.items()), iter(set()), iter(""), iter(b""),
                      iter(bytearray()), iter(range(0)), reversed([]), map(id, ()), zip(), filter(None, ()), enumerate(()))  # fmt: skip
_READ_ONCE = frozenset(map(type, _BUILTIN_ITERATORS)) | {
    kind for kind in vars(itertools).values() if type(kind) is type
}
_OPEN_FILES = frozenset({io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO})

Reducer = Callable[[Any], tuple[Any, ...]]


class _ReadOnce(pickle.PicklingError):
    """The value holds something that cannot be read twice."""


def _refuse(value: object) -> tuple[Any, ...]:
    raise _ReadOnce(f"a {type(value).__name__} can be read only once; return its contents instead")


def encode_pickle(value: object, reducers: Mapping[type, Reducer]) -> tuple[str, list[Buffer]]:
    """Return the codec and the parts of any value that can be pickled; `reducers` take precedence, by exact type.

    Raises:
        NotKept: Neither pickle nor cloudpickle can do it; the text names the part of the value that is to blame.
    """
    refused = dict.fromkeys(_READ_ONCE, _refuse)
    try:
        return "pickle5", _dump(value, ScriptPickler, {**copyreg.dispatch_table, **refused, **reducers})
    except _ReadOnce as error:
        raise NotKept(str(error)) from error
    except Exception as error:
        return "cloudpickle", _dump_by_value(value, {**refused, **reducers}, error)


def _dump_by_value(value: object, reducers: Mapping[type, Reducer], first: Exception) -> list[Buffer]:
    import cloudpickle

    table = {**cloudpickle.Pickler.dispatch_table, **reducers, **dict.fromkeys(_OPEN_FILES, _refuse)}
    pickler_class = type("ByValuePickler", (cloudpickle.Pickler,), {"dispatch_table": table})
    try:
        return _dump(value, pickler_class, None)
    except Exception as error:
        where, culprit = _find_culprit(value, pickler_class)
        kind, reason = type(culprit), error if isinstance(error, _ReadOnce) else first
        raise NotKept(
            f"a {kind.__module__}.{kind.__qualname__} ({where}) cannot be pickled: "
            f"{type(reason).__name__.lstrip('_')}: {str(reason)[:200]}"
        ) from error


def _dump(value: object, pickler_class: Any, table: Mapping[type, Any] | None) -> list[Buffer]:
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    pickler = pickler_class(stream, protocol=_PROTOCOL, buffer_callback=buffers.append)
    if table is not None:
        pickler.dispatch_table = table
    pickler.dump(value)
    return _join([stream.getbuffer(), *(buffer.raw() for buffer in buffers)])


def _join(sections: Sequence[memoryview]) -> list[Buffer]:
    head = struct.pack(f"<{1 + len(sections)}Q", len(sections) - 1, *(section.nbytes for section in sections))
    parts: list[Buffer] = []
    for section in (memoryview(head), *sections):
        parts.append(section)
        parts.append(bytes(-section.nbytes % _ALIGN))
    return parts


def decode_pickle(data: memoryview) -> object:
    """Return the value in verified bytes that nobody else holds; its arrays lie on them. Runs what the pickle says."""
    (n_buffers,) = struct.unpack_from("<Q", data)
    lengths = struct.unpack_from(f"<{1 + n_buffers}Q", data, 8)
    at = _aligned(8 * (2 + n_buffers))
    sections: list[memoryview] = []
    for length in lengths:
        sections.append(data[at : at + length])
        at = _aligned(at + length)
    return ScriptUnpickler(io.BytesIO(sections[0]), buffers=sections[1:]).load()


def _aligned(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _ALIGN


def _find_culprit(value: object, pickler_class: type) -> tuple[str, object]:
    """Follow the first part that cannot be pickled alone, down to the innermost. Cost: a few pickles, after failure."""
    where = "the value"
    for _ in range(_MAX_STEPS):
        for step, part in _parts_of(value):
            if not _can_pickle(part, pickler_class):
                where, value = f"{where}{step}", part
                break
        else:
            break
    return where, value


def _parts_of(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"[{key!r:.40}]", part) for key, part in list(value.items())[:_MAX_PARTS]]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", part) for index, part in enumerate(list(value)[:_MAX_PARTS])]
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    names = [name for name in (*getattr(value, "__dict__", ()), *slots) if hasattr(value, name)]
    return [(f".{name}", getattr(value, name)) for name in names[:_MAX_PARTS]]


def _can_pickle(value: object, pickler_class: type) -> bool:
    try:
        _dump(value, pickler_class, None)
    except Exception:
        return False
    return True
