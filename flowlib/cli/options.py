"""Turn the signature of a function into command line options: names, types, defaults and help.

A parameter `depth_max: int = 8` becomes `--depth-max INT`, a `bool` a pair `--flag/--no-flag`, a list an option that is
repeated or takes its items with commas between them (`\\,` is a comma inside an item). Parsing itself is cyclopts'.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from cyclopts import (
    App,
    CycloptsError,
    Group,
    Parameter,
    Token,
    UnknownOptionError,
    UnusedCliTokensError,
    convert,
)

from flowlib.cli.trouble import short_path
from flowlib.errors import UsageError, near_miss
from flowlib.graph.task import Task
from flowlib.hashing.file import Dir, File
from flowlib.views.text import one_line, short_repr

_SCALARS: tuple[type, ...] = (
    bool, int, float, complex, str, PurePath, File, Dir, date, datetime, timedelta, Decimal, Fraction, UUID, Enum,
)  # fmt: skip
_CONTAINERS: Mapping[Any, type] = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
    Sequence: list, Iterable: list, Collection: list,
}  # fmt: skip
_EMPTY = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_COMMA = re.compile(r"(?<!\\),")


@attrs.frozen(kw_only=True)
class Option:
    """One parameter as an option."""

    name: str
    annotation: Any
    default: Any
    is_positional: bool

    @property
    def flag(self) -> str:
        """How it is spelled: `--depth-max`."""
        return "--" + self.name.replace("_", "-")


@attrs.frozen(kw_only=True)
class Options:
    """The options of one function or task."""

    named: str
    doc: str
    options: tuple[Option, ...]

    def parse(self, tokens: Sequence[str], *, others: Iterable[str] = ()) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and keyword arguments that the words stand for; what is not given is left out.

        Args:
            tokens: The words after the target.
            others: Further options that could have been meant, for the hint.

        Raises:
            UsageError: A word is not known, a value is not of its type, a parameter without default is not given.
        """
        app = App(name=self.named, help_flags=[], version_flags=[])
        app.default(self.as_function())
        known = [*(option.flag for option in self.options), *others]
        _, bound, unused, _ = parsed_so_far(app, self._spelled(tokens), known)
        if unused:
            raise unknown_word(unused[0], known)
        given = dict(bound.arguments.get("values", bound.arguments))
        args = [given.pop(o.name, o.default) for o in self.options if o.is_positional]
        return args, given

    def as_function(self, group: Group | None = None) -> Callable[..., None]:
        """Return a function with these options as keyword-only parameters, for the parser to look at."""

        def entry(**values: object) -> None: ...

        parameters = [
            inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=_in(o, group))
            for o in self.options
        ]
        vars(entry)["__signature__"] = inspect.Signature(parameters)
        entry.__doc__ = self.doc
        return entry

    def _spelled(self, tokens: Sequence[str]) -> list[str]:
        """Write `--depth_max` as `--depth-max`."""
        flag_by_name = {f"--{option.name}": option.flag for option in self.options}
        flag_by_name |= {f"--no-{option.name}": f"--no-{option.flag[2:]}" for option in self.options}
        heads = [token.partition("=") for token in tokens]
        return [flag_by_name.get(head, head) + equals + rest for head, equals, rest in heads]


def options_of(entry: Any, named: str) -> Options:
    """Return the options of a task or a function.

    Args:
        entry: The task or function.
        named: What the user calls it.

    Raises:
        UsageError: A parameter without a default has a type that cannot be written on a command line.
    """
    fn = entry.fn if isinstance(entry, Task) else entry
    signature = entry.signature.signature if isinstance(entry, Task) else inspect.signature(fn)
    options = []
    for parameter in signature.parameters.values():
        if parameter.kind in _VARIADIC:
            continue
        annotation = _annotation(_hint(fn, parameter), parameter)
        if annotation is not None:
            is_positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
            option = Option(
                name=parameter.name, annotation=annotation, default=parameter.default, is_positional=is_positional
            )
            options.append(option)
        elif parameter.default is _EMPTY:
            shown = inspect.formatannotation(parameter.annotation)
            raise UsageError(
                f"Parameter {parameter.name!r} of {named!r} cannot be given on a command line.",
                {"type": shown},
                "Write a function `pipeline` that makes it and calls the task.",
            )
    return Options(named=named, doc=inspect.getdoc(entry) or "", options=tuple(options))


def parsed_so_far(
    app: App, tokens: Sequence[str], known: Iterable[str]
) -> tuple[Callable[..., Any], inspect.BoundArguments, list[str], set[str]]:
    """Parse what an app knows.

    Args:
        app: The commands or options.
        tokens: The words.
        known: Options that a misspelt one could have meant.

    Returns:
        The chosen function, its arguments as far as they are given, the words the app does not know, and the names of
        the parameters that are not the parser's business.

    Raises:
        UsageError: A word that the app knows is used wrongly.
    """
    try:
        command, bound, unused, ignored = app.parse_known_args(tokens, end_of_options_delimiter="")
    except UnknownOptionError as error:
        raise unknown_word(error.token.keyword or error.token.value, known) from None
    except UnusedCliTokensError as error:
        raise unknown_word((error.unused_tokens or [""])[0], known) from None
    except CycloptsError as error:
        error.verbose = False
        raise UsageError(str(error).strip(), {}, "Add --help for all options.") from None
    return command, bound, list(unused), set(ignored)


def unknown_word(word: str, known: Iterable[str]) -> UsageError:
    """Return the error for a word that nobody knows."""
    head = word.partition("=")[0]
    if not head.startswith("-"):
        return UsageError(f"Unexpected word {word!r}.", {}, "Options are written --name value; add --help for all.")
    return UsageError(f"There is no option {head}.", {}, near_miss(head, known))


def own_flags(app: App) -> list[str]:
    """Return how a command's own options are spelled."""
    collection = app.assemble_argument_collection()
    return [name for argument in collection for name in argument.names if name.startswith("--")]


def _in(option: Option, group: Group | None) -> Any:
    extra = Parameter(name=(option.flag,), group=group, show_default=_default_text)
    return Annotated[option.annotation, extra]


def _default_text(value: Any) -> str | None:
    """Return how `--help` shows a default; None hides it."""
    if value is None or value == "" and isinstance(value, str):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, list | tuple | set | frozenset):
        return one_line(",".join(str(item) for item in list(value)[:20]), 60) or None
    if isinstance(value, PurePath | File | Dir):
        return one_line(short_path(str(value)), 60)
    return one_line(str(value), 60) if isinstance(value, str) else short_repr(value, 60)


# ---- types


def _hint(fn: Any, parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        inner = inspect.unwrap(getattr(fn, "func", fn))
        try:
            return eval(annotation, getattr(inner, "__globals__", {}))
        except Exception:  # a name that only a type checker can see
            return _EMPTY
    return annotation


def _annotation(hint: Any, parameter: inspect.Parameter) -> Any:
    """Return what the parser takes for a hint, or None for a type that cannot be written."""
    hint = _bare(hint)
    if hint in (_EMPTY, Any, object):
        hint = _type_of_default(parameter.default)
    members = [_bare(member) for member in _members(hint)]
    if len(members) == 1 and (made := _container(members[0])) is not None:
        return made
    if not members or not all(_is_scalar(member) for member in members):
        return None
    if any(member in (File, Dir) for member in members):
        return Annotated[Path, Parameter(converter=_one(members))]
    return hint


def _container(hint: Any) -> Any:
    """Return the annotation of a list-like hint, or None if it is not one, or its items cannot be written."""
    origin = typing.get_origin(hint) or hint
    made = _CONTAINERS.get(origin)
    if made is None:
        return None
    items = [_bare(item) for item in typing.get_args(hint) if item is not ...] or [str]
    if not all(_is_scalar(member) for item in items for member in _members(item)):
        return None
    shown = Path if items[0] in (File, Dir) else items[0]
    n_fixed = len(items) if origin is tuple and ... not in typing.get_args(hint) and typing.get_args(hint) else None
    return Annotated[list[shown], Parameter(converter=_several(made, items, n_fixed), negative_iterable=())]  # type: ignore[valid-type]


def _one(members: list[Any]) -> Callable[[Any, Sequence[Token]], Any]:
    def read(_: Any, tokens: Sequence[Token]) -> Any:
        return _read(members, tokens[0].value)

    return read


def _several(made: type, items: list[Any], n_fixed: int | None) -> Callable[[Any, Sequence[Token]], Any]:
    def read(_: Any, tokens: Sequence[Token]) -> Any:
        texts = [text.replace("\\,", ",") for token in tokens for text in _COMMA.split(token.value)]
        if texts == [""]:
            texts = []
        if n_fixed is not None and len(texts) != n_fixed:
            raise ValueError(f"needs {n_fixed} values with commas between them, not {len(texts)}")
        hints = items if n_fixed is not None else [items[0]] * len(texts)
        return made(_read(_members(hint), text) for hint, text in zip(hints, texts, strict=True))

    return read


def _read(members: list[Any], text: str) -> Any:
    """Return the value of a text as the first of the types that takes it."""
    for member in members:
        if member in (File, Dir):
            return member(text)
    return convert(members[0] if len(members) == 1 else typing.Union[tuple(members)], [text])  # noqa: UP007


def _is_scalar(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, _SCALARS))


def _members(hint: Any) -> list[Any]:
    """Return the types of a union without None; a list of itself for anything else."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(hint) if member is not type(None)]
    return [hint]


def _bare(hint: Any) -> Any:
    """Take off `Annotated`, `NewType` and type aliases."""
    while True:
        if typing.get_origin(hint) is Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def _type_of_default(default: Any) -> Any:
    kind = type(default)
    if kind in (list, tuple, set, frozenset):
        kinds = {type(item) for item in default}
        item = kinds.pop() if len(kinds) == 1 else str
        return list[item] if kind is list else set[item] if kind is set else tuple[item, ...]  # type: ignore[valid-type]
    return str if default is _EMPTY or default is None else kind
