"""What is kept, and what every store promises.

An `Entry` says what a call produced; a `Payload` says where the bytes of its value are. A store never returns a value
it could not verify, and none of its methods lets store trouble reach a run: it answers "not there" and leaves a notice.
"""

import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, cast

import attrs

from flowlib.ids import Digest, Key, RunId

GENERATION = "generation"
"""The note that says in which generation the notes about recipes are; see `planning.recognition`."""


@attrs.define(kw_only=True, unsafe_hash=True)
class Payload:
    """The encoded bytes of one value. Nobody changes one: it is not frozen only because that doubles its cost.

    `content` is the digest of the bytes (its size part is their number). Small payloads travel `inline`; for the others
    `inline` is None and `content` names a blob. A payload with `kept=False` is known by digest only: its value has to be
    made again by the node that made it. `refs` are further blobs it needs: the contents of files inside the value.
    """

    codec: str
    content: Digest
    inline: bytes | None = None
    kept: bool = True
    refs: tuple[Digest, ...] = ()


@attrs.define(kw_only=True, eq=False)
class Entry:
    """What one call produced: authenticated, readable without unpickling anything.

    Nobody changes one: it is not frozen only because that doubles its cost. `parts` may be given as the bytes in which
    an entry keeps its parts and previews (`pack_details`); they are then read when somebody asks for either.
    """

    key: Key
    task: str
    output: Digest
    """Canonical digest of the value; of the encoded bytes when the value has no canonical form (flag `opaque`)."""
    payload: Payload
    _parts: Mapping[str, str] | bytes
    _previews: Mapping[str, str] = attrs.field(factory=dict)
    run: RunId = RunId("")
    created_at: float = 0.0
    duration_s: float = 0.0
    flags: frozenset[str] = frozenset()
    """Any of `weak` (a global could not be digested), `opaque`, `expanded` (the task returned nodes), `files`."""
    watch: tuple[tuple[str, Digest], ...] = ()
    """Files the value depends on beyond its key: (path, digest); each is checked again before a hit."""
    expires_at: float | None = None
    """Seconds since 1970 (UTC); None keeps for ever."""

    @property
    def parts(self) -> Mapping[str, str]:
        """The named parts of the key: `code`, `version`, `env:NAME`, `arg:NAME` -> digest or text."""
        return self._details()[0]

    @property
    def previews(self) -> Mapping[str, str]:
        """Short text of each argument, for people: `arg:NAME` -> at most 80 characters."""
        return self._details()[1]

    def _details(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        if type(self._parts) is bytes:
            self._parts, self._previews = parts, previews = unpack_details(self._parts)
            return parts, previews
        return cast(Mapping[str, str], self._parts), self._previews

    def packed_details(self) -> bytes:
        """Return parts and previews as bytes, without reading them if that was never asked for."""
        parts = self._parts
        return parts if type(parts) is bytes else pack_details(cast(Mapping[str, str], parts), self._previews)

    def __eq__(self, other: object) -> bool:
        """Equal in every field, read or not."""
        if type(other) is not Entry:
            return NotImplemented
        same = all(getattr(self, name) == getattr(other, name) for name in _COMPARED)
        return same and self._details() == other._details()

    __hash__ = None  # type: ignore[assignment]  # its parts are a dict

    def is_valid(self, now: float) -> bool:
        """Whether the entry may be used at a time: it has not expired."""
        return self.expires_at is None or self.expires_at > now


_COMPARED = tuple(field.name for field in attrs.fields(Entry) if not field.name.startswith("_"))
_MARSHAL_VERSION = 2  # unchanged since Python 2.5; no shared references, so equal details are equal bytes


def pack_details(parts: Mapping[str, str], previews: Mapping[str, str]) -> bytes:
    """Return the bytes of an entry's parts and previews."""
    if type(parts) is not dict or type(previews) is not dict:
        parts, previews = dict(parts), dict(previews)
    return marshal.dumps((parts, previews), _MARSHAL_VERSION)


def unpack_details(packed: bytes) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return parts and previews from bytes that were part of an authenticated record."""
    parts, previews = marshal.loads(packed)
    return parts, previews


@attrs.frozen(kw_only=True)
class TaskStats:
    """What past runs of one task cost."""

    n: int
    mean_s: float
    mean_bytes: float


class BlobLost(Exception):
    """A payload is missing or damaged. The damaged file, if any, is already in quarantine."""


class NotKept(Exception):
    """A value could not be encoded or written; the text says why. The value itself is unharmed."""


class Holder:
    """One run, as stores tell runs apart: a run passes the same one with every lease it asks for.

    `n_released` is how many leases it has given back; a store counts under its own lock.
    """

    __slots__ = ("n_released",)

    def __init__(self) -> None:
        self.n_released = 0


@attrs.define(eq=False)
class Mark:
    """A moment in the life of a store, for `Store.others_since`. What the fields hold is the store's affair."""

    holder: Holder
    inside: int
    outside: object = None


class Lease(Protocol):
    """The right to compute one key. Ends with `release`, or with the life of the process."""

    def release(self) -> None:
        """Give the right back. Calling it twice is harmless."""


class Store(Protocol):
    """Entries by key, blobs by digest. Every method may be called from any thread."""

    def find(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return the valid entries among `keys`. One batch of look-ups; entries still waiting to be written count."""

    def encode(self, value: object, *, codec: str | None = None) -> Payload:
        """Encode a value and write its blob if it is not small.

        Raises:
            NotKept: It cannot be encoded, or the blob cannot be written.
        """

    def load(self, payload: Payload) -> object:
        """Return a new object that no one else holds, after verifying every byte it came from.

        Raises:
            BlobLost: The bytes are missing or not the ones that were written.
        """

    def put(self, entry: Entry) -> None:
        """Take an entry; it is durable after the next `flush`."""

    def put_many(self, entries: Sequence[Entry]) -> None:
        """Take entries; they are durable after the next `flush`."""

    def flush(self) -> None:
        """Commit every entry taken so far."""

    def flush_soon(self) -> Callable[[], bool]:
        """Begin to commit every entry taken so far, without waiting for a disk; return what says whether it is done."""

    def lease(self, key: Key, holder: Holder | None = None) -> Lease | None:
        """Return the right to compute `key`, or None while another thread or process holds it. Never waits."""

    def lease_many(self, keys: Sequence[Key], holder: Holder | None = None) -> list[Lease | None]:
        """Return what `lease` would for each key, at less cost."""

    def release_many(self, leases: Iterable[Lease]) -> None:
        """Release leases of this store, at less cost than one by one."""

    def mark(self, holder: Holder) -> Mark:
        """Note this moment. A run does so before it looks up keys that it is going to ask leases for."""

    def others_since(self, mark: Mark) -> bool:
        """Say whether anybody but the holder may have committed something and given back its lease since a mark.

        False is a promise: looking up again the keys whose leases were granted since would find nothing new, as long
        as everybody releases a lease only after the flush of what it protected.
        """

    def recent(self, task: str) -> list[Entry]:
        """Return the latest entries of a task, newest first, at most a few dozen: what `why` compares with.

        Those that have expired are among them.
        """

    def stats(self, task: str) -> TaskStats | None:
        """Return what past runs of a task cost; None without history."""

    def put_texts(self, texts: Mapping[str, str]) -> None:
        """Keep texts (function sources, parts of code versions as JSON) by name, once."""

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kept texts among `names`."""

    def notes(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the notes among `names`, as they were put. Notes may be forgotten at any time.

        A store from which results are removed forgets the note `GENERATION` with them.
        """

    def put_notes(self, notes: Mapping[str, bytes]) -> None:
        """Keep notes by name, each in the place of an earlier one, at once. Never raises."""

    def take_notices(self) -> list[tuple[str, str]]:
        """Return and forget (kind, message) pairs about trouble since the last call; each kind is told once."""

    def close(self) -> None:
        """Flush and let go of files. The store may not be used afterwards."""
