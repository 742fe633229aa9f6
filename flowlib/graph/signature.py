"""Bind a call's arguments to a function's parameters, fast for the ordinary shapes.

Cost: `inspect.Signature.bind` takes more than a microsecond, which is more than all the rest of making a node; here it
is used only for `*args`, `**kwargs`, positional-only parameters, and to word the error of a wrong call.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flowlib.errors import TaskMisused, near_miss

_EMPTY = inspect.Parameter.empty
_VAR = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class CallSignature:
    """A function's parameters, prepared for binding thousands of calls.

    Attributes:
        names: Parameter names in the signature's order; a call's bound values come in the same order.
        signature: The `inspect.Signature` it was made from.
    """

    __slots__ = ("_by_keyword", "_defaults", "_n_positional", "_plain", "_tails", "_var", "names", "signature")

    def __init__(self, fn: Callable[..., object]) -> None:
        try:
            self.signature = inspect.signature(fn)
        except (ValueError, TypeError):
            anything = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
            anything.append(inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD))
            self.signature = inspect.Signature(anything)
        parameters = self.signature.parameters.values()
        self.names = tuple(parameter.name for parameter in parameters)
        self._defaults = {p.name: p.default for p in parameters if p.default is not _EMPTY}
        self._var = tuple(p.kind for p in parameters if p.kind in _VAR)
        kinds = [parameter.kind for parameter in parameters]
        self._plain = not self._var and inspect.Parameter.POSITIONAL_ONLY not in kinds
        self._n_positional = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds if kind not in _VAR)
        self._by_keyword = tuple(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds)
        self._tails = tuple(self._tail(n_given) for n_given in range(self._n_positional + 1))

    def _tail(self, n_given: int) -> tuple[Any, ...] | None:
        """Return the defaults that complete a call with so many positional arguments; None when one is required."""
        missing = self.names[n_given:]
        has_all = self._plain and all(name in self._defaults for name in missing)
        return tuple(self._defaults[name] for name in missing) if has_all else None

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
        if not self._plain:
            return self._bind_slowly(args, kwargs, task)
        n_given = len(args)
        if n_given > self._n_positional:
            return self._bind_slowly(args, kwargs, task)
        if not kwargs:
            tail = self._tails[n_given]
            return args + tail if tail is not None else self._bind_slowly(args, kwargs, task)
        values = list(args)
        n_used = 0
        for name in self.names[n_given:]:
            if name in kwargs:
                values.append(kwargs[name])
                n_used += 1
            elif name in self._defaults:
                values.append(self._defaults[name])
            else:
                return self._bind_slowly(args, kwargs, task)
        if n_used != len(kwargs):
            return self._bind_slowly(args, kwargs, task)
        return tuple(values)

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
