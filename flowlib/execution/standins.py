"""Modules that only one process can have: the script, the notebook, test files that are not on the path.

Theory of operation: what such a module defines travels by value. In a worker an empty module stands in for it, under its
name and with its file, and what arrives by value is put in the place where it came from. So a class means the same to
pickles on both sides, code is found by its file, and what is stored by a worker loads anywhere. A name that is asked of
a stand-in and has not arrived yet is noted: whoever sent the work can send that, too.

Invariant: no script is ever executed a second time.
"""

import importlib.machinery
import os
import sys
import types
from functools import cache
from types import ModuleType
from typing import Any

_MAIN = "__main__"


class StandIn(ModuleType):
    """A module of another process, as far as it has arrived."""

    def __init__(self, name: str, asked: set[tuple[str, str]]) -> None:
        super().__init__(name)
        self.__dict__["_fl_asked"] = asked

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self.__dict__["_fl_asked"].add((self.__name__, name))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} in this process")


def needs_stand_in(module: str) -> bool:
    """Whether a module of this process cannot be imported by another one with the same path. Cost: a search, once."""
    if module == _MAIN:
        return True
    loaded = sys.modules.get(module)
    return not isinstance(loaded, ModuleType) or not _is_importable(module, getattr(loaded, "__file__", None))


@cache
def _is_importable(module: str, file: str | None) -> bool:
    """Whether a search of the path leads to where a module was loaded from. Unlike `find_spec`, never trusts what is loaded."""
    if file is None and module in sys.builtin_module_names:
        return True
    path: Any = None
    spec: Any = None
    walked = ""
    for name in module.split("."):
        walked = f"{walked}.{name}" if walked else name
        spec = _found(walked, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    origin = spec.origin
    if file is None or origin in (None, "built-in", "frozen"):
        return bool(file is None or origin == "frozen")
    return bool(os.path.realpath(origin) == os.path.realpath(file))


def _found(name: str, path: Any) -> Any:
    for finder in sys.meta_path:
        ours = finder in _ORDINARY or type(finder).__module__.startswith("__editable__")
        if ours or getattr(finder, "__module__", "").startswith("__editable__"):
            try:
                spec = finder.find_spec(name, path)
            except Exception:  # a finder of an editable install whose project is gone
                continue
            if spec is not None:
                return spec
    return None


_ORDINARY = (
    importlib.machinery.BuiltinImporter,
    importlib.machinery.FrozenImporter,
    importlib.machinery.PathFinder,
)


def stand_in_for(name: str, file: str | None, asked: set[tuple[str, str]]) -> ModuleType:
    """Return the module of a name, with a stand-in put in the place of one that is not there (or is our own `__main__`).

    Args:
        name: The module's name.
        file: Where the other process has it from.
        asked: Where names are noted that are asked for and have not arrived.
    """
    found = sys.modules.get(name)
    if isinstance(found, ModuleType) and not isinstance(found, StandIn) and name != _MAIN:
        return found
    if not isinstance(found, StandIn) or getattr(found, "__file__", None) != file:
        found = sys.modules[name] = StandIn(name, asked)
        if file is not None:
            found.__file__ = file
    return found


def put(value: Any, asked: set[tuple[str, str]], module: str, file: str | None) -> None:
    """Put what has arrived into its stand-in, and with a function the globals it uses."""
    home = stand_in_for(module, file, asked)
    if not isinstance(home, StandIn):
        return
    function = getattr(value, "fn", value)
    if isinstance(function, types.FunctionType) and function.__module__ == module:
        for name, part in function.__globals__.items():
            if not name.startswith("__"):
                home.__dict__.setdefault(name, part)
    if "." not in value.__qualname__:
        home.__dict__[value.__qualname__] = value


def is_at_home(value: Any) -> bool:
    """Whether a stand-in has just this under its name, so that the process it came from has it, too."""
    home = sys.modules.get(getattr(value, "__module__", None) or "")
    if not isinstance(home, StandIn):
        return False
    found: Any = home.__dict__
    parts = getattr(value, "__qualname__", "<").split(".")
    found = found.get(parts[0])
    for part in parts[1:]:
        found = getattr(found, part, None)
    return found is value


def find_at_home(module: str, qualname: str) -> Any:
    """Return what a module of this process has under a dotted name.

    Raises:
        AttributeError: It has no such name any more.
    """
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name)
    return found
