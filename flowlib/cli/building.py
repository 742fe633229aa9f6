"""From words to nodes: import the file, read its options, call the function. Nothing runs here."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import attrs

from flowlib.cli.exits import Ended, Exit
from flowlib.cli.loading import Loaded, load, task_names
from flowlib.cli.options import options_of
from flowlib.cli.trouble import short_path
from flowlib.errors import FlowError, UsageError, near_miss
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.task import Task


@attrs.frozen(kw_only=True)
class Built:
    """A target that can be run, planned or explained."""

    target: Any
    title: str
    path: Path
    module: ModuleType


def build(text: str, tokens: Sequence[str], own: Sequence[str] = ()) -> Built:
    """Return the nodes that a command is about.

    Args:
        text: `FILE[:NAME]`.
        tokens: The words that are not flowlib's own options.
        own: flowlib's own options, which a misspelt word could have meant.

    Raises:
        Ended: The file cannot be imported, the words do not fit, or what is built is not valid.
    """
    loaded = load(text)
    title = loaded.path.stem if loaded.name == "pipeline" else f"{loaded.path.stem}:{loaded.name}"
    target = _called(loaded, tokens, own) if takes_options(loaded.value) else loaded.value
    if target is loaded.value and tokens:
        raise Ended(Exit.USAGE, UsageError(f"{loaded.name!r} takes no options.", {"given": " ".join(tokens)}, ""))
    if not _is_target(target):
        raise Ended(
            Exit.INVALID,
            FlowError(
                f"{loaded.name!r} of {short_path(loaded.path)} gives no node.",
                {"gives": type(target).__name__},
                "Return what tasks return; flowlib runs it.",
            ),
        )
    return Built(target=target, title=title, path=loaded.path, module=loaded.module)


def takes_options(value: Any) -> bool:
    """Tell whether a name stands for something that is called to get nodes; a node itself is not."""
    return isinstance(value, Task | FunctionType | partial)


@contextmanager
def only_answers(is_strict: bool) -> Iterator[None]:
    """Send what the user's code prints to standard error while the answer has to be the only thing on the other one."""
    if not is_strict:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def check_tasks(names: Sequence[str], built: Built) -> None:
    """Say so if a task is named that neither the graph nor the file has; it may still appear while the run grows."""
    known = {node._fl_task.name for node in Graph(targets_of(built.target)).nodes} | set(task_names(built.module))
    for name in names:
        if name not in known:
            print(f"note: there is no task {name!r} so far. {near_miss(name, known)}", file=sys.stderr)


def _called(loaded: Loaded, tokens: Sequence[str], own: Sequence[str]) -> Any:
    try:
        args, kwargs = options_of(loaded.value, loaded.name).parse(tokens, others=own)
    except UsageError as error:
        raise Ended(Exit.USAGE, error) from None
    try:
        return _node_of(loaded.value, args, kwargs) if isinstance(loaded.value, Task) else loaded.value(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise Ended(Exit.INVALID, error) from error


def _node_of(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a task as if from the line where it is written, which is what plans and errors then show."""
    code = getattr(inspect.unwrap(task.fn), "__code__", None)
    if code is None:
        return task(*args, **kwargs)
    return task.node((*task.bound, *args), kwargs, task.policy, code, 0)


def _is_target(value: Any) -> bool:
    """Tell whether there is a node in a value. A task is none: it has to be called first."""
    return not isinstance(value, Task) and bool(targets_of(value))
