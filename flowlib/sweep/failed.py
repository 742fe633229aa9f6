"""A failed point of a sweep, as a value: what stands in its place when failures are kept.

Invariant: a `Failed` holds texts, never the exception: an exception keeps its frames alive, and with them whatever the
task had loaded, and it may not survive being sent.
"""

import traceback
from collections.abc import Mapping
from typing import Any

import attrs

from flowlib.errors import error_text

_MAX_TRACEBACK = 8_000


@attrs.frozen(kw_only=True)
class Failed:
    """Why one point has no value.

    >>> failed = Failed.from_exception(ValueError("lr too large"), task="fit", label="lr=9")
    >>> failed
    Failed('lr=9': ValueError: lr too large)
    """

    error_type: str
    """Name of the exception's class."""
    message: str
    task: str = ""
    label: str = ""
    index: int = -1
    """Position of the point in its sweep; -1 when not known."""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    where: str = ""
    """`file:line` of the innermost frame outside flowlib."""
    traceback: str = attrs.field(default="", repr=False)
    """The formatted traceback without flowlib's frames, its end if it is long."""

    @classmethod
    def from_exception(cls, error: BaseException, *, task: str = "", label: str = "") -> "Failed":
        """Describe an exception; the point it belongs to may be added later with `at`."""
        frames = [
            (frame, line)
            for frame, line in traceback.walk_tb(error.__traceback__)
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] != "flowlib"
        ]
        where = f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else ""
        lines = traceback.StackSummary.extract(iter(frames)).format() + traceback.format_exception_only(error)
        return cls(
            error_type=type(error).__name__,
            message=error_text(error),
            task=task,
            label=label,
            where=where,
            traceback="".join(lines)[-_MAX_TRACEBACK:],
        )

    def at(self, *, params: Mapping[str, Any], index: int, label: str = "") -> "Failed":
        """Return the same failure with the point it belongs to."""
        return attrs.evolve(self, params=dict(params), index=index, label=label or self.label)

    def __flowlib_digest__(self) -> object:
        """Return what counts when a failure is an input: what went wrong, not where the files are."""
        return ("Failed", self.task, self.error_type, self.message)

    def __repr__(self) -> str:
        label = f"{self.label!r}: " if self.label else ""
        first = (self.message.splitlines() or [""])[0][:120]
        return f"Failed({label}{self.error_type}: {first})"
