"""Describe a class as it is loaded: bases, metaclass, fields, and every member.

Theory of operation: the class object speaks, not its source, because nothing proves that a class statement is the one
that made the class. Methods are proved one by one like all functions. What machinery generates (the methods of
dataclasses and attrs classes) is left out; the fields it was generated from count instead, with their order and
annotations. Annotations of other classes do nothing and are left out.
"""

import abc
import enum
import functools
import re
import sys
from collections.abc import Iterator
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType

from flowlib.hashing.annotation import read_annotation
from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.parts import Description
from flowlib.hashing.resolve import Link, Origin, qualified_name

_BOOKKEEPING = frozenset([
    "__dict__", "__weakref__", "__slotnames__", "__module__", "__doc__", "__qualname__", "__firstlineno__", "__static_attributes__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__abstractmethods__",
    "__parameters__", "__orig_bases__", "__type_params__", "__match_args__", "__signature__", "_abc_impl",
    "__dataclass_fields__", "__dataclass_params__", "__attrs_attrs__", "__attrs_props__", "__attrs_own_setattr__",
    "_is_protocol", "_is_runtime_protocol", "__protocol_attrs__", "__non_callable_proto_members__",
    "__class_vars__", "__private_attributes__", "model_fields", "model_computed_fields",
])  # fmt: skip
_PLAIN_METACLASSES = frozenset({"builtins.type", "abc.ABCMeta", "enum.EnumType"})
# One function for all classes, named anew for each of them (Python 3.13): its name says which class was made last.
_SHARED = frozenset({("attr._make", "evolve"), ("dataclasses", "_replace")})
_SUNDER = re.compile(r"_[a-z0-9]\w*_")


def describe_class(cls: type, index: SourceIndex) -> Description:
    """Describe a class of user code. O(members)."""
    fields = [*_fields(cls, index)]
    links = [*_ancestry(cls), *_registered(cls), *_members(cls), *(item for item in fields if isinstance(item, Link))]
    facts = ["class", *(item for item in fields if isinstance(item, str))]
    return Description(name=qualified_name(cls), facts=tuple(facts), links=tuple(links), text=class_text(cls, index))


def class_text(cls: type, index: SourceIndex) -> str:
    """Return the source of a class statement for people to compare; empty if it cannot be found."""
    file = index.file_of_class(cls)
    statements = file.classes.get(cls.__qualname__) if file is not None else None
    return file.text_of(statements[-1]) if file is not None and statements else ""


def _ancestry(cls: type) -> Iterator[Link]:
    for place, base in enumerate(cls.__bases__):
        yield Link(f"base {place}", base, qualified_name(base))
    if type(cls) is not type:
        yield Link("metaclass", type(cls), qualified_name(type(cls)))


def _registered(cls: type) -> Iterator[Link]:
    """Yield a link for each class that was registered with an abstract one: `isinstance` counts them as its own.

    Of several classes of one name, left over from a cell that was executed again, the one that the name means counts.
    """
    if "_abc_impl" not in vars(cls):
        return
    by_name: dict[tuple[str, str], list[type]] = {}
    for other in filter(None, [reference() for reference in abc._get_dump(cls)[0]]):  # type: ignore[attr-defined]
        by_name.setdefault((other.__qualname__, other.__module__), []).append(other)
    for (name, module), found in sorted(by_name.items()):
        meant = [other for other in found if other is vars(sys.modules.get(module, abc)).get(name)]
        for other in meant or found:
            yield Link(f"registered {name}", other, qualified_name(other))


def _members(cls: type) -> Iterator[Link]:
    """Yield a link for each member that the class statement, or somebody since, has put there."""
    name = qualified_name(cls)
    members = cls.__members__ if issubclass(cls, enum.Enum) else {}
    for member_name, enumerated in members.items():
        yield Link(f"member {member_name}", enumerated._value_, f"{name}.{member_name}", Origin(cls, member_name))
    for member_name, member in vars(cls).items():
        if member_name in members or _is_machinery(cls, member_name, member):
            continue
        for suffix, value in _unwrap(member):
            yield Link(f"member {member_name}{suffix}", value, f"{name}.{member_name}", Origin(cls, member_name))


def _is_machinery(cls: type, name: str, member: object) -> bool:
    if name in _BOOKKEEPING or name.startswith(("__pydantic_", "__attrs_")):
        return True
    if isinstance(member, MemberDescriptorType | GetSetDescriptorType):
        return True
    if issubclass(cls, enum.Enum) and _SUNDER.fullmatch(name):
        return True
    if type(member).__name__ == "_tuplegetter":  # the fields of a named tuple; `_fields` says them
        return True
    function = member
    while isinstance(function, FunctionType) and "__wrapped__" in vars(function):
        function = vars(function)["__wrapped__"]
    return isinstance(function, FunctionType) and (
        function.__code__.co_qualname.startswith("__create_fn__.<locals>.")  # dataclasses
        or function.__code__.co_filename.startswith("<attrs generated")
        or (function.__globals__.get("__name__"), function.__code__.co_qualname) in _SHARED
    )


def _unwrap(member: object) -> Iterator[tuple[str, object]]:
    """Yield (what it is, object) for the functions inside a descriptor; any other member is yielded as it is."""
    if isinstance(member, staticmethod | classmethod):
        yield f" {type(member).__name__}", member.__func__
    elif isinstance(member, property):
        for part in ("fget", "fset", "fdel"):
            if getattr(member, part) is not None:
                yield f" {part}", getattr(member, part)
    elif isinstance(member, functools.cached_property):
        yield " cached_property", member.func
    elif isinstance(member, functools.partialmethod):
        yield " partialmethod", (member.func, member.args, member.keywords)
    elif isinstance(member, functools.singledispatchmethod):
        yield " singledispatchmethod", dict(member.dispatcher.registry)
    else:
        yield "", member


def _fields(cls: type, index: SourceIndex) -> Iterator[str | Link]:
    """Yield what machinery made the class from: fields in order, with annotations, defaults and options."""
    own = vars(cls)
    parts: tuple[str, ...]
    name = qualified_name(cls)
    if "__dataclass_fields__" in own:
        yield f"dataclass {own.get('__dataclass_params__')!r}"
        for field in own["__dataclass_fields__"].values():
            options = [getattr(field, option) for option in ("init", "repr", "hash", "compare", "kw_only")]
            yield f"field {field.name} {field._field_type.name} {options}"
            yield from _field(cls, field, name, field.type, ("default", "default_factory", "metadata"))
    elif "__attrs_attrs__" in own:
        yield f"attrs {sorted(member for member in own if member.startswith('__') and member not in _BOOKKEEPING)}"
        for field in own["__attrs_attrs__"]:
            yield f"field {field.name} {[field.init, field.kw_only, field.inherited, field.alias]}"
            parts = ("default", "validator", "converter", "repr", "eq", "order", "hash", "on_setattr", "metadata")
            yield from _field(cls, field, name, field.type, parts)
    elif "__pydantic_fields__" in own:
        for field_name, field in own["__pydantic_fields__"].items():
            yield f"field {field_name} {[field.alias, field.init, field.frozen, field.kw_only]}"
            parts = ("default", "default_factory", "validate_default", "validation_alias", "metadata")
            yield from _field(cls, field, f"{name}.{field_name}", field.annotation, parts, field_name)
        yield from _pydantic_decorators(own.get("__pydantic_decorators__"))
    elif issubclass(cls, enum.Enum):
        yield f"members {[*cls.__members__]}"  # in the order in which loops see them
    elif _reads_annotations(cls, index):
        yield from _plain_annotations(cls)


def _pydantic_decorators(infos: object) -> Iterator[str]:
    """Yield which fields each validator or serializer is for; their functions are members of the class."""
    for group, decorators in sorted(getattr(infos, "__dict__", {}).items()):
        for name, decorator in sorted(decorators.items()) if isinstance(decorators, dict) else ():
            options = [getattr(decorator.info, option, None) for option in ("fields", "mode", "when_used")]
            yield f"{group} {name} {options}"


def _field(
    cls: type, field: object, name: str, annotation: object, parts: tuple[str, ...], field_name: str = ""
) -> Iterator[str | Link]:
    field_name = field_name or str(getattr(field, "name", ""))
    text, needed = read_annotation(annotation)
    yield f"annotation {text}"
    for place, value in enumerate(needed):
        yield Link(f"annotation {field_name} {place}", value, qualified_name(value), Origin(cls, field_name))
    for part in parts:
        value = getattr(field, part, None)
        empty = value is None or (part == "metadata" and not value)
        if not empty and type(value).__name__ not in ("_MISSING_TYPE", "_Nothing", "PydanticUndefinedType"):
            yield Link(f"{part} {field_name}", value, f"{name}.{field_name}: {part}", Origin(cls, field_name))


def _reads_annotations(cls: type, index: SourceIndex) -> bool:
    """True if something installed made the class and may have looked at its annotations."""
    metaclass = type(cls)
    if f"{metaclass.__module__}.{metaclass.__qualname__}" not in _PLAIN_METACLASSES or hasattr(cls, "_field_defaults"):
        return True
    return any("__init_subclass__" in vars(base) for base in cls.__mro__[1:-1] if base.__module__ != "typing")


def _plain_annotations(cls: type) -> Iterator[str | Link]:
    try:
        annotations = dict(vars(cls).get("__annotations__") or getattr(cls, "__annotations__", {}))
    except Exception:  # evaluated on access since Python 3.14; names in it may not exist
        annotations = {}
    for name, annotation in annotations.items():
        text, needed = read_annotation(annotation)
        yield f"annotation {name} {text}"
        for place, value in enumerate(needed):
            yield Link(f"annotation {name} {place}", value, qualified_name(value), Origin(cls, name))
