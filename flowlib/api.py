"""The door for programs and notebooks: `run`, `start`, `arun`, `plan`, `why`, with a progress display that fits the screen.

Everything below this module is silent; here what a run has to say meets a person.

A program that only runs things pays for nothing else: what plans, explains, sweeps, shows progress or works in the
background is imported when it is asked for.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

import attrs

from flowlib.config import ExecutorChoice, ProgressMode, wants_no_color
from flowlib.engine.context import is_inside_run
from flowlib.engine.run import Cache, RunOptions, execute, options_from, unforced
from flowlib.errors import FlowWarning
from flowlib.events import Event, Noticed, Observer
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph

if TYPE_CHECKING:
    from flowlib.engine.handle import Run
    from flowlib.planning.explain import Explanation
    from flowlib.planning.preview import Plan
    from flowlib.sweep.group import FanOut
    from flowlib.sweep.result import SweepResult

R = TypeVar("R")
OnErrorWord = Literal["stop", "continue", "keep"]


class RunKeywords(TypedDict, total=False):
    """The options of a run, as type checkers see them; `run` says what they mean."""

    workers: int | None
    executor: ExecutorChoice | None
    cache: Cache
    on_error: OnErrorWord | None
    progress: ProgressMode | None
    deadline: float | None
    tags: Sequence[str]
    force: Collection[str]
    observers: Sequence[Observer]


_ADVICE = frozenset({"cpu-bound"})
"""Notices that belong to the summary of a run: nothing went wrong, so nobody is warned."""


class _Warner:
    """Turns notices into warnings, for runs without a display that shows them."""

    notices_only = True

    def __init__(self) -> None:
        self._messages: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, Noticed) and event.kind not in _ADVICE:
            self._messages.append(event.message)

    def warn(self) -> None:
        messages, self._messages = self._messages, []
        for message in messages:
            warnings.warn(message, FlowWarning, stacklevel=3)


@overload
def run(target: FanOut[R], **options: Unpack[RunKeywords]) -> SweepResult[R]: ...
@overload
def run(target: R, **options: Unpack[RunKeywords]) -> R: ...
def run(
    target: Any,
    *,
    workers: int | None = None,
    executor: ExecutorChoice | None = None,
    cache: Cache = None,
    on_error: OnErrorWord | None = None,
    progress: ProgressMode | None = None,
    deadline: float | None = None,
    tags: Sequence[str] = (),
    force: Collection[str] = (),
    observers: Sequence[Observer] = (),
) -> Any:
    """Run what is missing and return the value of a node, or of every node in a structure.

    Args:
        target: A node, a fan-out, or any nesting of lists, tuples, dicts, sets, dataclasses with nodes inside; the same
            shape comes back with values, a fan-out as a `SweepResult`.
        workers: Jobs at once; CPUs + 4 (at most 32) unless set.
        executor: "threads", "processes", "inline" for the calling thread, "dask" or "ray" or the address of such a cluster
            ("dask://host:8786"), or an executor of concurrent.futures or a client of dask.distributed, which stay yours.
        cache: A directory, a `Store`, or False for none; `.flowlib/` in the project unless set.
        on_error: "stop" (start nothing new, finish what runs), "continue" (other branches go on), "keep" (failures become
            `Failed` values).
        progress: True or "auto" chooses by the screen; "terminal", "notebook", "plain"; False shows nothing.
        deadline: Seconds after which nothing new is started.
        tags: Words stored with the run.
        force: Names of tasks that run whatever is stored. A name that no task of the run has is told as a notice.
        observers: Get every event of the run.

    Raises:
        Exception: The task's own, if one failed, with a note that says which call; `SweepFailed` if several did.
        RunStopped: The deadline came before every value was there.
        KeyboardInterrupt: Ctrl-C. What had finished is kept.

    >>> import flowlib as fl
    >>> @fl.task
    ... def add(x: int, y: int) -> int:
    ...     return x + y
    >>> fl.run(add(add(1, 2), 3), cache=False, progress=False)
    6
    """
    settings = {"workers": workers, "executor": executor, "on_error": on_error, "progress": progress}
    options, warner = _options(target, settings, cache, deadline, tags, force, observers)
    try:
        result = execute(target, options)
    except BaseException:
        with contextlib.suppress(FlowWarning):  # where warnings are errors, the run's own error goes first
            warner.warn()
        raise
    warner.warn()
    return result


@overload
def start(target: FanOut[R], **options: Unpack[RunKeywords]) -> Run[SweepResult[R]]: ...
@overload
def start(target: R, **options: Unpack[RunKeywords]) -> Run[R]: ...
def start(target: Any, **options: Unpack[RunKeywords]) -> Run[Any]:
    """Start a run in the background and return its handle at once.

    Args:
        target: As for `run`.
        **options: As for `run`; progress is off unless asked for.

    >>> import flowlib as fl
    >>> @fl.task
    ... def one() -> int:
    ...     return 1
    >>> fl.start(one(), cache=False).result()
    1
    """
    from flowlib.engine.handle import Run

    made, warner = _started_options(target, options)
    return Run(target, made, warner.warn)


@overload
async def arun(target: FanOut[R], **options: Unpack[RunKeywords]) -> SweepResult[R]: ...
@overload
async def arun(target: R, **options: Unpack[RunKeywords]) -> R: ...
async def arun(target: Any, **options: Unpack[RunKeywords]) -> Any:
    """Run inside a running event loop without blocking it. Arguments as for `run`; cancelling the task cancels the run.

    >>> import asyncio, flowlib as fl
    >>> @fl.task
    ... def one() -> int:
    ...     return 1
    >>> asyncio.run(fl.arun(one(), cache=False))
    1
    """
    from flowlib.engine.handle import Run

    made, warner = _started_options(target, options)
    result = await Run(target, made, warner.warn).wait()
    warner.warn()
    return result


def plan(target: object, *, cache: Cache = None, workers: int | None = None, force: Collection[str] = ()) -> Plan:
    """Return what `run` would do now: which nodes are cached, which would run and why. Runs nothing.

    Args:
        target: As for `run`.
        cache: As for `run`: the store that is asked.
        workers: Jobs at once, for the predicted time.
        force: Names of tasks that would run whatever is stored.

    Cost: one look-up for each level of the graph; no value is loaded.

    >>> import flowlib as fl
    >>> @fl.task
    ... def one() -> int:
    ...     return 1
    >>> print(fl.plan(one(), cache=False))
    Plan: 0 cached, 1 to run
      one  to run
             cache off
    """
    from flowlib.engine.look import make_plan

    made = make_plan(target, options_from({"workers": workers}, cache=cache, force=_words(force)))
    _warn_unforced(target, force)
    return made


def why(target: object, *, cache: Cache = None, force: Collection[str] = ()) -> Explanation:
    """Explain why a node is cached or would run, down to the changed line of a helper. Runs nothing.

    For a target with several nodes, the explanation of the first that is not cached; of the first if all are.

    Args:
        target: As for `run`.
        cache: As for `run`: the store that is asked.
        force: Names of tasks that would run whatever is stored.

    Raises:
        FlowError: There is no node in the target.

    >>> import flowlib as fl
    >>> @fl.task
    ... def one() -> int:
    ...     return 1
    >>> print(fl.why(one(), cache=False))  # doctest: +ELLIPSIS
    one at ...: would run
      cache off
    """
    from flowlib.engine.look import explain_target

    found = explain_target(target, options_from({}, cache=cache, force=_words(force)))
    _warn_unforced(target, force)
    return next((explanation for explanation in found if explanation.word != "cached"), found[0])


def _options(
    target: object,
    settings: Mapping[str, Any],
    cache: Cache,
    deadline: float | None,
    tags: Sequence[str],
    force: Collection[str],
    observers: Sequence[Observer],
) -> tuple[RunOptions, _Warner]:
    options = options_from(settings, cache=cache, deadline_s=deadline, tags=_words(tags), force=_words(force))
    display = _display(target, options.settings.progress)
    warner = _Warner()
    return attrs.evolve(options, observers=(*observers, warner if display is None else display)), warner


def _warn_unforced(target: object, force: Collection[str]) -> None:
    for message in unforced(Graph(targets_of(target)).nodes, _words(force), "so far"):
        warnings.warn(message, FlowWarning, stacklevel=3)


def _words(given: Collection[str]) -> tuple[str, ...]:
    """Return words as a tuple; a single one may come alone."""
    return (given,) if isinstance(given, str) else tuple(given)


def _started_options(target: object, given: Mapping[str, Any]) -> tuple[RunOptions, _Warner]:
    for name in given:
        if name not in RunKeywords.__annotations__:
            raise TypeError(f"run() got an unexpected keyword argument {name!r}")
    settings = {name: given.get(name) for name in ("workers", "executor", "on_error")}
    settings["progress"] = given.get("progress", False)
    rest = (given.get("tags", ()), given.get("force", ()), given.get("observers", ()))
    return _options(target, settings, given.get("cache"), given.get("deadline"), *rest)


def _display(target: object, mode: ProgressMode) -> Observer | None:
    if mode is False or is_inside_run():
        return None
    from flowlib.views.progress import choose_progress, in_notebook

    stream = sys.stderr
    is_tty = bool(getattr(stream, "isatty", lambda: False)())
    return choose_progress(
        mode,
        is_tty=is_tty,
        in_notebook=in_notebook(),
        no_color=wants_no_color(),
        stream=stream,
        totals=Counter(node._fl_task.name for node in Graph(targets_of(target)).nodes),
    )
