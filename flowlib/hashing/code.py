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

import operator
import threading
from collections.abc import Mapping
from types import FunctionType, MethodType, ModuleType

import attrs

from flowlib.collector import collector_paused
from flowlib.errors import CodeNotFound
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.classes import describe_class
from flowlib.hashing.defining import describe_by_definition
from flowlib.hashing.distribution import Owner
from flowlib.hashing.forms import SourceIndex, shared_index
from flowlib.hashing.functions import describe_function, describe_installed_wrapper
from flowlib.hashing.installed import StandIns
from flowlib.hashing.instances import (
    describe_method,
    describe_module,
    describe_task,
    describe_wrapper,
    instance_dict,
    is_task,
    portable,
    user_classes,
)
from flowlib.hashing.kept import KeptForms, Texts
from flowlib.hashing.loaded import LoadedCode
from flowlib.hashing.parts import ColorOf, Description, Part, join, reachable, settle
from flowlib.hashing.resolve import Installed, Link, Missing, qualified_name
from flowlib.hashing.scalars import LANES
from flowlib.ids import Digest

_LABEL = operator.attrgetter("label")
_IN_ONE_PLACE = (FunctionType, type, ModuleType)
"""Types of things that are the same thing wherever they are met."""


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

    Cost: about 0.2 ms for a small function that `index` has seen before, some 0.1 ms for each function and global it
    reaches and no other task has reached in this run; a look-up the second time (`benchmarks/bench_code_version.py`).

    Args:
        index: What is known of source files; shared by the process unless given.
        texts: Where what was kept about code is found, see `kept`; nothing was kept unless given.

    >>> def double(x): return 2 * x
    >>> def twice(y): return 2 * y
    >>> versions = CodeVersions()
    >>> versions.version(double).digest == versions.version(double).digest
    True
    """

    def __init__(self, index: SourceIndex | None = None, texts: Texts | None = None) -> None:
        self._index = index or shared_index()
        self._kept = KeptForms(texts) if texts is not None else None
        self._stand_ins = StandIns(self._index.resolver)
        self._parts: dict[object, Part] = {}
        self._undescribed: list[Part] = []
        self._scalars: dict[Digest, tuple[Digest, Digest]] = {}
        self._versions: dict[int, tuple[object, CodeVersion, LoadedCode]] = {}
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
        with self._lock, collector_paused():
            root = self._reach(Link("", fn, qualified_name(fn)))
            made = _read_out(root)
            self._versions[id(fn)] = (fn, made, LoadedCode(reachable(root)))
        return made

    def is_current(self, fn: object) -> bool:
        """Whether the code whose version was given is still what is loaded; true for what has no version yet."""
        known = self._versions.get(id(fn))
        if known is None or known[2].is_current():
            return True
        again = CodeVersions(self._index)
        try:
            is_equal = again.version(fn).digest == known[1].digest
        except Exception:  # whatever reading code that has just been replaced may raise
            return False
        if is_equal:  # a cell was executed again as it was
            self._versions[id(fn)] = (*known[:2], again._versions[id(fn)][2])
        return is_equal

    def digest(self, fn: object) -> Digest:
        """Return the digest of a code version alone: what `digest_value` asks for functions and classes."""
        with self._lock:
            part = self._reach(Link("", fn, qualified_name(fn)))
        return part.settled

    def take_unkept(self, texts: Texts) -> dict[str, str]:
        """Return, and forget, what this process found out about code and `texts` does not hold; see `kept`."""
        return self._index.unkept.take(texts)

    def _reach(self, link: Link) -> Part:
        root = self._part(link)
        try:
            while self._undescribed:
                part = self._undescribed.pop()
                self._fill(part, self._describe(part, is_root=part is root))
            settle(root)
        except BaseException:  # nothing half described may stay behind
            self._undescribed.clear()
            self._parts = {key: part for key, part in self._parts.items() if part.final is not None}
            raise
        return root

    def _part(self, link: Link) -> Part:
        """Return the part a link leads to; a new one waits to be described."""
        value = link.value
        key: object = id(value)
        if link.origin is not None and not isinstance(value, _IN_ONE_PLACE) and not is_task(value):
            key = (id(value), *link.origin.key)  # its name, and what defines it, depend on the place
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Part(link=link)
            if type(value) in LANES:
                self._settle_scalar(part)
            else:
                self._undescribed.append(part)
        return part

    def _settle_scalar(self, part: Part) -> None:
        """Give a plain scalar its digests at once, as `_describe_value`, `_fill` and `settle` would: half of all parts are one."""
        digest = digest_value(portable(part.link))
        known = self._scalars.get(digest)
        if known is None:
            own = join("value", digest)
            known = self._scalars[digest] = own, join(own)
        part.own, part.final = known
        part.description = Description(name=part.link.name, facts=("value", digest))

    def _fill(self, part: Part, description: Description) -> None:
        """Turn a description into the part's own digest and edges."""
        facts = [*description.facts]
        owners: set[Owner] = set()
        edges: list[tuple[str, Part]] = []
        find = self._stand_ins.find
        for link in sorted(description.links, key=_LABEL):
            fact = find(link.value)
            if isinstance(fact, Installed):
                owners.add(fact.owner)
                facts.append(f"{link.label} = {fact.owner}: {fact.name}")
            elif isinstance(fact, Missing):
                facts.append(f"{link.label} is missing")
            else:
                edges.append((link.label, self._part(link)))
        part.description = description
        part.owners = frozenset(owners)
        part.edges = edges
        part.own = join(*facts)

    def _describe(self, part: Part, *, is_root: bool) -> Description:
        link, value = part.link, part.link.value
        installed = self._stand_ins.find(value) if is_root else None  # elsewhere it is a fact of its user
        if installed is not None:
            return Description(name=link.name, facts=(), links=(Link("(itself)", installed, link.name),))
        if isinstance(value, FunctionType):
            owner = self._index.resolver.owner_of_function(value)
            if owner is not None:
                return describe_installed_wrapper(value, str(owner), self._stand_ins.is_user_code)
            if self._kept is not None:
                self._index.recall(value, self._kept)
            return describe_function(value, self._index)
        if isinstance(value, type):
            return describe_class(value, self._index)
        if isinstance(value, ModuleType):
            return describe_module(value)
        if is_task(value):
            return describe_task(value)
        if isinstance(value, MethodType):
            return describe_method(value)
        if "__wrapped__" in instance_dict(value):
            return describe_wrapper(value, link)
        return self._describe_value(part)

    def _describe_value(self, part: Part) -> Description:
        """Describe a value by its digest; functions and classes found inside it become parts of their own."""
        link = part.link
        found: dict[int, Link] = {}

        def note(inner: object) -> Digest:
            found[id(inner)] = Link("", inner, qualified_name(inner))
            return Digest("sha256-0-0")

        value = portable(link)
        classes = user_classes(value, self._index.resolver.owner_of_class)
        for cls in classes:
            found[id(cls)] = Link("", cls, qualified_name(cls))
        try:
            digest = digest_value(value, function_digest=note, path=link.name)
        except Exception:  # refused, or a hook of the user's own class failed: no reason to stop a run
            return describe_by_definition(link, self._index)
        if not found:
            return Description(name=link.name, facts=("value", digest))

        def redigest(color_of: ColorOf) -> Digest:
            content = digest_value(value, function_digest=lambda inner: self._color(inner, color_of), path=link.name)
            return join(content, *sorted(self._color(cls, color_of) for cls in classes))

        part.redigest = redigest
        links = [attrs.evolve(inner, label=f"(inside {place})") for place, inner in enumerate(found.values())]
        return Description(name=link.name, facts=("value with code",), links=tuple(links))

    def _color(self, inner: object, color_of: ColorOf) -> Digest:
        """Return the digest of code inside a value, when the parts it needs have theirs."""
        installed = self._stand_ins.find(inner)
        if isinstance(installed, Installed):
            return join("installed", str(installed.owner), installed.name)
        part = self._part(Link("", inner, qualified_name(inner)))
        if part in self._undescribed:
            raise CodeNotFound("A value makes new functions whenever it is looked at.", {"function": part.link.name})
        return color_of(part)


def _read_out(root: Part) -> CodeVersion:
    parts: dict[str, Digest] = {}
    texts: dict[Digest, str] = {}
    weak: set[str] = set()
    tasks: set[str] = set()
    owners: set[Owner] = set()
    for part in reachable(root):
        description, digest = part.description, part.shown
        parts[_free_name(description.name, digest, parts)] = digest
        if description.text:
            texts[digest] = description.text
        if description.weak:
            weak.add(description.name)
        if description.task and part is not root:
            tasks.add(description.task)
        owners |= part.owners
    for owner in owners:
        parts[str(owner)] = join(owner.name, owner.version)
    return CodeVersion(digest=root.settled, parts=parts, texts=texts, weak=tuple(sorted(weak)), tasks=frozenset(tasks))


def _free_name(name: str, digest: Digest, parts: Mapping[str, Digest]) -> str:
    """Return `name`, numbered if it is taken by something else: two lambdas, two products of one factory."""
    candidate, count = name, 1
    while parts.get(candidate, digest) != digest:
        count += 1
        candidate = f"{name} #{count}"
    return candidate
