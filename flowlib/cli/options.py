r"""Turn the signature of a function into command line options: names, types, defaults and help.

A parameter `depth_max: int = 8` becomes `--depth-max INT`, a `bool` a pair `--flag/--no-flag`, a list an option that is
repeated or takes its items with commas between them (`\,` is a comma inside an item). Parsing itself is cyclopts'.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any

import attrs
from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)

from flowlib.cli.flags import TARGET_NAME
from flowlib.cli.hints import annotation_of, hint_of, unchecked
from flowlib.cli.trouble import short_path
from flowlib.errors import UsageError, near_miss
from flowlib.graph.task import Task
from flowlib.hashing.file import Dir, File
from flowlib.text import one_line, short_repr

_EMPTY = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
        annotation = annotation_of(hint_of(fn, parameter), parameter.default)
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
    return Options(named=named, doc=inspect.getdoc(getattr(entry, "func", entry)) or "", options=tuple(options))


def parsed_so_far(
    app: App, tokens: Sequence[str], known: Collection[str], *, otherwise: str = ""
) -> tuple[Callable[..., Any], inspect.BoundArguments, list[str], set[str]]:
    """Parse what an app knows.

    Args:
        app: The commands or options.
        tokens: The words.
        known: Options that a misspelt one could have meant.
        otherwise: What else to do about an unknown option.

    Returns:
        The chosen function, its arguments as far as they are given, the words the app does not know, and the names of
        the parameters that are not the parser's business.

    Raises:
        UsageError: A word that the app knows is used wrongly.
    """
    try:
        command, bound, unused, ignored = app.parse_known_args(tokens, end_of_options_delimiter="")
    except UnknownOptionError as error:
        raise unknown_word(error.token.keyword or error.token.value, known, otherwise=otherwise) from None
    except UnusedCliTokensError as error:
        raise unknown_word((error.unused_tokens or [""])[0], known, otherwise=otherwise) from None
    except MissingArgumentError as error:
        if error.argument is not None and error.argument.name == TARGET_NAME:
            raise UsageError("No file is named.", {}, f"Write: flowlib {tokens[0]} {TARGET_NAME}") from None
        raise _unfit(error) from None
    except CycloptsError as error:
        raise _unfit(error) from None
    return command, bound, list(unused), set(ignored)


def unknown_word(word: str, known: Iterable[str], *, otherwise: str = "") -> UsageError:
    """Return the error for a word that nobody knows; its hint names the nearest known one, then `otherwise`."""
    head = word.partition("=")[0]
    if not head.startswith("-"):
        return UsageError(f"Unexpected word {word!r}.", {}, "Options are written --name value; add --help for all.")
    hint = near_miss(head, known)
    if otherwise:
        hint = f"{hint} {otherwise}" if hint.startswith("Did") else otherwise
    return UsageError(f"There is no option {head}.", {}, hint)


def own_flags(app: App) -> list[str]:
    """Return how a command's own options are spelled."""
    collection = app.assemble_argument_collection()
    return [
        name
        for argument in collection
        if argument.parameter.parse is not False
        for name in argument.names
        if name.startswith("--")
    ]


def _unfit(error: CycloptsError) -> UsageError:
    error.verbose = False
    return UsageError(str(error).strip(), {}, "Add --help for all options.")


def _in(option: Option, group: Group | None) -> Any:
    extra = Parameter(name=(option.flag,), group=group, show_default=_default_text)
    annotation = unchecked(option.annotation) if group is None else option.annotation
    return Annotated[annotation, extra]


def _default_text(value: Any) -> str | None:
    """Return how `--help` shows a default; None hides it."""
    if value is None or (isinstance(value, str) and not value):
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
