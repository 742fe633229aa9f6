"""Binding a call, and making the call from what was bound."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlib.errors import TaskMisused
from flowlib.graph.signature import CallSignature
from flowlib.graph.task import task


def bind(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Bind a call of a function."""
    return CallSignature(fn).bind(args, kwargs, "fn")


def test_values_come_in_the_signature_s_order_with_defaults() -> None:
    """However the call is written, what is bound is the same: one call has one key."""

    def fn(a: int, b: int = 2, *, c: int = 3) -> None: ...

    assert bind(fn, 1) == bind(fn, a=1) == bind(fn, 1, 2) == bind(fn, c=3, b=2, a=1) == (1, 2, 3)


def test_star_arguments_are_one_value_each() -> None:
    """`*args` as a tuple, `**kwargs` as a dict."""

    def fn(a: int, /, *rest: int, b: int = 0, **options: int) -> None: ...

    assert bind(fn, 1, 2, 3, x=4, a=5) == (1, (2, 3), 0, {"x": 4, "a": 5})
    assert CallSignature(fn).names == ("a", "rest", "b", "options")


def test_a_function_without_a_signature_takes_anything() -> None:
    """Compiled functions often do not say."""
    anything = CallSignature(max)

    assert anything.split(anything.bind((1, 2), {"key": abs}, "max")) == ([1, 2], {"key": abs})


def test_partials_keep_what_they_were_given() -> None:
    """By position it is gone from the signature, by keyword it is a default that a call may change."""

    def fn(a: int, b: int, c: int) -> tuple[int, int, int]:
        return a, b, c

    partial = functools.partial(fn, 1, c=3)
    signature = CallSignature(partial)
    args, kwargs = signature.split(signature.bind((2,), {}, "fn"))

    assert partial(*args, **kwargs) == (1, 2, 3)
    assert signature.names == ("b", "c")
    assert bind(partial, 2, c=4) == (2, 4)


def test_required_names_are_those_without_a_default() -> None:
    """Sweeps check their parameter names against them."""

    def fn(a: int, b: int = 2, *rest: int, c: int, **options: int) -> None: ...

    assert CallSignature(fn).required == {"a": True, "b": False, "c": True}
    assert CallSignature(fn).takes_any_name
    assert not CallSignature(lambda a: a).takes_any_name


@pytest.mark.parametrize(
    ("args", "kwargs", "said", "hint"),
    [
        ((), {}, "missing a required argument: 'data'", "Give every parameter"),
        ((1, 2, 3), {}, "too many positional arguments", "Give every parameter"),
        ((1,), {"data": 2}, "multiple values for argument 'data'", "Give every parameter"),
        ((1,), {"dept": 2}, "unexpected keyword argument 'dept'", "Did you mean 'depth'?"),
        ((1,), {"zzz": 2}, "unexpected keyword argument 'zzz'", "Known: data, depth, lr."),
        ((), {"depth": 1, "lr": 2}, "missing a required argument: 'data'", "Give every parameter"),
        ((1, 2, 3), {"lr": 1}, "too many positional arguments", "Give every parameter"),
    ],
)
def test_a_wrong_call_fails_where_it_is_written(args: tuple[int, ...], kwargs: Any, said: str, hint: str) -> None:
    """Not when the run comes to it; with the task's name, its signature, and the nearest known word."""

    @task
    def fit(data: int, depth: int = 4, *, lr: float = 0.1) -> None: ...

    with pytest.raises(TaskMisused) as caught:
        fit(*args, **kwargs)

    assert isinstance(caught.value, TypeError)
    text = str(caught.value)
    assert text.startswith("Task 'fit' cannot be called like this: ")
    assert said in text
    assert "fit(data: int, depth: int = 4, *, lr: float = 0.1)" in text
    assert hint in text


KINDS = ["a, ", "a=1, ", "b, ", "b=2, ", "/, ", "*rest, ", "*, ", "c, ", "c=3, ", "d=4, ", "**more"]


def function_of(pieces: list[str]) -> Callable[..., Any] | None:
    """Return a function with a parameter list, which returns its arguments; None if Python does not accept the list."""
    space: dict[str, Any] = {}
    try:
        exec(f"def fn({''.join(pieces)}): return locals()", space)
    except SyntaxError:
        return None
    return space["fn"]  # type: ignore[no-any-return]


SIGNATURES = st.lists(st.sampled_from(KINDS), max_size=6).map(function_of).filter(lambda fn: fn is not None)
VALUES = st.integers(10, 20)


@settings(max_examples=400)
@given(
    fn=SIGNATURES,
    args=st.lists(VALUES, max_size=4),
    kwargs=st.dictionaries(st.sampled_from(["a", "b", "c", "d", "rest", "x"]), VALUES, max_size=3),
)
def test_a_bound_call_is_the_plain_call(fn: Callable[..., Any], args: list[int], kwargs: dict[str, int]) -> None:
    """For any signature and any arguments: the same parameters get the same values, or both calls are refused."""
    signature = CallSignature(fn)
    try:
        expected = fn(*args, **kwargs)
    except TypeError:
        with pytest.raises(TaskMisused):
            signature.bind(tuple(args), kwargs, "fn")
        return

    values = signature.bind(tuple(args), kwargs, "fn")
    again, keywords = signature.split(values)

    assert fn(*again, **keywords) == expected
    assert dict(zip(signature.names, values, strict=True)) == expected
    assert values == signature.bind(tuple(again), keywords, "fn")


@settings(max_examples=300)
@given(
    fn=SIGNATURES,
    calls=st.lists(
        st.tuples(
            st.lists(VALUES, max_size=4),
            st.dictionaries(st.sampled_from(["a", "b", "c", "d", "rest", "x"]), VALUES, max_size=4),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_calls_are_bound_as_inspect_does(fn: Callable[..., Any], calls: list[tuple[list[int], dict[str, int]]]) -> None:
    """For any signature and any calls, one at a time or all of a shape: `inspect.Signature.bind` is the law."""
    signature = CallSignature(fn)
    for args, kwargs in calls:
        try:
            bound = signature.signature.bind(*args, **kwargs)
        except TypeError:
            with pytest.raises(TaskMisused):
                signature.bind(tuple(args), kwargs, "fn")
            continue
        bound.apply_defaults()

        assert signature.bind(tuple(args), kwargs, "fn") == tuple(bound.arguments[name] for name in signature.names)
        lane = signature.lane(len(args), tuple(kwargs))
        if lane is not None:
            assert lane.of(tuple(args), tuple(kwargs.values())) == tuple(bound.arguments.values())


def test_parameters_that_cannot_be_written_down_are_bound_all_the_same() -> None:
    """A made-up signature may have names that Python reserves."""

    def fn(*args: int, **kwargs: int) -> None: ...

    names = ["__debug__", "b"]
    fn.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )

    assert bind(fn, 1, b=2) == (1, 2)
    with pytest.raises(TaskMisused):
        bind(fn, 1)


def test_describes_arguments_for_errors() -> None:
    """By the parameter's name."""
    assert CallSignature(lambda data: data).describe(0) == "argument 'data'"


def test_annotations_that_cannot_be_evaluated_do_no_harm() -> None:
    """Names under TYPE_CHECKING exist for type checkers only."""
    fn = function_of(["a: 'Missing' = 1"])
    assert fn is not None

    assert bind(fn) == (1,)
    assert isinstance(CallSignature(fn).signature, inspect.Signature)
