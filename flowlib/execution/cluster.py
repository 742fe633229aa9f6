"""What the run's side of a cluster and its adapters share: what an adapter has to do, and the errors that both tell."""

import copy
from collections.abc import Callable, Mapping
from typing import Protocol

from flowlib.errors import CannotSend, ClusterTrouble, FlowError, error_text
from flowlib.execution.base import Call, Job
from flowlib.execution.onsite import MOST_BYTES, Order
from flowlib.execution.wire import Terms
from flowlib.graph.budget import CPU_PARTS

Told = Callable[[bytes | BaseException], None]
"""What a cluster calls with the reply to an order, or with why there is none. From any thread, once."""


class WorkerLost(Exception):
    """An order went down with a worker, or several one after the other, and may be given to another one."""

    def __init__(self, text: str, n_lost: int = 1) -> None:
        super().__init__(text)
        self.n_lost = n_lost


class Cluster(Protocol):
    """Carries orders to workers. Its methods are called in the thread of the run."""

    name: str
    """What people call it."""
    keeps_time: bool
    """Whether a call that takes too long is ended where it runs. If not, it is taken to begin when it is sent."""
    is_here: bool
    """Whether its workers are processes of this program, in the same surroundings."""

    def capacity(self) -> int:
        """Return how many orders it carries out at once."""

    def send(self, order: Order, wishes: Mapping[str, float], told: Told) -> None:
        """Give an order to a worker that has what it wishes for: amounts by the name of the resource.

        Raises:
            ClusterTrouble: No worker has, or the cluster is gone.
        """

    def end(self, ticket: str) -> bool:
        """End an order; nobody waits for its reply. False if it has begun and cannot be ended."""

    def close(self) -> None:
        """Let go of the cluster; one that was started for the run is stopped."""


def wishes_of(call: Job | Call) -> Mapping[str, float]:
    """Return what a call wants of its worker: amounts by the name of the resource, of memory bytes."""
    resources = call.policy.resources
    if resources is None:
        return {}
    return {name: amount if name == "memory" else amount / CPU_PARTS for name, amount in resources.amounts}


def too_large(call: Job | Call, what: str, terms: Terms) -> CannotSend:
    """Return the error of a call whose message would be too large."""
    hint = (
        "Pass what it is made from (a path, a configuration), or keep it in a cache directory that every worker sees."
    )
    if terms.root is not None:
        hint = "Let the task be cached: then its values go through the cache directory, which the workers see."
    facts = {"limit": f"{MOST_BYTES // 1_000_000} MB in one message"}
    return CannotSend(f"{what} too large to be sent with task {call.task.name!r}.", facts, hint)


def as_trouble(error: BaseException, call: Job | Call, cluster: str) -> BaseException:
    """Return an error for one call: of what happened to the cluster, not of the task."""
    if isinstance(error, FlowError):
        return copy.copy(error)
    facts = {"reason": f"{type(error).__name__}: {error_text(error)[:500]}"}
    hint = "The task itself may be fine. Look at the cluster's own log, then run again: finished results are kept."
    return ClusterTrouble(f"Task {call.task.name!r} came back from {cluster} without a result.", facts, hint)
