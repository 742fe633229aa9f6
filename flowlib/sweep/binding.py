"""Call a user's function with the parameters it names, for `.where` and `.derive`.

Theory of operation: the names are looked up once per function and once per shape of row; a row costs one tuple.
"""

import inspect
from collections.abc import Callable, Collection

from flowlib.errors import SpaceError, near_miss
from flowlib.sweep.point import Row, Shape
from flowlib.sweep.text import short_repr

RowFunction = Callable[[Row], object]


def parameter_names(fn: Callable[..., object], verb: str, known: Collection[str]) -> dict[str, bool]:
    """Return the parameters to pass by name: name -> whether every row must have it; all of them for `**kwargs`.

    Parameters with a default that the space does not have are left to their default.

    Raises:
        SpaceError: The function asks for a name the space does not have, or cannot be called by name.
    """
    if not callable(fn):
        raise SpaceError(
            f".{verb} needs a function of parameters.",
            {"got": short_repr(fn)},
            f"Write .{verb}(lambda {next(iter(known), 'x')}: ...), naming the parameters it needs."
            if verb == "where"
            else "For a fixed value multiply by a grid of one value.",
        )
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (ValueError, TypeError):
        raise SpaceError(
            f"The parameter names of the function given to .{verb} are unknown.",
            {"function": short_repr(fn)},
            "Wrap it: lambda lr, depth: your_function(lr, depth).",
        ) from None
    wanted: dict[str, bool] = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            wanted |= dict.fromkeys((name for name in known if name not in wanted), False)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted[parameter.name] = parameter.default is parameter.empty
        elif parameter.default is parameter.empty:
            raise _unknown(verb, parameter.name, known)
    return wanted


def _unknown(verb: str, name: str, known: Collection[str]) -> SpaceError:
    return SpaceError(
        f".{verb} asks for {name!r}, which the space does not have.",
        {"parameters": ", ".join(known)},
        near_miss(name, known),
    )


def row_function(fn: Callable[..., object], verb: str, known: Collection[str]) -> RowFunction:
    """Return a function of a row that calls `fn` with the parameters it names.

    The returned function raises SpaceError at a row without a parameter that `fn` requires.
    """
    wanted = parameter_names(fn, verb, known)
    picks_of: dict[Shape, list[tuple[str, int]]] = {}

    def call(row: Row) -> object:
        shape, values = row
        picks = picks_of.get(shape)
        if picks is None:
            picks = picks_of[shape] = _picks(shape, wanted, verb)
        try:
            return fn(**{name: values[position] for name, position in picks})
        except Exception as error:
            error.add_note(
                f"Raised in .{verb} at the point "
                + ", ".join(f"{name}={short_repr(value, 24)}" for name, value in zip(shape.names, values, strict=True))
            )
            raise

    return call


def _picks(shape: Shape, wanted: dict[str, bool], verb: str) -> list[tuple[str, int]]:
    for name, required in wanted.items():
        if required and name not in shape.names:
            raise SpaceError(
                f".{verb} asks for {name!r}, which some points do not set.",
                {"such a point sets": ", ".join(shape.names) or "nothing"},
                f"Give it a default: lambda {name}=None: ...",
            )
    return [(name, shape.names.index(name)) for name in wanted if name in shape.names]
