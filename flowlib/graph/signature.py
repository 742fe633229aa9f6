"""Bind a call's arguments to a function's parameters.

Theory of operation: for each function a lambda is compiled that has the same parameters and returns them as a tuple, so
the interpreter binds, as in the plain call. `inspect.Signature.bind` words the error of a wrong call, and binds for
functions whose parameters cannot be written down.

Cost: 60 us for each function to compile, when a call first needs it; 0.2 us a call, where `inspect` takes 3 us.
"""

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from flowlib.errors import TaskMisused, near_miss

_EMPTY = inspect.Parameter.empty
_VAR = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Lane(NamedTuple):
    """How calls of one shape are bound."""

    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None
    """Puts what is given and the tail into the parameters' order; None where they stand in it."""
    tail: tuple[Any, ...]
    """Defaults of the parameters that the call leaves out."""

    def of(self, by_position: tuple[Any, ...], by_keyword: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the bound values of a call."""
        given = by_position + by_keyword + self.tail
        return given if self.pick is None else self.pick(given)


def _binder_of(signature: inspect.Signature) -> Callable[..., tuple[Any, ...]]:
    """Return a function with the same parameters and defaults that returns its arguments as a tuple."""
    parameters = list(signature.parameters.values())
    bare = [p.replace(annotation=_EMPTY, default=_EMPTY if p.default is _EMPTY else 0) for p in parameters]
    names = "".join(f"{parameter.name}, " for parameter in parameters)
    try:
        binder = eval(f"lambda {str(inspect.Signature(bare))[1:-1]}: ({names})", {})  # names are identifiers
    except SyntaxError:  # a made-up signature may have names that are none
        return _unwritable
    given = [p for p in parameters if p.default is not _EMPTY]
    by_name = {p.name: p.default for p in given if p.kind is inspect.Parameter.KEYWORD_ONLY}
    binder.__defaults__ = tuple(p.default for p in given if p.name not in by_name)
    binder.__kwdefaults__ = by_name
    return binder  # type: ignore[no-any-return]


def _unwritable(*args: object, **kwargs: object) -> NoReturn:
    raise TypeError


class CallSignature:
    """A function's parameters, prepared for binding thousands of calls.

    Attributes:
        names: Parameter names in the signature's order; a call's bound values come in the same order.
        n_exact: How many arguments by position are all there is to bind; -1 if they cannot be all.
        signature: The `inspect.Signature` it was made from.
    """

    __slots__ = ("_by_keyword", "_call", "_n_positional", "_var", "n_exact", "names", "signature")

    def __init__(self, fn: Callable[..., object]) -> None:
        try:
            self.signature = inspect.signature(fn)
        except (ValueError, TypeError):
            anything = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
            anything.append(inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD))
            self.signature = inspect.Signature(anything)
        parameters = self.signature.parameters.values()
        self.names = tuple(parameter.name for parameter in parameters)
        kinds = [parameter.kind for parameter in parameters]
        self._var = tuple(kind for kind in kinds if kind in _VAR)
        self._by_keyword = tuple(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds)
        self._n_positional = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds if kind not in _VAR)
        is_plain = not self._var and not any(self._by_keyword)
        self.n_exact = len(kinds) if is_plain else -1
        self._call: Callable[..., tuple[Any, ...]] | None = None

    @property
    def required(self) -> dict[str, bool]:
        """Map each parameter that can be given by name to whether a call must give it."""
        return {
            parameter.name: parameter.default is _EMPTY
            for parameter in self.signature.parameters.values()
            if parameter.kind not in (*_VAR, inspect.Parameter.POSITIONAL_ONLY)
        }

    @property
    def takes_any_name(self) -> bool:
        """Whether the function has `**kwargs`."""
        return inspect.Parameter.VAR_KEYWORD in self._var

    def describe(self, position: int) -> str:
        """Name the argument at a position of the bound values, for errors."""
        return f"argument {self.names[position]!r}"

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], task: str) -> tuple[Any, ...]:
        """Return one value per name in `names`, defaults applied.

        Raises:
            TaskMisused: The call does not fit the signature.
        """
        if len(args) == self.n_exact and not kwargs:
            return args
        if self._call is None:
            self._call = _binder_of(self.signature)
        try:
            return self._call(*args, **kwargs)
        except TypeError:
            return self._bind_slowly(args, kwargs, task)

    def lane(self, n_given: int, words: Sequence[str]) -> Lane | None:
        """Return how all calls of one shape are bound; None if they do not fit, or the function has `*` parameters.

        Args:
            n_given: How many arguments come by position.
            words: The names that come by keyword, in their order.
        """
        if self._var:
            return None
        stand_ins = [object() for _ in range(n_given + len(words))]
        try:
            by_keyword = dict(zip(words, stand_ins[n_given:], strict=True))
            bound = self.signature.bind(*stand_ins[:n_given], **by_keyword).arguments
        except TypeError:
            return None
        given = {id(stand_in): position for position, stand_in in enumerate(stand_ins)}
        left_out = [name for name in self.names if name not in bound]
        tail = tuple(self.signature.parameters[name].default for name in left_out)
        where = {name: len(stand_ins) + position for position, name in enumerate(left_out)}
        picked = [where[name] if name in where else given[id(bound[name])] for name in self.names]
        pick = None if picked == sorted(picked) else operator.itemgetter(*picked)
        return Lane(pick, tail)

    def _bind_slowly(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], task: str) -> tuple[Any, ...]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = [name for name in kwargs if name not in self.names]
            hint = near_miss(unknown[0], self.names) if unknown and not self.takes_any_name else ""
            raise TaskMisused(
                f"Task {task!r} cannot be called like this: {error}.",
                {"signature": f"{task}{self.signature}"},
                hint or "Give every parameter without a default, each once.",
            ) from None
        bound.apply_defaults()
        return tuple(bound.arguments[name] for name in self.names)

    def split(self, values: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
        """Turn bound values back into the positional and keyword arguments of a call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if self._var:
            for parameter, value in zip(self.signature.parameters.values(), values, strict=True):
                if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                    args.extend(value)
                elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    kwargs.update(value)
                elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                    kwargs[parameter.name] = value
                else:
                    args.append(value)
            return args, kwargs
        if self._n_positional == len(values):
            return list(values), kwargs
        for name, by_keyword, value in zip(self.names, self._by_keyword, values, strict=True):
            if by_keyword:
                kwargs[name] = value
            else:
                args.append(value)
        return args, kwargs
