"""Make the events of a run. One place builds them, so that the engine's loop reads as what happens, not how it is told.

Cost: an event of its own takes some microseconds. `cached_many` and `ran_many` make columns instead, for a few tenths of
a microsecond a node, and nothing in them is looked up or put into words more than once for nodes made in one place.
"""

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from flowlib.clock import Clock
from flowlib.engine.failure import first_line
from flowlib.engine.observe import Emitter
from flowlib.events import (
    Call,
    NodeCached,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodesAdded,
    NodesCached,
    NodeSkipped,
    NodesRan,
    NodeStarted,
    NodeTimedOut,
)
from flowlib.execution.base import Outcome
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node, site_of
from flowlib.graph.task import Task
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import Miss
from flowlib.store.base import Entry

LARGEST_BATCH = 256
"""Nodes told at once: a batch is a line in the log, and a run that is killed may lose one."""
_UNCACHEABLE_HINT = (
    "Pass a path or a config instead, register one with flowlib.register_digest, or mark the task cache=False."
)


class Announcer:
    """Tells observers what happened to the nodes of one graph. Without observers no event is built.

    Args:
        graph: The graph; it may grow.
        emitter: Where events go.
        clock: Dates them.
        first_id: Added to node ids, so that runs inside tasks do not use the numbers of the outer run.
    """

    def __init__(self, graph: Graph, emitter: Emitter, clock: Clock, first_id: int = 0) -> None:
        self._nodes = graph.nodes
        self._first_id = first_id
        self._sites: dict[tuple[CodeType, int], str] = {}
        self._emitter = emitter
        self._clock = clock

    def cached(self, number: NodeId, entry: Entry) -> None:
        """Tell that a stored result is used."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            event = NodeCached(
                at=self._clock.now(),
                node=self._id(number),
                task=node._fl_task.name,
                key=entry.key,
                label=node._fl_label,
                saved_s=entry.duration_s,
            )
            self._emitter.emit(event)

    def started(self, number: NodeId, miss: Miss, attempt: int = 1) -> None:
        """Tell that a node is about to run, and why."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            event = NodeStarted(
                at=self._clock.now(),
                node=self._id(number),
                task=node._fl_task.name,
                label=node._fl_label,
                site=self._site(node),
                reasons=tuple([str(reason) for reason in miss.reasons]),
                attempt=attempt,
            )
            self._emitter.emit(event)

    def finished(self, number: NodeId, outcome: Outcome, key: Key | None) -> None:
        """Tell that a node's job succeeded."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            event = NodeFinished(
                at=self._clock.now(),
                node=self._id(number),
                task=node._fl_task.name,
                key=key,
                duration_s=outcome.duration_s,
                size_bytes=outcome.payload.n_bytes if outcome.payload is not None else 0,
                worker=outcome.worker,
                label=node._fl_label,
                cpu_s=outcome.cpu_s,
                peak_bytes=outcome.peak_bytes,
            )
            self._emitter.emit(event)

    def cached_many(self, numbers: Sequence[NodeId], entries: Sequence[Entry]) -> None:
        """Tell that stored results are used: one entry for each node."""
        for part in self._parts(numbers):
            nodes, used = [self._nodes[number] for number in numbers[part]], entries[part]
            tasks = [node._fl_task for node in nodes]
            place_of = {task: place for place, task in enumerate(dict.fromkeys(tasks))}
            batch = NodesCached(
                at=self._clock.now(),
                calls=[Call(task.name) for task in place_of],
                call_of=[place_of[task] for task in tasks],
                nodes=self._ids(numbers[part]),
                labels=[node._fl_label for node in nodes],
                keys=[entry.key for entry in used],
                saved_ns=[round(entry.duration_s * 1e9) for entry in used],
            )
            self._emitter.emit(batch)

    def covered_many(self, numbers: Sequence[NodeId], mean_s: Callable[[str], float]) -> None:
        """Tell that nodes were not looked at, because what is made of them is stored.

        Args:
            numbers: The nodes.
            mean_s: Seconds that calls of a task took on average.
        """
        nodes_of, saved_ns = self._nodes, dict[Task[..., Any], int]()
        at = self._clock.now()
        for part in self._parts(numbers):
            nodes = [nodes_of[number] for number in numbers[part]]
            tasks = [node._fl_task for node in nodes]
            place_of = {task: place for place, task in enumerate(dict.fromkeys(tasks))}
            for task in place_of:
                if task not in saved_ns:
                    saved_ns[task] = round(mean_s(task.name) * 1e9)
            batch = NodesCached(
                at=at,
                calls=[Call(task.name) for task in place_of],
                call_of=[place_of[task] for task in tasks],
                nodes=self._ids(numbers[part]),
                labels=[node._fl_label for node in nodes],
                keys=[None] * len(nodes),
                saved_ns=[saved_ns[task] for task in tasks],
            )
            self._emitter.emit(batch)

    def ran_many(
        self,
        numbers: Sequence[NodeId],
        misses: Sequence[Miss],
        durations_s: Sequence[float],
        keys: Sequence[Key | None],
        sizes: Sequence[int],
        worker: str,
    ) -> None:
        """Tell that nodes have run, one after the other in one worker, the last of them just now.

        Args:
            numbers: The nodes in the order in which they ran. The other columns have one place for each of them.
            misses: Why each ran.
            durations_s: Seconds that each took.
            keys: The key of each; None for a call that cannot be cached.
            sizes: Bytes of each encoded result; 0 when it was not encoded.
            worker: Where they ran.
        """
        at = self._clock.now() - sum(durations_s)
        for part in self._parts(numbers):
            nodes = [self._nodes[number] for number in numbers[part]]
            calls, call_of = self._calls(nodes, misses[part])
            batch = NodesRan(
                at=at,
                calls=calls,
                call_of=call_of,
                nodes=self._ids(numbers[part]),
                labels=[node._fl_label for node in nodes],
                keys=keys[part],
                durations_ns=[round(duration_s * 1e9) for duration_s in durations_s[part]],
                sizes=sizes[part],
                worker=worker,
            )
            self._emitter.emit(batch)
            at = batch.ended_at

    def failed(self, number: NodeId, outcome: Outcome, *, kept: bool) -> None:
        """Tell that a node's job raised, or took longer than it may."""
        if self._emitter.is_watched:
            said = {**self._failure(number, outcome), "kept": kept}
            event = NodeTimedOut(**said, limit=outcome.limit) if outcome.limit else NodeFailed(**said)
            self._emitter.emit(event)

    def retried(self, number: NodeId, outcome: Outcome, *, delay_s: float) -> None:
        """Tell that an attempt failed, and when there will be another one."""
        if self._emitter.is_watched:
            said = self._failure(number, outcome)
            self._emitter.emit(NodeRetried(**said, delay_s=delay_s, timed_out=bool(outcome.limit)))

    def _failure(self, number: NodeId, outcome: Outcome) -> dict[str, Any]:
        """Return what is said of every failure."""
        node = self._nodes[number]
        return {
            "at": self._clock.now(),
            "node": self._id(number),
            "task": node._fl_task.name,
            "error_type": type(outcome.error).__name__,
            "message": first_line(outcome.error, 500) if outcome.error is not None else "",
            "duration_s": outcome.duration_s,
            "worker": outcome.worker,
            "label": node._fl_label,
            "site": self._site(node),
            "attempt": outcome.attempt,
            "cpu_s": outcome.cpu_s,
            "peak_bytes": outcome.peak_bytes,
        }

    def skipped(self, number: NodeId, because: NodeId) -> None:
        """Tell that a node never starts, for want of an input."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            task, label = node._fl_task.name, node._fl_label
            self._emitter.emit(
                NodeSkipped(
                    at=self._clock.now(), node=self._id(number), task=task, because=self._id(because), label=label
                )
            )

    def cancelled(self, number: NodeId) -> None:
        """Tell that a node never starts, because the run stops."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            task, label = node._fl_task.name, node._fl_label
            self._emitter.emit(NodeCancelled(at=self._clock.now(), node=self._id(number), task=task, label=label))

    def grown(self, parent: NodeId, n_nodes: int) -> None:
        """Tell that a task returned nodes."""
        if self._emitter.is_watched:
            self._emitter.emit(NodesAdded(at=self._clock.now(), parent=self._id(parent), n_nodes=n_nodes))

    def uncacheable(self, node: Node, reason: str) -> None:
        """Say once that the calls of a task in one place have no key."""
        where = f"(called at {self._site(node)})"
        message = f"Task {node._fl_task.name!r} cannot be cached: {reason} {where}. {_UNCACHEABLE_HINT}"
        self.notice("uncacheable", message)

    def not_kept(self, node: Node, reason: str) -> None:
        """Say once that a result is used but not stored."""
        self.notice("not-kept", f"The result of task {node._fl_task.name!r} was not kept: {reason}.")

    def not_deterministic(self, node: Node) -> None:
        """Say once that a task gave another result when it had to run again."""
        message = (
            f"Task {node._fl_task.name!r} gave another result when its lost one was computed again; what depends on it "
            "is computed from the new one. Make it deterministic, for instance with a fixed seed."
        )
        self.notice("not-deterministic", message)

    def _site(self, node: Node) -> str:
        """Return `file:line` of a node's call; sweeps make thousands of calls in one place."""
        place = (node._fl_code, node._fl_offset)
        if place not in self._sites:
            self._sites[place] = str(site_of(node))
        return self._sites[place]

    def _parts(self, numbers: Sequence[NodeId]) -> list[slice]:
        """Return the parts of columns that make one batch each; none when nobody listens."""
        starts = range(0, len(numbers), LARGEST_BATCH) if self._emitter.is_watched else ()
        return [slice(start, start + LARGEST_BATCH) for start in starts]

    def _calls(self, nodes: Sequence[Node], misses: Sequence[Miss]) -> tuple[list[Call], list[int]]:
        """Return the distinct calls among nodes that ran, and the place of each node's own among them.

        Nodes made in one place share the task, the code and mostly the reasons as objects. So identity tells most of them
        from the node before, without hashing a code object or putting a reason into words for each.
        """
        task = code = reasons = None
        offset = place = -1
        call_of: list[int] = []
        place_of: dict[Call, int] = {}
        place_of_mark: dict[tuple[object, ...], int] = {}
        for node, miss in zip(nodes, misses, strict=True):
            if (
                miss.reasons is not reasons
                or node._fl_task is not task
                or node._fl_offset != offset
                or node._fl_code is not code
            ):
                task, code, offset, reasons = node._fl_task, node._fl_code, node._fl_offset, miss.reasons
                mark = (task, id(code), offset, id(reasons))
                if mark not in place_of_mark:
                    call = Call(task.name, self._site(node), tuple([str(reason) for reason in reasons]))
                    place_of_mark[mark] = place_of.setdefault(call, len(place_of))
                place = place_of_mark[mark]
            call_of.append(place)
        return list(place_of), call_of

    def _id(self, number: NodeId) -> NodeId:
        return NodeId(self._first_id + number)

    def _ids(self, numbers: Sequence[NodeId]) -> Sequence[NodeId]:
        return [NodeId(self._first_id + number) for number in numbers] if self._first_id else numbers

    def notice(self, kind: str, message: str) -> None:
        """Say something once per run."""
        self._emitter.notice(self._clock.now(), kind, message)
