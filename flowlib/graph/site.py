"""Where in the user's code something was written: kept as a code object and an offset, read only when asked."""

import sys
from types import CodeType, FrameType

import attrs


@attrs.frozen
class Site:
    """A place in source code. Costs two references to make; the line is looked up when it is shown."""

    code: CodeType
    offset: int

    @property
    def file(self) -> str:
        """The file as the interpreter knows it."""
        return self.code.co_filename

    @property
    def line(self) -> int:
        """The line number, counted from 1. O(lines of the function)."""
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end and line is not None:
                return line
        return self.code.co_firstlineno

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.line}"


def _short(file: str) -> str:
    """Show a path relative to the current directory when it lies below it, and notebook cells by their number."""
    import os.path

    if file.startswith("<") or "ipykernel_" in file:
        return _cell(file)
    try:
        relative = os.path.relpath(file)
    except (OSError, ValueError):  # the current directory is gone, or on another drive
        return file
    return file if relative.startswith("..") else relative


def _cell(file: str) -> str:
    """Name a notebook cell: IPython gives cells made-up file names and keeps their numbers in linecache."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    numbers = getattr(getattr(running, "compile", None), "_filename_map", {}) if running is not None else {}
    return f"In[{numbers[file]}]" if file in numbers else file.rsplit("/", 1)[-1]


def user_frame(depth: int) -> FrameType:
    """Return the nearest frame at least `depth` callers up that does not belong to flowlib."""
    frame = sys._getframe(depth)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".", 1)[0] == "flowlib":
        frame = frame.f_back
    return frame


def site_here(depth: int = 2) -> Site:
    """Return the user's place that called into flowlib, be it through a library: where an error is to be looked for."""
    nearest = frame = user_frame(depth)
    while _is_library(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    found = nearest if _is_library(frame.f_code.co_filename) else frame
    return Site(found.f_code, found.f_lasti)


def _is_library(file: str) -> bool:
    import os

    is_installed = "site-packages" in file or "dist-packages" in file
    return is_installed or file.startswith(("<frozen ", os.path.dirname(os.__file__) + os.sep))
