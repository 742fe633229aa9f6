"""Make the events of a run. One place builds them, so that the engine's loop reads as what happens, not how it is told."""

from types import CodeType

from flowlib.clock import Clock
from flowlib.engine.observe import Emitter
from flowlib.events import (
    NodeCached,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodesAdded,
    NodeSkipped,
    NodeStarted,
)
from flowlib.execution.base import Outcome
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node, site_of
from flowlib.hashing.digest import size_bytes
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import Miss
from flowlib.store.base import Entry

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

    def started(self, number: NodeId, miss: Miss) -> None:
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
                size_bytes=size_bytes(outcome.payload.content) if outcome.payload is not None else 0,
                worker=outcome.worker,
                label=node._fl_label,
            )
            self._emitter.emit(event)

    def failed(self, number: NodeId, outcome: Outcome, *, kept: bool) -> None:
        """Tell that a node's job raised."""
        if self._emitter.is_watched:
            node = self._nodes[number]
            event = NodeFailed(
                at=self._clock.now(),
                node=self._id(number),
                task=node._fl_task.name,
                error_type=type(outcome.error).__name__,
                message=(str(outcome.error).splitlines() or [""])[0][:500],
                duration_s=outcome.duration_s,
                worker=outcome.worker,
                label=node._fl_label,
                site=self._site(node),
                kept=kept,
            )
            self._emitter.emit(event)

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

    def _id(self, number: NodeId) -> NodeId:
        return NodeId(self._first_id + number)

    def notice(self, kind: str, message: str) -> None:
        """Say something once per run."""
        self._emitter.notice(self._clock.now(), kind, message)
