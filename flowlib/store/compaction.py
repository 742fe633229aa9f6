"""Rewrite packs without what is out of date: replaced, removed, damaged.

Rules: only packs that nobody holds are touched. A new pack is noted in the index as taken in before it gets its name,
and the old ones go last, so at any crash each live record is in some pack, and none is counted twice. Removal marks
are dropped only when every pack was rewritten: a pack left alone may still hold what they are about.
"""

from pathlib import Path

from flowlib.store import packs
from flowlib.store.files import Files
from flowlib.store.index import Index
from flowlib.store.packs import Frame
from flowlib.store.replay import whole

_WORTHWHILE = 0.7
"""Packs are rewritten when less than this share of their bytes is alive ..."""
_MANY_PACKS = 8
"""... or when there are more of them than this."""


class Compaction:
    """One pass over the packs. `made` and `removed` then tell what became of them."""

    def __init__(self, root: Path, files: Files, index: Index, *, sync: bool) -> None:
        self._root, self._directory = root, root / "entries"
        self._files, self._index, self._sync = files, index, sync
        self.made: dict[str, int] = {}
        self.removed: list[str] = []

    def run(self) -> int:
        """Rewrite what is worth it and return how many bytes were freed.

        Raises:
            OSError, IndexLost, IndexBusy: It was not possible; nothing is lost.
        """
        held = self._hold()
        try:
            names = [name for name in self._files.names(self._directory) if name.endswith(packs.SUFFIX)]
            n_bytes = {name: self._files.status(self._directory / name).st_size for name in held}
            alive = {name: self._alive(name, keep_marks=len(held) < len(names)) for name in held}
            alive_bytes = sum(len(packs.encode_frames(frames)) for frames in alive.values())
            if len(held) <= _MANY_PACKS and alive_bytes >= _WORTHWHILE * sum(n_bytes.values()):
                return 0
            self._write([frame for frames in alive.values() for frame in frames])
            for name in held:
                self._files.remove(self._directory / name)
            self.removed = list(held)
            self._index.commit(lambda: ({}, ["p:" + name for name in held]))
            return sum(n_bytes.values()) - alive_bytes
        finally:
            for descriptor in held.values():
                self._files.close(descriptor)

    def _hold(self) -> dict[str, int]:
        held: dict[str, int] = {}
        for name in self._files.names(self._directory):
            if not name.endswith(packs.SUFFIX) or not self._files.is_ordinary(self._directory / name):
                continue
            descriptor = self._files.open_append(self._directory / name)
            if packs.try_lock(descriptor):
                held[name] = descriptor
            else:
                self._files.close(descriptor)
        return held

    def _alive(self, name: str, *, keep_marks: bool) -> list[Frame]:
        frames, _, _ = packs.read_pack(self._directory / name, self._files)
        present = self._index.get([frame.name for frame in frames if not frame.removed])
        latest = {frame.name: frame for frame in frames if not frame.removed}
        alive = [frame for frame in latest.values() if present.get(frame.name) == frame.record]
        return alive + [frame for frame in frames if frame.removed and keep_marks]

    def _write(self, frames: list[Frame]) -> None:
        at = 0
        while at < len(frames):
            stop, n_bytes = at, 0
            while stop < len(frames) and n_bytes < packs.MAX_PACK_BYTES // 4:
                n_bytes += len(frames[stop].record)
                stop += 1
            self._write_pack(packs.encode_frames(frames[at:stop]))
            at = stop

    def _write_pack(self, data: bytes) -> None:
        name = packs.new_name()
        temporary = self._root / "tmp" / f"{name}.new"
        descriptor = self._files.create(temporary)
        try:
            self._files.write(descriptor, [data])
            if self._sync:
                self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._index.commit(lambda: ({"p:" + name: whole(len(data))}, ()))
        self._files.rename(temporary, self._directory / name)
        self.made[name] = len(data)
