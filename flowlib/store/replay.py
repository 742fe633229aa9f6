"""Bring the index up to the log: what a crash left between the two, or everything after the index was lost.

Invariant: replaying is idempotent. A record the index has already is left alone and not counted again, a removal only
ever takes the very record it was written for, and a record of another key never replaces one of ours.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from flowlib.store import packs
from flowlib.store.base import GENERATION
from flowlib.store.files import Files
from flowlib.store.index import Index
from flowlib.store.mac import HEAD_BYTES, Mac, Refused
from flowlib.store.packs import Frame

_PROGRESS = struct.Struct("<QQ")  # where the last whole frame ends, and how large the pack was then

Get = Callable[[Sequence[str]], Mapping[str, bytes]]
Derive = Callable[[Mapping[str, bytes], Get], Mapping[str, bytes]]


def whole(n_bytes: int) -> bytes:
    """Return the note that a pack of this size has been taken in to its end."""
    return _PROGRESS.pack(n_bytes, n_bytes)


def seal_derived(derive: Derive, logged: Mapping[str, bytes], get: Get, mac: Mac) -> dict[str, bytes]:
    """Return the sealed records that follow from logged ones."""
    return {name: mac.seal(name, body) for name, body in derive(logged, get).items()}


class Replay:
    """One reading of the packs. `clean` then maps each pack the index has completely to its size in bytes."""

    def __init__(self, directory: Path, files: Files, mac: Mac, index: Index, derive: Derive) -> None:
        self._directory, self._files, self._mac, self._index, self._derive = directory, files, mac, index, derive
        self.clean: dict[str, int] = {}

    def take_in(self, *, everything: bool) -> int:
        """Put what the packs hold beyond the index into it; return how many records were new.

        Raises:
            IndexLost, IndexBusy: The index cannot be used.

        Cost: a directory listing and one look-up for each pack that is up to date.
        """
        starts = self._behind(everything=everything)
        removed = {
            frame.record for name, start in starts.items() for frame in self._frames(name, start)[0] if frame.removed
        }
        return sum(self._take_in_pack(name, start, removed) for name, start in starts.items())

    def _behind(self, *, everything: bool) -> dict[str, int]:
        names = [name for name in self._files.names(self._directory) if name.endswith(packs.SUFFIX)]
        rows = self._index.get(["p:" + name for name in names])
        starts: dict[str, int] = {}
        for name in names:
            row = rows.get("p:" + name, b"")
            end, seen = _PROGRESS.unpack(row) if len(row) == _PROGRESS.size and not everything else (0, 0)
            try:
                if not self._files.is_ordinary(self._directory / name):
                    continue
                n_bytes = self._files.status(self._directory / name).st_size
            except OSError:
                continue  # vanished since it was listed
            if n_bytes != seen:
                starts[name] = end if end <= n_bytes else 0
            elif end == seen:
                self.clean[name] = n_bytes
        return starts

    def _frames(self, name: str, start: int) -> tuple[list[Frame], int, int]:
        try:
            return packs.read_pack(self._directory / name, self._files, start)
        except OSError:
            return [], 0, 0  # vanished, unreadable, or no ordinary file: nothing to take in

    def _take_in_pack(self, name: str, start: int, removed: set[bytes]) -> int:
        frames, end, n_bytes = self._frames(name, start)
        alive = {f.name: f.record for f in frames if not f.removed and f.record[:HEAD_BYTES] not in removed}
        opened = {name: self._mac.open(name, record) for name, record in alive.items()}
        dead = [frame.name for frame in frames if frame.removed]
        n_new = 0

        def change() -> tuple[Mapping[str, bytes], Iterable[str]]:
            nonlocal n_new
            present = self._index.get([*dead, *opened])
            bodies = {n: b for n, b in opened.items() if isinstance(b, bytes) and present.get(n) != alive[n]}
            foreign = [n for n, b in opened.items() if b is Refused.FOREIGN and n not in present]
            n_new = len(bodies) + len(foreign)
            put = {n: alive[n] for n in (*bodies, *foreign)}
            derived = seal_derived(self._derive, bodies, self._get, self._mac)
            gone = [n for n in dead if n not in put and present.get(n, b"")[:HEAD_BYTES] in removed]
            if any(n in present for n in bodies):  # a result gives way to another one: see `planning.recognition`
                gone.append("n:" + GENERATION)
            return {**put, **derived, "p:" + name: _PROGRESS.pack(end, n_bytes)}, gone

        self._index.commit(change)
        if end == n_bytes:
            self.clean[name] = n_bytes
        return n_new

    def _get(self, names: Sequence[str]) -> dict[str, bytes]:
        opened = {name: self._mac.open(name, record) for name, record in self._index.get(names).items()}
        return {name: body for name, body in opened.items() if isinstance(body, bytes)}
