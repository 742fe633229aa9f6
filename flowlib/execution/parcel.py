"""Jobs as bytes, for workers that have no graph, and what comes back as outcomes. Knows nothing of pools and networks.

Theory of operation: a parcel has three parts. The *terms* hold for a whole run: the cache directory, the user's
surroundings. The *goods* hold for a task: its function and options. The *body* is one call, or many quick ones: arguments,
with inputs that are in the store as payloads that the worker loads itself, and the others by value. Terms and goods are
named by their digests and need to be in a message only once for each worker (`Parcel.message`).

    packer = Packer(terms, worker, spill)
    reply = remote.perform(packer.pack(job).message())     # wherever that is
    outcome = packer.unpack(job, reply)                    # or `Again`: pack the job once more, it needs more to be sent

Rules: what a worker runs is what the key says. Definitions that go by reference carry their code versions; a worker that
has other code answers `stale`, and then all of the user's code goes by value. If even that cannot be proved the same, the
result is used and not stored.
"""

import contextlib
import hashlib
import linecache
import pickle
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import attrs

from flowlib.errors import CannotSend, error_text
from flowlib.execution.base import Call, Given, Job, Outcome, Shared, Stored
from flowlib.execution.picklers import Packing, Slot, is_user_module
from flowlib.execution.pickling import Spill, dump, load, load_nodes
from flowlib.execution.roundtrip import unpack_error
from flowlib.execution.standins import needs_stand_in
from flowlib.execution.wire import Body, Done, Goods, InStore, Proof, QuickDone, Row, Terms, Wants
from flowlib.execution.worker import Worker
from flowlib.graph.args import replace
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.ids import Digest, Key
from flowlib.store.base import BlobLost, Entry, Payload
from flowlib.store.codec import PICKLED
from flowlib.sweep.failed import Failed

_REPLACED = "its code was replaced while the run went on; run again to store it"


class Again(Exception):
    """The job has to be packed and sent once more."""


@attrs.frozen
class Parcel:
    """A job, ready to be sent. `parts` are terms and goods by their names."""

    body: bytes
    needs: tuple[str, ...]
    parts: Mapping[str, bytes]
    files: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = attrs.field(factory=dict)
    """Environment variables that the worker sets before the call."""

    def message(self, known: Collection[str] = ()) -> bytes:
        """Return the bytes for a worker that has some parts already."""
        parts = {name: self.parts[name] for name in self.needs if name not in known}
        return pickle.dumps((self.needs, parts, self.body, self.variables), protocol=5)


def _named(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


class Packer:
    """Packs the jobs of one run.

    Args:
        terms: What holds for all of them.
        worker: The run's own means: its store, its view of code and values.
        spill: Where large values go that are not in the store.
        environ: This program's environment, for workers that do not take it on as a whole.
    """

    def __init__(
        self, terms: Terms, worker: Worker, spill: Spill | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._worker, self._spill, self._environ = worker, spill, environ
        self._sees_store = terms.root is not None
        terms_bytes = dump(terms, None, Packing())
        self._terms = _named(terms_bytes)
        self._parts: dict[str, bytes] = {self._terms: terms_bytes}
        self._goods: dict[tuple[int, int], tuple[Any, str]] = {}
        self._wanted: set[tuple[str, str]] = set()
        self._whole: set[tuple[int, int]] = set()

    # ---- out

    def pack(self, job: Job) -> Parcel | Outcome:
        """Return a job ready to be sent, or its outcome if it has come to an end already: an input is lost, or cannot travel.

        Cost: about 50 us, and the pickling of what is not in the store.
        """
        try:
            return self._pack(job)
        except _Lost as lost:
            outcome = Outcome.of(job)
            outcome.lost = lost.node
            return outcome
        except Exception as error:  # whatever an object of the user's may raise when it is pickled
            return Outcome.of(job, error)

    def _pack(self, job: Job) -> Parcel:
        goods = self.goods(job.task, job.policy)
        sources = list(job.inputs.items())
        position_of = {node: position for position, (node, _) in enumerate(sources)}
        keys = [source.key for _, source in sources if isinstance(source, Stored)]
        entries = self._worker.store.find(keys) if keys and self._worker.store is not None else {}
        whole = (id(job.task), id(job.policy)) in self._whole
        inputs = [self._input(node, source, entries, whole) for node, source in sources]

        def stand_for(node: Node) -> Any:
            position = position_of[node]
            value = inputs[position]
            return value if type(value) is Failed else Slot(position)

        args = tuple(replace(job.args, stand_for))
        packing = Packing()
        packed_inputs = self._dump_named(job, "an input", inputs, packing, whole)
        packed_args = self._dump_named(job, "an argument", args, packing, whole)
        body = Body(
            node=job.node,
            goods=goods,
            inputs=packed_inputs,
            args=packed_args,
            key=job.key,
            keep=job.keep and self._sees_store,
            wants_digest=job.wants_digest and self._sees_store,
            previous=job.previous,
        )
        needs, variables = (self._terms, goods), self._variables((job.policy,))
        return Parcel(pickle.dumps(body, protocol=5), needs, self._parts, tuple(packing.files), variables)

    def _variables(self, policies: Iterable[Policy]) -> dict[str, str | None]:
        """Return the variables that count for the keys of calls, for a worker that does not have ours."""
        if self._environ is None:
            return {}
        return {name: self._environ.get(name) for policy in policies for name in policy.env}

    def pack_calls(self, calls: Sequence[Call]) -> Parcel:
        """Return quick calls ready to be sent; their goods have been packed. Runs no code of the user's. About 2 us a call."""
        sees = self._sees_store
        rows = [
            Row(
                call.node,
                self._goods[id(call.task), id(call.policy)][1],
                call.args,
                call.keywords,
                call.key,
                call.keep and sees,
                call.wants_digest and sees,
            )
            for call in calls
        ]
        needs = (self._terms, *dict.fromkeys(row.goods for row in rows))
        variables = self._variables(call.policy for call in calls)
        return Parcel(pickle.dumps(rows, protocol=5), needs, self._parts, variables=variables)

    def _dump_named(self, job: Job, what: str, values: Any, packing: Packing, whole: bool) -> bytes:
        """Pack values with what they rely on; say which of them cannot be packed."""
        try:
            return self._dump(values, packing, whole)
        except Exception as error:
            raise self._refusal(job, what, values, error) from error

    def _dump(self, values: Any, packing: Packing, whole: bool) -> bytes:
        proofs: list[Proof] = []
        content = (values, packing.met, proofs)
        message = dump(content, self._spill, packing, whole=whole)
        if packing.refs:  # found out only now; nearly no argument holds the user's own classes
            proofs.extend(self._proofs(packing, ()))
            again = Packing()
            message = dump((values, again.met, proofs), self._spill, again, whole=whole)
            packing.files.extend(again.files)
        return message

    def _refusal(self, job: Job, what: str, values: Any, error: Exception) -> CannotSend:
        name = ""
        if what == "an argument":
            for parameter, value in zip(job.task.signature.names, values, strict=False):
                try:
                    dump(value, None, Packing())
                except Exception:
                    name = parameter
                    break
        return CannotSend(
            f"Task {job.task.name!r} cannot run in another process: {what} cannot be sent there.",
            {"argument": name, "reason": f"{type(error).__name__}: {error_text(error)[:300]}"}
            if name
            else {"reason": f"{type(error).__name__}: {error_text(error)[:300]}"},
            'Pass what it is made from instead (a path, a configuration), or give the task executor="threads".',
        )

    def _input(self, node: Node, source: Any, entries: Mapping[Key, Entry], whole: bool) -> Any:
        if isinstance(source, Given):
            return source.value
        if isinstance(source, Shared):
            return source.value
        if isinstance(source, Payload):
            return self._stored(node, source, None, None, whole)
        entry = entries.get(source.key)
        if entry is None or source.output not in (None, entry.output) or not entry.payload.kept:
            return self._stored(node, None, None, source.spare, whole)
        digest = None if "opaque" in entry.flags else entry.output
        return self._stored(node, entry.payload, digest, source.spare, whole)

    def _stored(
        self, node: Node, payload: Payload | None, digest: Digest | None, spare: Shared | None, whole: bool
    ) -> Any:
        """Return a stored input as a worker can load it, or its value; from memory if the stored one is lost."""
        is_pickled = payload is not None and payload.codec in PICKLED
        if payload is not None and (self._sees_store or payload.inline is not None) and not (whole and is_pickled):
            return InStore(payload, digest if is_pickled else None)
        if payload is not None and self._worker.store is not None:
            with contextlib.suppress(BlobLost):
                return self._worker.store.load(payload)
        if spare is None:
            raise _Lost(node)
        return spare.value

    def goods(self, task: Task[..., Any], policy: Policy) -> str:
        """Return the name of a task's goods; they are in `Parcel.parts` under it. Packed once."""
        mark = (id(task), id(policy))
        known = self._goods.get(mark)
        if known is not None:
            return known[1]
        whole = mark in self._whole
        packing, proofs, sources = Packing(), list[Proof](), dict[str, Any]()
        sent = attrs.evolve(policy, on_error=None, pool=None, retries=None)
        extra = [self._definition(*name) for name in sorted(self._wanted)]
        goods = Goods(
            task=task, name=task.name, policy=sent, met=packing.met, proofs=proofs, is_whole=whole, sources=sources
        )
        try:
            data = dump((extra, goods), None, packing, whole=whole)
            self._complete(task, packing, proofs, sources)
            if proofs or sources:
                again = Packing()
                goods = attrs.evolve(goods, met=again.met)
                data = dump((extra, goods), None, again, whole=whole)
        except Exception as error:
            raise CannotSend(
                f"Task {task.name!r} cannot run in another process: its function cannot be sent there.",
                {"reason": f"{type(error).__name__}: {error_text(error)[:300]}"},
                'Make what it uses inside the function, or give the task executor="threads".',
            ) from error
        name = _named(self._terms.encode() + data)  # a worker loads a task anew for each run
        self._parts[name] = data
        self._goods[mark] = ((task, policy), name)
        return name

    def _complete(self, task: Task[..., Any], packing: Packing, proofs: list[Proof], sources: dict[str, Any]) -> None:
        if not task.own_code:
            proofs.extend(self._proofs(packing, (task,)))
        for found in packing.met.values():
            for value in found:
                file = getattr(getattr(getattr(value, "fn", value), "__code__", None), "co_filename", "")
                cell = linecache.cache.get(file)
                if cell is not None and len(cell) == 4 and cell[1] is None:  # no file: a cell of a notebook
                    sources[file] = cell

    def _proofs(self, packing: Packing, first: Sequence[Any]) -> list[Proof]:
        """Return the code versions of what goes by reference, and of a task whose function uses the user's modules."""
        proofs: list[Proof] = []
        seen: set[int] = set()
        for definition in (*first, *packing.refs):
            function = getattr(definition, "fn", definition)
            if id(function) in seen:
                continue
            seen.add(id(function))
            try:
                version = self._worker.identity.code_version(function)
            except Exception:  # it has no code that could be known: nothing is promised of it, and it is not stored
                continue
            modules = _modules_in(version.parts)
            if definition in first and not packing.refs and not packing.modules and not modules:
                continue  # all of it goes by value
            proofs.append(Proof(definition=definition, version=version.digest, modules=modules))
        return proofs

    def _definition(self, module: str, name: str) -> Any:
        return getattr(sys.modules.get(module), name, None)

    # ---- back

    def unpack(self, job: Job, reply: bytes) -> Outcome:
        """Return what became of a job.

        Raises:
            Again: The job has to be packed once more; what was missing is sent then.
        """
        answer = pickle.loads(reply)
        if isinstance(answer, Wants):
            self.note(job, answer)
            raise Again
        outcome = Outcome.of(job)
        self.settle(job, answer, outcome)
        return outcome

    def note(self, job: Job | Call, wants: Wants) -> None:
        """Take note of what a worker was missing."""
        mark = (id(job.task), id(job.policy))
        if wants.is_stale:
            self._whole.add(mark)
        if wants.names:
            self._wanted.update(wants.names)
        if wants.is_stale or wants.names:
            self._goods.pop(mark, None)

    def settle(self, job: Job | Call, done: Done, outcome: Outcome) -> None:
        """Fill in an outcome. Never raises for what the user's classes do."""
        outcome.duration_s, outcome.worker = done.duration_s, done.worker
        outcome.cpu_s, outcome.peak_bytes = done.cpu_s, done.peak_bytes
        if done.report is not None:
            outcome.is_special = True
            try:
                outcome.report = load(done.report)
            except BaseException as error:  # then nobody knows what the result depends on
                outcome.error = error
                return
        if done.error is not None:
            outcome.error = unpack_error(done.error)
            return
        if done.lost is not None:
            outcome.lost = list(job.inputs)[done.lost]  # type: ignore[union-attr]
            return
        outcome.digest, outcome.payload, outcome.flags = done.digest, done.payload, done.flags
        outcome.not_kept = done.not_kept
        try:
            self._take_value(job, done, outcome)
        except BaseException as error:  # it came back in the worker; here its class does something else
            outcome.error = error

    def settle_quick(self, calls: Sequence[Call], answers: Sequence[QuickDone | Done], worker: str) -> None:
        """Fill in quick calls. About 2 us a call."""
        current: dict[int, bool] = {}
        for call, answer in zip(calls, answers, strict=True):
            if type(answer) is not tuple:
                self.settle(call, answer, call)  # type: ignore[arg-type]
                continue
            call.value, call.digest, call.duration_s, call.cpu_s, call.worker = *answer[:2], *answer[4:6], worker
            if call.wants_digest and not self._sees_store:
                self._worker.keep(call, call.value, call)
            elif answer[2] is not None:
                fn = call.task.fn
                if id(fn) not in current:
                    current[id(fn)] = self._worker.identity.is_current(fn)
                if current[id(fn)]:
                    call.payload = Payload(codec=answer[2], content=answer[6], inline=answer[3])
                else:
                    call.not_kept = _REPLACED

    def _take_value(self, job: Job | Call, done: Done, outcome: Outcome) -> None:
        if done.expansion is not None:
            outcome.expansion, outcome.has_expansion = load_nodes(done.expansion, remove=True), True
            return
        if done.value is not None:
            outcome.value = load(done.value, remove=True)
        elif done.payload is not None and done.payload.kept:
            outcome.is_away = done.payload.inline is None or done.scalar is None
            outcome.is_special |= outcome.is_away
            outcome.value = done.scalar
            if done.payload.inline is None:
                self._worker.store.blobs.written_elsewhere((done.payload.content, *done.payload.refs))  # type: ignore[union-attr]
        else:
            outcome.value = done.scalar
        if job.wants_digest and not self._sees_store:
            self._worker.keep(job, outcome.value, outcome)  # the workers do not see this store
        elif outcome.payload is not None and not self._worker.identity.is_current(job.task.fn):
            outcome.payload = None
            outcome.not_kept = _REPLACED


class _Lost(Exception):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node


def _modules_in(parts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the user's importable modules that parts of a code version belong to."""
    found: dict[str, None] = {}
    for part in parts:
        name = part.partition(" ")[0]
        while name:
            module = sys.modules.get(name)
            if isinstance(module, ModuleType):
                found |= {name: None} if is_user_module(name) and not needs_stand_in(name) else {}
                break
            name = name.rpartition(".")[0]
    return tuple(found)
