"""Run one job where it lands: load the inputs, call the task, look at the result, keep it, answer.

Invariant: `perform` never raises. Whatever goes wrong in user code or in the store comes back as an `Outcome`.
"""

import inspect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import attrs

from flowlib.clock import Clock
from flowlib.errors import FlowError, InputMutated, TaskMisused, Undigestible
from flowlib.execution.base import Given, Job, Outcome, Shared, Stored
from flowlib.execution.sharing import Watch, is_immutable, private_copy
from flowlib.graph.args import ATOMS, children, nodes_in, replace
from flowlib.graph.node import Node
from flowlib.hashing.digest import digest_bytes
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest
from flowlib.store.base import BlobLost, NotKept, Payload, Store

_PICKLED = frozenset({"pickle5", "cloudpickle"})

_REDUCE_BATCH = 256
"""Points whose entries are looked up together."""

running_job: ContextVar[Job | None] = ContextVar("flowlib_running_job", default=None)
"""The job this thread or coroutine is inside of, if any."""


@attrs.frozen(kw_only=True)
class Worker:
    """The means to perform jobs of one run; shared by all threads."""

    store: Store | None
    identity: Identity
    clock: Clock
    call_in_run: Callable[[Callable[[], Any]], Any]
    """Calls a function inside the run's context, so that `flowlib.run` in a task joins the run."""
    check_inputs: bool = True
    """Whether shared inputs are digested after use."""

    def perform(self, job: Job) -> Outcome:
        """Run a job and return what became of it."""
        outcome = Outcome(node=job.node, worker=threading.current_thread().name)
        try:
            self._perform(job, outcome)
        except _InputLost as lost:
            outcome.lost = lost.node
        except BaseException as error:  # user code may raise anything, KeyboardInterrupt and SystemExit included
            outcome.error = error
        return outcome

    def _perform(self, job: Job, outcome: Outcome) -> None:
        watch = Watch(self.identity.digest)
        make = self._maker(job, watch)
        started = self.clock.monotonic()
        token = running_job.set(job)
        try:
            value = self.call_in_run(make)
        finally:
            running_job.reset(token)
            outcome.duration_s = self.clock.monotonic() - started
        _refuse_generator(job, value)
        if type(value) not in ATOMS and _has_nodes(value, job):
            outcome.expansion, outcome.has_expansion = value, True
            return
        _check(job.policy.check_out, (value,), {}, f"Result of task {job.task.name!r} was refused by check_out.")
        if self.check_inputs and (changed := watch.changed()):
            raise InputMutated(
                f"Task {job.task.name!r} changed its input {changed!r}.",
                {"parameter": changed},
                "Others use the same object, so results would depend on timing. Copy it first, or return a new value.",
            )
        outcome.value = value
        self._keep(job, value, outcome)

    # ---- inputs

    def _arguments(self, job: Job, watch: Watch) -> tuple[Any, ...]:
        stored = {node: source.key for node, source in job.inputs.items() if type(source) is Stored}
        entries = self.store.find(list(stored.values())) if stored and self.store is not None else {}
        values: dict[Node, Any] = {}
        for node, source in job.inputs.items():
            if type(source) is Given:
                values[node] = source.value
            elif type(source) is Shared:
                values[node], is_private = private_copy(source.value)
                if not is_private and self.check_inputs:
                    watch.add(node._fl_task.name, source.value)
            else:
                values[node] = self._load(node, entries.get(stored[node]))
        args = replace(job.args, values.__getitem__)
        if self.check_inputs and not job.assembles and not ATOMS.issuperset(map(type, args)):
            self._watch_literals(job, args, watch)
        return tuple(args)

    def _load(self, node: Node, entry: Any) -> Any:
        if entry is None or not entry.payload.kept or self.store is None:
            raise _InputLost(node)
        try:
            return self.store.load(entry.payload)
        except BlobLost:
            raise _InputLost(node) from None

    def _watch_literals(self, job: Job, args: tuple[Any, ...], watch: Watch) -> None:
        """Watch objects that the user passed in and that `replace` does not rebuild: arrays, frames, instances."""
        names = job.task.signature.names
        for name, given, value in zip(names, job.args, args, strict=True):
            if given is value and not is_immutable(value) and children(value) is None:
                known = job.parts.get(f"arg:{name}")
                watch.add(name, value, Digest(known) if known else None)

    # ---- the call

    def _maker(self, job: Job, watch: Watch) -> Callable[[], Any]:
        """Return what makes the job's value, inputs loaded."""
        if job.stream is not None:
            return job.stream
        if job.task.streams:
            return lambda: self._reduce(job)
        args = self._arguments(job, watch)
        if job.assembles:
            return lambda: args[0]
        positional, keywords = job.task.signature.split(args)
        _check(job.policy.check_in, positional, keywords, f"Input of task {job.task.name!r} was refused by check_in.")
        return lambda: _finish(job.task.fn(*positional, **keywords))

    def _reduce(self, job: Job) -> Any:
        """Take the points of a fan-out through a reduction, holding one batch of entries and one value at a time."""
        reduction = job.task.begin(job.args)
        nodes: list[Node] = list(reduction.nodes)
        for first in range(0, len(nodes), _REDUCE_BATCH):
            batch = nodes[first : first + _REDUCE_BATCH]
            keys = [source.key for node in batch if isinstance(source := job.inputs[node], Stored)]
            entries = self.store.find(keys) if keys and self.store is not None else {}
            for offset, node in enumerate(batch):
                source = job.inputs[node]
                if isinstance(source, Stored):
                    value = self._load(node, entries.get(source.key))
                else:
                    value = source.value if isinstance(source, Given) else private_copy(source.value)[0]
                reduction.add(first + offset, value)
        return reduction.finish()

    # ---- the result

    def _keep(self, job: Job, value: Any, outcome: Outcome) -> None:
        if not job.digest:
            return
        try:
            outcome.digest = self.identity.digest(value)
        except (FlowError, RecursionError):
            outcome.digest = None
        if self.store is None or (outcome.digest is not None and not job.keep):
            return
        if job.previous is not None and self._is_same(job, value, outcome):
            return
        self._encode(job, value, outcome, self.store)

    def _encode(self, job: Job, value: Any, outcome: Outcome, store: Store) -> None:
        try:
            payload = store.encode(value, codec=job.policy.codec)
            if job.task.is_op and payload.inline is None:
                payload = attrs.evolve(payload, kept=False)
            if payload.codec in _PICKLED:
                self._check_round_trip(payload, outcome, store)
        except NotKept as reason:
            outcome.not_kept = str(reason)
            return
        if outcome.digest is None:
            outcome.digest = self._opaque_digest(value, payload)
            outcome.flags |= {"opaque"}
        if job.keep:
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

    def _is_same(self, job: Job, value: Any, outcome: Outcome) -> bool:
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


class _InputLost(Exception):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node


def _finish(result: Any) -> Any:
    """Run a coroutine to its end; anything else is already a result."""
    if not inspect.iscoroutine(result):
        return result
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(result)
    return _in_thread(lambda: asyncio.run(result))


def _in_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread of its own, with this thread's context: an event loop is already running here."""
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as threads:
        return threads.submit(contextvars.copy_context().run, call).result()


def _refuse_generator(job: Job, value: Any) -> None:
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise TaskMisused(
            f"Task {job.task.name!r} returned a generator, which can be read only once.",
            {"type": type(value).__name__},
            f"Return list(...) instead, or write: return [item for item in ...] in {job.task.name!r}.",
        )


def _has_nodes(value: Any, job: Job) -> bool:
    if type(value) is Node:
        return True
    inside = children(value)
    if inside is None or ATOMS.issuperset(map(type, inside)):
        return False
    return bool(nodes_in([value], lambda _: f"the result of {job.task.name!r}"))


def _check(check: Any, args: Any, kwargs: Any, what: str) -> None:
    if check is not None and check(*args, **kwargs) is False:
        raise TaskMisused(what, {"check": getattr(check, "__name__", check)}, "The check returned False.")
