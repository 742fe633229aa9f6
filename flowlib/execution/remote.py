"""Perform parcels in the process they were sent to. Knows nothing of pools and networks.

Theory of operation: `perform` reads a parcel, loads what it needs and has not seen (terms, goods), loads the inputs, calls
the task as every other executor does (`worker`), and answers with bytes that it has unpacked itself once before: what
cannot be sent back is an error of its own call, found where it can be explained.

Invariant: `perform` never raises, and never returns less than an answer, whatever the task did: odd exceptions,
unpicklable values, `SystemExit`, the end of the stack. Only the end of the process is not answered.
"""

import contextlib
import importlib
import linecache
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import attrs

from flowlib.clock import SystemClock
from flowlib.config import set_variables, take_environment
from flowlib.errors import CannotSend, error_text
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.pickling import Spill, dump_home, dump_nodes, load, load_nodes
from flowlib.execution.proofs import are_proven, digest_or_none
from flowlib.execution.quick import perform_batch
from flowlib.execution.roundtrip import pack_error
from flowlib.execution.spent import Spent, measured
from flowlib.execution.spill import SpillDirectory
from flowlib.execution.standins import put, stand_in_for
from flowlib.execution.wire import Body, Done, Goods, InStore, Place, QuickDone, Row, Terms, Wants
from flowlib.execution.worker import Worker
from flowlib.graph.args import ATOMS
from flowlib.hashing.identity import Identity
from flowlib.ids import NodeId
from flowlib.store.base import BlobLost
from flowlib.store.blob_values import BlobValues

_MOST_RUNS = 4
"""Runs whose functions are kept: a process usually works for one, and for those beside it."""

_SMALL_TEXT = 4096

_NOT_PROVEN = "its code in the worker process could not be shown to be the code of this run; use executor='threads'"


@attrs.define
class _Held:
    """What a worker process keeps of one run."""

    terms: Terms
    worker: Worker
    spill: Spill | None
    goods: dict[str, "_Loaded"] = attrs.field(factory=dict)


@attrs.frozen
class _Loaded:
    goods: Goods
    is_proven: bool


class Remote:
    """What one process remembers between parcels.

    Args:
        name: What the process is called in events.
        tell: Tells the run that something inside a task waits, see `Inside`; without it, nobody is told.
    """

    def __init__(self, name: str = "", tell: Callable[[Any], None] | None = None) -> None:
        self._name = name
        self._tell = tell or _tell_nobody
        self._runs: OrderedDict[str, _Held] = OrderedDict()
        self._asked: set[tuple[str, str]] = set()
        self._place: Place | None = None
        self._clock = SystemClock()

    def perform(self, message: bytes) -> bytes:
        """Perform a parcel and return the answer. Never raises."""
        try:
            answer = self._perform(message)
        except BaseException as error:  # nothing may end a worker but its end
            answer = Done(node=-1, error=pack_error(error), worker=self._name)
        return pickle.dumps(answer, protocol=5)

    def _perform(self, message: bytes) -> Done | Wants:
        needs, parts, packed, variables = pickle.loads(message)
        body: Body = pickle.loads(packed)
        try:
            held = self._prepare(needs, parts, variables)
            return self._call(held, held.goods[body.goods], body)
        except _Wanting as wanting:
            return wanting.wants
        except BaseException as error:
            return Done(node=body.node, error=pack_error(error), worker=self._name)

    def perform_calls(
        self,
        message: bytes,
        note: Callable[[bytes], None],
        around: Callable[[Batch], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        """Perform the calls of a parcel, and give each answer to `note` the moment there is one. Never raises.

        If the only answer is a `Wants`, none was begun. Calls are made inside `around`, which may take some back.
        """
        needs, parts, packed, variables = pickle.loads(message)
        rows: Sequence[Row] = pickle.loads(packed)
        try:
            held = self._prepare(needs, parts, variables)
        except _Wanting as wanting:
            note(pickle.dumps(wanting.wants, protocol=5))
            return
        except BaseException as error:
            for row in rows:
                done = Done(node=row.node, error=pack_error(error), worker=self._name)
                note(pickle.dumps(done, protocol=5))
            return
        loaded_of = {row.node: held.goods[row.goods] for row in rows}
        calls: list[Call | Job] = [_call_of(row, loaded_of[row.node].goods) for row in rows]

        def answer(call: Any, spent: Spent | None = None) -> None:
            quick = self._quick_answer(held, loaded_of[call.node], call) if spent is None else None
            if quick is not None:
                note(pickle.dumps(quick, protocol=5))
                return
            done = self._answer(held, loaded_of[call.node], call, call, spent or Spent(call.cpu_s))
            note(pickle.dumps(done, protocol=5))

        batch = Batch(calls)
        if len(calls) == 1:  # alone, it has the process to itself
            with measured() as spent, around(batch):
                perform_batch(batch, held.worker, copy_context())
            answer(calls[0], spent)
            return
        batch.done = _Told(answer)  # type: ignore[assignment]
        with around(batch):
            perform_batch(batch, held.worker, copy_context())

    # ---- terms and goods

    def _prepare(self, needs: Sequence[str], parts: Mapping[str, bytes], variables: Mapping[str, Any]) -> _Held:
        """Return what is held of a run, with terms and goods in it."""
        terms_name, *goods_names = needs
        held = self._runs.get(terms_name)
        if held is None:
            if terms_name not in parts:
                raise _Wanting(Wants(unknown=tuple(needs)))
            held = self._runs[terms_name] = self._hold(load(parts[terms_name]))
            while len(self._runs) > _MOST_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(terms_name)
        self._move_to(held.terms.place)
        set_variables(variables)
        unknown = tuple(name for name in goods_names if name not in held.goods and name not in parts)
        if unknown:
            raise _Wanting(Wants(unknown=unknown))
        for name in goods_names:
            if name not in held.goods:
                held.goods[name] = self._load_goods(held, parts[name])
        return held

    def _hold(self, terms: Terms) -> _Held:
        call: Callable[[Callable[[], Any]], Any] = _just_call
        if terms.inside is not None:
            terms.inside.begin(self._tell)
            call = terms.inside.call
        worker = Worker(
            store=None if terms.root is None else BlobValues(Path(terms.root), terms.fsync),  # type: ignore[arg-type]
            identity=Identity(),
            clock=self._clock,
            call_in_run=call,
            call_quick=call,
            strict=terms.strict,
            owns_arguments=True,
        )
        spill = None if terms.spill is None else SpillDirectory(Path(terms.spill), shares=False)
        return _Held(terms, worker, spill)

    def _move_to(self, place: Place | None) -> None:
        """Take on the surroundings of a run."""
        if place is None or place == self._place:
            return
        self._place = place
        if place.cwd:
            with contextlib.suppress(OSError):  # the directory is gone; the task will say so if it cares
                os.chdir(place.cwd)
            take_environment(place.environ)
            sys.path[:], sys.argv[:] = place.path, place.argv
        importlib.invalidate_caches()
        stand_in_for("__main__", place.main_file, self._asked)

    def _load_goods(self, held: _Held, data: bytes) -> _Loaded:
        (_, goods) = self._load(data)
        linecache.cache.update(goods.sources)
        for (module, file), values in goods.met.items():
            for value in values:
                put(value, self._asked, module, file)
        goods.task.__dict__["name"] = goods.name
        is_proven = are_proven(goods.proofs, held.worker.identity)
        if not is_proven and not goods.is_whole:
            raise _Wanting(Wants(is_stale=True))
        return _Loaded(goods, is_proven)

    def _load(self, data: bytes, inputs: Callable[[int], Any] | None = None) -> Any:
        """Unpack something; a name that is not here although it is there means that other code is loaded."""
        self._asked.clear()
        try:
            return load(data, inputs=inputs)
        except (AttributeError, ImportError) as error:
            self._raise_asked(error)
            if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
                raise  # a module of the user's raised while it was imported
            raise _Wanting(Wants(is_stale=True)) from error

    def _raise_asked(self, error: BaseException) -> None:
        if self._asked:
            names = tuple(sorted(self._asked))
            self._asked.clear()
            raise _Wanting(Wants(names=names)) from error

    def _quick_answer(self, held: _Held, loaded: _Loaded, call: Call) -> QuickDone | None:
        """Return the answer to a call that gave a small scalar and did nothing else; None for all others."""
        payload = call.payload
        is_plain = call.error is None and not call.has_expansion and not call.not_kept and not call.flags
        if not is_plain or not _is_scalar(call.value) or not loaded.is_proven:
            return None
        if held.terms.inside is not None and held.terms.inside.is_open:
            return None
        if payload is None:
            return (call.value, call.digest, None, None, call.duration_s, call.cpu_s)
        if payload.inline is None:
            return None
        return (call.value, call.digest, payload.codec, payload.inline, call.duration_s, call.cpu_s, payload.content)

    # ---- one call

    def _call(self, held: _Held, loaded: _Loaded, body: Body) -> Done:
        values, met, proofs = self._load(body.inputs)
        self._take_definitions(held, loaded, met, proofs)
        loaded_inputs: dict[int, Any] = {}

        def value_of(position: int) -> Any:
            if position not in loaded_inputs:
                value = values[position]
                loaded_inputs[position] = self._load_stored(held, position, value) if type(value) is InStore else value
            return loaded_inputs[position]

        try:
            args, met, proofs = self._load(body.args, value_of)
        except _InputLost as lost:
            return Done(node=body.node, lost=lost.position, worker=self._name)
        self._take_definitions(held, loaded, met, proofs)
        job = Job(
            node=NodeId(body.node),
            task=loaded.goods.task,
            policy=loaded.goods.policy,
            args=args,
            inputs={},
            key=body.key,
            keep=body.keep,
            wants_digest=body.wants_digest,
            previous=body.previous,
        )
        with measured() as spent:
            outcome = held.worker.perform(job)
        return self._answer(held, loaded, job, outcome, spent)

    def _take_definitions(self, held: _Held, loaded: _Loaded, met: Any, proofs: Any) -> None:
        for (module, file), values in met.items():
            for value in values:
                put(value, self._asked, module, file)
        if proofs and not loaded.goods.is_whole and not are_proven(proofs, held.worker.identity):
            raise _Wanting(Wants(is_stale=True))

    def _load_stored(self, held: _Held, position: int, stored: InStore) -> Any:
        """Load an input; one whose classes are others here than where it was made must not be used."""
        store = held.worker.store or BlobValues(Path(os.devnull), "off")
        self._asked.clear()
        try:
            value = store.load(stored.payload)
        except BlobLost as error:
            self._raise_asked(error)
            raise _InputLost(position) from error
        if stored.digest is not None and digest_or_none(value, held.worker.identity) != stored.digest:
            raise _Wanting(Wants(is_stale=True))
        return value

    def _answer(self, held: _Held, loaded: _Loaded, job: Job | Call, outcome: Outcome, spent: Spent) -> Done:
        done = self._answer_without_report(held, loaded, job, outcome, spent)
        report = (
            None if held.terms.inside is None else held.terms.inside.take_report(job.node, has_key=job.key is not None)
        )
        if report is None:
            return done
        try:
            return attrs.evolve(done, report=dump_home(report, None))
        except Exception:  # a task that cannot travel: then nobody can tell what the result depends on
            not_kept = "it ran other tasks in its process that cannot be told of; use executor='threads'"
            return attrs.evolve(done, payload=None, not_kept=not_kept) if done.payload is not None else done

    def _answer_without_report(
        self, held: _Held, loaded: _Loaded, job: Job | Call, outcome: Outcome, spent: Spent
    ) -> Done:
        done = Done(
            node=job.node,
            duration_s=outcome.duration_s,
            worker=self._name,
            cpu_s=spent.cpu_s,
            peak_bytes=spent.peak_bytes,
            digest=outcome.digest,
            payload=outcome.payload,
            not_kept=outcome.not_kept,
            flags=outcome.flags,
        )
        if outcome.error is not None:
            return attrs.evolve(done, error=pack_error(outcome.error), payload=None, digest=None)
        if not loaded.is_proven and outcome.payload is not None:
            done = attrs.evolve(done, payload=None, not_kept=_NOT_PROVEN)
        elif outcome.payload is not None and outcome.payload.kept:
            return attrs.evolve(done, scalar=outcome.value) if _is_scalar(outcome.value) else done
        if _is_scalar(outcome.value) and not outcome.has_expansion:
            return attrs.evolve(done, scalar=outcome.value)
        try:
            return self._with_value(done, held, outcome)
        except BaseException as error:  # an object of the user's own class refuses to travel
            return attrs.evolve(done, error=pack_error(_cannot_return(job, error)), payload=None, digest=None)

    def _with_value(self, done: Done, held: _Held, outcome: Outcome) -> Done:
        """Pack what does not stay in the store, and unpack it: here its class can still be asked what is wrong."""
        if outcome.has_expansion:
            packed = dump_nodes(outcome.expansion, held.spill)
            load_nodes(packed)
            return attrs.evolve(done, expansion=packed)
        packed = dump_home(outcome.value, held.spill)
        load(packed)
        return attrs.evolve(done, value=packed)


def _tell_nobody(wait: Any) -> None:
    return


def _just_call(call: Callable[[], Any]) -> Any:
    return call()


def _is_scalar(value: Any) -> bool:
    kind = type(value)
    return kind in ATOMS and not (kind in (str, bytes) and len(value) > _SMALL_TEXT)


def _cannot_return(job: Any, error: BaseException) -> BaseException:
    return CannotSend(
        f"The result of task {job.task.name!r} cannot be sent back from its process.",
        {"reason": f"{type(error).__name__}: {error_text(error)[:300]}"},
        'Return what can be pickled, or give the task executor="threads".',
    )


class _Wanting(Exception):
    def __init__(self, wants: Wants) -> None:
        super().__init__()
        self.wants = wants


def _call_of(row: Row, goods: Goods) -> Call:
    call = Call(NodeId(row.node), goods.task, goods.policy, row.args, row.key, row.wants_digest)
    call.keep, call.keywords = row.keep, None if row.keywords is None else dict(row.keywords)
    return call


class _Told:
    """In the place of a batch's `done`: tells of each call the moment it has ended."""

    def __init__(self, append: Callable[[Any], None]) -> None:
        self.append = append


class _InputLost(Exception):
    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position
