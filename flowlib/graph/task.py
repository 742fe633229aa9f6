"""Tasks: functions whose calls are recorded instead of run."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, MappingProxyType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from flowlib.errors import TaskMisused
from flowlib.graph.args import ATOMS, nodes_in
from flowlib.graph.coroutine import finish
from flowlib.graph.function import import_by_name, innermost, look_up, n_values_of, name_of
from flowlib.graph.hidden import refuse_hidden
from flowlib.graph.node import Node, new_node
from flowlib.graph.op import OP_VERSION, OPERATIONS
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
        functools.update_wrapper(self, innermost(fn), updated=())
        attributes = getattr(fn, "__dict__", {})
        self.__dict__.update({name: attributes[name] for name in attributes if not hasattr(type(self), name)})
        self.__wrapped__ = fn
        self.fn = fn
        self.policy = policy or Policy()
        self.bound = bound
        self._signature: CallSignature | None = None

    @functools.cached_property
    def name(self) -> str:
        """The task's name: its `name=` option, or the function's own."""
        return self.policy.name or name_of(self.fn)

    @property
    def signature(self) -> CallSignature:
        """The parameters of the plain function; made at the first use."""
        if self._signature is None:
            self._signature = CallSignature(self.fn)
        return self._signature

    @property
    def __signature__(self) -> inspect.Signature:
        whole = self.signature.signature
        return whole.replace(parameters=list(whole.parameters.values())[len(self.bound) :]) if self.bound else whole

    @functools.cached_property
    def n_outputs(self) -> int | None:
        """How many values a call unpacks into: from `outputs=` or a fixed-size tuple annotation; None if unknown."""
        return self.policy.outputs or n_values_of(self.fn)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Record a call, or make it at once inside `with flowlib.eager()`.

        This is the hot path of building a graph: the same as `node`, without the calls that plain values and a single
        node do not need. Cost: about 1 us for one argument, 1.5 us for several or for keywords; a tenth of it is
        reading the caller's line.

        Raises:
            TaskMisused: The arguments do not fit the function's signature.
            HiddenNode: A node sits in an object that flowlib does not rebuild.
        """
        if self.bound:
            args = (*self.bound, *args)  # type: ignore[assignment]
        if _eager.get():
            return self._call_now(args, kwargs)
        signature = self._signature or self.signature
        is_exact = len(args) == signature.n_exact and not kwargs
        values: tuple[Any, ...] = args if is_exact else signature.bind(args, kwargs, self.name)
        only: Any = None
        deps: tuple[Node, ...]
        for value in values:
            kind = type(value)
            if kind is Node and only is None:
                only = value
            elif kind not in ATOMS:  # a second node, a container, another object
                deps = nodes_in(values, signature.describe)
                break
        else:
            deps = () if only is None else values if len(values) == 1 else (only,)
        frame = sys._getframe(1)
        return new_node(self, values, deps, frame.f_code, frame.f_lasti, self.policy)  # type: ignore[return-value]

    def node(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], policy: Policy, code: Any, offset: int, label: str = ""
    ) -> Node:
        """Record a call made at a given place; see `new_node`."""
        signature = self._signature or self.signature
        values = signature.bind(args, kwargs, self.name)
        return new_node(self, values, nodes_in(values, signature.describe), code, offset, policy, label)

    def begin(self, args: tuple[Any, ...]) -> Any:
        """Return a new reduction over the points in `args`; only for tasks that stream."""
        raise TaskMisused(f"Task {self.name!r} is not a reduction.", {}, "")

    def options(self, **options: object) -> Task[P, R]:
        """Return the task with other options; the function and its arguments stay as they are.

        Raises:
            TaskMisused: An option is unknown or malformed.
        """
        policy = policy_with(self.policy, options, task=self.name, parameters=self.signature.names)
        return self._variant(policy, self.bound)

    def derive(self, op: str, operands: tuple[Any, ...], code: CodeType, offset: int) -> Node:
        """Record an operation on nodes: `node["k"]`, `node + 1`. Nodes come here, since they cannot know the tasks."""
        task = OPS[op]
        deps = nodes_in(operands, lambda position: f"operand {position} of {op!r}")
        return new_node(task, operands, deps, code, offset, task.policy)

    def _variant(self, policy: Policy, bound: tuple[Any, ...]) -> Task[P, R]:
        """Return the same task with another policy or bound arguments; what is known of the function is shared."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        for derived in ("name", "n_outputs"):
            made.__dict__.pop(derived, None)
        made.policy, made.bound, made._signature = policy, bound, self.signature
        return made

    def _call_now(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        return cast(R, finish(self.fn(*args, **kwargs)))

    @overload
    def __get__(self, instance: None, owner: type) -> Task[P, R]: ...
    @overload
    def __get__(self: Task[Concatenate[S, Q], R], instance: S, owner: type) -> Task[Q, R]: ...
    def __get__(self, instance: Any, owner: type) -> Task[Any, Any]:
        if instance is None:
            return self
        return self._variant(self.policy, (instance,))

    def __repr__(self) -> str:
        return f"<task {self.name}{self.__signature__}>"

    def __copy__(self) -> Task[P, R]:
        return self

    def __deepcopy__(self, memo: object) -> Task[P, R]:
        return self

    def __reduce__(self) -> Any:
        """Pickle by reference, as functions are; what has no name of its own by value, if the pickler can."""
        module, qualname = getattr(self, "__module__", ""), getattr(self, "__qualname__", "")
        named = look_up(module, qualname) if qualname else None
        if not isinstance(named, Task) or named.fn is not self.fn:
            return type(self), (self.fn, self.policy, self.bound)
        policy = None if named.policy == self.policy else self.policy
        return _task_by_name, (module, qualname, policy, self.bound)


def _task_by_name(module: str, qualname: str, policy: Policy | None, bound: tuple[Any, ...]) -> Any:
    """Find a task again by the name it was defined under, with the options and the owner it had."""
    found = import_by_name(module, qualname)
    return found if policy is None and not bound else found._variant(policy or found.policy, bound)


class OpTask(Task[..., Any]):
    """A task that flowlib defines for one operation on values."""

    is_op = True
    own_code = OP_VERSION

    def __init__(self, name: str) -> None:
        super().__init__(OPERATIONS[name], Policy(name=name))

    def __reduce__(self) -> Any:
        return _op_by_name, (self.name,)


def _op_by_name(name: str) -> OpTask:
    return OPS[name]


OPS: Mapping[str, OpTask] = MappingProxyType({name: OpTask(name) for name in OPERATIONS})


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Turn a function into a task, with or without options.

    Args:
        fn: The function: plain or `async def`, a method, a `functools.partial`, a lambda.
        **options: See `Policy`: name, version, cache, ttl, ignore, env, outputs, retries, timeout, resources, executor,
            pool, priority, on_error, always, check_in, check_out, same, codec, tags.

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
    if type(fn) is Node or isinstance(fn, type) or not callable(fn):
        what = f"the class {fn.__name__!r}" if isinstance(fn, type) else f"an object of type {type(fn).__name__!r}"
        raise TaskMisused(f"@task needs a function, not {what}.", {}, "Decorate a function or a method.")
    if isinstance(fn, functools.partial):
        # What a partial gives by keyword is a default of the task; what it gives by position nobody else would look at.
        refuse_hidden([fn.args], f"the arguments of the partial {name_of(fn)!r}")
    made = Task[..., Any](fn)
    return made.options(**options) if options else made


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
