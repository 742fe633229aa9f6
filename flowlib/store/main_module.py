"""Classes of a script have two names: `__main__.Report` when it is run, `train.Report` when it is imported.

A result stored by `python train.py` must load in `flowlib run train.py`, and the other way round, as an instance of the
class that is there. So pickles name such a class by the script's module name, and loading finds it in whichever of the
two is present, never importing a script a second time.
"""

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from types import FunctionType
from typing import Any


def script_name() -> str | None:
    """Return the name under which the running script could be imported; None in notebooks and shells."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    name = Path(file).stem if file else ""
    return name if name.isidentifier() and name != "__main__" else None


def find_in(module: str, qualname: str) -> Any:
    """Return what a pickle names, from the running script when the module is that script."""
    found: Any = sys.modules["__main__"] if _is_script(module) else importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _is_script(module: str) -> bool:
    if module != script_name():
        return False
    file = Path(str(sys.modules["__main__"].__file__)).resolve()
    loaded = sys.modules.get(module)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return True
        origin = spec.origin if spec is not None else None
    else:
        origin = getattr(loaded, "__file__", None)
    return origin is None or Path(origin).resolve() == file


class ScriptPickler(pickle.Pickler):
    """Names classes and functions of the running script by the module name of its file."""

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what `__main__` defines; leave everything else to pickle."""
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            name = script_name()
            if name is not None and _is_reachable(obj):
                return find_in, (name, obj.__qualname__)
        return NotImplemented


class ScriptUnpickler(pickle.Unpickler):
    """Finds what a module of the script's name defines in the running script."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a global; the script's own from `__main__`."""
        if _is_script(module):
            return find_in(module, name)
        return super().find_class(module, name)


def _is_reachable(obj: Any) -> bool:
    found: Any = sys.modules["__main__"]
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj
