"""Digests of files that have not changed since they were last read, kept across runs."""

import threading
from collections.abc import Callable, Mapping, Sequence

from flowlib.ids import Digest

_MAX_HELD = 4096


class StoredFileMemo:
    """Implements `hashing.encoding.FileMemo` on the store's index: what `stat` says -> digest.

    Only a cache of a cache: records may vanish, and are authenticated like all others. Whoever asks decides which
    readings of `stat` are fit to be a key (the rule about young time stamps is his).
    """

    def __init__(
        self, get: Callable[[Sequence[str]], Mapping[str, bytes]], put: Callable[[Mapping[str, bytes]], None]
    ) -> None:
        self._get, self._put = get, put
        self._lock = threading.Lock()
        self._known: dict[str, Digest] = {}
        self._fresh: dict[str, Digest] = {}

    def get(self, key: tuple[int, ...]) -> Digest | None:
        """Return the digest kept under a key, if any."""
        name = _name(key)
        digest = self._known.get(name)
        if digest is None:
            body = self._get([name]).get(name)
            if body is None:
                return None
            digest = Digest(body.decode("ascii"))
            self._remember(name, digest)
        return digest

    def put(self, key: tuple[int, ...], digest: Digest) -> None:
        """Keep a digest; it reaches the disk with the store's next flush."""
        name = _name(key)
        self._remember(name, digest)
        with self._lock:
            self._fresh[name] = digest

    def flush(self) -> None:
        """Write what was put since the last flush. Never raises."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        if fresh:
            self._put({name: digest.encode("ascii") for name, digest in fresh.items()})

    def _remember(self, name: str, digest: Digest) -> None:
        with self._lock:
            if len(self._known) >= _MAX_HELD:
                self._known.clear()
            self._known[name] = digest


def _name(key: tuple[int, ...]) -> str:
    return "f:" + ",".join(map(str, key))
