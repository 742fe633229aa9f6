"""Versions of code: the digest of everything of the user's that a function's result can depend on.

Theory of operation: from a function, links lead to the helpers, classes, globals, closures, defaults and tasks it
uses (`functions`, `classes`); each becomes a `Part`, described once per run. Parts of installed code are not followed:
their name and the version of their distribution become facts of whoever uses them. Values are digested by
`canonical`, with functions inside them as parts of their own. When nothing new turns up, `parts.settle` gives each part
the digest of all it reaches, cycles included.

Rules:
    The loaded code counts, never what a file says meanwhile.
    Labels are names as the referring code writes them. Module names, files, lines, cells and the order of definitions
    are for people (`CodeVersion.parts`) and enter no digest.
    What cannot be digested counts by the code that defines it, and is named in `weak`.
    One `CodeVersions` lives as long as one run: what it has seen once does not change any more.
"""

import functools
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import attrs

from flowlib.errors import CodeNotFound
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.classes import describe_class
from flowlib.hashing.defining import describe_by_definition
from flowlib.hashing.distribution import Owner
from flowlib.hashing.forms import SourceIndex, shared_index
from flowlib.hashing.functions import cell_values, describe_function, describe_installed_wrapper
from flowlib.hashing.parts import ColorOf, Description, Part, join, reachable, settle
from flowlib.hashing.resolve import Installed, Link, Missing, Origin, qualified_name
from flowlib.ids import Digest


@attrs.frozen(kw_only=True)
class CodeVersion:
    """The version of a function's code.

    Attributes:
        digest: Of the function with all it reaches.
        parts: Readable name -> digest of that part alone: functions, classes, globals, distributions.
        texts: Digest of a part -> its source as written, for comparing versions.
        weak: Names of globals that could not be digested and count by the code that defines them, sorted.
        tasks: Names of the other tasks that are reached.
    """

    digest: Digest
    parts: Mapping[str, Digest]
    texts: Mapping[Digest, str]
    weak: tuple[str, ...] = ()
    tasks: frozenset[str] = frozenset()


class CodeVersions:
    """Code versions of one run. Safe to share by threads.

    Cost: some 100 microseconds for a small function that `index` has seen before, whatever the number of tasks that
    share its helpers; a dictionary look-up the second time (`benchmarks/bench_code_version.py`).

    >>> def double(x): return 2 * x
    >>> def twice(y): return 2 * y
    >>> versions = CodeVersions()
    >>> versions.version(double).digest == versions.version(double).digest
    True
    """

    def __init__(self, index: SourceIndex | None = None) -> None:
        self._index = index or shared_index()
        self._parts: dict[object, Part] = {}
        self._undescribed: list[tuple[Part, Link]] = []
        self._versions: dict[int, tuple[object, CodeVersion]] = {}
        self._lock = threading.RLock()

    def version(self, fn: object) -> CodeVersion:
        """Return the code version of a function, method, partial, callable instance, class or task.

        Raises:
            CodeNotFound: `fn` is nothing that has code.
        """
        known = self._versions.get(id(fn))
        if known is not None:
            return known[1]
        if not callable(fn):
            raise CodeNotFound(
                f"{type(fn).__name__!r} object has no code.",
                {"type": f"{type(fn).__module__}.{type(fn).__qualname__}"},
                "Pass a function, a method, a callable object or a task.",
            )
        with self._lock:
            root = self._reach(Link("", fn, qualified_name(fn), Origin("", qualified_name(fn))))
            made = _read_out(root)
            self._versions[id(fn)] = (fn, made)
        return made

    def digest(self, fn: object) -> Digest:
        """Return the digest of a code version alone: what `digest_value` asks for functions and classes."""
        with self._lock:
            part = self._reach(Link("", fn, qualified_name(fn), Origin("", qualified_name(fn))))
        assert part.final is not None
        return part.final

    def _reach(self, link: Link) -> Part:
        root = self._part(link)
        while self._undescribed:
            part, why = self._undescribed.pop()
            self._fill(part, self._describe(part, why))
        settle(root)
        return root

    def _part(self, link: Link) -> Part:
        """Return the part a link leads to; a new one waits to be described."""
        value = link.value
        key: object = id(value)
        if not isinstance(value, FunctionType | type | ModuleType) and link.origin is not None:
            key = (id(value), *link.origin.key)
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Part(name=link.name, value=value)
            self._undescribed.append((part, link))
        return part

    def _fill(self, part: Part, description: Description) -> None:
        """Turn a description into the part's own digest and edges."""
        facts = [*description.facts]
        owners: set[Owner] = set()
        edges: list[tuple[str, Part]] = []
        for link in sorted(description.links, key=lambda link: link.label):
            fact = self._installed(link.value)
            if isinstance(fact, Installed):
                owners.add(fact.owner)
                facts.append(f"{link.label} = {fact.owner}: {fact.name}")
            elif isinstance(fact, Missing):
                facts.append(f"{link.label} is missing")
            else:
                edges.append((link.label, self._part(link)))
        part.name, part.text, part.task = description.name, description.text, description.task
        part.weak = description.weak
        part.owners = frozenset(owners)
        part.edges = edges
        part.own = join(*facts)

    def _installed(self, value: object) -> Installed | Missing | None:
        """Return the stand-in for what is not read: installed code, and names that nothing answers to."""
        if isinstance(value, Installed | Missing):
            return value
        resolver = self._index.resolver
        owner: Owner | None = None
        if isinstance(value, FunctionType):
            owner = resolver.owner_of_function(value)
            if owner is not None and self._wraps_user_code(value):
                return None
        elif isinstance(value, type):
            owner = resolver.owner_of_class(value)
        elif isinstance(value, ModuleType):
            owner = resolver.owner_of_module(value.__name__)
        elif isinstance(value, _COMPILED) and not _bound_object(value):
            owner = resolver.owner_of_module(_compiled_module(value))
        elif _is_exported(value):
            owner = resolver.owner_of_module(type(value).__module__)
        return None if owner is None else Installed(owner, qualified_name(value))

    def _wraps_user_code(self, function: FunctionType) -> bool:
        inside = [value for _, value, _ in cell_values(function)]
        inside.extend([vars(function)["__wrapped__"]] if "__wrapped__" in vars(function) else [])
        return any(self._is_user_code(value) for value in inside)

    def _is_user_code(self, value: object) -> bool:
        if isinstance(value, FunctionType):
            return self._index.resolver.is_user_code(value) or self._wraps_user_code(value)
        if isinstance(value, MethodType | staticmethod | classmethod):
            return self._is_user_code(value.__func__)
        if isinstance(value, functools.partial):
            return self._is_user_code(value.func)
        if isinstance(value, dict):
            return any(map(self._is_user_code, [*value.values()]))
        if isinstance(value, list | tuple | set | frozenset):
            return any(map(self._is_user_code, value))
        return self._index.resolver.is_user_code(value)

    def _describe(self, part: Part, link: Link) -> Description:
        value = link.value
        installed = self._installed(value)
        if installed is not None:  # only a root gets here: elsewhere installed code is a fact of its user
            return Description(name=link.name, facts=(), links=(Link("(itself)", installed, link.name),))
        if isinstance(value, FunctionType):
            owner = self._index.resolver.owner_of_function(value)
            if owner is not None:
                return describe_installed_wrapper(value, str(owner), self._is_user_code)
            return describe_function(value, self._index)
        if isinstance(value, type):
            return describe_class(value, self._index)
        if isinstance(value, ModuleType):
            return _describe_module(value)
        if getattr(type(value), "__flowlib_task__", False):
            return _describe_task(value)
        if isinstance(value, MethodType):
            return _describe_method(value)
        if "__wrapped__" in _instance_dict(value):
            return _describe_wrapper(value, link)
        return self._describe_value(part, link)

    def _describe_value(self, part: Part, link: Link) -> Description:
        """Describe a value by its digest; functions and classes found inside it become parts of their own."""
        found: dict[int, Link] = {}

        def note(inner: object) -> Digest:
            found[id(inner)] = Link("", inner, qualified_name(inner))
            return Digest("sha256-0-0")

        value = _portable(link)
        try:
            digest = digest_value(value, function_digest=note, path=link.name)
        except Exception:  # refused, or a hook of the user's own class failed: no reason to stop a run
            return describe_by_definition(link, self._index)
        if not found:
            return Description(name=link.name, facts=("value", digest))

        def redigest(color_of: ColorOf) -> Digest:
            return digest_value(value, function_digest=lambda inner: self._color(inner, color_of), path=link.name)

        part.redigest = redigest
        links = [attrs.evolve(inner, label=f"(inside {place})") for place, inner in enumerate(found.values())]
        return Description(name=link.name, facts=("value with code",), links=tuple(links))

    def _color(self, inner: object, color_of: ColorOf) -> Digest:
        """Return the digest of code inside a value, when the parts it needs have theirs."""
        installed = self._installed(inner)
        if isinstance(installed, Installed):
            return join("installed", str(installed.owner), installed.name)
        return color_of(self._part(Link("", inner, qualified_name(inner))))


_COMPILED = (BuiltinFunctionType, ClassMethodDescriptorType, MethodDescriptorType, WrapperDescriptorType)
_ABOUT_WRAPPED = frozenset(
    ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__", "__type_params__")
)
_MOST_STEPS_UP = 3


def _read_out(root: Part) -> CodeVersion:
    parts: dict[str, Digest] = {}
    texts: dict[Digest, str] = {}
    weak: set[str] = set()
    tasks: set[str] = set()
    for part in reachable(root):
        digest = part.own if part.redigest is None else part.final
        assert digest is not None and part.final is not None
        if parts.get(part.name, digest) == digest:
            parts[part.name] = digest
        else:  # two lambdas, two products of one factory
            count = 2
            while f"{part.name} #{count}" in parts:
                count += 1
            parts[f"{part.name} #{count}"] = digest
        if part.text:
            texts[digest] = part.text
        if part.weak:
            weak.add(part.name)
        if part.task and part is not root:
            tasks.add(part.task)
        for owner in part.owners:
            parts[str(owner)] = join(owner.name, owner.version)
    assert root.final is not None
    return CodeVersion(digest=root.final, parts=parts, texts=texts, weak=tuple(sorted(weak)), tasks=frozenset(tasks))


def _describe_module(module: ModuleType) -> Description:
    """A user module that is passed around as an object: everything in it can be reached, so everything counts."""
    name = module.__name__
    links = [
        Link(member, value, f"{name}.{member}", Origin(name, member))
        for member, value in vars(module).items()
        if not member.startswith("__") and not isinstance(value, ModuleType)
    ]
    return Description(name=f"{name} (whole module)", facts=("module",), links=tuple(links))


def _describe_task(task: Any) -> Description:
    own_code = str(getattr(task, "own_code", ""))
    links = [] if own_code else [Link("(fn)", task.fn, qualified_name(task.fn), Origin("", qualified_name(task.fn)))]
    return Description(
        name=f"task {task.name}",
        facts=("task", str(task.policy.version), own_code),
        links=tuple(links),
        task=str(task.name),
    )


def _describe_method(method: MethodType) -> Description:
    name = qualified_name(method)
    links = (Link("(function)", method.__func__, name), Link("(self)", method.__self__, f"{name}: self"))
    return Description(name=f"{name} (bound)", facts=("method",), links=links)


def _describe_wrapper(value: object, link: Link) -> Description:
    """An object that `functools.update_wrapper` has dressed as the function it wraps: its class and what it holds."""
    name = qualified_name(value)
    links = [Link("(type)", type(value), qualified_name(type(value)))]
    for attribute, held in _instance_dict(value).items():
        if attribute not in _ABOUT_WRAPPED:
            links.append(Link(f"(attribute {attribute})", held, f"{name}: {attribute}", link.origin))
    return Description(name=f"{name} (wrapped)", facts=("wrapper",), links=tuple(links))


def _instance_dict(value: object) -> dict[str, object]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _bound_object(value: object) -> bool:
    """True for a compiled method bound to an object, such as `items.append`."""
    owner = getattr(value, "__self__", None)
    return isinstance(value, BuiltinFunctionType) and owner is not None and not isinstance(owner, ModuleType | type)


def _compiled_module(value: Any) -> str:
    holder = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    if isinstance(holder, ModuleType):
        return holder.__name__
    if isinstance(holder, type):
        return holder.__module__
    return str(getattr(value, "__module__", ""))


def _is_exported(value: object) -> bool:
    """True for a compiled callable that its package exports under its own name, such as `numpy.exp`."""
    name = getattr(type(value), "__name__", "") and getattr(value, "__name__", None) if callable(value) else None
    package = sys.modules.get(type(value).__module__.partition(".")[0])
    return isinstance(name, str) and isinstance(package, ModuleType) and vars(package).get(name) is value


def _portable(link: Link) -> object:
    """Return a global path as seen from its module, if it lies nearby: moving a project must not change versions."""
    value, origin = link.value, link.origin
    if not isinstance(value, str | PurePath) or origin is None or not isinstance(origin.holder, str):
        return value
    module = sys.modules.get(origin.holder)
    filename = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(filename, str) or not os.path.isabs(value):
        return value
    folder = os.path.dirname(os.path.abspath(filename))
    shared = os.path.commonpath([folder, value]).split(os.sep)
    relative = os.path.relpath(value, folder)
    if len(shared) < 3 or relative.split(os.sep).count(os.pardir) > _MOST_STEPS_UP:
        return value
    return ("path beside its module", type(value).__name__, PurePath(relative).as_posix())
