"""The two picklers between a run and its workers: what goes by reference, and what by value."""

import contextlib
import marshal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import attrs
import cloudpickle

from flowlib.execution.standins import find_at_home, is_at_home, needs_stand_in
from flowlib.graph.function import look_up
from flowlib.graph.node import Node
from flowlib.graph.task import Task
from flowlib.hashing.forms import shared_index
from flowlib.store.codec_tensors import tensor_reducers

_PROTOCOL = 5
_one_at_a_time = threading.Lock()
"""cloudpickle keeps the modules to pickle by value in one place for the process."""


@attrs.frozen
class Slot:
    """Stands for an input, by its position among the inputs."""

    position: int


@attrs.define
class Packing:
    """What is found out while a message is packed.

    Attributes:
        refs: The user's definitions that go by reference.
        modules: Names of the user's modules that go as modules.
        met: (module, file) -> what goes by value out of it.
        files: The files that were written.
    """

    refs: list[Any] = attrs.field(factory=list)
    modules: list[str] = attrs.field(factory=list)
    met: dict[tuple[str, str | None], list[Any]] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)


def is_user_module(name: str) -> bool:
    """Whether a module is the user's own code: nothing installed, nor of Python or flowlib."""
    return shared_index().owners.of_module(name) is None


@contextlib.contextmanager
def by_value() -> Iterator[None]:
    """Forget at the end of the block which modules were to be pickled by value."""
    with _one_at_a_time:
        before = set(cloudpickle.list_registry_pickle_by_value())
        try:
            yield
        finally:
            for name in cloudpickle.list_registry_pickle_by_value() - before:
                if name in sys.modules:
                    cloudpickle.unregister_pickle_by_value(sys.modules[name])


class Outward(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles for a worker."""

    def __init__(self, stream: Any, packing: Packing, whole: bool, **options: Any) -> None:
        super().__init__(stream, protocol=_PROTOCOL, **options)
        self._packing, self._whole, self._tensors = packing, whole, tensor_reducers()

    def persistent_id(self, value: Any) -> Any:
        return value.position if type(value) is Slot else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType, Task)):
            module = getattr(value, "__module__", None)
            if type(module) is str and module != "builtins" and not module.startswith("flowlib."):
                return self._reduce_definition(value, module)
        elif type(value) is CodeType:  # cloudpickle would leave out the name of its file
            return marshal.loads, (marshal.dumps(value),)
        elif isinstance(value, ModuleType) and is_user_module(value.__name__):
            self._packing.modules.append(value.__name__)
            if self._whole or needs_stand_in(value.__name__):
                _register(value)
        elif type(value) in self._tensors:
            return self._tensors[type(value)](value)
        return super().reducer_override(value)

    def _reduce_definition(self, value: Any, module: str) -> Any:
        loaded = sys.modules.get(module)
        if needs_stand_in(module):
            file = getattr(loaded, "__file__", None)
            met = self._packing.met.setdefault((module, file), [])
            if look_up(module, value.__qualname__) is value and not any(value is one for one in met):
                met.append(value)
            _register(loaded)
            by_value = True
        else:
            by_value = self._whole and is_user_module(module)
            if by_value:
                _register(loaded)
            elif is_user_module(module):
                self._packing.refs.append(value)
        if type(value) is Task and (by_value or not _is_named(value)):
            return _bare_task, (), _task_state(value), None, None, _fill_task
        return super().reducer_override(value)


class Homeward(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles for the process that a worker works for."""

    def __init__(self, stream: Any, packing: Packing, whole: bool, **options: Any) -> None:
        super().__init__(stream, protocol=_PROTOCOL, **options)
        self.places: Mapping[Node, int] = {}
        self._tensors = tensor_reducers()

    def persistent_id(self, value: Any) -> Any:
        return self.places.get(value) if type(value) is Node else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType, Task)) and is_at_home(value):
            return find_at_home, (value.__module__, getattr(value, "__qualname__", ""))
        if type(value) is CodeType:
            return marshal.loads, (marshal.dumps(value),)
        if type(value) is Task and not _is_named(value):
            return _bare_task, (), _task_state(value), None, None, _fill_task
        if type(value) in self._tensors:
            return self._tensors[type(value)](value)
        return super().reducer_override(value)


def _register(module: Any) -> None:
    if module is not None and module.__name__ in sys.modules and module.__name__ != "__main__":
        cloudpickle.register_pickle_by_value(module)


def _bare_task() -> Any:
    return object.__new__(Task)


def _task_state(task: Any) -> dict[str, Any]:
    state = {name: value for name, value in vars(task).items() if name not in ("_signature", "n_outputs")}
    return state | {"name": task.name, "_signature": None}


def _fill_task(task: Any, state: Mapping[str, Any]) -> None:
    task.__dict__.update(state)


def _is_named(task: Any) -> bool:
    found = look_up(getattr(task, "__module__", ""), getattr(task, "__qualname__", ""))
    return isinstance(found, Task) and found.fn is task.fn
