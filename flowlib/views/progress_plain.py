"""Progress as plain lines: for logs, pipes and CI. Nothing is ever redrawn and no escape code is written."""

from collections.abc import Callable
from typing import TextIO

from flowlib.text import format_count
from flowlib.views.snapshot import Snapshot, failure_lines, status_line, summary_line


class PlainScreen:
    """Writes a line when the run starts, one every few seconds, and a summary.

    Args:
        stream: text stream, usually standard error; flushed after each line. Characters it cannot encode are replaced.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._look: Callable[[], Snapshot] | None = None

    def begin(self, look: Callable[[], Snapshot]) -> None:
        """Write the start line: `digits_sweep: 131 nodes`."""
        self._look = look
        snapshot = look()
        self._write(f"{snapshot.title}: {format_count(snapshot.all.total or 0, 'node')}")

    def draw(self) -> None:
        """Write how far the run is."""
        if self._look is not None:
            self._write(status_line(self._look()))

    def notice(self, text: str) -> None:
        """Write a sentence on a line of its own."""
        self._write(text)

    def end(self) -> None:
        """Write the distinct failures and the summary."""
        if self._look is not None:
            snapshot = self._look()
            self._write(*failure_lines(snapshot), summary_line(snapshot))

    def _write(self, *lines: str) -> None:
        text = "".join(line + "\n" for line in lines)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
