"""Read an annotation that counts (of a dataclass field, a pydantic model): a text without module names, and classes."""

import ast
import re
import typing
from types import NoneType, UnionType
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def read_annotation(annotation: Any) -> tuple[str, list[object]]:
    """Return the annotation's structure as text, and the objects it mentions, in order.

    Text annotations (`from __future__ import annotations`) give their own text, whatever the layout.

    >>> read_annotation(dict[str, int | None])
    ('dict[_, Union[_, _]]', [<class 'str'>, <class 'int'>, <class 'NoneType'>])
    >>> read_annotation("dict[ str,int ]")
    ('dict[str, int]', [])
    """
    mentioned: list[object] = []
    return _read(annotation, mentioned), mentioned


def _read(annotation: Any, mentioned: list[object]) -> str:
    if isinstance(annotation, str):
        return _tidy(annotation)
    if isinstance(annotation, typing.ForwardRef):
        return _tidy(annotation.__forward_arg__)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        mentioned.extend(annotation.__metadata__)
        return f"Annotated[{_read(annotation.__origin__, mentioned)}, {len(annotation.__metadata__)}]"
    if origin is typing.Literal:
        return f"Literal{[(type(value).__name__, value) for value in annotation.__args__]!r}"
    if origin is not None:
        name = "Union" if origin in (typing.Union, UnionType) else _read_origin(origin, mentioned)
        return f"{name}[{', '.join(_read(argument, mentioned) for argument in typing.get_args(annotation))}]"
    if isinstance(annotation, list | tuple):  # the parameters of Callable
        return f"[{', '.join(_read(argument, mentioned) for argument in annotation)}]"
    if isinstance(annotation, type):
        mentioned.append(annotation)
        return "_"
    return _ADDRESS.sub("", repr(annotation)) if annotation is not None else repr(NoneType)


def _read_origin(origin: Any, mentioned: list[object]) -> str:
    if isinstance(origin, type) and origin.__module__ not in ("builtins", "collections.abc", "collections"):
        mentioned.append(origin)
    return str(getattr(origin, "__qualname__", origin))


def _tidy(text: str) -> str:
    try:
        return ast.unparse(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError):
        return text
