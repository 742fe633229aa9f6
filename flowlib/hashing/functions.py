"""Describe a function: its normal form, and links to everything its result can depend on."""

from collections.abc import Callable, Iterator
from types import FunctionType

from flowlib.hashing.annotation import read_annotation
from flowlib.hashing.distribution import PYTHON
from flowlib.hashing.form import Form
from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.parts import Description
from flowlib.hashing.resolve import Environment, Link, Missing, Origin, qualified_name

_PLAIN_DATA = frozenset({bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset})


def describe_function(function: FunctionType, index: SourceIndex) -> Description:
    """Describe a plain function of user code. O(instructions) the first time, O(references) after."""
    form = index.form(function)
    name = qualified_name(function)
    links = [
        *index.resolver.resolve(index.outside(function), Environment.of_function(function)),
        *(_cells(function, form, index, name) if function.__closure__ else ()),
        *(_defaults(function, name) if function.__defaults__ or function.__kwdefaults__ else ()),
        *_around(function, name),
    ]
    spoken = f"{function.__name__} {function.__qualname__}"  # code that is handed a function can ask for its name
    return Description(name=name, facts=(form.kind, form.digest, spoken), links=tuple(links), text=form.text)


def describe_installed_wrapper(
    function: FunctionType, owner: str, is_user_code: Callable[[object], bool]
) -> Description:
    """Describe a function of installed code that wraps user code: a library's decorator at work.

    Of its closure, user code and plain data count; the library's own objects (locks, caches, settings) do not.
    """
    name = qualified_name(function)
    links = [
        Link(f"(cell {place})", value, f"{name}: {origin.name}", origin)
        for place, value, origin in cell_values(function)
        if type(value) in _PLAIN_DATA or is_user_code(value)
    ]
    facts = ["installed", owner, f"{function.__globals__.get('__name__')}.{function.__code__.co_qualname}"]
    if owner != str(PYTHON):  # validators and the like go by annotations; the standard library's wrappers do not
        annotations = getattr(vars(function).get("__wrapped__"), "__annotations__", {})
        for parameter, annotation in annotations.items() if isinstance(annotations, dict) else ():
            text, needed = read_annotation(annotation)
            facts.append(f"{parameter}: {text}")
            links.extend(Link(f"(annotation {parameter} {i})", x, qualified_name(x)) for i, x in enumerate(needed))
    return Description(name=name, facts=tuple(facts), links=(*links, *_wrapped(function)))


def cell_values(function: FunctionType) -> Iterator[tuple[int, object, Origin]]:
    """Yield (position, value, origin) of each filled cell of a function's closure."""
    names = function.__code__.co_freevars
    for place, cell in enumerate(function.__closure__ or ()):
        try:
            yield place, cell.cell_contents, Origin(function, names[place])
        except ValueError:  # not filled yet
            continue


def _cells(function: FunctionType, form: Form, index: SourceIndex, name: str) -> Iterator[Link]:
    """Yield links for what the function closes over: chains through modules in cells, and the cells' values."""
    environment = Environment.of_function(function)
    references = [reference for reference in index.references(function.__code__) if reference.kind == "free"]
    chained = {reference.name for reference in references}
    for link in index.resolver.resolve(references, environment):
        head, dot, rest = link.label.partition(".")
        if head in form.free:
            label = f"(free {form.free.index(head)}){dot}{rest}"
            yield Link(
                label,
                link.value,
                link.name if link.origin else f"{name}: {head}",
                link.origin or Origin(function, head),
            )
    for variable, cell in environment.cells.items():
        if variable not in chained and (variable in form.free or variable == "__class__"):
            try:
                value = cell.cell_contents
            except ValueError:
                value = Missing(variable)
            place = form.free.index(variable) if variable in form.free else variable
            yield Link(f"(free {place})", value, f"{name}: {variable}", Origin(function, variable))


def _defaults(function: FunctionType, name: str) -> Iterator[Link]:
    code = function.__code__
    defaults = function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    named = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=True)]
    for parameter, value in (*named, *(function.__kwdefaults__ or {}).items()):
        yield Link(f"(default {parameter})", value, f"{name}: {parameter}=", Origin(function, parameter))


def _around(function: FunctionType, name: str) -> Iterator[Link]:
    """Yield what hangs on the function, and the class it is a method of: `self.other()` can reach all of it."""
    yield from _wrapped(function)
    for attribute, value in vars(function).items():
        if not attribute.startswith("__"):
            yield Link(f"(attribute {attribute})", value, f"{name}.{attribute}", Origin(function, attribute))
    path = function.__qualname__.split(".")[:-1]
    if not path or "<locals>" in path:
        return
    holder: object = function.__globals__.get(path[0])
    for name in path[1:]:
        holder = vars(holder).get(name) if isinstance(holder, type) else None
    if isinstance(holder, type) and function.__name__ in vars(holder):
        yield Link("(class)", holder, qualified_name(holder))


def _wrapped(function: FunctionType) -> Iterator[Link]:
    inner = vars(function).get("__wrapped__")
    if inner is not None:
        yield Link("(wrapped)", inner, qualified_name(inner))
