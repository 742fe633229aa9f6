"""Exceptions on their way from a worker: as they are if they can travel, and always with their text and traceback.

Theory of operation: an exception is packed, unpacked again where it was raised, and compared; only one that comes back as
what it was is sent as itself. In the place of any other goes an `Untransferable` that says what it was. Tracebacks, causes
and contexts, which pickling drops, travel beside it as plain texts and numbers, and are put together again: the user sees
the lines of the task, whether it ran here or there.
"""

import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType, TracebackType
from typing import Any

import attrs

from flowlib.errors import Untransferable, error_text
from flowlib.execution.pickling import dump_home, load

_MOST_FRAMES = 100
_MOST_CAUSES = 16


@attrs.frozen
class Line:
    """One line of a traceback."""

    file: str
    line: int
    name: str
    module: str


@attrs.frozen
class Sent:
    """One exception of a chain.

    Attributes:
        pickled: Itself, or None if it cannot travel.
        type_name: Its class.
        text: Its text.
        trouble: Why it cannot travel.
        lines: Its traceback, outermost first.
        cause: Position in the chain of what it was raised from; -1 for none.
        context: Position of what was being handled when it was raised; -1 for none.
        hides: Whether the context is not shown.
    """

    pickled: bytes | None
    type_name: str
    text: str
    trouble: str
    lines: Sequence[Line]
    cause: int
    context: int
    hides: bool


def pack_error(error: BaseException) -> list[Sent]:
    """Return an exception and what it came from, ready to be sent. Never raises."""
    chain: list[BaseException] = [error]
    sent: list[Sent] = []
    at = 0
    while at < len(chain):
        sent.append(_pack_one(chain[at], chain))
        at += 1
    return sent


def _pack_one(error: BaseException, chain: list[BaseException]) -> Sent:
    pickled, trouble = _pickled(error)
    return Sent(
        pickled,
        f"{type(error).__module__}.{type(error).__qualname__}",
        error_text(error),
        trouble,
        _lines(error.__traceback__),
        _place(error.__cause__, chain),
        _place(error.__context__, chain),
        error.__suppress_context__,
    )


def _place(error: BaseException | None, chain: list[BaseException]) -> int:
    if error is None:
        return -1
    for place, known in enumerate(chain):
        if known is error:
            return place
    if len(chain) >= _MOST_CAUSES:
        return -1
    chain.append(error)
    return len(chain) - 1


def _pickled(error: BaseException) -> tuple[bytes | None, str]:
    """Return the exception as bytes, in its own way or else by its parts; and why that is not possible."""
    found, trouble = _tried(error, lambda: error)
    if found is None:  # most often its `__init__` wants more than its `args`
        found, _ = _tried(error, lambda: _Parts(type(error), _fitting(error.args), _fitting(vars(error))))
    return found, "" if found is not None else trouble


def _tried(error: BaseException, form: Callable[[], Any]) -> tuple[bytes | None, str]:
    try:
        message = dump_home(form(), None)
        again = load(message)
    except BaseException as trouble:  # its own methods may do anything
        return None, f"{type(trouble).__name__}: {error_text(trouble)}"
    if type(again) is not type(error):
        return None, f"it comes back as a {type(again).__name__}"
    if error_text(again) != error_text(error):
        return None, "it comes back with another text"
    return message, ""


class _Parts:
    """An exception as its class and what it holds, for a class whose own way to be pickled does not work."""

    def __init__(self, kind: type, args: Any, held: Any) -> None:
        self._parts = kind, args, held

    def __reduce__(self) -> Any:
        return _from_parts, self._parts


def _from_parts(kind: type[BaseException], args: tuple[Any, ...], held: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(held)
    return error


def _fitting(parts: Any) -> Any:
    """Return those parts that can travel; in the place of an argument that cannot stands its text."""
    if isinstance(parts, tuple):
        return tuple([part if _travels(part) else error_text(part) for part in parts])
    return {name: part for name, part in parts.items() if _travels(part)}


def _travels(part: Any) -> bool:
    try:
        load(dump_home(part, None))
    except BaseException:
        return False
    return True


def _lines(at: TracebackType | None) -> list[Line]:
    lines: list[Line] = []
    while at is not None:
        code, scope = at.tb_frame.f_code, at.tb_frame.f_globals
        lines.append(Line(code.co_filename, at.tb_lineno, code.co_name, str(scope.get("__name__", ""))))
        at = at.tb_next
    if len(lines) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        lines = lines[:half] + lines[-half:]
    return lines


def unpack_error(sent: Sequence[Sent]) -> BaseException:
    """Return the exception that was packed, with traceback, cause and context. Never raises."""
    made = [_unpack_one(one) for one in sent]
    for error, one in zip(made, sent, strict=True):
        if one.cause >= 0:
            error.__cause__ = made[one.cause]
        if one.context >= 0:
            error.__context__ = made[one.context]
        error.__suppress_context__ = one.hides
    return made[0]


def _unpack_one(one: Sent) -> BaseException:
    error: Any = None
    trouble = one.trouble
    if one.pickled is not None:
        try:
            error = load(one.pickled)
        except BaseException as reason:  # it did come back in the worker; here something is missing
            trouble = f"{type(reason).__name__}: {error_text(reason)}"
    if not isinstance(error, BaseException):
        error = Untransferable(type_name=one.type_name, message=one.text, reason=trouble)
    made: BaseException = error.with_traceback(_traceback(one.lines))
    return made


def _traceback(lines: Sequence[Line]) -> TracebackType | None:
    made: TracebackType | None = None
    for line in reversed(lines):
        made = TracebackType(made, _frame(line), -1, line.line)
    return made


_RAISING = compile("raise LookupError", "<worker>", "exec")


def _frame(line: Line) -> FrameType:
    """Return a frame that stands for one of another process."""
    code: CodeType = _RAISING.replace(co_filename=line.file, co_name=line.name, co_firstlineno=max(line.line, 1))
    try:
        exec(code, {"__name__": line.module})
    except LookupError as error:
        found = error.__traceback__
        if found is not None and found.tb_next is not None:
            return found.tb_next.tb_frame
    return sys._getframe()
