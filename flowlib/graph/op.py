"""The tasks behind `node["k"]`, `node.attr`, `node.method(...)` and the operators.

They are ordinary tasks with a fixed code version each, so early cut-off works through them: a consumer of `data["x"]`
does not run again when only `data["y"]` changed. Large results of an operator are remembered by digest only and made
again from their parent when their value is needed, so nothing is stored twice.
"""

import operator
from collections.abc import Callable
from typing import Any

from flowlib.graph.args import nodes_in
from flowlib.graph.node import ARITHMETIC, COMPARISONS, UNARY, Node, new_node
from flowlib.graph.policy import Policy
from flowlib.graph.site import Site
from flowlib.graph.task import Task

OP_VERSION = "op-1"
"""Code version of every operator; changes only if the meaning of one does."""


class OpTask(Task[..., Any]):
    """A task that flowlib defines for one operation on values."""

    is_op = True
    own_code = OP_VERSION

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        super().__init__(fn, Policy(name=name))

    def __reduce__(self) -> Any:
        return OPS.__getitem__, (self.name,)


def _get_item(owner: Any, key: Any) -> Any:
    return owner[key]


def _get_attribute(owner: Any, name: str) -> Any:
    return getattr(owner, name)


def _call_method(owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return getattr(owner, name)(*args, **kwargs)


def _call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


def _binary_fn(name: str) -> Callable[[Any, Any], Any]:
    fn: Callable[[Any, Any], Any] = getattr(operator, f"{name}_" if name in ("and", "or") else name)

    def apply(left: Any, right: Any) -> Any:
        return fn(left, right)

    return apply


def _unary_fn(name: str) -> Callable[[Any], Any]:
    fn: Callable[[Any], Any] = getattr(operator, name)

    def apply(value: Any) -> Any:
        return fn(value)

    return apply


OPS: dict[str, OpTask] = {
    "getitem": OpTask("getitem", _get_item),
    "getattr": OpTask("getattr", _get_attribute),
    "method": OpTask("method", _call_method),
    "call": OpTask("call", _call),
    **{name: OpTask(name, _binary_fn(name)) for name in (*ARITHMETIC, *COMPARISONS)},
    **{name: OpTask(name, _unary_fn(name)) for name in UNARY},
}


def op_node(op: str, args: tuple[Any, ...], site: Site) -> Node:
    """Record an operation on nodes."""
    task = OPS[op]
    deps = nodes_in(args, lambda position: f"operand {position} of {op}")
    return new_node(task, args, deps, site.code, site.offset, task.policy)
