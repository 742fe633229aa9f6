"""What is kept, and what every store promises.

An `Entry` says what a call produced; a `Payload` says where the bytes of its value are. A store never returns a value
it could not verify, and none of its methods lets store trouble reach a run: it answers "not there" and leaves a notice.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from flowlib.ids import Digest, Key, RunId


@attrs.frozen(kw_only=True)
class Payload:
    """The encoded bytes of one value.

    `content` is the digest of the bytes (its size part is their number). Small payloads travel `inline`; for the others
    `inline` is None and `content` names a blob. A payload with `kept=False` is known by digest only: its value has to be
    made again by the node that made it. `refs` are further blobs it needs: the contents of files inside the value.
    """

    codec: str
    content: Digest
    inline: bytes | None = None
    kept: bool = True
    refs: tuple[Digest, ...] = ()


@attrs.frozen(kw_only=True)
class Entry:
    """What one call produced: authenticated, readable without unpickling anything."""

    key: Key
    task: str
    output: Digest
    """Canonical digest of the value; of the encoded bytes when the value has no canonical form (flag `opaque`)."""
    payload: Payload
    parts: Mapping[str, str]
    """The named parts of the key: `code`, `version`, `env:NAME`, `arg:NAME` -> digest or text."""
    previews: Mapping[str, str] = attrs.field(factory=dict)
    """Short text of each argument, for people: `arg:NAME` -> at most 80 characters."""
    run: RunId = RunId("")
    created_at: float = 0.0
    duration_s: float = 0.0
    flags: frozenset[str] = frozenset()
    """Any of `weak` (a global could not be digested), `opaque`, `expanded` (the task returned nodes), `files`."""
    watch: tuple[tuple[str, Digest], ...] = ()
    """Files the value depends on beyond its key: (path, digest); each is checked again before a hit."""
    expires_at: float | None = None
    """Seconds since 1970 (UTC); None keeps for ever."""

    def is_valid(self, now: float) -> bool:
        """Whether the entry may be used at a time: it has not expired."""
        return self.expires_at is None or self.expires_at > now


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

    def flush(self) -> None:
        """Commit every entry taken so far."""

    def lease(self, key: Key) -> Lease | None:
        """Return the right to compute `key`, or None while another thread or process holds it. Never waits."""

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

    def take_notices(self) -> list[tuple[str, str]]:
        """Return and forget (kind, message) pairs about trouble since the last call; each kind is told once."""

    def close(self) -> None:
        """Flush and let go of files. The store may not be used afterwards."""
