"""What is kept, and what every store promises.

An `Entry` says what a call produced; a `Payload` says where the bytes of its value are. A store never returns a value
it could not verify, and none of its methods lets store trouble reach a run: it answers "not there" and leaves a notice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import attrs

from flowlib.hashing.digest import digest_bytes, size_bytes
from flowlib.ids import Digest, Key, RunId
from flowlib.store.details import Details, pack_details, unpack_details

NO_FLAGS: frozenset[str] = frozenset()
NO_TEXTS: Mapping[str, str] = {}
_NO_RUN = RunId("")

GENERATION = "generation"
"""The note that says in which generation the notes about recipes are; see `planning.recognition`."""


@attrs.define(kw_only=True, unsafe_hash=True, init=False)
class Payload:
    """The encoded bytes of one value. Nobody changes one: it is not frozen only because that doubles its cost.

    `content` is the digest of the bytes (its size part is their number). Small payloads travel `inline`; for the others
    `inline` is None and `content` names a blob. A payload with `kept=False` is known by digest only: its value has to be
    made again by the node that made it. `refs` are further blobs it needs: the contents of files inside the value.

    Inline bytes need no name, since the seal of their entry covers them: their digest is computed when somebody asks.
    """

    codec: str
    content: Digest
    inline: bytes | None = None
    kept: bool = True
    refs: tuple[Digest, ...] = ()

    def __init__(
        self,
        codec: str,
        content: Digest | None = None,
        inline: bytes | None = None,
        kept: bool = True,
        refs: tuple[Digest, ...] = (),
    ) -> None:
        self.codec, self.inline, self.kept, self.refs = codec, inline, kept, refs
        if content is not None:
            self.content = content

    if not TYPE_CHECKING:  # a checker would believe in every attribute

        def __getattr__(self, name: str) -> object:
            """Called for what is not set: the digest of inline bytes."""
            if name != "content" or self.inline is None:
                raise AttributeError(f"'Payload' object has no attribute {name!r}", name=name, obj=self)
            self.content = digest_bytes(self.inline)
            return self.content

    @property
    def claim(self) -> Digest | None:
        """What the bytes were said to be, by whoever made or asked for `content`; None if nobody has."""
        try:
            return cast(Digest, _CONTENT(self))
        except AttributeError:
            return None

    @property
    def n_bytes(self) -> int:
        """How many encoded bytes there are, those of `refs` left out."""
        return size_bytes(self.content) if self.inline is None else len(self.inline)


_CONTENT = vars(Payload)["content"].__get__  # reads the slot without computing


@attrs.define(kw_only=True, eq=False, init=False)
class Entry:
    """What one call produced: authenticated, readable without unpickling anything.

    Nobody changes one: it is not frozen only because that doubles its cost. `parts` may be given as the `Details` that
    an entry keeps; they are then read when somebody asks for parts or previews.
    """

    key: Key
    task: str
    output: Digest
    """Canonical digest of the value; of the encoded bytes when the value has no canonical form (flag `opaque`)."""
    payload: Payload
    _parts: Mapping[str, str] | Details
    _previews: Mapping[str, str] = NO_TEXTS
    run: RunId = _NO_RUN
    created_at: float = 0.0
    duration_s: float = 0.0
    flags: frozenset[str] = NO_FLAGS
    """Any of `weak` (a global could not be digested), `opaque`, `expanded` (the task returned nodes), `files`."""
    watch: tuple[tuple[str, Digest], ...] = ()
    """Files the value depends on beyond its key: (path, digest); each is checked again before a hit."""
    expires_at: float | None = None
    """Seconds since 1970 (UTC); None keeps for ever."""

    def __init__(
        self,
        key: Key,
        task: str,
        output: Digest,
        payload: Payload,
        parts: Mapping[str, str] | Details,
        previews: Mapping[str, str] = NO_TEXTS,
        run: RunId = _NO_RUN,
        created_at: float = 0.0,
        duration_s: float = 0.0,
        flags: frozenset[str] = NO_FLAGS,
        watch: tuple[tuple[str, Digest], ...] = (),
        expires_at: float | None = None,
    ) -> None:  # by hand, because it is called for every node, and by position that takes half as long
        self.key, self.task, self.output, self.payload = key, task, output, payload
        self._parts, self._previews = parts, previews
        self.run, self.created_at, self.duration_s = run, created_at, duration_s
        self.flags, self.watch, self.expires_at = flags, watch, expires_at

    @property
    def parts(self) -> Mapping[str, str]:
        """The named parts of the key: `code`, `version`, `env:NAME`, `arg:NAME` -> digest or text."""
        return self._details()[0]

    @property
    def previews(self) -> Mapping[str, str]:
        """Short text of each argument, for people: `arg:NAME` -> at most 80 characters."""
        return self._details()[1]

    def _details(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        if type(self._parts) is tuple:
            self._parts, self._previews = parts, previews = unpack_details(self._parts)
            return parts, previews
        return cast(Mapping[str, str], self._parts), self._previews

    def packed_details(self) -> Details:
        """Return parts and previews packed, without reading them if that was never asked for."""
        parts = self._parts
        return parts if type(parts) is tuple else pack_details(cast(Mapping[str, str], parts), self._previews)

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
