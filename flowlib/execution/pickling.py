"""Objects to bytes and back, between a run and its workers.

Theory of operation: what an importable module defines goes by reference, everything else by value (`standins`). Large
buffers leave the stream: each is a section of its own, and a large section goes into a file that the other side maps.
So an array never passes through a pipe, and mapping it costs nothing until it is touched.

By reference is a promise that the other process has the same code. `Packing.refs` (`picklers`) says which of the user's own
definitions a message relies on, so that the other side can prove it or refuse.

Layout of a message: number of sections, then for each its length (8 bytes each, the top bit says that the section is the
path of a file that holds it); the sections. The first is the pickle stream.
"""

import io
import os
import pickle
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from flowlib.execution.picklers import Homeward, Outward, Packing, by_value
from flowlib.graph.args import nodes_in, targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node, new_node
from flowlib.store.files import Files

FILE_FROM_BYTES = 64 * 1024
"""Sections from this size on go through a file, if there is a place for files."""

_IN_FILE = 1 << 63


class Spill(Protocol):
    """A place for large sections."""

    def keep(self, data: Any) -> str:
        """Write a buffer to a file and return its path.

        Raises:
            OSError: There is no room.
        """


def dump(value: Any, spill: Spill | None, packing: Packing, *, whole: bool = False) -> bytes:
    """Return a message for a worker.

    Args:
        value: What to send; `Slot`s in it become inputs over there.
        spill: Where large sections go; None keeps everything in the message.
        packing: Filled with what the message relies on.
        whole: Whether all of the user's own code goes by value.

    Raises:
        Exception: Whatever an object of the user's that cannot be pickled may raise.
    """
    with by_value():
        return _dump(value, spill, packing, Outward, whole)


def dump_home(value: Any, spill: Spill | None) -> bytes:
    """Return a message for the process that this one works for.

    Raises:
        Exception: Whatever an object of the user's that cannot be pickled may raise.
    """
    return _dump(value, spill, Packing(), Homeward, False)


def _dump(value: Any, spill: Spill | None, packing: Packing, pickler: Any, whole: bool) -> bytes:
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler(stream, packing, whole, buffer_callback=buffers.append).dump(value)
    return _joined(stream, buffers, spill, packing)


def _joined(stream: io.BytesIO, buffers: list[pickle.PickleBuffer], spill: Spill | None, packing: Packing) -> bytes:
    sections: list[Any] = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths: list[int] = []
    parts: list[Any] = []
    for section in sections:
        n_bytes = section.nbytes
        if spill is not None and n_bytes >= FILE_FROM_BYTES:
            path = spill.keep(section)
            packing.files.append(path)
            part = os.fsencode(path)
            lengths.append(len(part) | _IN_FILE)
        else:
            part = section
            lengths.append(n_bytes)
        parts.append(part)
    return b"".join([struct.pack(f"<{1 + len(lengths)}Q", len(lengths), *lengths), *parts])


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, buffers: Iterable[Any], inputs: Callable[[int], Any] | None) -> None:
        super().__init__(stream, buffers=buffers)
        self._inputs = inputs

    def persistent_load(self, position: Any) -> Any:
        """Return the input that a slot stands for."""
        if self._inputs is None:
            raise pickle.UnpicklingError("an input outside of a job")
        return self._inputs(position)


def load(message: bytes, *, inputs: Callable[[int], Any] | None = None, remove: bool = False) -> Any:
    """Return what was packed.

    Args:
        message: What `dump` or `dump_home` returned.
        inputs: Gives the value of an input by its position.
        remove: Whether the message's files are nobody else's and are removed once they are mapped.

    Raises:
        Exception: Whatever unpickling runs into.
    """
    stream, *buffers = _sections(message, remove=remove)
    return _Unpickler(io.BytesIO(stream), buffers, inputs).load()


def _sections(message: bytes, *, remove: bool) -> list[Any]:
    view = memoryview(message)
    (count,) = struct.unpack_from("<Q", view)
    at = 8 * (1 + count)
    sections: list[Any] = []
    for length in struct.unpack_from(f"<{count}Q", view, 8):
        n_bytes = length & ~_IN_FILE
        section: Any = view[at : at + n_bytes]
        at += n_bytes
        if length & _IN_FILE:
            section = _mapped(os.fsdecode(bytes(section)), remove=remove)
        elif sections:
            section = bytearray(section)  # arrays are writable where they were
        sections.append(section)
    return sections


def dump_nodes(returned: Any, spill: Spill | None) -> bytes:
    """Return a message of what a task returned, with all nodes that are in it and that those need. No recursion.

    Raises:
        Exception: Whatever an object of the user's that cannot be pickled may raise.
    """
    graph = Graph(targets_of(returned))
    stream = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler = Homeward(stream, Packing(), False, buffer_callback=buffers.append)
    pickler.places = {node: place for place, node in enumerate(graph.nodes)}
    pickler.dump(len(graph))
    for node in graph.nodes:
        pickler.dump((node._fl_task, node._fl_args, node._fl_code, node._fl_offset, node._fl_policy, node._fl_label))
    pickler.dump(returned)
    return _joined(stream, buffers, spill, Packing())


def load_nodes(message: bytes, *, remove: bool = False) -> Any:
    """Return what `dump_nodes` packed, its nodes made anew.

    Raises:
        Exception: Whatever unpickling runs into.
    """
    stream, *buffers = _sections(message, remove=remove)
    nodes: list[Node] = []
    unpickler = _Unpickler(io.BytesIO(stream), buffers, nodes.__getitem__)
    for _ in range(unpickler.load()):
        task, args, code, offset, policy, label = unpickler.load()
        deps = nodes_in(args, task.signature.describe)
        nodes.append(new_node(task, args, deps, code, offset, policy, label))
    return unpickler.load()


def _mapped(path: str, *, remove: bool) -> memoryview:
    files = Files()
    descriptor, n_bytes = files.open_read(Path(path))
    try:
        return memoryview(files.map_private(descriptor, n_bytes))
    finally:
        files.close(descriptor)
        if remove:
            files.remove(Path(path))
