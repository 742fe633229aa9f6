"""Tensors of torch as safetensors, where that package is installed; and gradients, which torch itself does not pickle.

Theory of operation: safetensors writes a JSON header and then the data as they lie in memory; any reader of the format
reads such a blob, and loading one never runs code. A loaded tensor sits directly on the bytes it is given, a private
copy-on-write map for large ones: nothing is copied, the tensor is writable, the file never changes. What the format does
not say (one tensor or several, the kind and order of their dict) stands in its free-form metadata.

Only what comes back exactly is encoded: dense, contiguous tensors on the CPU, alone or in a dict by name, that need no
gradient, carry no attributes and share no memory. The rest (modules, parameters, views) goes to pickle.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from flowlib.store.files import Buffer

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
NEEDS = " (it keeps tensors of torch, with the package safetensors: pip install 'flowlib[safetensors]')"
_ALONE = "tensor"
_NOTE = "flowlib"
_RESERVED = "__metadata__"


def encode_tensors(value: Any) -> list[Buffer] | None:
    """Return the safetensors bytes of a tensor or a dict of them; None if the format would lose something.

    None, too, where the package is not installed. Cost: two copies of the data.
    """
    torch = sys.modules.get("torch")
    if torch is None or sys.byteorder != "little":
        return None
    named = {_ALONE: value} if type(value) is torch.Tensor else _named_tensors(value, torch.Tensor)
    if named is None or not all(_is_exact(tensor, torch) for tensor in named.values()) or _share_memory(named):
        return None
    try:
        from safetensors.torch import save
    except ImportError:
        return None
    return [save(named, metadata={_NOTE: _note(value)})]


def _named_tensors(value: Any, tensor: type) -> dict[str, Any] | None:
    if (
        type(value) not in (dict, OrderedDict)
        or not value
        or not _is_known(vars(value) if hasattr(value, "__dict__") else {})
    ):
        return None
    if not all(type(name) is str and type(item) is tensor for name, item in value.items()):
        return None
    return dict(value) if all(name.isprintable() and name != _RESERVED for name in value) else None


def _is_known(attributes: Mapping[str, Any]) -> bool:
    """Whether a dict carries nothing beside its items but the versions that torch hangs on a `state_dict`."""
    versions = attributes.get("_metadata", OrderedDict())
    if attributes.keys() - {"_metadata"} or type(versions) is not OrderedDict or vars(versions):
        return False
    return all(
        type(name) is str
        and type(facts) is dict
        and all(type(key) is str and type(n) is int for key, n in facts.items())
        for name, facts in versions.items()
    )


def _note(value: Any) -> str:
    if type(value) not in (dict, OrderedDict):
        return json.dumps({"kind": _ALONE})
    known = {"kind": type(value).__name__, "names": list(value)}
    return json.dumps({**known, **(vars(value) if type(value) is OrderedDict else {})})


def _is_exact(tensor: Any, torch: Any) -> bool:
    return bool(
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and str(tensor.dtype).removeprefix("torch.") in _DTYPES.values()
        and not (tensor.requires_grad or tensor.grad_fn or tensor.is_conj() or tensor.is_neg() or vars(tensor))
        and tensor.is_contiguous()
    )


def _share_memory(named: Mapping[str, Any]) -> bool:
    places = [tensor.untyped_storage().data_ptr() for tensor in named.values() if tensor.numel()]
    return len(set(places)) < len(places)


def decode_tensors(data: memoryview) -> object:
    """Return the tensors on verified, writable bytes that nobody else holds. Copies nothing; imports torch."""
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8 : 8 + n_header]))
    note = json.loads(header.pop(_RESERVED)[_NOTE])
    tensors = {name: _tensor(facts, data, 8 + n_header) for name, facts in header.items()}
    if note["kind"] == _ALONE:
        return tensors[_ALONE]
    in_order = ((name, tensors[name]) for name in note["names"])
    if note["kind"] == "dict":
        return dict(in_order)
    ordered = OrderedDict(in_order)
    if "_metadata" in note:
        vars(ordered)["_metadata"] = OrderedDict(note["_metadata"])
    return ordered


def _tensor(facts: Mapping[str, Any], data: memoryview, start: int) -> Any:
    import torch

    dtype = getattr(torch, _DTYPES[facts["dtype"]])
    first, stop = facts["data_offsets"]
    if first == stop:
        return torch.empty(facts["shape"], dtype=dtype)
    count = (stop - first) // dtype.itemsize
    return torch.frombuffer(data, dtype=dtype, count=count, offset=start + first).reshape(facts["shape"])


def tensor_reducers() -> dict[type, Callable[[Any], Any]]:
    """Return how tensors are pickled: as torch does, and with the gradient they have accumulated."""
    torch: Any = sys.modules.get("torch")
    return {} if torch is None else dict.fromkeys([torch.Tensor, torch.nn.Parameter], _reduce)


def give_gradients(copied: Any, value: Any) -> None:
    """Give the parameters in a copy the gradients that `copy.deepcopy` left behind, as it does for those of modules.

    Looks wherever a copy has the same form: in modules, containers, and the attributes of objects. O(objects).
    """
    torch: Any = sys.modules.get("torch")
    stack, seen = [] if torch is None else [(copied, value)], set[int]()
    while stack:
        new, old = stack.pop()
        if new is old or type(new) is not type(old) or id(old) in seen:
            continue
        seen.add(id(old))
        if isinstance(old, torch.Tensor):
            if new.grad_fn is None and new.grad is None and old.is_leaf and old.grad is not None:
                new.grad = old.grad.clone()
        elif isinstance(old, torch.nn.Module):
            stack += zip(new.parameters(), old.parameters(), strict=False)
        elif isinstance(old, (list, tuple)):
            stack += zip(new, old, strict=False)
        elif isinstance(old, dict):
            stack += zip(new.values(), old.values(), strict=False)
        else:
            stack += zip(_held(new), _held(old), strict=False)


def _held(value: Any) -> list[Any]:
    """Return the attributes of an object, slots included."""
    slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(value, name)]
    own = getattr(value, "__dict__", None)
    return [*(own.values() if type(own) is dict else ()), *(getattr(value, name) for name in slots)]


def _reduce(tensor: Any) -> Any:
    reduced = tensor.__reduce_ex__(5)
    gradient = tensor.grad if tensor.is_leaf else None  # a gradient kept elsewhere belongs to a graph that is gone
    return reduced if gradient is None else (_with_gradient, (*reduced[:2], gradient))


def _with_gradient(make: Callable[..., Any], args: tuple[Any, ...], gradient: Any) -> Any:
    tensor = make(*args)
    tensor.grad = gradient
    return tensor
