"""What all calls of one task share in their keys: hashed, encoded and looked up once a run."""

import hashlib
import marshal
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from flowlib.errors import FlowError
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.hashing.canonical import Ignore
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.identity import Identity
from flowlib.planning.previews import labels_of
from flowlib.store.details import field, pack_shared

SCHEME = b"flowlib-key-1"
"""Changes only together with the golden keys in the tests and a line in the changelog."""


@attrs.frozen(kw_only=True)
class TaskPart:
    """What all calls of one task with one policy share.

    Attributes:
        prefix: The SHA-256 of everything in a key before the arguments; copied for each call.
        parts: The named parts of the key that are not arguments.
        fields: For each parameter the encoded name, None if it does not enter the key.
        packed: What `details` of an entry says of all calls: the parts, and what the texts of the arguments are called.
        version: The version of its code; None for flowlib's own tasks and code that cannot be identified.
        weak: Whether a global the code reads could only be identified by the code that defines it.
        uncacheable: Why no call has a key; empty when calls can have one.
        tag: What stands for the task in a recipe; None when its calls have none, see `recipe`.
        ignores: Whether a parameter does not enter the key.
    """

    prefix: Any
    parts: Mapping[str, str]
    fields: tuple[bytes | None, ...]
    packed: bytes
    version: CodeVersion | None
    weak: bool
    uncacheable: str
    tag: bytes | None
    ignores: bool


def make_task_part(task: Task[..., Any], policy: Policy, identity: Identity, environ: Mapping[str, str]) -> TaskPart:
    """Look at a task: its code, its options, the environment variables it declares. Never raises."""
    version: CodeVersion | None = None
    uncacheable = "" if policy.cache else "the task says cache=False"
    code = task.own_code
    if not code and not uncacheable:
        try:
            version = identity.code_version(task.fn)
            code = version.digest
        except FlowError as error:
            uncacheable = phrase(error)
        except Exception as error:  # whatever reading the user's modules may raise
            uncacheable = f"its code cannot be identified: {type(error).__name__}: {error}"
    parts = {"code": code, "version": policy.version}
    parts |= {f"env:{name}": environ.get(name, "") for name in policy.env}
    head = b"".join(map(field, (task.name, *(text for pair in parts.items() for text in pair))))
    ignored = frozenset(policy.ignore) | _ignored_by_annotation(task)
    names = task.signature.names
    prefix = hashlib.sha256(SCHEME + head)
    fields = tuple(None if name in ignored else field(name) for name in names)
    is_lasting = not uncacheable and policy.ttl is None and policy.same is None
    return TaskPart(
        prefix=prefix,
        parts=parts,
        fields=fields,
        packed=pack_shared(parts, labels_of(names)),
        version=version,
        weak=version is not None and bool(version.weak),
        uncacheable=uncacheable,
        tag=hashlib.sha256(prefix.digest() + marshal.dumps(fields, 2)).digest() if is_lasting else None,
        ignores=None in fields,
    )


def phrase(error: FlowError) -> str:
    """Return what happened as part of a sentence."""
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
