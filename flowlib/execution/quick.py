"""Many quick calls as one piece of work: what it costs to hand a job to a thread is paid once for all of them.

Theory of operation: the calls of a batch are made one after the other in one thread; one may need the values of
those before it. Each has its own copy of the context and its own place in `done` the moment it ends, so that nothing is lost and nothing leaks from one to the next.
What has not been begun can be taken back at any time: a call that was thought quick and is not holds up nobody. A run
inside such a call may wait for another call of the very batch, which then nobody else would begin: it finds it in the
`Unbegun` and makes it itself.

Cost of a call beside the user's function: about 0.5 us, without a digest.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from flowlib.clock import n_times_given_up
from flowlib.execution.base import Batch, Call, Job, Outcome
from flowlib.execution.worker import Worker, has_nodes, perform_in, refuse_generator, running_job
from flowlib.graph.args import ATOMS
from flowlib.graph.coroutine import finish
from flowlib.ids import Key

_SMALL = 4096
"""Characters or bytes of a text that is handed from one call of a batch to the next."""

PATIENCE_S = 0.02
"""How long the thread of an engine makes calls, of a batch or along a chain, before the engine looks after the rest."""

MEASURED_FROM_S = 0.001
"""Calls that take less are not asked for processor seconds: reading them costs as much as a call."""


class Unbegun:
    """The batches of a run and of all runs inside its tasks that may have calls nobody has begun."""

    def __init__(self) -> None:
        self._perform: dict[Batch, Callable[[Batch], None]] = {}

    def add(self, batch: Batch, perform: Callable[[Batch], None]) -> None:
        """Note a batch, and how calls out of it are made for its run."""
        self._perform[batch] = perform

    def discard(self, batch: Batch) -> None:
        """Forget a batch."""
        self._perform.pop(batch, None)

    def take_over(self, key: Key) -> bool:
        """Make the call with this key now, in the calling thread; False if none waits. O(calls that wait)."""
        for batch, perform in [*self._perform.items()]:
            call = batch.take(key)
            if call is not None:
                perform(Batch([call]))
                return True
        return False


def perform_batch(batch: Batch, worker: Worker, context: Context, until: float = math.inf) -> None:
    """Make the calls of a batch that are still there. Never raises for what a call does.

    Args:
        batch: The calls.
        worker: Makes them.
        context: What each sees a copy of.
        until: When to leave the rest to the caller; so does a Ctrl-C, if a time is given.
    """
    batch.is_begun = True
    n_calls, n_before = len(batch.waiting), n_times_given_up()
    perform_calls(taken_from(batch), ended_in(batch), worker, context, until)
    batch.has_waited = 2 * (n_times_given_up() - n_before) > n_calls


def taken_from(batch: Batch) -> Iterator[Call | Job]:
    """Take the calls of a batch one by one, those that follow others with the values of these."""
    next_call = batch.waiting.popleft
    while batch.waiting:
        try:
            call = next_call()
        except IndexError:  # the last one was taken back this very moment
            return
        if isinstance(call, Call) and call.follows and not batch.fill(call):
            call.is_returned = True
            batch.done.append(call)
            continue
        batch.current = call
        yield call


def ended_in(batch: Batch) -> Callable[[Outcome], object]:
    """Return what is to be told of each call of a batch that has ended: its value may be asked for by the next ones."""
    made, append = batch.made, batch.done.append
    if made is None:
        return append

    def note(outcome: Outcome) -> None:
        if type(outcome) is Call and outcome.source is not None and outcome.error is None and not outcome.has_expansion:
            value = outcome.value
            if type(value) is int or is_small(value):  # without a call for what it mostly is
                made[outcome.source] = value
        append(outcome)

    return note


def perform_calls(
    calls: Iterable[Call | Job],
    ended: Callable[[Outcome], object],
    worker: Worker,
    context: Context,
    until: float = math.inf,
) -> None:
    """Make calls as they come; each has ended when the next is asked for. Never raises for what a call does.

    Arguments are as for `perform_batch`; `ended` is told of each.
    """
    inside = context.copy().run(worker.call_quick, copy_context)
    now, cpu, cpu_before = worker.clock.monotonic, worker.clock.cpu, worker.clock.cpu()
    thread = threading.current_thread()
    is_main, name = thread is threading.main_thread(), thread.name
    for call in calls:
        if isinstance(call, Job):
            ended(perform_in(context, worker, call))
        else:
            call.worker = name
            began = now()
            try:
                call.value = _make_in_main(call, worker, inside) if is_main else inside.copy().run(_make, call)
            except BaseException as error:  # user code may raise anything, KeyboardInterrupt and SystemExit included
                call.error = error
                if until < math.inf and isinstance(error, KeyboardInterrupt):
                    until = -math.inf
            call.duration_s = now() - began
            if call.duration_s >= MEASURED_FROM_S:
                # Quicker calls and the engine's own work since the last such call are in it: its duration is the bound.
                call.cpu_s = min(-cpu_before + (cpu_before := cpu()), call.duration_s)
            if call.error is None and (call.wants_digest or type(call.value) not in ATOMS):
                _look_at(call, worker, inside)
            ended(call)
        if until < math.inf and now() >= until:
            return


def is_small(value: Any) -> bool:
    """Whether a value is a scalar of which thousands may be in memory."""
    kind = type(value)
    return kind in ATOMS and ((kind is not str and kind is not bytes) or len(value) <= _SMALL)


def _make(call: Call) -> Any:
    running_job.set(call)
    value = call.task.fn(*call.args, **call.keywords) if call.keywords else call.task.fn(*call.args)
    return value if type(value) in ATOMS else finish(value)


def _make_in_main(call: Call, worker: Worker, inside: Context) -> Any:
    """Make a call where a second Ctrl-C may strike, but only while the user's code runs."""
    return worker.call_quick(partial(inside.copy().run, _make, call))


def _look_at(call: Call, worker: Worker, inside: Context) -> None:
    """See to a result, in a context of its own where something of the user's may run: in a scalar there is nothing."""
    if type(call.value) in ATOMS:
        _keep(call, worker)
    else:
        inside.copy().run(_keep, call, worker)


def _keep(call: Call, worker: Worker) -> None:
    """Do with a result what `Worker` does: nodes in it make the graph grow, else it is digested and encoded."""
    try:
        value = call.value
        if type(value) not in ATOMS:
            running_job.set(call)
            refuse_generator(call, value)
            if has_nodes(value, call):
                call.expansion, call.has_expansion, call.value = value, True, None
                return
        worker.keep(call, value, call)
    except BaseException as error:
        call.error, call.value = error, None
