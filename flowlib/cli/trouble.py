"""Tell what went wrong: a sentence for the user's mistakes, the user's own traceback for their exceptions.

Invariant: no frame of flowlib or of the import machinery is shown, unless there is no other.
"""

import contextlib
import json
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from flowlib.cli.exits import Ended
from flowlib.config import wants_no_color
from flowlib.engine.stop import Terminated
from flowlib.errors import FlowError, SweepFailed
from flowlib.views.palette import paint

_OURS = str(Path(__file__).parents[1]) + os.sep
_STANDARD = sysconfig.get_path("stdlib") + os.sep
_MACHINERY = ("<frozen importlib", "<frozen runpy")


def tell(ended: Ended, *, as_json: bool) -> int:
    """Write why a command ended, for people to standard error and if asked for as JSON to standard output.

    Returns:
        The exit code.
    """
    if isinstance(ended.error, KeyboardInterrupt | Terminated):
        word = "interrupted" if isinstance(ended.error, KeyboardInterrupt) else "told to end"
        text = f"{word}: what had finished is kept; run again to go on from here"
    else:
        text = _headed(error_text(ended.error))
    with contextlib.suppress(OSError):  # nobody can be told, and the code says the rest
        print(text, file=sys.stderr)
    if as_json:
        print(json.dumps(error_document(ended)))
    return int(ended.code)


def error_text(error: BaseException) -> str:
    """Return the whole text of an error: facts for a `FlowError`, else the user's traceback."""
    if isinstance(error, SweepFailed) and error.errors:
        return f"{error}\n\nThe first of them:\n{user_traceback(error.errors[0])}"
    if not isinstance(error, FlowError):
        return user_traceback(error)
    lines = [str(error)]
    place = user_place(error)
    if place and place not in lines[0]:
        lines.append(f"raised at {place}")
    return "\n".join([*lines, *getattr(error, "__notes__", ())])


def error_document(ended: Ended) -> dict[str, Any]:
    """Return an error as plain data, for programs."""
    error = ended.error
    is_ours = isinstance(error, FlowError)
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.what if isinstance(error, FlowError) else str(error),
        "facts": dict(error.facts) if isinstance(error, FlowError) else {},
        "hint": error.hint if isinstance(error, FlowError) else "",
        "at": user_place(error),
        "notes": list(getattr(error, "__notes__", ())),
        "traceback": "" if is_ours else user_traceback(error),
    }
    return {"schema": "flowlib.error/1", "exit_code": int(ended.code), "error": document}


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an exception, of its causes and of its group, without flowlib's frames."""
    shown = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [shown]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        kept = [frame for frame in item.stack if not _is_ours(frame.filename)]
        item.stack = traceback.StackSummary.from_list(kept) if kept else None  # type: ignore[assignment]
        waiting += [item.__cause__, item.__context__, *(item.exceptions or ())]
    return "".join(shown.format()).rstrip("\n")


def user_place(error: BaseException) -> str:
    """Return `file:line` of the innermost frame in the user's own code, empty if there is none."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not _is_ours(file) and not file.startswith(_STANDARD):
            place = f"{short_path(file)}:{line}"
    return place


def short_path(path: str | os.PathLike[str]) -> str:
    """Return a path relative to the current directory if it lies below it, else as it is."""
    text = os.fspath(path)
    try:
        relative = os.path.relpath(text)
    except (ValueError, OSError):  # the current directory is gone
        return text
    return text if relative.startswith("..") or text.startswith("<") else relative


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, *_MACHINERY))


def _headed(text: str) -> str:
    """Put `error:` before a sentence; a traceback says itself what it is."""
    if text.startswith(("Traceback ", "  + Exception Group")):
        return text
    is_coloured = sys.stderr.isatty() and not wants_no_color()
    return f"{paint('error:', 'failed') if is_coloured else 'error:'} {text}"
