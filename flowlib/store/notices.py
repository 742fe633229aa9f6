"""Trouble worth telling a person, each kind once."""

import threading


class Notices:
    """Collects (kind, message) pairs from any thread.

    >>> notices = Notices()
    >>> notices.add("not-kept", "The disk is full."); notices.add("not-kept", "The disk is full.")
    >>> notices.take(), notices.take()
    ([('not-kept', 'The disk is full.')], [])
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._waiting: list[tuple[str, str]] = []

    def add(self, kind: str, message: str) -> None:
        """Take a message, unless one of its kind was taken before."""
        with self._lock:
            if kind not in self._told:
                self._told.add(kind)
                self._waiting.append((kind, message))

    def take(self) -> list[tuple[str, str]]:
        """Return and forget the messages since the last call."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting
