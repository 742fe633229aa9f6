"""Tasks: functions whose calls are recorded."""

import asyncio
import copy
import functools
import inspect
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import pytest

from flowlib.errors import HiddenNode, TaskMisused
from flowlib.graph.args import replace
from flowlib.graph.node import Node, site_of
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task, eager, task


@task
def fit(data: Any, *, lr: float = 0.1) -> float:
    """Fit a model.

    At length.
    """
    return lr


@task(version="2")
def named() -> int:
    """Return two."""
    return 2


fit.fn.unit = "seconds"  # type: ignore[attr-defined]
double = task(lambda x: 2 * x)
triple = task(lambda x: 3 * x, version="1")
half = task(functools.partial(fit.fn, lr=0.5))


class Trainer:
    """A class with tasks."""

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr

    @task
    def train(self, data: int, depth: int = 3) -> tuple[float, int]:
        """Train."""
        return self.lr, data + depth

    @staticmethod
    @task
    def check(data: int) -> int:
        return data

    @classmethod
    @task
    def make(cls, lr: float) -> Any:
        return cls(lr)


def call(node: Any) -> Any:
    """Do what a node's job does, its inputs being plain values."""
    args, kwargs = node._fl_task.signature.split(replace(node._fl_args, lambda node: node))
    return node._fl_task.fn(*args, **kwargs)


# ---- calls


def test_a_call_records_a_node_and_runs_nothing() -> None:
    """With bound arguments, dependencies, options and the place of the call."""
    ran = []
    first = task(lambda: ran.append(1))()
    node: Any = fit(first, lr=0.2)

    assert type(node) is Node
    assert node._fl_task is fit
    assert node._fl_args == (first, 0.2)
    assert [id(dep) for dep in node._fl_deps] == [id(first)]
    assert node._fl_policy is fit.policy
    assert Path(site_of(node).file).name == Path(__file__).name
    assert ran == []


def test_the_plain_function_stays_callable() -> None:
    """`fit.fn` is what was decorated."""
    assert fit.fn(None, lr=0.3) == 0.3


def test_a_function_keeps_its_attributes() -> None:
    """What `functools.wraps` copies, the signature, the annotations, and what was set on it."""
    assert fit.__name__ == "fit"
    assert fit.__qualname__ == "fit"
    assert fit.__module__ == __name__
    assert fit.__doc__ == fit.fn.__doc__
    assert fit.__annotations__ == fit.fn.__annotations__
    assert fit.__wrapped__ is fit.fn
    assert inspect.signature(fit) == inspect.signature(fit.fn)
    assert inspect.unwrap(fit) is fit.fn  # type: ignore[arg-type]
    assert named.__name__ == "named"


def test_attributes_of_the_function_never_replace_those_of_the_task() -> None:
    """A function may carry any attributes, also those that another task's `functools.wraps` gave it."""

    @functools.wraps(fit)  # type: ignore[arg-type]
    def wrapped(data: Any) -> Any:
        return data

    wrapped.policy = wrapped.name = wrapped.extra = "mine"  # type: ignore[attr-defined]
    made: Any = task(wrapped)

    assert made.fn is wrapped
    assert made.policy == Policy()
    assert made.name == "fit"
    assert made.extra == "mine"


def test_repr_shows_name_and_signature() -> None:
    """As people would write it down."""
    assert repr(named) == "<task named() -> int>"
    assert repr(Trainer().train) == "<task Trainer.train(data: int, depth: int = 3) -> tuple[float, int]>"


def test_mutable_defaults_are_not_shared_by_calls() -> None:
    """In plain Python the second call would see what the first appended."""

    @task
    def collect(item: int, into: list[int] = []) -> list[int]:
        into.append(item)
        return into

    assert call(collect(1)) == [1]
    assert call(collect(2)) == [2]


def test_a_default_may_be_a_node() -> None:
    """It is an input like one that was given."""
    source = named()

    @task
    def use(x: Any = source) -> Any: ...

    assert [id(dep) for dep in use()._fl_deps] == [id(source)]


# ---- names


def test_names() -> None:
    """The function's qualified name without the functions around it, or what `name=` says."""

    @task
    def local() -> None: ...

    class Callable_:
        def __call__(self) -> None: ...

    assert fit.name == "fit"
    assert local.name == "local"
    assert Trainer.train.name == "Trainer.train"
    assert Trainer().train.name == "Trainer.train"
    assert task(Callable_()).name == "test_names.<locals>.Callable_".rpartition(".")[2]
    assert half.name == "fit"
    assert task(len).name == "len"
    assert fit.options(name="train").name == "train"
    assert task(fit.fn, name="train").name == "train"


def test_a_lambda_is_named_after_what_it_was_assigned_to() -> None:
    """In its module; elsewhere it is a lambda."""
    assert double.name == "double"
    assert triple.name == "triple"
    assert task(lambda: 1).name == "<lambda>"


# ---- options


def test_options_give_a_variant_and_change_nothing() -> None:
    """They never mix with the function's own arguments."""
    variant = fit.options(cache=False, name="other")
    node: Any = variant(1, lr=2)

    assert (variant.policy.cache, variant.name) == (False, "other")
    assert (fit.policy.cache, fit.name) == (True, "fit")
    assert node._fl_policy.cache is False
    assert variant.fn is fit.fn
    assert variant.signature is fit.signature


def test_options_add_up() -> None:
    """The last word on each counts."""
    assert named.options(cache=False).options(cache=True, ttl=5).policy == Policy(version="2", ttl=5)
    assert task(named, ttl=5).policy == Policy(version="2", ttl=5)
    assert task()(fit.fn).policy == Policy()


def test_a_variant_unpacks_by_its_own_options() -> None:
    """What was worked out for the task does not stick to the variant."""
    assert named.n_outputs is None
    assert named.options(outputs=2).n_outputs == 2
    assert named.options(outputs=2).options(outputs=None).n_outputs is None


# ---- how many values


class Scores(NamedTuple):
    """Two values."""

    auc: float
    loss: float


def returns(annotation: Any) -> Callable[[], Any]:
    """Return a function with a return annotation."""

    def fn() -> Any: ...

    fn.__annotations__["return"] = annotation
    return fn


@pytest.mark.parametrize(
    ("annotation", "n"),
    [
        (tuple[int, str], 2),
        ("tuple[int, str, int]", 3),
        (Scores, 2),
        ("Scores", 2),
        (tuple[int, ...], None),
        (tuple, None),
        (tuple[()], None),
        (list[int], None),
        (int, None),
        (None, None),
        ("Missing", None),
    ],
)
def test_the_number_of_values_is_read_from_the_annotation(annotation: Any, n: int | None) -> None:
    """Only where it is fixed; an annotation that cannot be evaluated says nothing."""
    assert task(returns(annotation)).n_outputs == n


def test_a_method_unpacks_too() -> None:
    """And a partial of a function that does."""
    lr, total = Trainer().train(1)

    assert lr._fl_args[1] == 0  # type: ignore[attr-defined]
    assert total._fl_args[1] == 1  # type: ignore[attr-defined]
    assert task(functools.partial(Trainer.train.fn, Trainer())).n_outputs == 2


# ---- kinds of functions


def test_a_method_is_bound_to_its_object_which_is_its_first_argument() -> None:
    """By content: the object enters the key as any other argument."""
    trainer = Trainer(lr=0.5)
    node: Any = trainer.train(1)

    assert node._fl_args == (trainer, 1, 3)
    assert call(node) == (0.5, 4)
    assert call(Trainer.train(trainer, 1, 1)) == (0.5, 2)
    assert list(inspect.signature(trainer.train).parameters) == ["data", "depth"]


def test_options_of_a_bound_task_keep_its_object() -> None:
    """`trainer.train.options(...)(...)`."""
    trainer = Trainer(lr=0.5)
    node: Any = trainer.train.options(version="3")(1)

    assert node._fl_args[0] is trainer
    assert node._fl_policy.version == "3"


def test_a_wrong_call_of_a_bound_task_is_refused() -> None:
    """With the name of the class in it."""
    with pytest.raises(TaskMisused, match=r"Task 'Trainer.train' .*\n.*\nDid you mean 'depth'\?"):
        Trainer().train(1, dept=2)  # type: ignore[call-arg]


def test_static_and_class_methods_work_above_the_task() -> None:
    """In the order that Python needs."""
    made: Any = Trainer.make(0.7)

    assert call(Trainer.check(3)) == 3
    assert made._fl_args == (Trainer, 0.7)
    assert call(made).lr == 0.7


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_the_other_order_is_refused_with_the_right_one(kind: Any) -> None:
    """Instead of a task that can never be called."""
    with pytest.raises(TaskMisused, match=rf"@task was put on top of @{kind.__name__} of 'check'") as caught:
        task(kind(Trainer.check.fn))

    assert f"@{kind.__name__} first, then @task" in caught.value.hint


def test_partials_lambdas_and_callable_objects() -> None:
    """Everything that can be called and is not a class."""

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        def __call__(self, x: int) -> int:
            return x + self.n

    assert call(half(1)) == 0.5
    assert call(half(1, lr=0.7)) == 0.7
    assert call(double(4)) == 8
    assert call(task(Adder(3))(4)) == 7
    assert call(task(Adder(3).__call__)(4)) == 7
    assert call(task(len)("abc")) == 3
    assert half.__doc__ == fit.__doc__


@pytest.mark.parametrize("wrong", [Trainer, 3, "fit", int, named()], ids=repr)
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    """A class, a value, a node."""
    with pytest.raises(TaskMisused, match="@task needs a function, not"):
        task(wrong)


def test_a_partial_may_not_give_a_node_by_position() -> None:
    """Nobody would see it; by keyword it is a default."""
    with pytest.raises(HiddenNode, match=r"hidden inside the arguments of the partial 'fit'\[0\]"):
        task(functools.partial(fit.fn, named()))

    assert len(task(functools.partial(fit.fn, lr=named()))(1)._fl_deps) == 1  # type: ignore[arg-type]


# ---- async, eager


@task
async def fetch(x: int) -> int:
    """Return one more."""
    await asyncio.sleep(0)
    return x + 1


def test_an_async_function_is_recorded_like_another() -> None:
    """Calling it makes a node, not a coroutine."""
    assert type(fetch(1)) is Node


def test_eager_calls_run_at_once() -> None:
    """As plain Python, methods and coroutines too; outside the block calls are recorded again."""
    with eager():
        assert double(double(3)) == 12
        assert Trainer(0.5).train(1) == (0.5, 4)
        assert Trainer.check(3) == 3
        assert fetch(1) == 2
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            double()
    assert type(double(3)) is Node


def test_eager_works_inside_a_running_event_loop() -> None:
    """As in a notebook, where one always runs."""

    async def cell() -> int:
        with eager():
            return fetch(fetch(1))  # type: ignore[arg-type, return-value]

    assert asyncio.run(cell()) == 3


def test_eager_ends_with_its_block_and_stays_in_its_thread() -> None:
    """Also after an error."""
    with pytest.raises(ZeroDivisionError), eager():
        task(lambda: 1 / 0)()
    assert type(double(3)) is Node

    async def others() -> Any:
        async def one() -> Any:
            with eager():
                await asyncio.sleep(0)
                return double(1)

        async def other() -> Any:
            return double(1)

        return await asyncio.gather(one(), other())

    first, second = asyncio.run(others())
    assert first == 2
    assert type(second) is Node


# ---- pickling, copying


def test_tasks_are_pickled_by_reference() -> None:
    """As functions are: the other side has the same module."""
    for one in (fit, named, Trainer.train):
        assert pickle.loads(pickle.dumps(one)) is one
        assert b"0.1" not in pickle.dumps(one)


def test_variants_and_bound_tasks_come_back_as_what_they_were() -> None:
    """The reference alone would lose the options and the object."""
    variant = pickle.loads(pickle.dumps(fit.options(version="9", cache=False)))
    bound = pickle.loads(pickle.dumps(Trainer(0.7).train.options(tags=["x"])))

    assert variant.policy == Policy(version="9", cache=False)
    assert variant.fn is fit.fn
    assert bound.bound[0].lr == 0.7
    assert bound.policy.tags == ("x",)
    assert bound.name == "Trainer.train"


def test_a_task_without_a_name_of_its_own_is_pickled_by_value() -> None:
    """Where the pickler can do that; the plain one says what it cannot do."""
    factor = 5
    local = task(lambda x: factor * x, version="2")

    again = pickle.loads(cloudpickle.dumps(local))

    assert again.fn(2) == 10
    assert again.policy == local.policy
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_a_task_that_was_redefined_is_not_mistaken_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, where a cell is run twice while a node of the first run is still there."""
    old = named
    monkeypatch.setattr(sys.modules[__name__], "named", task(lambda: 3))

    assert pickle.loads(cloudpickle.dumps(old)).fn() == 2


def test_a_task_is_its_own_copy() -> None:
    """Like a function."""
    assert copy.copy(fit) is fit
    assert copy.deepcopy([fit])[0] is fit


def test_only_reductions_stream() -> None:
    """`begin` is for tasks of flowlib's own."""
    assert not fit.streams
    with pytest.raises(TaskMisused, match="Task 'fit' is not a reduction"):
        fit.begin(())


def test_generic_for_type_checkers() -> None:
    """`Task[P, R]` can be written in annotations."""
    assert Task[[int], str] is not None


def test_any_name_can_be_a_keyword() -> None:
    """A function of `**options` may be given one named like an argument of ours."""

    @task
    def given(*values: int, **options: int) -> tuple[Any, ...]:
        return values, options

    assert given(1, self=2, args=3, kwargs=4)._fl_args == ((1,), {"self": 2, "args": 3, "kwargs": 4})
    with eager():
        assert given(1, self=2) == ((1,), {"self": 2})
