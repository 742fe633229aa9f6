"""Reduce while the points run: when nothing is stored, values go into the reduction as they come and are let go.

With a cache, a reduction is a job like any other and reads its points from the store, one at a time. Without one, that
would mean holding every value until the last point is done. Instead each value is offered to the reductions that want
it, in enumeration order; what comes early waits, so memory holds the points that overtook the slowest one.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flowlib.engine.values import Values
from flowlib.execution.sharing import is_immutable, private_copy
from flowlib.graph.graph import Graph
from flowlib.ids import NodeId

_WAITING = object()


class _Feed:
    """One reduction and the points it has not seen yet."""

    def __init__(self, reduction: Any, order: list[NodeId]) -> None:
        self.reduction = reduction
        self.order = order
        self.early: dict[NodeId, Any] = {}
        self.next = 0
        self.error: BaseException | None = None

    def offer(self, number: NodeId, value: Any) -> None:
        self.early[number] = value
        while self.next < len(self.order):
            value = self.early.pop(self.order[self.next], _WAITING)
            if value is _WAITING:
                return
            self._add(value)
            self.next += 1

    def _add(self, value: Any) -> None:
        if self.error is not None:
            return
        try:
            self.reduction.add(self.next, value)
        except BaseException as error:  # the user's reducer may raise; the reduction fails when it is its turn
            self.error = error

    def finish(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.reduction.finish()


class Feeds:
    """The reductions of one run that are fed as points finish.

    Args:
        graph: The graph; it may grow.
        caching: Whether the run stores results.
    """

    def __init__(self, graph: Graph, *, caching: bool) -> None:
        self._graph = graph
        self._caching = caching
        self._feeds: dict[NodeId, _Feed] = {}
        self._wanted_by: dict[NodeId, list[_Feed]] = {}

    @property
    def are_fed(self) -> bool:
        """Whether any reduction wants values as they come."""
        return bool(self._feeds)

    def note(self, ids: Iterable[NodeId]) -> bool:
        """Find the reductions among new nodes; return whether some of them will read their points from the store."""
        some_read = False
        for number in ids:
            node = self._graph.nodes[number]
            if not node._fl_task.streams:
                continue
            reduction = node._fl_task.begin(node._fl_args)
            if self._caching and any(point._fl_policy.cache for point in reduction.nodes):
                some_read = True
                continue
            order = [self._graph.id_of(point) for point in reduction.nodes]
            feed = _Feed(reduction, order)
            self._feeds[number] = feed
            for point in order:
                self._wanted_by.setdefault(point, []).append(feed)
        return some_read

    def wants(self, number: NodeId) -> bool:
        """Whether a reduction wants the value of a node."""
        return number in self._wanted_by

    def offer(self, number: NodeId, value: Any, values: Values) -> None:
        """Give a new value to the reductions that want it."""
        feeds = self._wanted_by.get(number)
        if not feeds:
            return
        others = values.is_shared(number)
        for feed in feeds:
            feed.offer(
                number, private_copy(value, whatever_size=True)[0] if others and not is_immutable(value) else value
            )
        if not others:
            values.drop((number,))

    def fed_nodes(self, number: NodeId) -> frozenset[NodeId]:
        """Return the points a reduction has been fed, which its job therefore does not need."""
        feed = self._feeds.get(number)
        return frozenset(feed.order) if feed is not None else frozenset()

    def result_maker(self, number: NodeId) -> Callable[[], Any] | None:
        """Return what finishes a fed reduction; None for every other node."""
        feed = self._feeds.get(number)
        return feed.finish if feed is not None else None
