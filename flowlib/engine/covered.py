"""What a result depends on beyond its key, because the call made other calls: by returning nodes, or by `flowlib.run`.

A result is stored only if its key *covers* the inner calls: the outer code reaches their tasks, and none of them depends
on the environment, on time, or on a task that is never kept. Files that they declare are not in the outer key; the entry
lists them, with the digests they had before the inner calls began, and they are digested again before each hit.

Invariant: whatever an `InnerCalls` knows, those around it know, too. Everything is added before what it is about runs, and
in single operations on dicts, because the threads of a task may add at the same time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Optional

from flowlib.errors import FlowError
from flowlib.graph.args import ATOMS, children
from flowlib.graph.hidden import visible
from flowlib.graph.node import Node
from flowlib.graph.task import Task
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.file import Dir, File
from flowlib.hashing.resolve import qualified_name
from flowlib.ids import Digest

Watch = tuple[tuple[str, Digest], ...]
"""Paths, and the digests that the files had."""


class InnerCalls:
    """The calls made inside one call, as far as its stored result depends on them.

    Args:
        around: Those of the call that this call is inside of, if any.
    """

    __slots__ = ("_around", "_files", "_is_refused", "_tasks")

    def __init__(self, around: Optional["InnerCalls"] = None) -> None:
        self._around = around
        self._files: dict[str, Digest] = {}
        self._tasks: dict[int, Task[..., Any]] = {}
        self._is_refused = False

    @property
    def watch(self) -> Watch:
        """The files to digest again before the outer result is used."""
        return tuple(sorted(self._files.copy().items()))

    def declare(self, nodes: Iterable[Node], digest: Callable[[Any], Digest]) -> None:
        """Add calls that are about to be decided or made. Never raises.

        Args:
            nodes: The calls.
            digest: Digests a file.
        """
        for node in nodes:
            task, policy = node._fl_task, node._fl_policy
            if policy.ttl is not None or policy.env or not policy.cache:
                self.refuse()
            if not task.own_code:
                self._add_task(task)
            if ATOMS.issuperset(map(type, node._fl_args)):
                continue
            try:
                self.add_files((str(file.path), digest(file)) for file in _found(node._fl_args, (File, Dir)))
            except (FlowError, OSError):  # it is not there, or cannot be read: who knows what it will be
                self.refuse()

    def add_files(self, files: Iterable[tuple[str, Digest]]) -> None:
        """Add files with the digests they had; a file that had two of them cannot be watched."""
        for path, digest in files:
            calls: InnerCalls | None = self
            while calls is not None and calls._files.get(path) != digest:
                if calls._files.setdefault(path, digest) != digest:
                    calls.refuse()
                calls = calls._around

    def refuse(self) -> None:
        """Say that the outer result must not be stored."""
        calls: InnerCalls | None = self
        while calls is not None and not calls._is_refused:
            calls._is_refused = True
            calls = calls._around

    def report(self) -> tuple[dict[str, Digest], list[Task[..., Any]], bool]:
        """Return the files, the tasks, and whether the outer result must not be stored: for another process."""
        return self._files.copy(), [*self._tasks.copy().values()], self._is_refused

    def absorb(self, files: Mapping[str, Digest], tasks: Iterable[Task[..., Any]], is_refused: bool) -> None:
        """Add what was reported by another process."""
        for task in tasks:
            self._add_task(task)
        self.add_files(files.items())
        if is_refused:
            self.refuse()

    def _add_task(self, task: Task[..., Any]) -> None:
        calls: InnerCalls | None = self
        while calls is not None and id(task.fn) not in calls._tasks:
            calls._tasks[id(task.fn)] = task
            calls = calls._around

    def are_covered(self, node: Node, version: CodeVersion | None) -> bool:
        """Whether the key of the outer call and the watched files account for all of these calls.

        Args:
            node: The outer call.
            version: The version of its code; None for flowlib's own tasks, which make no calls by themselves.
        """
        if self._is_refused:
            return False
        if version is None:
            return True
        unknown = [task for task in self._tasks.copy().values() if not _is_reached(task, version)]
        if not unknown:
            return True
        at_hand = [node._fl_task.fn, *(task.fn for task in _found(node._fl_args, (Task,)))]
        return all(any(task.fn is fn for fn in at_hand) for task in unknown)


def _is_reached(task: Task[..., Any], version: CodeVersion) -> bool:
    """Whether a task is part of a code version, or is defined inside a function that is."""
    if task.name in version.tasks:
        return True
    outer, inside, _ = qualified_name(task.fn).rpartition(".<locals>.")
    while inside:
        if outer in version.parts:
            return True
        outer, inside, _ = outer.rpartition(".<locals>.")
    return False


def _found(args: tuple[Any, ...], kinds: tuple[type, ...]) -> Iterator[Any]:
    """Yield the objects of some kinds inside a call's arguments, each once."""
    stack, seen = list(args), dict[int, Any]()
    while stack:
        item = stack.pop()
        if isinstance(item, kinds):
            yield item
        elif type(item) not in ATOMS and type(item) is not Node and id(item) not in seen:
            seen[id(item)] = item  # kept: the id of an object that is gone may come back as another's
            inside = children(item)
            stack.extend((child for _, _, child in visible(item)) if inside is None else inside)
