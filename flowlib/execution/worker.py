"""Run one job where it lands: load the inputs, call the task, look at the result, keep it, answer.

Invariant: `perform` never raises. Whatever goes wrong in user code or in the store comes back as an `Outcome`.
"""

import contextlib
import copy
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, ContextVar
from typing import Any, Protocol

import attrs

from flowlib.clock import Clock
from flowlib.errors import FlowError, InputMutated, TaskMisused, Undigestible
from flowlib.execution.base import Given, Input, Job, Outcome, Shared, Stored
from flowlib.execution.coroutines import Coroutines, OverTime
from flowlib.execution.sharing import Watch, is_immutable, is_large, is_read_once, loose_parts, private_copy
from flowlib.graph.args import ATOMS, children, nodes_in, replace
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.hashing.digest import digest_bytes, size_bytes
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest, Key, NodeId
from flowlib.store.base import BlobLost, Entry, NotKept, Payload, Store

_PICKLED = frozenset({"pickle5", "cloudpickle"})

_OP_BYTES = 4096
"""Larger results of operators are known by digest only: their parent has the bytes, and makes them again."""

_REDUCE_BATCH = 256
"""Points whose entries are looked up together."""


class Running(Protocol):
    """A call that is being made, as far as runs inside it care."""

    @property
    def node(self) -> NodeId: ...
    @property
    def task(self) -> Task[..., Any]: ...
    @property
    def key(self) -> Key | None: ...


class Kept(Running, Protocol):
    """A call whose result may be stored."""

    @property
    def policy(self) -> Policy: ...
    @property
    def keep(self) -> bool: ...
    @property
    def wants_digest(self) -> bool: ...
    @property
    def previous(self) -> Entry | None: ...


running_job: ContextVar[Running | None] = ContextVar("flowlib_running_job", default=None)
"""The call this thread or coroutine is inside of, if any."""


@attrs.frozen(kw_only=True)
class Worker:
    """The means to perform jobs of one run; shared by all threads."""

    store: Store | None
    identity: Identity
    clock: Clock
    call_in_run: Callable[[Callable[[], Any]], Any]
    """Calls a function inside the run's context, so that `flowlib.run` in a task joins the run."""
    call_quick: Callable[[Callable[[], Any]], Any]
    """The same for what takes no time."""
    strict: bool = False
    """Whether every mutable input is digested after use, a task's own copies included."""
    coroutines: Coroutines = attrs.field(factory=Coroutines)
    """The jobs that are coroutines, which can be cancelled."""
    owns_arguments: bool = False
    """Whether nobody else holds what is in a job's arguments, because they came from another process."""
    first_digests: dict[int, tuple[Any, Digest]] = attrs.field(factory=dict)
    """What large arguments were when the run first lent them, by identity: nobody may have changed them since."""

    def perform(self, job: Job) -> Outcome:
        """Run a job and return what became of it."""
        outcome = Outcome.of(job)
        outcome.worker = threading.current_thread().name
        try:
            self._perform(job, outcome)
        except _InputLost as lost:
            outcome.lost = lost.node
        except OverTime as over:
            outcome.error, outcome.limit = over.error, "run"
        except BaseException as error:  # user code may raise anything, KeyboardInterrupt and SystemExit included
            outcome.error = error
        if (cause := self.coroutines.take_error(job.node)) is not None:
            outcome.error = cause
        return outcome

    def _perform(self, job: Job, outcome: Outcome) -> None:
        watch = Watch(self.identity.digest, copies_all=job.policy.retries is not None)
        token = running_job.set(job)
        try:
            make = self._maker(job, watch)
            started, cpu_before = self.clock.monotonic(), self.clock.cpu()
            if job.stopwatch is not None:
                job.stopwatch.began_at = started
            try:
                value = self.call_in_run(make)
            finally:
                outcome.duration_s = self.clock.monotonic() - started
                outcome.cpu_s = self.clock.cpu() - cpu_before
                spoiled = watch.changed()
                outcome.spoiled = tuple([lent.owner for lent in spoiled if lent.owner is not None])
            if spoiled:
                raise _input_mutated(job, spoiled[0].parameter)
            refuse_generator(job, value)
            if type(value) not in ATOMS and has_nodes(value, job):
                outcome.expansion, outcome.has_expansion = value, True
                return
            what = f"Result of task {job.task.name!r} was refused by check_out."
            self.call_in_run(lambda: _check(job.policy.check_out, (value,), {}, what))
        finally:
            running_job.reset(token)
        outcome.borrowed = watch.has_lent and not is_immutable(value)
        outcome.lenders = watch.owners if outcome.borrowed else ()
        outcome.value = value
        self.keep(job, value, outcome)

    # ---- inputs

    def _arguments(self, job: Job, watch: Watch) -> tuple[Any, ...]:
        entries = self._entries(job.inputs.values())
        values = {node: self._input(job, node, source, entries, watch) for node, source in job.inputs.items()}
        args: list[Any] = list(replace(job.args, values.__getitem__))
        if job.assembles:
            return tuple(args)
        if not self.owns_arguments and not ATOMS.issuperset(map(type, args)):
            self._lend_literals(job, args, values, watch)
        if self.strict:
            for name, value in zip(job.task.signature.names, args, strict=True):
                if not is_immutable(value):
                    watch.add(name, value)
        return tuple(args)

    def _entries(self, sources: Iterable[Input]) -> Mapping[Key, Entry]:
        """Look up, at once, the inputs that are in the store."""
        keys = [source.key for source in sources if isinstance(source, Stored)]
        return self.store.find(keys) if keys and self.store is not None else {}

    def _input(self, job: Job, node: Node, source: Input, entries: Mapping[Key, Entry], watch: Watch) -> Any:
        """Return the value of an input, loaded, lent or handed over."""
        if isinstance(source, Payload):
            return self._load(job, node, source, None, watch)
        if isinstance(source, Given):
            return source.value
        if isinstance(source, Shared):
            return self._lend(job, node, source, watch)
        entry = entries.get(source.key)
        if entry is None or source.output not in (None, entry.output):
            return self._load(job, node, None, source.spare, watch)
        return self._load(job, node, entry.payload, source.spare, watch)

    def _lend(self, job: Job, node: Node, source: Shared, watch: Watch) -> Any:
        """Return a value that others use too, or a copy of it."""
        if is_immutable(source.value):
            return source.value
        if source.first is None and is_large(source.value):
            with contextlib.suppress(Exception):  # no digest, or a hook of the user's own class raised
                source.first = self.identity.digest(source.value)
        return watch.lend(_parameter_of(job, node), source.value, source.first, owner=node)

    def _load(self, job: Job, node: Node, payload: Payload | None, spare: Shared | None, watch: Watch) -> Any:
        if payload is not None and payload.kept and self.store is not None:
            try:
                return self.store.load(payload)
            except BlobLost:
                pass
        if spare is None:
            raise _InputLost(node)
        return self._lend(job, node, spare, watch)

    def _lend_literals(self, job: Job, args: list[Any], values: Mapping[Node, Any], watch: Watch) -> None:
        """Replace what the user passed in and others may hold: arrays, frames, instances, alone or in containers."""
        for position, (name, given) in enumerate(zip(job.task.signature.names, job.args, strict=True)):
            if type(given) in ATOMS or type(given) is Node:
                continue
            parts = list(loose_parts(given))
            if len(parts) == 1 and parts[0] is given:
                args[position] = watch.lend(name, given, self._first_digest(job, name, given))
            elif parts:
                # In a deep copy, what stands in the memo takes the place of its original.
                memo = {id(value): value for value in values.values()}
                memo |= {id(part): watch.lend(name, part, self._first_digest(job, "", part)) for part in parts}
                try:
                    args[position] = copy.deepcopy(args[position], memo)
                except Exception:  # a container of the user's own class refuses to be copied
                    watch.lend_all(name, parts)

    def _first_digest(self, job: Job, name: str, value: Any) -> Digest | None:
        """Return the digest an argument had when it was first seen in this run; None if it is small and nobody knows."""
        if (known := job.parts.get(f"arg:{name}")) is not None:
            return Digest(known)
        if not is_large(value):
            return None
        first = self.first_digests.get(id(value))
        if first is None or first[0] is not value:
            try:
                first = (value, self.identity.digest(value))
            except Exception:  # no digest, or a hook of the user's own class raised
                return None
            self.first_digests[id(value)] = first
        return first[1]

    # ---- the call

    def _maker(self, job: Job, watch: Watch) -> Callable[[], Any]:
        """Return what makes the job's value, inputs loaded."""
        if job.stream is not None:
            return job.stream
        if job.task.streams:
            return lambda: self._reduce(job, watch)
        args = self._arguments(job, watch)
        if job.assembles:
            return lambda: args[0]
        positional, keywords = job.task.signature.split(args)

        def call() -> Any:
            what = f"Input of task {job.task.name!r} was refused by check_in."
            _check(job.policy.check_in, positional, keywords, what)
            result = job.task.fn(*positional, **keywords)
            return self.coroutines.finish(result, job) if inspect.iscoroutine(result) else result

        return call

    def _reduce(self, job: Job, watch: Watch) -> Any:
        """Take the points of a fan-out through a reduction, holding one batch of entries and one value at a time."""
        reduction = job.task.begin(job.args)
        nodes: list[Node] = list(reduction.nodes)
        add = reduction.add
        for first in range(0, len(nodes), _REDUCE_BATCH):
            batch = nodes[first : first + _REDUCE_BATCH]
            sources = [*map(job.inputs.__getitem__, batch)]
            entries = self._entries(sources)
            for position, (node, source) in enumerate(zip(batch, sources, strict=True), first):
                if isinstance(source, Shared):  # a reducer may build its result on the first value: it gets its own
                    add(position, private_copy(source.value, whatever_size=True)[0])
                else:
                    add(position, self._input(job, node, source, entries, watch))
        return reduction.finish()

    # ---- the result

    def keep(self, job: Kept, value: Any, outcome: Outcome) -> None:
        """Digest and encode a result as far as that is wanted; why it is not kept is said in the outcome."""
        if not job.wants_digest:
            return
        try:
            outcome.digest = self.identity.digest(value)
        except Exception:  # refused, or a hook of the user's own class raised: the result is used all the same
            outcome.digest = None
        if self.store is None or not job.keep:
            return
        if not self.identity.is_current(job.task.fn):
            outcome.not_kept = "its code was replaced while the run went on; run again to store it"
            return
        if job.previous is not None and self._is_same(job, value, outcome):
            return
        if job.task.is_op and outcome.digest is not None and size_bytes(outcome.digest) > _OP_BYTES:
            outcome.payload = Payload(codec="none", content=outcome.digest, kept=False)
            return
        self._encode(job, value, outcome, self.store)

    def _encode(self, job: Kept, value: Any, outcome: Outcome, store: Store) -> None:
        try:
            payload = store.encode(value, codec=job.policy.codec)
            if payload.codec in _PICKLED:
                self._check_round_trip(payload, outcome, store)
            if outcome.digest is None:
                outcome.digest = self._opaque_digest(value, payload)
                outcome.flags |= {"opaque"}
        except NotKept as reason:
            outcome.not_kept = str(reason)
        except Exception as error:  # storing must never lose a result
            outcome.not_kept = f"{type(error).__name__}: {error}"
        else:
            outcome.payload = payload

    def _check_round_trip(self, payload: Payload, outcome: Outcome, store: Store) -> None:
        """Refuse a value that does not come back from its pickle as what it was."""
        try:
            again = store.load(payload)
            digest = self.identity.digest(again) if outcome.digest is not None else None
        except Undigestible as error:
            raise NotKept(f"it does not come back from its pickle as it was: {error.reason}") from None
        except BlobLost as error:
            raise NotKept(str(error)) from None
        except Exception as error:  # unpickling runs code of the user's classes
            raise NotKept(f"its pickle cannot be loaded: {type(error).__name__}: {error}") from None
        if digest != outcome.digest:
            raise NotKept("it does not come back from its pickle as it was (a class drops or changes state)")

    def _opaque_digest(self, value: Any, payload: Payload) -> Digest:
        """Name a value without a canonical form by its encoded bytes and its class's code: safe, at worst a rerun."""
        try:
            code = self.identity.code_version(type(value)).digest
        except FlowError:
            code = Digest("")
        return digest_bytes(f"opaque|{payload.codec}|{payload.content}|{code}".encode(), inert=False)

    def _is_same(self, job: Kept, value: Any, outcome: Outcome) -> bool:
        """Apply the task's equality policy: a result as good as the previous one is replaced by it."""
        previous, same = job.previous, job.policy.same
        if previous is None or same is None or self.store is None:
            return False
        try:
            old = self.store.load(previous.payload)
        except BlobLost:
            return False
        if not same(old, value):
            return False
        outcome.value, outcome.digest, outcome.payload = old, previous.output, previous.payload
        outcome.flags = previous.flags | {"same"}
        return True


def perform_in(context: Context, worker: Worker, job: Job) -> Outcome:
    """Perform a job inside a copy of a context, so that it sees the caller's context variables and changes nobody's.

    Always returns an outcome, even if an interrupt or the end of the stack strikes outside the user's function.
    """
    try:
        return context.copy().run(worker.perform, job)
    except BaseException as error:
        return Outcome.of(job, error)


class _InputLost(Exception):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node


def _input_mutated(job: Job, parameter: str) -> InputMutated:
    return InputMutated(
        f"Task {job.task.name!r} changed its input {parameter!r}.",
        {"parameter": parameter},
        "Others use the same object, so results would depend on timing. Copy it first, or return a new value.",
    )


def _parameter_of(job: Job, node: Node) -> str:
    """Return the name of the first parameter that a node is passed to, alone or in a container."""
    for name, given in zip(job.task.signature.names, job.args, strict=False):
        if any(found is node for found in nodes_in([given], lambda _: "an argument")):
            return name
    return node._fl_task.name


def refuse_generator(job: Running, value: Any) -> None:
    """Raise an error for a result that can be read only once."""
    if is_read_once(value) or inspect.isasyncgen(value):
        kind = "generator" if inspect.isgenerator(value) or inspect.isasyncgen(value) else type(value).__name__
        raise TaskMisused(
            f"Task {job.task.name!r} returned a {kind}, which can be read only once.",
            {"type": type(value).__name__},
            f"Return list(...) instead, or write: return [item for item in ...] in {job.task.name!r}.",
        )


def has_nodes(value: Any, job: Running) -> bool:
    """Whether there are nodes in a result, so that the graph has to grow."""
    if type(value) is Node:
        return True
    inside = children(value)
    if inside is None or ATOMS.issuperset(map(type, inside)):
        return False
    return bool(nodes_in([value], lambda _: f"the result of {job.task.name!r}"))


def _check(check: Any, args: Any, kwargs: Any, what: str) -> None:
    if check is not None and check(*args, **kwargs) is False:
        raise TaskMisused(what, {"check": getattr(check, "__name__", check)}, "The check returned False.")
