"""Sealed records by name: the packs hold them, the index finds them.

Theory of operation: a commit seals records, appends them to this process's pack, and then writes them and what is
derived from them (latest keys, statistics) to the index in one transaction. If the index refuses, the records wait
for the next commit; if it is lost, a new one is filled from the packs. Packs that the index has not taken in to their
end (a crash between the two steps) are replayed when the cache is opened.

Invariant: `get` returns only bodies whose seal is right for the name they were asked under.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flowlib.store.compaction import Compaction
from flowlib.store.files import Files
from flowlib.store.index import Index, IndexBusy, IndexLost
from flowlib.store.locks import LockTable
from flowlib.store.mac import HEAD_BYTES, Mac, Refused
from flowlib.store.notices import Notices
from flowlib.store.packs import Frame, PackWriter, encode_frames, encode_puts
from flowlib.store.replay import Derive, Replay, seal_derived, whole

_MAX_LATE = 20_000


class Records:
    """Bodies by name, authenticated. `derive` makes the unlogged records that follow from logged ones."""

    def __init__(
        self,
        root: Path,
        files: Files,
        mac: Mac,
        locks: LockTable,
        notices: Notices,
        derive: Derive,
        *,
        sync: bool,
        network: bool,
    ) -> None:
        """Open the index, healing it if it is lost, and take in what the packs have beyond it.

        Raises:
            IndexBusy: The index can be neither opened nor made.
        """
        self._root, self._files, self._mac, self._locks, self._notices = root, files, mac, locks, notices
        self._derive, self._sync, self._network = derive, sync, network
        self._healing = threading.Lock()
        self._is_broken = False
        self._late: dict[str, bytes] = {}
        self._clean: dict[str, int] = {}
        self._writer = PackWriter(root / "entries", files)
        try:
            self._index = self._open_index()
            self.take_in()
        except IndexLost:
            try:
                self._start_over()
            except IndexLost as error:
                raise IndexBusy(str(error)) from error

    @property
    def index(self) -> Index:
        """The index at this moment; healing replaces it."""
        return self._index

    def _open_index(self) -> Index:
        return Index(self._root / "index", self._files, self._locks.writing, sync=self._sync, network=self._network)

    # ---- reading

    def get(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the authentic bodies among `names`; trouble and doubt are told as notices."""
        try:
            sealed = self._read(names)
        except (IndexBusy, IndexLost) as error:
            self._notices.add("index", f"The cache index cannot be read now ({error}); results are computed again.")
            sealed = {}
        return self._authentic(names, sealed)

    def _get_to_change(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return what `get` would, inside a transaction: trouble is for whoever commits, who holds no lock by then.

        Raises:
            IndexLost, IndexBusy: The index cannot be read.
        """
        return self._authentic(names, self._index.get(names))

    def _authentic(self, names: Sequence[str], sealed: dict[str, bytes]) -> dict[str, bytes]:
        if self._late:
            sealed.update((name, self._late[name]) for name in names if name in self._late)
        found, refused = self._mac.open_many(sealed)
        for why in refused:
            self._tell_refused(why)
        return found

    def version(self) -> object:
        """Return what changes whenever somebody else commits, for one thread; None if it cannot be told."""
        try:
            return None if self._is_broken else self._index.version()
        except (IndexBusy, IndexLost):
            return None

    def _read(self, names: Sequence[str]) -> dict[str, bytes]:
        if self._is_broken:
            return {}
        index = self._index
        try:
            return index.get(names)
        except IndexLost:
            self.heal(index)
        return {} if self._is_broken else self._index.get(names)

    def _tell_refused(self, why: Refused) -> None:
        if why is Refused.FOREIGN:
            self._notices.add(
                "foreign-cache",
                "This cache, or part of it, was written with another key, so its results are not used. "
                "`flowlib cache trust` adopts it.",
            )
        else:
            self._notices.add("damaged", "A damaged record in the cache was ignored; its result is computed again.")

    def items(self, prefix: str) -> Iterator[tuple[str, bytes | Refused, bytes]]:
        """Iterate over (name, body or why it is refused, sealed record).

        Raises:
            IndexLost, IndexBusy: The index cannot be read.
        """
        for name, record in self._index.items(prefix):
            yield name, self._mac.open(name, record), record

    # ---- writing

    def commit(self, logged: Mapping[str, bytes]) -> None:
        """Make records durable, then findable.

        Raises:
            OSError: They could not be logged; nothing has changed.
        """
        if logged or self._late:
            sealed = self._mac.seal_many(logged)
            self._commit_sealed(sealed, logged)

    def adopt(self, sealed: Mapping[str, bytes]) -> None:
        """Commit records that are sealed already.

        Raises:
            OSError: They could not be logged; nothing has changed.
        """
        self._commit_sealed(sealed, {})

    def _commit_sealed(self, sealed: Mapping[str, bytes], logged: Mapping[str, bytes]) -> None:
        progress: dict[str, bytes] = {}
        if sealed:
            pack, n_bytes = self._writer.append(encode_puts(sealed), self._clean, sync=self._sync)
            self._clean[pack] = n_bytes
            progress["p:" + pack] = whole(n_bytes)
        late = self._late

        def change() -> tuple[Mapping[str, bytes], Iterable[str]]:
            derived = seal_derived(self._derive, logged, self._get_to_change, self._mac)
            return {**derived, **late, **sealed, **progress}, ()

        try:
            self._write(change)
        except IndexBusy as error:
            self._postpone({**late, **sealed}, str(error))
        else:
            self._late = {}

    def put_unlogged(self, bodies: Mapping[str, bytes]) -> None:
        """Write records that may be lost with the index. Never raises."""
        with contextlib.suppress(IndexBusy):
            self._write(lambda: (self._mac.seal_many(bodies), ()))

    def remove(self, names: Iterable[str]) -> None:
        """Take records away, from the index and from what a later replay would bring back.

        Raises:
            OSError, IndexBusy: They could not be removed.
        """
        names = list(names)
        self._late = {name: record for name, record in self._late.items() if name not in names}
        sealed = self._read(names)
        gone = [Frame(name, record[:HEAD_BYTES], True) for name, record in sealed.items()]
        pack, n_bytes = self._writer.append(encode_frames(gone), self._clean, sync=self._sync)
        self._clean[pack] = n_bytes
        self._write(lambda: ({"p:" + pack: whole(n_bytes)}, names))

    def _write(self, change: Callable[[], tuple[Mapping[str, bytes], Iterable[str]]]) -> None:
        index = self._index
        try:
            if not self._is_broken:
                index.commit(change)
        except IndexLost:
            self.heal(index)
            try:
                self._index.commit(change)
            except IndexLost as error:
                raise IndexBusy(str(error)) from error
        if self._is_broken:
            raise IndexBusy("it could not be rebuilt")

    def _postpone(self, sealed: dict[str, bytes], reason: str) -> None:
        self._notices.add(
            "not-kept",
            f"The cache index cannot be written now ({reason}); the results wait in the log beside it.",
        )
        if len(sealed) > _MAX_LATE:  # the pack has them: leave it untouched, and the next opening takes it in
            self._writer.close()
            self._clean.clear()
            sealed = {}
        self._late = sealed

    # ---- healing

    def take_in(self, *, everything: bool = False) -> int:
        """Bring the index up to what the packs hold; return how many records were new to it.

        Args:
            everything: Read the packs from their beginning, not from where the index stands.

        Raises:
            IndexLost, IndexBusy: The index cannot be used.
        """
        replay = Replay(self._root / "entries", self._files, self._mac, self._index, self._derive)
        n_new = replay.take_in(everything=everything)
        self._clean.update(replay.clean)
        return n_new

    def heal(self, lost: Index) -> None:
        """Replace a lost index by one made from the packs. Never raises: without an index the store only forgets."""
        with self._healing:
            if self._index is not lost:
                return
            lost.close()
            try:
                if lost.is_replaced():
                    self._index = self._open_index()
                    self.take_in()
                else:
                    self._start_over()
            except (IndexLost, IndexBusy) as error:
                self._is_broken = True
                self._notices.add("index", f"The cache index cannot be rebuilt ({error}); results are not reused.")

    def rebuild(self) -> int:
        """Put the index aside and make a new one from the packs; return how many records it has.

        Raises:
            IndexLost, IndexBusy: That is not possible.
        """
        with self._healing:
            self._index.close()
            n_records = self._start_over()
            self._is_broken = False
            return n_records

    def _start_over(self) -> int:
        directory = self._root / "index"
        kept_as = set_aside(directory, self._files)
        self._clean = {}
        self._index = self._open_index()
        n_records = self.take_in()
        self._notices.add(
            "index-rebuilt",
            f"The cache index was damaged; a new one was made from the log ({n_records} records). "
            f"The old one is kept as {kept_as}.",
        )
        return n_records

    def compact(self) -> int:
        """Rewrite packs without the records that are out of date; return how many bytes that freed.

        Raises:
            OSError, IndexLost, IndexBusy: It was not possible; nothing is lost.
        """
        self._writer.close()
        compaction = Compaction(self._root, self._files, self._index, sync=self._sync)
        freed = compaction.run()
        self._clean = {name: size for name, size in self._clean.items() if name not in compaction.removed}
        self._clean.update(compaction.made)
        return freed

    def close(self) -> None:
        """Let go of files."""
        self._writer.close()
        self._index.close()


def set_aside(directory: Path, files: Files) -> str:
    """Rename a directory to `<name>.corrupt-<n>` and return that name; it stays if that is not possible."""
    taken = set(files.names(directory.parent))
    number = next(n for n in range(1, len(taken) + 2) if f"{directory.name}.corrupt-{n}" not in taken)
    name = f"{directory.name}.corrupt-{number}"
    try:
        files.rename(directory, directory.with_name(name))
    except OSError:
        return directory.name
    return name
