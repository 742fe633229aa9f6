"""Encoders for instances of classes: dataclasses, attrs and pydantic classes, named tuples, enums, plain objects.

Theory of operation: an instance is its class, the plain content of the builtin type it extends (if any), and its
attributes: `__dict__` and slots, by name. Fields marked `Ignore` and what `functools.cached_property` keeps are left
out. That is the whole of an instance only if nothing is hidden in C, and if the class has no opinion of its own about
what its state is; otherwise the instance is refused rather than half seen.
"""

import datetime as dt
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from types import FunctionType, MappingProxyType, MemberDescriptorType
from typing import Any

import attrs

from flowlib.hashing.callables import class_identity, is_user_class
from flowlib.hashing.encoding import Encoder, Made, Node, Refused, Walk, count, named, named_head, text
from flowlib.hashing.registry import REGISTRY, Ignore
from flowlib.hashing.standard import exception_content

_HEAP_TYPE = 1 << 9
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")


def _plain_defaultdict(value: defaultdict[Any, Any]) -> defaultdict[Any, Any]:
    return defaultdict(value.default_factory, dict.copy(value))


def _plain_datetime(value: dt.datetime) -> dt.datetime:
    return dt.datetime.combine(_plain_date(value), _plain_time(value.timetz()))


def _plain_date(value: dt.date) -> dt.date:
    return dt.date(value.year, value.month, value.day)


def _plain_time(value: dt.time) -> dt.time:
    return dt.time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


# From instances of a subclass to an equal value of exactly the base, past anything that the subclass overrides.
_PLAIN: Mapping[type, Callable[[Any], object]] = MappingProxyType(
    {
        OrderedDict: lambda value: OrderedDict(OrderedDict.items(value)),
        defaultdict: _plain_defaultdict,
        Counter: lambda value: Counter(dict.copy(value)),
        deque: lambda value: deque(deque.__iter__(value), value.maxlen),
        list: list.copy,
        tuple: lambda value: tuple.__getitem__(value, slice(None)),
        dict: dict.copy,
        set: lambda value: set(set.__iter__(value)),
        frozenset: lambda value: frozenset(frozenset.__iter__(value)),
        str: str.__str__,
        bytes: lambda value: bytes.__getitem__(value, slice(None)),
        bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
        int: int.__index__,
        float: float.__float__,
        complex: complex.__pos__,
        dt.datetime: _plain_datetime,
        dt.date: _plain_date,
        dt.time: _plain_time,
        dt.timedelta: lambda value: dt.timedelta(value.days, value.seconds, value.microseconds),
        Decimal: Decimal,
        Fraction: lambda value: Fraction(value.numerator, value.denominator),
        BaseException: lambda value: Made(exception_content(value)),
    }
)
# What numpy and polars keep in the __dict__ of their own objects; the content is encoded apart from it.
_LIBRARY_STATE = frozenset(
    ["_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict", "_df", "_s"]
)


@attrs.frozen
class Shape:
    """What the instances of a class are made of."""

    base: type | None
    """The builtin type the class extends, with content of its own."""
    slots: tuple[tuple[str, Any], ...]
    """Name and descriptor of each slot."""
    skipped: frozenset[str]
    """Attributes that do not count."""
    has_dict: bool
    refusal: str = ""
    """Why the state of instances cannot be seen; empty if it can."""


def instance_encoder(cls: type) -> Encoder:
    """Return the encoder for the instances of a class that no other encoder knows."""
    return partial(_encode_instance, shape_of(cls))


def encode_enum(value: enum.Enum, walk: Walk) -> Node:
    """Encode a member by the class's qualified name, its own name and value: new members change nothing.

    A class that gives its members methods counts by its code as well: whoever gets a member may call them.
    """
    cls = type(value)
    name = cls.__qualname__ if is_user_class(cls) else f"{cls.__module__}.{cls.__qualname__}"
    code = _code_of(cls, walk) if _has_methods(cls) else b""
    return named("enum", value._name_, value._value_, detail=name.encode() + code)


def _has_methods(cls: type) -> bool:
    members = [member for base in cls.__mro__ if is_user_class(base) for member in vars(base).values()]
    functions = [getattr(member, "fget", None) or getattr(member, "__func__", member) for member in members]
    return any(isinstance(function, FunctionType) and function.__module__ != "enum" for function in functions)


def _code_of(cls: type, walk: Walk) -> bytes:
    """Write the code version of a user class, if the walk knows versions."""
    return class_identity(cls, walk) if walk.function_digest is not None and is_user_class(cls) else b""


def encode_own(value: Any, walk: Walk) -> Node:
    """Encode an object by what its `__flowlib_digest__` method returns, and its class: by code, as for any instance."""
    detail = type(value).__qualname__.encode()
    head = named_head("own", 1, detail) + _code_of(type(value), walk)
    return Node(head, (value.__flowlib_digest__(),), label=_own_label)


def encode_registered(cls: type, function: Callable[[Any], object], value: Any, walk: Walk) -> Node:
    """Encode an object by what the function registered for `cls` returns, and its own class."""
    head = named_head("registered", 1, cls.__qualname__.encode()) + class_identity(type(value), walk)
    return Node(head, (function(value),), label=_own_label)


def encode_pydantic(value: Any, walk: Walk) -> Node:
    """Encode a pydantic model: fields, extra fields, private attributes, and which fields were set explicitly.

    The last because `model_dump(exclude_unset=True)` leaves out the others: how a configuration is laid over another.
    """
    cls = type(value)
    fields = getattr(cls, "__pydantic_fields__", None) or vars(value)
    state = {name: item for name, item in vars(value).items() if name in fields and not _ignores(fields, name)}
    state |= getattr(value, "__pydantic_extra__", None) or {}
    state |= getattr(value, "__pydantic_private__", None) or {}
    given = [name for name in getattr(value, "__pydantic_fields_set__", None) or () if name in state]
    return _instance(value, b"set", (sorted(given),), state, walk)


def encode_by_attributes(value: Any, walk: Walk) -> Node:
    """Encode an estimator of scikit-learn or a module of torch, and users' subclasses, by its attributes.

    Both define `__getstate__`, but only to add the version of the package, and to drop what compilation made.
    """
    ignored = REGISTRY.ignored(type(value)) | {"_compiled_call_impl"}
    state = {name: item for name, item in vars(value).items() if name not in ignored}
    return _instance(value, b"", (), state, walk)


def encode_tree(value: Any, walk: Walk) -> Node:
    """Encode a fitted tree of scikit-learn, a compiled class that says what it consists of."""
    return named("sklearn.tree", *value.__reduce__()[1:])


def encode_subclass(encode: Encoder, value: Any, walk: Walk) -> Node:
    """Encode an instance of a user's subclass of a library's class: its class, the library's content, its own state."""
    own = getattr(value, "_metadata", None)  # how pandas' subclasses name their own attributes
    names = own if isinstance(own, list) else getattr(value, "__dict__", {}).keys() - _LIBRARY_STATE
    state = {name: getattr(value, name, None) for name in names}
    return _instance(value, b"", (Made(encode(value, walk)),), state, walk)


def shape_of(cls: type) -> Shape:
    """Work out what the instances of a class are made of."""
    base = next((known for known in cls.__mro__ if known in _PLAIN), None)
    slots = [
        (name, member, owner)
        for owner in cls.__mro__
        if owner not in _PLAIN
        for name, member in vars(owner).items()
        if type(member) is MemberDescriptorType
    ]
    seen: dict[str, Any] = {}
    for name, member, owner in slots:
        if not _kept_by_attrs(owner, name):
            seen[f"{owner.__qualname__}.{name}" if name in seen else name] = member
    cached = {name for owner in cls.__mro__ for name, item in vars(owner).items() if isinstance(item, cached_property)}
    return Shape(
        base=base,
        slots=tuple(seen.items()),
        skipped=REGISTRY.ignored(cls) | cached | {"_attrs_cached_hash"},
        has_dict=cls.__dictoffset__ != 0,
        refusal=_hidden_state(cls, len(slots)) or _unusual_state(cls),
    )


def _encode_instance(shape: Shape, value: Any, walk: Walk) -> Node:
    if shape.refusal:
        raise Refused(value, shape.refusal)
    state: dict[str, Any] = dict(object.__getattribute__(value, "__dict__")) if shape.has_dict else {}
    for name, member in shape.slots:
        try:
            state[name] = member.__get__(value)
        except AttributeError:  # a slot that was never filled
            continue
    for name in shape.skipped:
        state.pop(name, None)
    if shape.base is None:
        return _instance(value, b"", (), state, walk)
    fields = getattr(value, "_fields", ()) if shape.base is tuple else ()
    detail = "".join(f"{name}," for name in fields if isinstance(name, str)).encode()
    return _instance(value, detail, (_PLAIN[shape.base](value),), state, walk)


def _instance(value: object, detail: bytes, content: Sequence[object], state: dict[str, Any], walk: Walk) -> Node:
    """Write an instance: class, detail, attribute names in the head; plain content and attributes as children."""
    if not all(type(name) is str for name in state):
        raise Refused(value, "its __dict__ has keys that are not texts")
    names = sorted(state)
    head = b"I%b%b%b%b%b%b" % (
        class_identity(type(value), walk),
        count(len(detail)),
        detail,
        count(len(content)),
        count(len(names)),
        b"".join(map(text, names)),
    )
    children = [*content, *map(state.__getitem__, names)]
    return Node(head, children, label=_state_label, names=(*[""] * len(content), *names))


def _state_label(names: Sequence[object], i: int) -> str:
    return f".{names[i]}" if names[i] else ""


def _own_label(names: Sequence[object], i: int) -> str:
    return ".__flowlib_digest__()"


def _ignores(fields: Any, name: str) -> bool:
    return any(mark is Ignore or isinstance(mark, Ignore) for mark in getattr(fields[name], "metadata", ()))


def _kept_by_attrs(owner: type, name: str) -> bool:
    """Say whether attrs made a slot for its own use: a cached property or a cached hash."""
    fields = vars(owner).get("__attrs_attrs__")
    return fields is not None and all(field.name != name for field in fields)


def _hidden_state(cls: type, n_slots: int) -> str:
    """Say which compiled class may hide state from Python; empty if none does."""
    solid: type = object
    for base in cls.__mro__:
        compiled = not base.__flags__ & _HEAP_TYPE
        if compiled and base is not object and base not in _PLAIN and not issubclass(base, BaseException):
            return f"its state is hidden in the compiled class {base.__qualname__}"
        if base.__basicsize__ > solid.__basicsize__ and (compiled or base in _PLAIN):
            solid = base
    if not cls.__flags__ & _HEAP_TYPE and not issubclass(cls, BaseException):
        return "it has no content by which it could be told from others"
    pointers = (
        n_slots + (cls.__dictoffset__ != solid.__dictoffset__) + (cls.__weakrefoffset__ != solid.__weakrefoffset__)
    )
    if cls.__basicsize__ > solid.__basicsize__ + pointers * object.__basicsize__ // 2:
        return "its state is hidden in a compiled class"
    return ""


def _unusual_state(cls: type) -> str:
    """Say which pickling method of a class has its own opinion on what the state is; empty if none does."""
    for base in cls.__mro__:
        own = vars(base)
        declared = "__dataclass_fields__" in own or "__attrs_attrs__" in own
        if base in _PLAIN or declared or not base.__flags__ & _HEAP_TYPE:
            continue
        for name in _PICKLING:
            if name in own and not (name == "__getnewargs__" and "_fields" in own):
                return f"{base.__qualname__} defines {name}, so its attributes may not be its state"
    return ""
