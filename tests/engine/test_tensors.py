"""Tensors between tasks: a task sees what plain Python would show it, wherever it runs and whatever is stored."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import attrs
import pytest

import flowlib as fl
from flowlib.execution.sharing import private_copy
from flowlib.hashing.identity import digest

torch = pytest.importorskip("torch")


@attrs.define
class Trainer:
    """A user's object, with slots, that holds a module."""

    model: Any
    history: list[float]


def leaf() -> Any:
    """Return a tensor with a gradient."""
    made = torch.ones(3, requires_grad=True)
    (made * 2).sum().backward()
    return made


def module() -> Any:
    """Return a module with gradients."""
    made = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    for place, parameter in enumerate(made.parameters()):
        torch.nn.init.constant_(parameter, 0.1 * (place + 1))  # tasks run at once, and random numbers are shared
    made(torch.ones(4, 3)).sum().backward()
    return made


MAKERS = {
    "tensor": leaf,
    "parameter": lambda: module()[0].weight,
    "module": module,
    "in a dict": lambda: {"a": [leaf(), (module(),)]},
    "in an object": lambda: Trainer(module(), [0.1]),
    "state": lambda: OrderedDict(module().state_dict()),
}


def gradients(value: Any) -> list[float]:
    """Return the sums of all gradients in a value, in order."""
    if isinstance(value, torch.Tensor):
        return [] if value.grad is None else [round(float(value.grad.sum()), 6)]
    if isinstance(value, torch.nn.Module):
        return [number for parameter in value.parameters() for number in gradients(parameter)]
    if isinstance(value, Trainer):
        return gradients(value.model)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [number for part in parts for number in gradients(part)]


@fl.task
def make(kind: str) -> Any:
    return MAKERS[kind]()


@fl.task
def look(value: Any) -> list[float]:
    return gradients(value)


@fl.task
def clear(value: Any) -> None:
    for tensor in value.parameters() if isinstance(value, torch.nn.Module) else [value]:
        tensor.grad.zero_()


@pytest.mark.parametrize("executor", ["threads", "inline", "processes"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_task_sees_the_gradients_of_what_it_is_given(tmp_path: Path, executor: str, cached: bool) -> None:
    """As an argument and as another task's result; neither torch's copies nor its pickles keep them by themselves."""
    cache = tmp_path / "cache" if cached else False
    expected = {kind: gradients(made()) for kind, made in MAKERS.items()}

    for _ in range(2):
        found = fl.run(
            {kind: [look(made()), look(make(kind)), look(make(kind))] for kind, made in MAKERS.items()},
            cache=cache, executor=executor, workers=2, progress=False,
        )  # fmt: skip
        assert found == {kind: [numbers] * 3 for kind, numbers in expected.items()}


@pytest.mark.parametrize("kind", ["tensor", "module"])
def test_a_cleared_gradient_is_cleared_for_one_task_only(tmp_path: Path, kind: str) -> None:
    """A copy has gradients of its own."""
    value = MAKERS[kind]()
    cleared = clear(value)

    fl.run([cleared, look(value)], cache=tmp_path / "cache", executor="inline", progress=False)

    assert gradients(value) == gradients(MAKERS[kind]()) != [0.0] * len(gradients(value))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_copy_has_the_digest_of_its_original(kind: str) -> None:
    """Or a key would name a value that its task never saw."""
    value = MAKERS[kind]()

    copied, is_private = private_copy(value)

    assert is_private
    assert digest(copied) == digest(value)
