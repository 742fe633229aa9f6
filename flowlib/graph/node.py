"""One lazy call of a task.

A node stands for a value that does not exist yet. Whatever can stay lazy becomes another node (`node["k"]`, `node.attr`,
`node.method(...)`, operators); whatever needs the value now raises `NodeMisused`, naming the task and the line.

Theory of operation: a node is built as an `_OpenNode`, whose attributes can be set, and then changes class to `Node`,
whose attributes cannot. `Node` inherits the slots and adds none, so this costs one pointer and about 60 ns (100 ns for
two classes with equal slots); going through the descriptors of seven slots would cost 500 ns.

Cost: 88 bytes and one object the garbage collector looks at, beside its arguments. Arguments that are all nodes are
their own tuple of dependencies.

Invariant: a node has no public attribute of its own. Everything below `_fl_` is flowlib's; every other name belongs to
the value. Two nodes are equal only if they are the same object, but `==` builds a node, so nothing in flowlib compares
nodes with `==` or `in`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any, NoReturn

from flowlib.errors import NodeMisused
from flowlib.graph.op import ARITHMETIC, COMPARISONS, OPERATOR_OF_UFUNC, UNARY
from flowlib.graph.policy import Policy
from flowlib.graph.site import Site, site_here, user_frame

if TYPE_CHECKING:
    from flowlib.graph.task import Task


class _OpenNode:
    __slots__ = ("_fl_args", "_fl_code", "_fl_deps", "_fl_label", "_fl_offset", "_fl_policy", "_fl_task")

    _fl_task: Task[..., Any]
    _fl_args: tuple[Any, ...]
    _fl_deps: tuple[Node, ...]
    _fl_code: CodeType
    _fl_offset: int
    _fl_policy: Policy
    _fl_label: str


def new_node(
    task: Task[..., Any],
    args: tuple[Any, ...],
    deps: tuple[Node, ...],
    code: CodeType,
    offset: int,
    policy: Policy,
    label: str = "",
) -> Node:
    """Record a call.

    Args:
        task: The task that is called.
        args: One value per parameter of the task, in the signature's order, defaults applied.
        deps: The nodes found inside `args`, each once, in the order they were met.
        code: Code object of the frame that made the call.
        offset: Instruction offset inside `code`.
        policy: The task's options, or those of this call.
        label: A name for people; never part of the identity.
    """
    node: Any = _OpenNode()
    node._fl_task = task
    node._fl_args = args
    node._fl_deps = deps
    node._fl_code = code
    node._fl_offset = offset
    node._fl_policy = policy
    node._fl_label = label
    node.__class__ = Node
    return node  # type: ignore[no-any-return]


def site_of(node: Node) -> Site:
    """Return the place of the call that made a node."""
    return Site(node._fl_code, node._fl_offset)


def _is_display_probe(name: str) -> bool:
    return name.startswith(("_repr_", "_ipython_", "_fl_")) or (name.startswith("__") and name.endswith("__"))


class Node(_OpenNode):
    """A value that is not computed yet. Pass it to tasks, or get the value with `flowlib.run(node)`."""

    __slots__ = ()
    __flowlib_node__ = True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        label = f" {self._fl_label!r}" if self._fl_label else ""
        return f"<node {self._fl_task.name}(...){label} made at {site_of(self)}>"

    # ---- what stays lazy

    def __getattr__(self, name: str) -> Node:
        if _is_display_probe(name):
            raise AttributeError(name)
        return _derive(self, "getattr", self, name)

    def __getitem__(self, key: object) -> Node:
        return _derive(self, "getitem", self, key)

    def __call__(self, /, *args: object, **kwargs: object) -> Node:
        if self._fl_task.is_op and self._fl_task.name == "getattr":
            owner, name = self._fl_args
            return _derive(self, "method", owner, name, args, kwargs)
        return _derive(self, "call", self, args, kwargs)

    def __iter__(self) -> Iterator[Node]:
        n = self._fl_policy.outputs or self._fl_task.n_outputs
        if n is None:
            _refuse(self, "iterated over: how many values it holds is not known yet")
        return iter([self[position] for position in range(n)])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: object, **kwargs: object) -> Node:
        """Take the place of numpy in `array + node`; other functions of numpy need the value."""
        name = OPERATOR_OF_UFUNC.get(ufunc.__name__)
        if name is None or method != "__call__" or kwargs:
            _refuse(self, f"given to numpy.{ufunc.__name__}")
        return _derive(self, name, *inputs)

    # ---- what needs the value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse(self, f"changed: .{name} = ...")

    def __delattr__(self, name: str) -> NoReturn:
        _refuse(self, f"changed: del .{name}")

    def __setitem__(self, key: object, value: object) -> NoReturn:
        _refuse(self, "changed: [...] = ...")

    def __delitem__(self, key: object) -> NoReturn:
        _refuse(self, "changed: del [...]")

    def __bool__(self) -> NoReturn:
        _refuse(self, "used as true or false (if, and, or, not, assert, while)")

    def __len__(self) -> NoReturn:
        _refuse(self, "asked for its length")

    def __reversed__(self) -> NoReturn:
        _refuse(self, "reversed")

    def __next__(self) -> NoReturn:
        _refuse(self, "used as an iterator")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(self, "searched with 'in'")

    def __format__(self, spec: str) -> NoReturn:
        _refuse(self, "put into text (f-string or format)")

    def __int__(self) -> NoReturn:
        _refuse(self, "converted to int")

    def __float__(self) -> NoReturn:
        _refuse(self, "converted to float")

    def __complex__(self) -> NoReturn:
        _refuse(self, "converted to complex")

    def __round__(self, n_digits: object = None) -> NoReturn:
        _refuse(self, "rounded")

    def __divmod__(self, other: object) -> NoReturn:
        _refuse(self, "given to divmod")

    def __rdivmod__(self, other: object) -> NoReturn:
        _refuse(self, "given to divmod")

    def __index__(self) -> NoReturn:
        _refuse(self, "used as an index or a count")

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        _refuse(self, "converted to an array")

    def __fspath__(self) -> NoReturn:
        _refuse(self, "used as a path")

    def __enter__(self) -> NoReturn:
        _refuse(self, "used in a with statement")

    def __exit__(self, *args: object) -> NoReturn:
        _refuse(self, "used in a with statement")

    async def __aenter__(self) -> NoReturn:
        _refuse(self, "used in an async with statement")

    async def __aexit__(self, *args: object) -> NoReturn:
        _refuse(self, "used in an async with statement")

    def __aiter__(self) -> NoReturn:
        _refuse(self, "iterated over with async for")

    def __await__(self) -> NoReturn:
        _refuse(self, "awaited; write: await flowlib.arun(node)")

    def __reduce__(self) -> NoReturn:
        _refuse(self, "pickled or copied")

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: object) -> Node:
        return self


def _derive(node: Node, op: str, *operands: Any) -> Node:
    """Record an operation; the task that made a node also makes the nodes derived from it."""
    frame = user_frame(3)
    return node._fl_task.derive(op, operands, frame.f_code, frame.f_lasti)


def _refuse(node: Node, use: str) -> NoReturn:
    here = site_here(3)
    raise NodeMisused(
        f"A node of task {_origin(node)} cannot be {use}.",
        {"used at": here, "node made at": site_of(node)},
        "It is a lazy value: pass it to a task, or get its value first with flowlib.run(node).",
    )


def _origin(node: Node) -> str:
    """Name the user's task that a node comes from, and the operator that was put on its result."""
    task, origin = node._fl_task, node
    while origin._fl_task.is_op and origin._fl_deps:
        origin = origin._fl_deps[0]
    text = repr(origin._fl_task.name)
    return text if origin is node else f"{text} (operator {task.name!r} on its result)"


def _binary(op: str) -> Callable[[Node, object], Node]:
    def apply(self: Node, other: object) -> Node:
        return _derive(self, op, self, other)

    return apply


def _reflected(op: str) -> Callable[[Node, object], Node]:
    def apply(self: Node, other: object) -> Node:
        return _derive(self, op, other, self)

    return apply


def _unary(op: str) -> Callable[[Node], Node]:
    def apply(self: Node) -> Node:
        return _derive(self, op, self)

    return apply


for _name in ARITHMETIC:
    setattr(Node, f"__{_name}__", _binary(_name))
    setattr(Node, f"__r{_name}__", _reflected(_name))
for _name in COMPARISONS:
    setattr(Node, f"__{_name}__", _binary(_name))
for _name in UNARY:
    setattr(Node, f"__{_name}__", _unary(_name))
