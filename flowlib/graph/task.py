"""Tasks: functions whose calls are recorded instead of run."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from flowlib.errors import TaskMisused
from flowlib.graph.args import ATOMS, argument_names, nodes_in
from flowlib.graph.node import Node, new_node
from flowlib.graph.policy import Policy, policy_with
from flowlib.graph.signature import CallSignature

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Q = ParamSpec("Q")

_eager: ContextVar[bool] = ContextVar("flowlib_eager", default=False)


class Task(Generic[P, R]):
    """A function with options. Calling it records a node; `task.fn` is the plain function.

    Type checkers see the call as returning the function's own return type.

    >>> from flowlib.graph.task import task
    >>> @task
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double.fn(21)
    42
    >>> double.name
    'double'
    """

    __flowlib_task__ = True
    is_op = False
    streams = False
    """Whether the task is a reduction, which takes the values of its points one at a time."""
    quotes = False
    """Whether some arguments are tuples of `Quoted` nodes, whose values are not to be loaded."""
    own_code = ""
    """Code version of a task that flowlib itself defines; empty for the user's."""

    def __init__(self, fn: Callable[P, R], policy: Policy | None = None, bound: tuple[Any, ...] = ()) -> None:
        self.fn = fn
        self.policy = policy or Policy()
        self.bound = bound
        self._signature: CallSignature | None = None
        self.__name__ = _name_of(fn)
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The task's name: its `name=` option, or the function's own."""
        return self.policy.name or self.__name__

    @property
    def signature(self) -> CallSignature:
        """The parameters of the plain function; made at the first use."""
        if self._signature is None:
            self._signature = CallSignature(self.fn)
        return self._signature

    @property
    def __signature__(self) -> inspect.Signature:
        return self.signature.signature

    @functools.cached_property
    def n_outputs(self) -> int | None:
        """How many values a call unpacks into: from `outputs=` or a fixed-size tuple annotation; None if unknown."""
        return self.policy.outputs or _tuple_size(self.fn)

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether the function is `async def`."""
        return inspect.iscoroutinefunction(inspect.unwrap(self.fn))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Record a call, or make it at once inside `with flowlib.eager()`.

        Raises:
            TaskMisused: The arguments do not fit the function's signature.
            HiddenNode: A node sits in an object that flowlib does not rebuild.
        """
        if self.bound:
            args = (*self.bound, *args)  # type: ignore[assignment]
        if _eager.get():
            return self._call_now(args, kwargs)
        frame = sys._getframe(1)
        node = self.node(args, kwargs, self.policy, frame.f_code, frame.f_lasti)
        return cast(R, node)

    def node(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], policy: Policy, code: Any, offset: int, label: str = ""
    ) -> Node:
        """Record a call made at a given place; see `new_node`."""
        signature = self._signature or self.signature
        values = signature.bind(args, kwargs, self.name)
        if ATOMS.issuperset(map(type, values)):
            return new_node(self, values, (), code, offset, policy, label)
        deps = nodes_in(values, argument_names(signature.names))
        return new_node(self, values, deps, code, offset, policy, label)

    def begin(self, args: tuple[Any, ...]) -> Any:
        """Return a new reduction over the points in `args`; only for tasks that stream."""
        raise TaskMisused(f"Task {self.name!r} is not a reduction.", {}, "")

    def options(self, **options: object) -> Task[P, R]:
        """Return the task with other options; the function and its arguments stay as they are.

        Raises:
            TaskMisused: An option is unknown or malformed.
        """
        policy = policy_with(self.policy, options, task=self.name, parameters=self.signature.names)
        return Task(self.fn, policy, self.bound)

    def _call_now(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        result: Any = self.fn(*args, **kwargs)  # type: ignore[call-arg]
        if inspect.iscoroutine(result):
            import asyncio

            return cast(R, asyncio.run(result))
        return cast(R, result)

    @overload
    def __get__(self, instance: None, owner: type) -> Task[P, R]: ...
    @overload
    def __get__(self: Task[Concatenate[S, Q], R], instance: S, owner: type) -> Task[Q, R]: ...
    def __get__(self, instance: Any, owner: type) -> Task[Any, Any]:
        if instance is None:
            return self
        return Task(self.fn, self.policy, (instance,))

    def __repr__(self) -> str:
        return f"<task {self.name}{self.signature.signature}>"

    def __reduce__(self) -> Any:
        return _find_task, (self.fn.__module__, self.__qualname__)


def _find_task(module: str, qualname: str) -> Any:
    """Find a task again by the name it was defined under; tasks travel between processes by reference."""
    import importlib

    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _name_of(fn: Any) -> str:
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", None) or type(inner).__name__
    return str(name).rpartition("<locals>.")[2]


def _tuple_size(fn: Callable[..., object]) -> int | None:
    try:
        returns = typing.get_type_hints(inspect.unwrap(fn)).get("return")
    except Exception:  # annotations may name things that only a type checker can see
        return None
    arguments = typing.get_args(returns)
    if typing.get_origin(returns) is tuple and arguments and arguments[-1] is not ...:
        return len(arguments)
    fields = getattr(returns, "_fields", None)
    return len(fields) if isinstance(fields, tuple) else None


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Turn a function into a task, with or without options.

    Args:
        fn: The function: plain or `async def`, a method, a `functools.partial`, a lambda.
        **options: See `Policy`: name, version, cache, ttl, ignore, env, outputs, executor, pool, priority, on_error,
            always, check_in, check_out, same, codec, tags.

    Raises:
        TaskMisused: An option is unknown, malformed or not available, or `fn` is not a function.

    >>> @task(version="2", tags=["demo"])
    ... def add(x: int, y: int = 1) -> int:
    ...     return x + y
    >>> add.policy.version, add.fn(1)
    ('2', 2)
    """
    if fn is None:
        return functools.partial(_make_task, options=options)
    return _make_task(fn, options)


def _make_task(fn: Any, options: dict[str, Any]) -> Task[..., Any]:
    if isinstance(fn, Task):
        return fn.options(**options)
    if isinstance(fn, (staticmethod, classmethod)):
        kind = type(fn).__name__
        raise TaskMisused(
            f"@task was put on top of @{kind} of {fn.__func__.__name__!r}.",
            {},
            f"Swap them: @{kind} first, then @task.",
        )
    if not callable(fn) or isinstance(fn, type):
        raise TaskMisused(f"@task needs a function, not {type(fn).__name__!r}.", {}, "Decorate a function or a method.")
    made = Task[..., Any](fn)
    if not options:
        return made
    policy = policy_with(made.policy, options, task=made.name, parameters=made.signature.names)
    return Task(fn, policy)


@contextmanager
def eager() -> Iterator[None]:
    """Make every task call inside the block run at once, as the plain function would: for breakpoints and unit tests.

    >>> @task
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> with eager():
    ...     print(double(double(3)))
    12
    """
    token = _eager.set(True)
    try:
        yield
    finally:
        _eager.reset(token)
