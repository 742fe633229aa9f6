"""The observer behind every progress display: it counts each event and lets a screen draw now and then.

Invariant: a screen is asked to draw at most once in `every_s` seconds of the clock, however many events arrive.
Invariant: nothing is drawn after the run's end; `close` ends a display whose run never said that it ended.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from flowlib.clock import Clock
from flowlib.events import Event, EventBatch, NodesRan, NodeStarted, Noticed, RunFinished
from flowlib.text import one_line
from flowlib.views.snapshot import Snapshot, take_snapshot
from flowlib.views.tally import Tally


class Screen(Protocol):
    """Where progress is shown. The methods are called in this order, from the thread that feeds the observer."""

    def begin(self, look: Callable[[], Snapshot]) -> None:
        """Take the way to look at the run at any later moment. The run has started."""

    def draw(self) -> None:
        """Show the run as it is now."""

    def notice(self, text: str) -> None:
        """Show a sentence that stays."""

    def end(self) -> None:
        """Leave a short summary and let go of the screen."""


class ProgressObserver:
    """Feeds a screen from events.

    Args:
        screen: what draws.
        clock: `monotonic` paces the drawing and measures the run, `now` is compared with the events' times.
        every_s: least seconds between two drawings.
        title: what the run is called; empty takes its first tag.
        totals: task name -> nodes it will have; without it a task's line has counts but no bar.
        at_once: draw when the first node starts, instead of `every_s` after the run's start. A run that only reuses
            then draws nothing but its summary.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        clock: Clock,
        every_s: float,
        title: str = "",
        totals: Mapping[str, int] | None = None,
        at_once: bool = True,
    ) -> None:
        self._screen = screen
        self._clock = clock
        self._every_s = every_s
        self._at_once = at_once
        self._title = title
        self._totals = dict(totals or {})
        self._tally = Tally()
        self._began_at = 0.0
        self._drawn_at: float | None = None
        self._is_open = False
        self._has_ended = False

    def on_event(self, event: Event) -> None:
        """Take one event. O(1), without drawing unless the time for it has come."""
        self._tally.add(event)
        if self._has_ended:
            return
        now = self._open()
        if isinstance(event, RunFinished):
            self.close()
        elif isinstance(event, Noticed):
            self._notice(event)
        else:
            self._draw_if_due(now, something_runs=isinstance(event, NodeStarted))

    def on_batch(self, batch: EventBatch) -> None:
        """Take the events of many nodes; at most one drawing."""
        self._tally.add_batch(batch)
        if not self._has_ended:
            self._draw_if_due(self._open(), something_runs=isinstance(batch, NodesRan))

    def close(self) -> None:
        """End the display with a summary of what was seen so far. Closing twice is fine."""
        if self._is_open and not self._has_ended:
            self._has_ended = True
            self._screen.end()

    def look(self) -> Snapshot:
        """Return the run at this moment. O(tasks); may be called from another thread."""
        return take_snapshot(
            self._tally,
            title=self._title,
            totals=self._totals,
            now=self._clock.now(),
            elapsed_s=self._clock.monotonic() - self._began_at,
        )

    def _open(self) -> float:
        """Return the time; the first call begins the display."""
        now = self._clock.monotonic()
        if not self._is_open:
            self._is_open = True
            self._began_at = now
            self._screen.begin(self.look)
        return now

    def _draw_if_due(self, now: float, *, something_runs: bool) -> None:
        is_first = self._drawn_at is None and self._at_once and something_runs
        if is_first or now - (self._began_at if self._drawn_at is None else self._drawn_at) >= self._every_s:
            self._drawn_at = now
            self._screen.draw()

    def _notice(self, event: Noticed) -> None:
        if not self._tally.n_other_notices:  # the first few are shown, the others only counted
            self._screen.notice(f"note: {one_line(event.message)}")
