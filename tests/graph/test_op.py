"""What the operators compute."""

import operator
import pickle
from typing import Any

import numpy as np
import pytest

from flowlib.graph.op import ARITHMETIC, COMPARISONS, OPERATIONS, OPERATOR_OF_UFUNC, UNARY
from flowlib.graph.signature import CallSignature
from flowlib.graph.task import OPS


def compute(name: str, *operands: Any) -> Any:
    """Compute an operator as a worker does: bound, taken apart and called."""
    task = OPS[name]
    args, kwargs = task.signature.split(operands)
    return task.fn(*args, **kwargs)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_python_s(name: str) -> None:
    """Each name is the operator of that name; matrices for the one that numbers do not have."""
    plain = getattr(operator, f"{name}_" if name in ("and", "or") else name)
    left: Any = np.array([[1, 2], [3, 4]]) if name == "matmul" else 13
    right: Any = np.array([5, 6]) if name == "matmul" else 3

    assert np.array_equal(compute(name, left, right), plain(left, right))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_is_python_s(name: str) -> None:
    """Each way round."""
    for left, right in ((1, 2), (2, 1), (2, 2)):
        assert compute(name, left, right) == getattr(operator, name)(left, right)


@pytest.mark.parametrize("name", UNARY)
def test_unary_operators_are_python_s(name: str) -> None:
    """With a sign to see."""
    assert compute(name, -5) == getattr(operator, name)(-5)


def test_items_attributes_methods_and_calls() -> None:
    """What `node[...]`, `node.x`, `node.f(...)` and `node(...)` stand for."""
    assert compute("getitem", {"k": 1}, "k") == 1
    assert compute("getattr", 3 + 4j, "imag") == 4
    assert compute("method", "a-b", "split", ("-",), {"maxsplit": 1}) == ["a", "b"]
    assert compute("call", dict, ([("a", 1)],), {"b": 2}) == {"a": 1, "b": 2}


def test_every_operator_has_a_task_with_its_own_name() -> None:
    """Found again by name after pickling."""
    assert set(OPS) == set(OPERATIONS)
    for name, task in OPS.items():
        assert task.name == name
        assert task.is_op
        assert pickle.loads(pickle.dumps(task)) is task
        assert CallSignature(task.fn).names == task.signature.names


def test_numpy_s_names_mean_what_numpy_computes() -> None:
    """The table that takes numpy's place is checked against numpy."""
    for name, op in OPERATOR_OF_UFUNC.items():
        ufunc = getattr(np, name)
        operands = (np.array([6, 7]), np.array([3, 2]))

        assert np.array_equal(ufunc(*operands), compute(op, *operands)), name
        assert OPERATOR_OF_UFUNC[ufunc.__name__] == op
