"""Keys: the name of a call, made of everything its result depends on.

`Key = SHA-256(scheme | task | code version | version | env | for each parameter: name, digest)`. A parameter's digest is
the canonical digest of its value or, for a node, the digest of that node's output. The parts are kept beside the key:
`why` lives on them.

Invariant: all or nothing. If any part cannot be computed there is no key, and the reason is kept instead.
"""

import hashlib
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from flowlib.errors import FileMissing, FlowError, Undigestible
from flowlib.graph.args import Composite, Quoted, nodes_in, replace
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.hashing.canonical import Ignore
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.file import Dir, File
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest, Key
from flowlib.text import short_repr

_REMEMBERED_BYTES = 1 << 16
"""From this size on, the digest of an argument that many nodes share is remembered by identity."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

_PLAIN_REPR: object = object.__repr__

_SHORT = frozenset({float, bool, type(None)})

SCHEME = b"flowlib-key-1"
"""Changes only together with the golden keys in the tests and a line in the changelog."""


@attrs.frozen(kw_only=True)
class CallKey:
    """The key of one call with its named parts, or the reason why it has none."""

    key: Key | None
    parts: Mapping[str, str] = attrs.field(factory=dict)
    """`code`, `version`, `env:NAME`, `arg:NAME` -> digest or text."""
    uncacheable: str = ""
    """Why there is no key; empty when there is one."""
    missing: FileMissing | None = None
    """The declared file that does not exist: there is no point in running the call."""
    weak: bool = False
    """Whether a global the code reads could only be identified by the code that defines it."""


@attrs.frozen(kw_only=True)
class _TaskPart:
    """What all calls of one task share."""

    prefix: Any
    parts: Mapping[str, str]
    ignored: frozenset[str]
    version: CodeVersion | None
    uncacheable: str


class DigestLeaf:
    """Stands for a node inside an argument while the argument is digested."""

    __slots__ = ("digest",)

    def __init__(self, digest: Digest) -> None:
        self.digest = digest

    def __flowlib_digest__(self) -> str:
        return self.digest


class KeyMaker:
    """Makes keys for one run; code versions are computed once, so a run never mixes two of them.

    Args:
        identity: Digests of values and versions of code, frozen for the run.
        environ: The environment variables as they were when the run started.
    """

    def __init__(self, identity: Identity, environ: Mapping[str, str]) -> None:
        self._identity = identity
        self._environ = environ
        self._task_parts: dict[tuple[int, int], tuple[_TaskPart, Task[..., Any], Policy]] = {}
        self._literals: dict[int, tuple[Any, Digest]] = {}

    def for_inner_run(self) -> "KeyMaker":
        """Return the maker for a run inside a task: the same code versions, but no memory of arguments.

        The task may change an object of its own between two runs; within one run nobody may.
        """
        maker = KeyMaker(self._identity, self._environ)
        maker._task_parts = self._task_parts
        return maker

    def freeze(self, nodes: Iterable[Node]) -> None:
        """Take down the code versions of nodes now, so that a file edited while the run goes on changes nothing."""
        for node in nodes:
            self._task_part(node)

    def why_never(self, node: Node) -> str:
        """Return why no call of a node's task has a key, whatever its arguments; empty if that depends on them."""
        return self._task_part(node).uncacheable

    def code_version(self, node: Node) -> CodeVersion | None:
        """Return the version of the code behind a node; None for flowlib's own tasks and unidentified code."""
        return self._task_part(node).version

    def key_of(self, node: Node, output_of: Callable[[Node], Digest | None]) -> CallKey:
        """Return the key of a node whose dependencies have known outputs.

        Args:
            node: The call.
            output_of: Digest of a dependency's output; None when it has none.
        """
        shared = self._task_part(node)
        if shared.uncacheable:
            return CallKey(key=None, parts=shared.parts, uncacheable=shared.uncacheable)
        parts = dict(shared.parts)
        whole = shared.prefix.copy()
        for name, value in zip(node._fl_task.signature.names, node._fl_args, strict=True):
            if name in shared.ignored:
                continue
            try:
                digest = self._argument(value, output_of, name)
            except Exception as error:  # refused, or a hook of the user's own class raised
                missing = error if isinstance(error, FileMissing) else None
                return CallKey(key=None, parts=parts, uncacheable=_undigestible(name, error), missing=missing)
            parts[f"arg:{name}"] = digest
            whole.update(_field(name))
            whole.update(_field(digest))
        weak = shared.version is not None and bool(shared.version.weak)
        return CallKey(key=Key(whole.hexdigest()), parts=parts, weak=weak)

    def _argument(self, value: Any, output_of: Callable[[Node], Digest | None], name: str) -> Digest:
        if type(value) is Node:
            return _known(value, output_of)
        if isinstance(value, Composite):
            members = [_known(node, output_of) for node in value.member_nodes()]
            return self._identity.digest((type(value).__name__, members, value.identity()))
        if type(value) is tuple and value and all(type(item) is Quoted for item in value):
            return self._identity.digest(("quoted", [_known(item.node, output_of) for item in value]))
        if nodes_in([value], lambda _: f"argument {name!r}"):
            value = replace(value, lambda node: DigestLeaf(_known(node, output_of)), as_argument=True)
        return self._literal(value, name)

    def _literal(self, value: Any, name: str) -> Digest:
        """Digest a value; large ones that many nodes share are digested once, by identity."""
        size = getattr(value, "nbytes", None)
        if not isinstance(size, int) or size < _REMEMBERED_BYTES:
            return self._identity.digest(value, path=name)
        known = self._literals.get(id(value))
        if known is None or known[0] is not value:
            known = (value, self._identity.digest(value, path=name))
            self._literals[id(value)] = known
        return known[1]

    def _task_part(self, node: Node) -> _TaskPart:
        task, policy = node._fl_task, node._fl_policy
        found = self._task_parts.get((id(task), id(policy)))
        if found is None:
            found = (self._make_task_part(task, policy), task, policy)
            self._task_parts[id(task), id(policy)] = found
        return found[0]

    def _make_task_part(self, task: Task[..., Any], policy: Policy) -> _TaskPart:
        version: CodeVersion | None = None
        uncacheable = "" if policy.cache else "the task says cache=False"
        code = task.own_code
        if not code and not uncacheable:
            try:
                version = self._identity.code_version(task.fn)
                code = version.digest
            except FlowError as error:
                uncacheable = _phrase(error)
            except Exception as error:  # whatever reading the user's modules may raise
                uncacheable = f"its code cannot be identified: {type(error).__name__}: {error}"
        parts = {"code": code, "version": policy.version}
        parts |= {f"env:{name}": self._environ.get(name, "") for name in policy.env}
        prefix = hashlib.sha256(SCHEME)
        for field in (task.name, *(text for pair in parts.items() for text in pair)):
            prefix.update(_field(field))
        ignored = frozenset(policy.ignore) | _ignored_by_annotation(task)
        return _TaskPart(prefix=prefix, parts=parts, ignored=ignored, version=version, uncacheable=uncacheable)


def _field(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


class _NoOutputDigest(FlowError):
    pass


def _known(node: Node, output_of: Callable[[Node], Digest | None]) -> Digest:
    digest = output_of(node)
    if digest is None:
        raise _NoOutputDigest(f"the result of {node._fl_task.name!r}, which it needs, has no digest")
    return digest


def _undigestible(name: str, error: Exception) -> str:
    """Return why an argument has no digest: part of a sentence, so without a full stop."""
    if isinstance(error, _NoOutputDigest):
        return error.what
    if isinstance(error, Undigestible):
        return f"argument {name!r} has no stable digest: {error.path or name} ({error.type_name}): {error.reason}"
    reason = _phrase(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    return f"argument {name!r} has no stable digest: {reason}"


def _phrase(error: FlowError) -> str:
    return error.what.removesuffix(".")


def _ignored_by_annotation(task: Task[..., Any]) -> frozenset[str]:
    """Return the parameters annotated `Annotated[T, flowlib.Ignore]`."""
    annotations = getattr(task.fn, "__annotations__", {})
    if not any("Ignore" in str(annotation) for annotation in annotations.values()):
        return frozenset()
    try:
        hints = typing.get_type_hints(task.fn, include_extras=True)
    except Exception:  # a name only a type checker can see: then nothing is ignored, which is always safe
        return frozenset()
    names = (name for name, hint in hints.items() if Ignore in getattr(hint, "__metadata__", ()))
    return frozenset(names)


def previews(node: Node, *, width: int = 80) -> dict[str, str]:
    """Return a short text of each argument, for people: `arg:NAME` -> at most `width` characters."""
    pairs: Sequence[tuple[str, Any]] = list(zip(node._fl_task.signature.names, node._fl_args, strict=True))
    return {f"arg:{name}": preview(value, width) for name, value in pairs}


def preview(value: Any, width: int = 80) -> str:
    """Return a short text of a value. Never fails, never walks a large value."""
    if type(value) in _SHORT:
        return repr(value)
    if type(value) is Node:
        return f"<{value._fl_task.name}>"
    if isinstance(value, (File, Dir)):
        value = value.path.as_posix()
    if type(value).__repr__ is _PLAIN_REPR:
        return f"<{type(value).__qualname__}>"
    try:
        shape = getattr(value, "shape", None)
        text = f"{type(value).__name__}{tuple(shape)}" if shape is not None else ""
    except Exception:  # a property of the user's own class may raise
        text = ""
    text = _ADDRESS.sub("", text or short_repr(value, width))  # an address says nothing and differs each time
    return text if len(text) <= width else text[: width - 1] + "…"
