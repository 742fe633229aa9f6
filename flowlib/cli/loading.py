"""Import the file of a pipeline, and find in it what `FILE[:NAME]` means.

Rules: the file becomes an ordinary module named like the file, with its directory first on `sys.path`, so that modules
beside it can be imported and `if __name__ == "__main__":` stays asleep. It is compiled from its source each time: the
interpreter's own byte code files are checked by size and second, so they could bring back a version already edited.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import attrs

from flowlib.cli.exits import Ended, Exit
from flowlib.cli.trouble import error_text, short_path
from flowlib.errors import FlowError, UsageError, near_miss
from flowlib.graph.args import Composite
from flowlib.graph.node import Node
from flowlib.graph.task import Task

_SHOWN = 12


class NotImportable(FlowError, ImportError):
    """The file of a pipeline could not be imported."""


@attrs.frozen(kw_only=True)
class Loaded:
    """What `FILE[:NAME]` means: a task, a function that returns nodes, or nodes."""

    path: Path
    module: ModuleType
    name: str
    value: Any


def load(text: str) -> Loaded:
    """Import the file and return what is meant.

    Args:
        text: `FILE` or `FILE:NAME`.

    Raises:
        Ended: The file cannot be imported, or it holds no such name, or none that is clearly meant.
    """
    path, name = split_target(text)
    module = import_file(path)
    if not name:
        name = default_name(module, path)
    if name not in vars(module):
        known = [word for word in candidates(module) or vars(module) if not word.startswith("_")]
        raise Ended(
            Exit.USAGE,
            UsageError(f"There is no {name!r} in {short_path(path)}.", {}, near_miss(name, known)),
        )
    return Loaded(path=path, module=module, name=name, value=vars(module)[name])


def split_target(text: str) -> tuple[Path, str]:
    """Split `FILE[:NAME]`; the name is empty when it is left out.

    >>> split_target("flows/train.py:study")
    (PosixPath('flows/train.py'), 'study')
    """
    file, colon, name = text.rpartition(":")
    if colon and file and (name.isidentifier() or not name) and not Path(text).exists():
        return Path(file), name
    return Path(text), ""


def import_file(path: Path) -> ModuleType:
    """Import a file by its path.

    Raises:
        Ended: It is missing, is no Python source, or raised when it was executed.
    """
    code = _compiled(path)
    name = path.stem.replace(".", "_")
    _check_free(name, path)
    absolute = os.path.abspath(path)
    spec = importlib.util.spec_from_file_location(name, absolute, loader=SourceFileLoader(name, absolute))
    if spec is None:
        raise Ended(Exit.NOT_IMPORTED, NotImportable(f"{short_path(path)} cannot be imported.", {}, ""))
    module = importlib.util.module_from_spec(spec)
    directory = os.path.dirname(absolute)
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    importlib.invalidate_caches()
    sys.modules[name] = module
    try:
        exec(code, vars(module))
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception | SystemExit):
            raise
        raise _not_executed(path, error) from error
    return module


def default_name(module: ModuleType, path: Path) -> str:
    """Return the name that is meant when none is given.

    It is `pipeline`; else the only function that calls the file's tasks; else the only node; else the only task.

    Raises:
        Ended: None of these is there, or several are.
    """
    if "pipeline" in vars(module):
        return "pipeline"
    for names in (_flow_names(module), _node_names(module), _task_names(module)):
        if len(names) == 1:
            return names[0]
        if names:
            break
    shown = candidates(module)
    if not shown:
        raise Ended(
            Exit.USAGE,
            UsageError(
                f"{short_path(path)} has neither a task nor a function that returns nodes.",
                {},
                "Write a function `pipeline` that calls tasks and returns what they give.",
            ),
        )
    listed = "\n".join(f"{short_path(path)}:{name}" for name in shown[:_SHOWN])
    more = f"\nand {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    raise Ended(
        Exit.USAGE,
        UsageError(
            f"{short_path(path)} has no `pipeline`, and several names could be meant.",
            {"could be": listed + more},
            "Give one of them, or name the function `pipeline`.",
        ),
    )


def candidates(module: ModuleType) -> list[str]:
    """Return the names in a module that could be run: functions that call tasks, nodes, tasks."""
    return [*_flow_names(module), *_node_names(module), *_task_names(module)]


def task_names(module: ModuleType) -> list[str]:
    """Return the names, as keys and pictures show them, of all tasks a module can see."""
    return sorted({value.name for value in vars(module).values() if isinstance(value, Task)})


def _task_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in _public(module)
        if isinstance(value, Task) and getattr(value.fn, "__module__", None) == module.__name__
    ]


def _node_names(module: ModuleType) -> list[str]:
    return [name for name, value in _public(module) if type(value) is Node or isinstance(value, Composite)]


def _flow_names(module: ModuleType) -> list[str]:
    """Return the functions written in the file that mention one of the tasks it can see; `main` runs them itself."""
    tasks = {name for name, value in vars(module).items() if isinstance(value, Task)}
    return [
        name
        for name, value in _public(module)
        if isinstance(value, FunctionType)
        and value.__module__ == module.__name__
        and name != "main"
        and not tasks.isdisjoint(_mentioned(value.__code__))
    ]


def _public(module: ModuleType) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(module).items() if not name.startswith("_")]


def _mentioned(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _mentioned(constant)


def _compiled(path: Path) -> CodeType:
    shown = short_path(path)
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        beside = _beside(path)
        hint = near_miss(path.name, beside) if beside else "There is no Python file in that directory."
        raise Ended(Exit.NOT_IMPORTED, NotImportable(f"There is no file {shown}.", {}, hint)) from None
    except IsADirectoryError:
        hint = "Give a file in it: " + (", ".join(_beside(path / "_")[:_SHOWN]) or "there is no Python file")
        raise Ended(Exit.NOT_IMPORTED, NotImportable(f"{shown} is a directory.", {}, hint + ".")) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise Ended(Exit.NOT_IMPORTED, NotImportable(f"{shown} cannot be read: {reason}.", {}, "")) from None
    try:
        return compile(source, os.path.abspath(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise Ended(Exit.NOT_IMPORTED, _not_python(path, error)) from None


def _beside(path: Path) -> list[str]:
    """Return the Python files in the directory of a path."""
    try:
        return sorted(entry.name for entry in os.scandir(path.parent) if entry.name.endswith(".py"))
    except OSError:
        return []


def _not_python(path: Path, error: SyntaxError | ValueError) -> NotImportable:
    if not isinstance(error, SyntaxError):
        return NotImportable(f"{short_path(path)} is not Python source: {error}.", {}, "Is it the right file?")
    line = f":{error.lineno}" if error.lineno else ""
    facts = {"at": f"{short_path(path)}{line}", "error": f"{type(error).__name__}: {error.msg}"}
    if error.text:
        facts["line"] = error.text.strip()
    hint = "Save the file as UTF-8, or declare its encoding in the first line." if "codec" in str(error.msg) else ""
    return NotImportable(f"{short_path(path)} is not valid Python.", facts, hint)


def _check_free(name: str, path: Path) -> None:
    there = sys.modules.get(name)
    file = getattr(there, "__file__", None)
    if there is None or (file is not None and os.path.abspath(file) == os.path.abspath(path)):
        return
    raise Ended(
        Exit.NOT_IMPORTED,
        NotImportable(
            f"{short_path(path)} has the name of a module that is in use.",
            {"module": name, "from": file or "the interpreter"},
            "Rename the file.",
        ),
    )


def _not_executed(path: Path, error: BaseException) -> Ended:
    if isinstance(error, SystemExit):
        what = f"{short_path(path)} called sys.exit({error.code!r}) while it was imported."
        return Ended(Exit.NOT_IMPORTED, NotImportable(what, {}, 'Put that under `if __name__ == "__main__":`.'))
    if isinstance(error, FlowError):
        return Ended(Exit.INVALID, error)
    what = f"{short_path(path)} could not be imported."
    return Ended(Exit.NOT_IMPORTED, NotImportable(what, {}, error_text(error)))
