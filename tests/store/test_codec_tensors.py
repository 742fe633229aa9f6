"""Tensors: type, shape and bits survive; a loaded tensor is private and writable; what would lose something is pickled."""

import builtins
import copy
import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlib.hashing.identity import digest
from flowlib.store.base import NotKept
from flowlib.store.codec import round_trips
from flowlib.store.codec_tensors import decode_tensors, encode_tensors
from flowlib.store.local import LocalStore

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"]
SHAPES = [(), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4)]


def make(dtype: str, shape: tuple[int, ...]) -> Any:
    """Make a tensor with varied content."""
    count = int(torch.tensor(shape).prod())
    return (torch.arange(count) % 2 + 0.0).to(getattr(torch, dtype)).reshape(shape)


def there_and_back(value: Any) -> Any:
    """Encode and decode a value as a store would."""
    parts = encode_tensors(value)
    assert parts is not None
    return decode_tensors(memoryview(bytearray(b"".join(parts))))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    """Every type that the format has had from its beginning; no dimension, no element."""
    tensor = make(dtype, shape)

    loaded = there_and_back(tensor)

    assert (type(loaded), loaded.dtype, loaded.shape) == (type(tensor), tensor.dtype, tensor.shape)
    assert torch.equal(loaded, tensor)
    assert digest(loaded) == digest(tensor)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_dict_of_tensors_comes_back_in_its_order(kind: type) -> None:
    """Though the format sorts by type; names are any text that can be shown."""
    names = ["z", "a.b", "", "é ü", "m"]
    value = kind((name, make(DTYPES[at], (at, 2))) for at, name in enumerate(names))

    loaded = there_and_back(value)

    assert type(loaded) is kind
    assert list(loaded) == names
    assert digest(loaded) == digest(value)


def test_a_state_dict_keeps_the_versions_of_its_modules() -> None:
    """They stand in an attribute, which loading into a module reads."""
    state = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)).state_dict()

    loaded = there_and_back(state)

    assert loaded._metadata == state._metadata
    assert type(loaded._metadata) is OrderedDict
    assert digest(loaded) == digest(state)


def test_any_reader_of_the_format_can_read_a_blob(store: LocalStore) -> None:
    """What is kept is a file like any other of its kind."""
    value = {"w": torch.arange(5000.0), "b": torch.ones(3, dtype=torch.bfloat16)}
    payload = store.encode(value)

    from safetensors.torch import load_file

    found = load_file(store.blobs.path_of(payload.content))
    assert payload.codec == "safetensors"
    assert all(torch.equal(found[name], value[name]) for name in value)


def test_a_loaded_tensor_is_writable_and_the_file_stays(store: LocalStore) -> None:
    """It lies on a private map of the blob: nothing is copied before it is written to."""
    value = {"w": torch.arange(100_000.0), "small": torch.ones(3)}
    payload = store.encode(value)
    path = store.blobs.path_of(payload.content)
    before = path.read_bytes()

    loaded: Any = store.load(payload)
    for tensor in loaded.values():
        tensor.add_(1)

    assert torch.equal(loaded["w"], value["w"] + 1)
    assert path.read_bytes() == before
    assert digest(store.load(payload)) == digest(value)
    places = {tensor.untyped_storage().data_ptr() for tensor in loaded.values()}
    assert len(places) == 2  # two tensors, one map: neither reaches the other's bytes
    assert loaded["small"].untyped_storage().nbytes() == 12


class Tagged(torch.Tensor):  # type: ignore[misc, unused-ignore]
    """A user's kind of tensor."""


def with_attribute() -> Any:
    """Return a tensor that carries more than its content."""
    tensor = torch.ones(3)
    tensor.unit = "kg"
    return tensor


def with_gradient(tensor: Any) -> Any:
    """Return a leaf that has accumulated a gradient."""
    leaf = tensor.clone().requires_grad_()
    (leaf * leaf).sum().backward()
    return leaf


def shared() -> Any:
    """Return two tensors that show the same memory."""
    whole = torch.arange(6.0)
    return {"whole": whole, "part": whole[2:]}


def marked() -> Any:
    """Return an OrderedDict with an attribute of a user's."""
    value = OrderedDict(a=torch.ones(2))
    value.note = "mine"  # type: ignore[attr-defined]
    return value


PICKLED: dict[str, Callable[[], Any]] = {
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "needs a gradient": lambda: torch.ones(3).requires_grad_(),
    "has a gradient": lambda: with_gradient(torch.ones(3)),
    "has a sparse gradient": lambda: trained_embedding().weight,
    "with an attribute": with_attribute,
    "transposed": lambda: torch.arange(6.0).reshape(2, 3).t(),
    "conjugate": lambda: torch.complex(torch.ones(2), torch.ones(2)).conj(),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "complex128": lambda: torch.ones(2, dtype=torch.complex128),
    "shared memory": shared,
    "one tensor twice": lambda: dict.fromkeys("ab", torch.ones(2)),
    "list": lambda: [torch.ones(2)],
    "dict with a number": lambda: {"a": torch.ones(2), "b": 1},
    "keys that are numbers": lambda: {0: torch.ones(2)},
    "key that cannot be written": lambda: {"\ud800": torch.ones(2)},
    "reserved key": lambda: {"__metadata__": torch.ones(2)},
    "marked dict": marked,
    "subclass": lambda: torch.ones(3).as_subclass(Tagged),
    "module": lambda: torch.nn.Linear(3, 2),
    "trained module": lambda: trained(),
}


def trained() -> Any:
    """Return a module after a step of training: its gradients are still there."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    module(torch.ones(4, 3)).sum().backward()
    return module


def trained_embedding() -> Any:
    """Return a module whose gradient is sparse."""
    module = torch.nn.Embedding(5, 2, sparse=True)
    module(torch.tensor([1, 1, 3])).sum().backward()
    return module


@pytest.mark.parametrize("name", PICKLED)
def test_what_the_format_would_lose_is_pickled(store: LocalStore, name: str) -> None:
    """And comes back as it was: subclass, attributes, gradient, keys of any type."""
    value = PICKLED[name]()

    payload = store.encode(value)

    assert payload.codec in ("pickle5", "cloudpickle")
    assert round_trips(value, payload, store.load, digest)


def test_a_gradient_is_part_of_a_value() -> None:
    """A task may read it, so it counts, and it is kept."""
    module, again = trained(), trained()
    assert digest(module) == digest(again)

    again[0].weight.grad += 1
    assert digest(module) != digest(again)
    module.zero_grad()
    assert len({digest(module), digest(again), digest(trained())}) == 3


def test_a_gradient_of_an_inner_node_raises_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """Torch warns whoever asks a tensor for a gradient that is not kept."""
    leaf = torch.ones(3).requires_grad_()
    inner = leaf * 2
    assert digest(inner) == digest(copy.copy(inner))
    inner.retain_grad()
    before = digest(inner)
    inner.sum().backward()

    assert digest(inner) != before
    assert not list(recwarn)


def test_without_the_package_tensors_are_pickled(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: nothing else changes, and what was kept with it is read without it."""
    value = torch.arange(2000.0)
    with_it = store.encode(value)
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "safetensors":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)

    without = store.encode(value)
    assert (with_it.codec, without.codec) == ("safetensors", "pickle5")
    assert digest(store.load(with_it)) == digest(store.load(without)) == digest(value)
    with pytest.raises(NotKept, match=r"pip install 'flowlib\[safetensors\]'"):
        store.encode(value, codec="safetensors")


def test_the_codec_can_be_asked_for(store: LocalStore) -> None:
    """It says what it is for when it does not fit."""
    assert store.encode(torch.ones(2), codec="safetensors").codec == "safetensors"
    with pytest.raises(NotKept, match="cannot keep a list exactly"):
        store.encode([1], codec="safetensors")


def test_the_note_of_a_blob_is_plain_json(tmp_path: Path) -> None:
    """No code can hide in it."""
    (data,) = encode_tensors({"b": torch.ones(1), "a": torch.ones(1)}) or ()
    raw = bytes(data)
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])

    assert json.loads(header["__metadata__"]["flowlib"]) == {"kind": "dict", "names": ["b", "a"]}
