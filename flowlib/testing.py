"""Public tools for testing pipelines, and flowlib itself: an event log, random graphs, and the oracle.

The oracle: whatever the cache, the executor, the order of completion and earlier runs, a finished run equals calling the
plain functions one after the other.
"""

import copy
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from flowlib.events import Event, NodeCached, NodeFailed, NodeFinished, NodeStarted
from flowlib.graph.args import map_structure, targets_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.graph.task import Task


class EventLog:
    """An observer that remembers what happened.

    >>> import flowlib as fl
    >>> @fl.task
    ... def one() -> int:
    ...     return 1
    >>> log = EventLog()
    >>> fl.run(one(), cache=False, progress=False, observers=[log])
    1
    >>> log.ran, log.cached
    (['one'], [])
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        """Remember one event."""
        self.events.append(event)

    @property
    def ran(self) -> list[str]:
        """Names of the tasks that were started, in order; operators such as indexing are left out."""
        return [event.task for event in self.events if isinstance(event, NodeStarted) and event.task not in _OPERATORS]

    @property
    def finished(self) -> list[str]:
        """Names of the tasks that finished, in order."""
        return [event.task for event in self.events if isinstance(event, NodeFinished)]

    @property
    def cached(self) -> list[str]:
        """Names of the tasks whose stored results were used, in order; operators are left out."""
        return [event.task for event in self.events if isinstance(event, NodeCached) and event.task not in _OPERATORS]

    @property
    def failed(self) -> list[str]:
        """Names of the tasks that raised, in order."""
        return [event.task for event in self.events if isinstance(event, NodeFailed)]

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def counts(self) -> Counter[str]:
        """Return how many events of each kind there were."""
        return Counter(type(event).__name__ for event in self.events)

    def clear(self) -> None:
        """Forget everything so far."""
        self.events.clear()


_OPERATORS = frozenset({"getitem", "getattr"})


def plain_value(target: Any) -> Any:
    """Evaluate a target by calling the plain functions, dependencies first: no cache, no scheduler, no threads.

    Every call gets its own copies of its inputs: that is flowlib's promise, which plain calls would not keep. Tasks that
    return nodes are followed. Cost: O(nodes), one value per node in memory.

    >>> from flowlib.graph.task import task
    >>> double = task(lambda x: 2 * x)
    >>> plain_value([double(2), double(double(2))])
    [4, 8]
    """
    values: dict[Node, Any] = {}
    for node in Graph(targets_of(target)).nodes:
        values[node] = _plain_call(node, values)
    return map_structure(target, values)


def _plain_call(node: Node, values: dict[Node, Any]) -> Any:
    from flowlib.graph.args import replace

    task: Task[..., Any] = node._fl_task
    if task.streams:
        reduction = task.begin(node._fl_args)
        for position, point in enumerate(reduction.nodes):
            reduction.add(position, values[point])
        return reduction.finish()
    own = {dep: copy.deepcopy(values[dep]) for dep in node._fl_deps}
    args, kwargs = task.signature.split(tuple(replace(node._fl_args, own.__getitem__)))
    result = task.fn(*args, **kwargs)
    return plain_value(result) if targets_of(result) else result


def random_graph(seed: int, tasks: list[Callable[..., Any]], n_nodes: int, width: int = 3) -> list[Any]:
    """Return nodes of a random graph: each calls one of `tasks` with earlier nodes and small integers.

    Args:
        seed: The same seed gives the same graph.
        tasks: Tasks that take any number of positional arguments.
        n_nodes: How many calls.
        width: Arguments per call at most.
    """
    chooser = random.Random(seed)
    nodes: list[Any] = []
    for _ in range(n_nodes):
        args: list[Any] = []
        for _ in range(chooser.randint(1, width)):
            take_node = nodes and chooser.random() < 0.7
            args.append(chooser.choice(nodes) if take_node else chooser.randint(0, 5))
        nodes.append(chooser.choice(tasks)(*args))
    return nodes


def assert_run_correct(target: Any, result: Any) -> None:
    """Check a run's result against plain evaluation (`correctBuild` of "Build Systems a la Carte").

    Raises:
        AssertionError: They differ.
    """
    expected = plain_value(target)
    if result != expected:
        raise AssertionError(f"run gave {result!r}, plain evaluation gives {expected!r}")
