"""What `node["k"]`, `node.attr`, `node.method(...)` and the operators compute: plain functions of values, by name.

Each becomes an ordinary task with a fixed code version (`task.OpTask`), so early cut-off works through them: a consumer
of `data["x"]` does not run again when only `data["y"]` changed. Large results of an operator are remembered by digest
only and made again from their parent when their value is needed, so nothing is stored twice.
"""

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

OP_VERSION = "op-1"
"""Code version of every operator; changes only if the meaning of one does."""

ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
COMPARISONS = ("lt", "le", "eq", "ne", "gt", "ge")
UNARY = ("neg", "pos", "invert", "abs")

OPERATOR_OF_UFUNC: Mapping[str, str] = MappingProxyType(
    {
        "add": "add",
        "subtract": "sub",
        "multiply": "mul",
        "divide": "truediv",
        "true_divide": "truediv",
        "floor_divide": "floordiv",
        "remainder": "mod",
        "power": "pow",
        "matmul": "matmul",
        "bitwise_and": "and",
        "bitwise_or": "or",
        "bitwise_xor": "xor",
        "left_shift": "lshift",
        "right_shift": "rshift",
        "less": "lt",
        "less_equal": "le",
        "equal": "eq",
        "not_equal": "ne",
        "greater": "gt",
        "greater_equal": "ge",
    }
)
"""numpy calls these for `array + node`; nothing of numpy is imported to know them."""


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


OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "getitem": _get_item,
        "getattr": _get_attribute,
        "method": _call_method,
        "call": _call,
        **{name: _binary_fn(name) for name in (*ARITHMETIC, *COMPARISONS)},
        **{name: _unary_fn(name) for name in UNARY},
    }
)
"""Name of the operator's task -> its function; the operands are its positional arguments."""
