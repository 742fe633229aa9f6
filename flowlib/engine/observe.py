"""Hand events to observers. An observer that raises is dropped and reported once; the run goes on.

The only user of loguru, which is imported when the setting `log` is on and there is something to say.
"""

import threading
from collections.abc import Sequence

from flowlib.events import Event, EventBatch, NodesCached, NodesRan, Noticed, Observer


class Emitter:
    """Fans events out to observers.

    An observer whose class has `on_batch` is given batches whole; all others are told the events in them, one by one.

    Args:
        observers: They are called in this order, one event at a time. One whose attribute `notices_only` is true gets
            only `Noticed`, so that its presence alone does not cost an event per node.
        log: Whether notices go to loguru, too.
        outer: Gets every event, too: the emitter of the run this one is inside of.
    """

    def __init__(self, observers: Sequence[Observer], *, log: bool = False, outer: "Emitter | None" = None) -> None:
        self._log = log
        self._outer = outer
        self._observers = [observer for observer in observers if not getattr(observer, "notices_only", False)]
        self._notice_takers = [observer for observer in observers if getattr(observer, "notices_only", False)]
        self._told: set[str] = set()
        self._is_closed = False
        self._one_at_a_time = threading.RLock()
        """Runs inside tasks emit from their own threads; observers see one event after the other."""

    @property
    def is_watched(self) -> bool:
        """Whether anyone listens; without observers nobody should make an event."""
        return bool(self._observers) or (self._outer is not None and self._outer.is_watched)

    def end(self, event: Event) -> None:
        """Hand on the last event and nothing after it: a run inside a task may outlive the run that was told to end."""
        with self._one_at_a_time:
            self._tell(self._observers, event)
            self._is_closed = True

    def emit(self, said: Event | EventBatch) -> None:
        """Hand an event, or a batch of them, to every observer."""
        if self._outer is not None:
            self._outer.emit(said)
        self._tell(self._observers, said)

    def notice(self, at: float, kind: str, message: str) -> None:
        """Tell the user something, each text once per run."""
        if self._outer is not None:
            self._outer.notice(at, kind, message)
        with self._one_at_a_time:
            if message in self._told:
                return
            self._told.add(message)
        if self._log:
            from loguru import logger

            logger.warning("{}: {}", kind, message)
        event = Noticed(at=at, kind=kind, message=message)
        self._tell(self._notice_takers, event)
        self._tell(self._observers, event)

    def _tell(self, observers: list[Observer], said: Event | EventBatch) -> None:
        with self._one_at_a_time:
            for observer in () if self._is_closed else tuple(observers):
                try:
                    _hand_over(observer, said)
                except Exception as error:  # any observer may be broken in any way
                    observers.remove(observer)
                    message = f"observer {type(observer).__name__} was dropped: {type(error).__name__}: {error}"
                    self.notice(said.at, "observer-dropped", message)


def _hand_over(observer: Observer, said: Event | EventBatch) -> None:
    """Give an observer an event, or a batch as it takes it. The class is asked: a mock has any attribute one asks for."""
    if not isinstance(said, NodesCached | NodesRan):
        observer.on_event(said)
    elif hasattr(type(observer), "on_batch"):
        observer.on_batch(said)  # type: ignore[attr-defined]
    else:
        for event in said.events():
            observer.on_event(event)
