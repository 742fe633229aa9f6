"""Keys: the name of a call, made of everything its result depends on.

`Key = SHA-256(scheme | task | code version | version | env | for each parameter: name, digest)`. A parameter's digest is
the canonical digest of its value or, for a node, the digest of that node's output. The parts are kept beside the key:
`why` lives on them.

Cost: about 3 microseconds for a call with one or two scalars or nodes as arguments. Everything before the arguments is
hashed once for each task (`shared.TaskPart`); a call copies that state and adds its arguments in one update.

Invariant: all or nothing. If any part cannot be computed there is no key, and the reason is kept instead.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

from flowlib.errors import FileMissing, FlowError, InternalError, Undigestible
from flowlib.graph.args import Composite, Quoted, nodes_in, replace
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.identity import Identity
from flowlib.hashing.leaf import DigestLeaf
from flowlib.ids import Digest, Key
from flowlib.planning.previews import preview, previews
from flowlib.planning.shared import TaskPart, make_task_part, phrase
from flowlib.store.details import Details, unpack_arguments

__all__ = ["CallKey", "KeyMaker", "preview", "previews"]

_REMEMBERED_BYTES = 1 << 16
"""From this size on, the digest of an argument that many nodes share is remembered by identity."""

_MOST_WATCHED = 10_000
"""Arguments that are no plain scalars, each counted once however many calls share it."""

_LENGTHS = tuple(length.to_bytes(8, "big") for length in range(128))
"""What stands before a digest; none is longer than 91 characters."""

_ONLY_NODES = {Node}
_NOTHING: Mapping[str, str] = MappingProxyType({})


class CallKey:
    """The key of one call with its named parts, or the reason why it has none. Nobody changes one.

    A plain class, because one is made for every node; for the same reason the parts are put together when asked for.

    Attributes:
        key: The key; None when the call has none.
        uncacheable: Why there is no key; empty when there is one.
        missing: The declared file that does not exist: there is no point in running the call.
        encoded: The arguments as they entered the key, as far as they could be digested.
    """

    __slots__ = ("_parts", "_shared", "encoded", "key", "missing", "uncacheable")

    def __init__(
        self,
        key: Key | None,
        shared: TaskPart | None = None,
        encoded: bytes = b"",
        uncacheable: str = "",
        missing: FileMissing | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> None:
        self.key = key
        self.encoded = encoded
        self.uncacheable = uncacheable
        self.missing = missing
        self._shared = shared
        self._parts = parts

    @property
    def parts(self) -> Mapping[str, str]:
        """The parts of the key: `code`, `version`, `env:NAME`, `arg:NAME` -> digest or text."""
        if self._parts is None:
            shared = _NOTHING if self._shared is None else self._shared.parts
            self._parts = {**shared, **unpack_arguments(self.encoded)}
        return self._parts

    @property
    def weak(self) -> bool:
        """Whether a global the code reads could only be identified by the code that defines it."""
        return self._shared is not None and self._shared.weak

    def details(self, texts: tuple[str, ...]) -> Details:
        """Return what an entry keeps of the call, with the texts of all its arguments."""
        if self._shared is None:
            raise InternalError("A call without a key has no details.", {"why": self.uncacheable}, "Please report it.")
        return self._shared.packed, self.encoded, texts

    def __repr__(self) -> str:
        return f"CallKey({self.key or self.uncacheable!r})"


class DigestLeaves:
    """Stands for a list or a tuple of nothing but nodes: ten thousand of them are digested as one list of texts."""

    __slots__ = ("digests", "kind")

    def __init__(self, kind: str, digests: list[str]) -> None:
        self.kind, self.digests = kind, digests

    def __flowlib_digest__(self) -> tuple[str, list[str]]:
        return self.kind, self.digests


class KeyMaker:
    """Makes keys for one run; code versions are computed once, so a run never mixes two of them.

    Args:
        identity: Digests of values and versions of code, frozen for the run.
        environ: The environment variables as they were when the run started.

    Attributes:
        environ: The environment variables as they were when the run started.
        is_steady: Whether every argument whose digest went into a recipe still had that digest when it went into a key.
            A file may be written while the run goes on.
    """

    def __init__(self, identity: Identity, environ: Mapping[str, str]) -> None:
        self._identity = identity
        self._scalar = identity.scalar_digest
        self.environ = environ
        self._task_parts: dict[tuple[int, int], tuple[TaskPart, Task[..., Any], Policy]] = {}
        self._last: tuple[TaskPart, Task[..., Any], Policy] | None = None
        self._literals: dict[int, tuple[Any, Digest]] = {}
        self._watched: dict[int, tuple[Any, Digest]] = {}
        self.is_steady = True

    def for_inner_run(self) -> "KeyMaker":
        """Return the maker for a run inside a task: the same code versions, but no memory of arguments.

        The task may change an object of its own between two runs; within one run nobody may.
        """
        maker = KeyMaker(self._identity, self.environ)
        maker._task_parts = self._task_parts
        return maker

    def freeze(self, nodes: Iterable[Node]) -> None:
        """Take down the code versions of nodes now, so that a file edited while the run goes on changes nothing.

        Cost: 50 ns a node; a code version for each task.
        """
        task = policy = None
        for node in nodes:
            if node._fl_task is not task or node._fl_policy is not policy:
                task, policy = node._fl_task, node._fl_policy
                self.shared_by_calls(node)

    def why_never(self, node: Node) -> str:
        """Return why no call of a node's task has a key, whatever its arguments; empty if that depends on them."""
        return self.shared_by_calls(node).uncacheable

    def code_version(self, node: Node) -> CodeVersion | None:
        """Return the version of the code behind a node; None for flowlib's own tasks and unidentified code."""
        return self.shared_by_calls(node).version

    def key_of(self, node: Node, output_of: Callable[[Node], Digest | None]) -> CallKey:
        """Return the key of a node whose dependencies have known outputs.

        Args:
            node: The call.
            output_of: Digest of a dependency's output; None when it has none.
        """
        shared = self.shared_by_calls(node)
        if shared.uncacheable:
            return CallKey(None, shared, b"", shared.uncacheable)
        pieces: list[bytes] = []
        try:
            encoded = self._arguments(node, shared, output_of, pieces)
        except Exception as error:  # refused, or a hook of the user's own class raised
            missing = error if isinstance(error, FileMissing) else None
            name = _name(next(islice(filter(None, shared.fields), len(pieces) // 3, None)))
            return CallKey(None, shared, b"".join(pieces), _undigestible(name, error), missing)
        whole = shared.prefix.copy()
        whole.update(encoded)
        return CallKey(whole.hexdigest(), shared, encoded)

    def _arguments(
        self, node: Node, shared: TaskPart, name_of: Callable[[Node], str | None], pieces: list[bytes]
    ) -> bytes:
        """Return the arguments of a call as they enter a key; `pieces` has three for each, also if the next is refused.

        `name_of` says what stands for a node: the digest of its output.
        """
        for field, value in zip(shared.fields, node._fl_args, strict=True):
            if field is None:
                continue
            digest = name_of(value) if type(value) is Node else self._scalar(value)
            if digest is None:
                digest = self._argument(value, name_of, field)
            pieces += (field, _LENGTHS[len(digest)], digest.encode())
        return b"".join(pieces)

    def _argument(self, value: Any, name_of: Callable[[Node], str | None], field: bytes) -> str:
        name = _name(field)
        if type(value) is Node:
            return _known(value, name_of)
        if isinstance(value, Composite):
            members = [_known(node, name_of) for node in value.member_nodes()]
            return self._identity.digest((type(value).__name__, members, value.identity()))
        if type(value) is tuple and value and all(type(item) is Quoted for item in value):
            return self._identity.digest(("quoted", [_known(item.node, name_of) for item in value]))
        if (type(value) is list or type(value) is tuple) and set(map(type, value)) == _ONLY_NODES:
            members = [_known(node, name_of) for node in value]
            return self._identity.digest(DigestLeaves(type(value).__name__, members))
        if nodes_in([value], lambda _: f"argument {name!r}"):
            value = replace(value, lambda node: DigestLeaf(_known(node, name_of)), as_argument=True)
        return self._literal(value, name)

    def digest_of(self, value: Any) -> Digest:
        """Return the digest of a value that no user can change meanwhile."""
        return self._identity.digest(value)

    def watched_digest(self, value: Any, field: bytes) -> Digest:
        """Return the digest of an argument for a recipe; if it ever has another one, the run is not steady.

        Raises:
            FlowError: There is no digest, or there are too many arguments to watch.
        """
        watched = self._watched.get(id(value))
        if watched is None:
            if len(self._watched) >= _MOST_WATCHED:
                raise FlowError("There are too many arguments of this kind to watch.")
            digest = self._literal(value, _name(field))
            watched = self._watched[id(value)] = (value, digest)
        return watched[1]

    def _literal(self, value: Any, name: str) -> Digest:
        """Digest a value; large ones that many nodes share are digested once, by identity."""
        size = getattr(value, "nbytes", None)
        if not isinstance(size, int) or size < _REMEMBERED_BYTES:
            digest = self._identity.digest(value, path=name)
            if self._watched and (watched := self._watched.get(id(value))) is not None:
                self.is_steady = self.is_steady and watched[1] == digest
            return digest
        known = self._literals.get(id(value))
        if known is None or known[0] is not value:
            known = (value, self._identity.digest(value, path=name))
            self._literals[id(value)] = known
        return known[1]

    def shared_by_calls(self, node: Node) -> TaskPart:
        """Return what the keys of all calls of a node's task have in common."""
        task, policy, last = node._fl_task, node._fl_policy, self._last
        if last is not None and last[1] is task and last[2] is policy:
            return last[0]  # sweeps make thousands of calls of one task
        found = self._task_parts.get((id(task), id(policy)))
        if found is None:
            found = (make_task_part(task, policy, self._identity, self.environ), task, policy)
            self._task_parts[id(task), id(policy)] = found
        self._last = found
        return found[0]


def _name(field: bytes) -> str:
    return field[8:].decode("utf-8", "surrogatepass")


class _NoOutputDigest(FlowError):
    pass


def _known(node: Node, name_of: Callable[[Node], str | None]) -> str:
    digest = name_of(node)
    if digest is None:
        raise _NoOutputDigest(f"the result of {node._fl_task.name!r}, which it needs, has no digest")
    return digest


def _undigestible(name: str, error: Exception) -> str:
    """Return why an argument has no digest: part of a sentence, so without a full stop."""
    if isinstance(error, _NoOutputDigest):
        return error.what
    if isinstance(error, Undigestible):
        return f"argument {name!r} has no stable digest: {error.path or name} ({error.type_name}): {error.reason}"
    reason = phrase(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    return f"argument {name!r} has no stable digest: {reason}"
