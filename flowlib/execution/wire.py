"""The words between a run and its workers: plain values that travel as pickles."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import attrs

from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.ids import Digest, Key, NodeId
from flowlib.store.base import Entry, Payload


@attrs.frozen(kw_only=True)
class Place:
    """The user's surroundings that a worker takes on: it is the same program in another process.

    On another machine they mean nothing, but for the name of the script: all else is empty then, and left as it is there.
    """

    main_file: str | None
    cwd: str = ""
    environ: Mapping[str, str] = attrs.field(factory=dict)
    path: Sequence[str] = ()
    argv: Sequence[str] = ()


class Inside(Protocol):
    """Stands for the run in a process that works for it."""

    @property
    def is_open(self) -> bool:
        """Whether any task has run something inside yet."""

    def begin(self, tell: Callable[[Any], None]) -> None:
        """Take note of how to tell the run that something waits: (begins, chain of keys, key)."""

    def call(self, fn: Callable[[], Any]) -> Any:
        """Call a function so that runs inside it know where they are."""

    def without_store(self) -> "Inside":
        """Return the same for workers that do not see the cache directory."""

    def take_report(self, node: NodeId, *, has_key: bool) -> Any:
        """Return what the runs inside a task did; None if there was none."""


@attrs.frozen(kw_only=True)
class Terms:
    """What holds for all parcels of a run."""

    run: str
    root: str | None = None
    """The cache directory; None when results have to travel back by value."""
    fsync: str = "batch"
    strict: bool = False
    spill: str | None = None
    """A directory for large values that are not stored; None sends them in the message."""
    place: Place | None = None
    """None leaves a worker where it is."""
    inside: Inside | None = None
    """What runs inside the tasks join; None makes them runs of their own."""

    def without_store(self) -> "Terms":
        """Return the same for workers that do not see the cache directory: results travel back by value."""
        inside = None if self.inside is None else self.inside.without_store()
        return attrs.evolve(self, root=None, inside=inside)


@attrs.frozen(kw_only=True)
class Proof:
    """The code version that a definition must have; `modules` are to be loaded before it is asked for."""

    definition: Any
    version: Digest
    modules: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Goods:
    """A task as a worker needs it."""

    task: Task[..., Any]
    name: str
    policy: Policy
    met: Mapping[tuple[str, str | None], Sequence[Any]]
    """(module, file) -> what goes by value out of it: put into stand-ins."""
    proofs: Sequence[Proof]
    is_whole: bool
    sources: Mapping[str, Any]
    """Lines of code that is in no file: notebook cells."""


@attrs.frozen(kw_only=True)
class Body:
    """One call. `inputs` and `args` are messages of their own; an input is an `InStore` or a value."""

    node: int
    goods: str
    inputs: bytes
    args: bytes
    key: Key | None = None
    keep: bool = False
    wants_digest: bool = False
    previous: Entry | None = None


class InStore(NamedTuple):
    """An input that the worker loads itself. `digest` is what it must be there, if the code of classes decides that."""

    payload: Payload
    digest: Digest | None


class Row(NamedTuple):
    """One quick call of many."""

    node: int
    goods: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any] | None
    key: Key | None
    keep: bool
    wants_digest: bool


@attrs.frozen(kw_only=True)
class Done:
    """What became of a call over there."""

    node: int
    error: Any = None
    """What `pack_error` made of it."""
    value: bytes | None = None
    """The value, if it is not in the store."""
    scalar: Any = None
    """The value, if it is plain and small."""
    expansion: bytes | None = None
    digest: Digest | None = None
    payload: Payload | None = None
    not_kept: str = ""
    flags: frozenset[str] = frozenset()
    lost: int | None = None
    report: bytes | None = None
    """What the runs inside the call did."""
    duration_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    worker: str = ""


QuickDone = tuple[Any, ...]
"""What became of a quick call that gave a small scalar: (value, digest, codec, inline bytes, seconds, processor seconds) and,
if there is a payload, the digest of those bytes. A plain tuple, because it is made and read for every one of thousands."""


class Left(NamedTuple):
    """A note about a batch: one of its calls takes long, and the last `n_calls` of it have been given back."""

    n_calls: int


@attrs.frozen(kw_only=True)
class Wants:
    """An answer: the call was not begun, because something else has to be sent along."""

    unknown: tuple[str, ...] = ()
    """Terms or goods that this worker does not have."""
    names: tuple[tuple[str, str], ...] = ()
    """(module, name): definitions that an input is made of."""
    is_stale: bool = False
    """Whether the worker has other code under the names that were sent."""
