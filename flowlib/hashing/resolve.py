"""From references to the objects they mean now, and from objects to their owners.

Theory of operation: a reference is looked up where Python would look it up (cells, globals, builtins, `sys.modules`) and
followed through modules. It ends at the first thing that is not a module; attributes of that thing are not followed,
because the whole thing counts. So does the whole of a module whose class gives the attribute. What ends in installed code
becomes an `Installed`, unless it is a number or a text, which somebody may have assigned; what is not there a `Missing`.

Invariant: attributes are read from module dictionaries, never with `getattr`: no property, proxy or lazy loader runs.
The one thing that can run is the import of a user module that a body imports and nobody has imported yet, as the body
itself would.
"""

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType

import attrs

from flowlib.hashing.distribution import PYTHON, Owner, Owners
from flowlib.hashing.reach import Reference

# What a module is called and where it lies must not matter: moving a project keeps its results.
_MODULE_FACTS = frozenset(
    f"__{fact}__"
    for fact in ("name", "file", "doc", "package", "spec", "loader", "path", "cached", "builtins", "annotations")
)
_HEAP_TYPE = 1 << 9
PLAIN_DATA = frozenset({bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, type(None)})
"""Types of values that are neither code nor installed, whatever is in them."""


_CONSTANTS = frozenset({bool, int, float, complex, str, bytes})
_OF_THE_PROCESS = frozenset({"sys", "tempfile"})
"""Modules whose plain values say how this process was started, and where it is."""


@attrs.frozen
class Installed:
    """Something of an installed distribution: its owner's version and its qualified name stand for it."""

    owner: Owner
    name: str


@attrs.frozen
class Missing:
    """A name that nothing answers to. It counts, so that defining it later changes the version."""

    name: str


_FOLLOWED = (ModuleType, Installed)
"""What the attributes of a reference are read from; of anything else, all counts."""


@attrs.define(eq=False)
class Origin:
    """Where an object got its place: a name in a module, in a class body, or in a function's closure or defaults.

    Like links and environments, it is not frozen only because thousands are made for each run.
    """

    holder: object
    """The module's dictionary, the class, or the function."""
    name: str

    @property
    def key(self) -> tuple[int, str]:
        """What tells two origins apart."""
        return id(self.holder), self.name

    @property
    def readable(self) -> str:
        """A global's name with its module, as people write it; empty for other origins."""
        if not isinstance(self.holder, dict):
            return ""
        module = self.holder.get("__name__")
        return self.name if module in (None, "", "__main__") else f"{module}.{self.name}"


@attrs.define(eq=False)
class Link:
    """From a part to something it needs: `label` as the part says it, `name` as people know it."""

    label: str
    value: object
    name: str
    origin: Origin | None = None


@attrs.define(eq=False)
class Environment:
    """The names that a function's code sees."""

    globals: Mapping[str, object]
    builtins: Mapping[str, object]
    cells: Mapping[str, CellType]

    @classmethod
    def of_function(cls, function: FunctionType) -> "Environment":
        """Return the environment of a plain function."""
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        namespace: Mapping[str, object] = getattr(function, "__builtins__", vars(builtins))
        return cls(function.__globals__, namespace, cells)

    @property
    def module_name(self) -> str:
        """The name of the module whose globals these are."""
        return str(self.globals.get("__name__", ""))


class Resolver:
    """Finds what references mean, and whose it is."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    def resolve(self, references: Iterable[Reference], environment: Environment) -> Iterator[Link]:
        """Yield a link for each reference that counts. Labels are those of the references."""
        for reference in references:
            if reference.kind == "import":
                start, origin = self._imported(reference, environment), None
            else:
                start, origin = _looked_up(reference, environment)
            if start is None and origin is None and reference.kind != "free":
                continue
            if isinstance(start, _FOLLOWED):
                yield from self._follow(reference, start, origin, environment)
            else:
                yield Link(reference.head, start, (origin.readable if origin else "") or reference.name, origin)

    def owner_of_function(self, function: FunctionType) -> Owner | None:
        """Return who owns a function's code, None for user code."""
        filename = function.__code__.co_filename
        if not filename.startswith("<") or filename.startswith("<frozen "):
            return self._owners.of_file(filename)
        module = sys.modules.get(str(function.__globals__.get("__name__")))
        if module is None or vars(module) is not function.__globals__:
            return None
        return self._owners.of_module(module.__name__)

    def owner_of_class(self, cls: type) -> Owner | None:
        """Return who owns a class, None for user code."""
        module = cls.__module__
        if module == "builtins":  # also where code executed without a module name puts its classes
            return None if cls.__flags__ & _HEAP_TYPE else PYTHON
        return self._owners.of_module(module) if isinstance(module, str) and _is_home(module, cls) else None

    def owner_of_module(self, name: str) -> Owner | None:
        """Return who owns a module, None for user code."""
        return self._owners.of_module(name)

    def is_user_code(self, value: object) -> bool:
        """True for a function or class that is user code, and for an instance of such a class."""
        if type(value) is FunctionType:
            return self.owner_of_function(value) is None
        return self.owner_of_class(value if isinstance(value, type) else type(value)) is None

    def _imported(self, reference: Reference, environment: Environment) -> object:
        name = "." * reference.level + reference.name
        if reference.level:
            package = environment.globals.get("__package__") or environment.module_name.rpartition(".")[0]
            try:
                name = importlib.util.resolve_name(name, str(package))
            except ImportError:
                return Missing(name)
        module = self._module(name)
        if isinstance(module, ModuleType) and not reference.whole:
            return sys.modules.get(name.partition(".")[0], module)
        return module

    def _module(self, name: str) -> object:
        module = sys.modules.get(name)
        if module is not None:
            return module
        owner = self._owners.of_module(name)
        if owner is not None:
            return Installed(owner, name)
        try:
            return importlib.import_module(name)
        except Exception:  # whatever a module raises while it loads, its importer would see the same
            return Missing(name)

    def _follow(
        self, reference: Reference, value: object, origin: Origin | None, environment: Environment
    ) -> Iterator[Link]:
        """Follow the attributes of a reference through modules."""
        label = reference.head
        name = (origin.readable if origin else "") or reference.name
        rest = list(reference.attributes)
        while rest and isinstance(value, ModuleType):
            if self._owners.of_module(value.__name__) is not None:
                break
            if _is_given_by_class(value, rest[0]):
                rest = []
                break
            attribute = rest.pop(0)
            label, name = f"{label}.{attribute}", f"{value.__name__}.{attribute}"
            origin = Origin(vars(value), attribute)
            lazy, holder = vars(value).get("__getattr__"), value.__name__
            value = self._attribute(value, attribute)
            if isinstance(value, Missing) and lazy is not None:
                yield Link(f"{label} by __getattr__", lazy, f"{holder}.__getattr__")
        if isinstance(value, Installed):
            value = Installed(value.owner, ".".join((value.name, *rest)))
        elif isinstance(value, ModuleType):
            value, origin = self._in_installed_module(value, rest, origin)
        if reference.stored and isinstance(value, ModuleType):
            return
        yield Link(label, value, name, origin)

    def _attribute(self, module: ModuleType, attribute: str) -> object:
        namespace = vars(module)
        if attribute in namespace:
            return namespace[attribute]
        submodule = f"{module.__name__}.{attribute}"
        if submodule in sys.modules:
            return sys.modules[submodule]
        if "__path__" in namespace and _has_spec(submodule):
            return self._module(submodule)
        return Missing(submodule)

    def _in_installed_module(
        self, module: ModuleType, attributes: list[str], origin: Origin | None
    ) -> tuple[object, Origin | None]:
        """Return what a chain through an installed module means: its name, or what users may have put there."""
        owner = self._owners.of_module(module.__name__)
        if owner is None:
            return module, origin
        holder: ModuleType = module
        value: object = module
        for attribute in attributes:
            if isinstance(value, ModuleType):
                holder, value = value, vars(value).get(attribute)
            else:
                value = None
        if isinstance(value, FunctionType | type) and self.is_user_code(value):
            return value, origin
        if type(value) in _CONSTANTS and holder.__name__ not in _OF_THE_PROCESS and attributes[-1] not in _MODULE_FACTS:
            return value, Origin(vars(holder), attributes[-1])
        return Installed(owner, ".".join((module.__name__, *attributes))), origin


def _is_given_by_class(module: ModuleType, attribute: str) -> bool:
    """Say whether the class of a module, where it is not the usual one, gives an attribute: by a property, say."""
    for cls in type(module).__mro__:
        if cls is ModuleType:
            return False
        member = vars(cls).get(attribute)
        if "__getattribute__" in vars(cls) or hasattr(type(member), "__set__"):
            return True
        if (member is not None or "__getattr__" in vars(cls)) and attribute not in vars(module):
            return True
    return False


def _looked_up(reference: Reference, environment: Environment) -> tuple[object, Origin | None]:
    """Return what a name means, and where it is defined; (None, None) if it does not count."""
    name = reference.name
    if reference.kind == "free":
        cell = environment.cells.get(name)
        try:
            return (Missing(name) if cell is None else cell.cell_contents), None
        except ValueError:  # an empty cell
            return Missing(name), None
    if name in _MODULE_FACTS:
        return None, None
    if name in environment.globals:
        return environment.globals[name], Origin(environment.globals, name)
    if reference.kind == "spoken":
        return None, None
    if name in environment.builtins:
        value = environment.builtins[name]
        patched = isinstance(value, FunctionType)
        return (value if patched else Installed(PYTHON, f"builtins.{name}")), Origin(environment.builtins, name)
    return Missing(name), Origin(environment.globals, name)


def _has_spec(module_name: str) -> bool:
    try:
        return importlib.util.find_spec(module_name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _is_home(module_name: str, cls: type) -> bool:
    """False for a class that only says it is a module's: what `make_dataclass` or `ABCMeta(...)` makes for their callers."""
    module = sys.modules.get(module_name)
    first = cls.__qualname__.partition(".")[0]
    if not isinstance(module, ModuleType) or not cls.__flags__ & _HEAP_TYPE or "<locals>" in cls.__qualname__:
        return True
    return first in vars(module)


def qualified_name(value: object) -> str:
    """Return `module.qualname` of a function, class or built-in, as people write it; `__main__` is left out."""
    module = getattr(value, "__module__", None)
    if module is None and isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType):
        module = value.__self__.__name__
    name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__qualname__))
    return name if module in (None, "", "__main__") else f"{module}.{name}"
