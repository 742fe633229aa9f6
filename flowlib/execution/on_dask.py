"""Run orders on dask.distributed: a cluster of one's own for the run, one at an address, or a client of the user's.

Dask sees calls of one function with opaque bytes, each under a key of ours, never "pure" and never tried again by itself
but when a worker was lost: then the scheduler gives the order to another one, and after so many losses gives it up
(`distributed.scheduler.allowed-failures` of the cluster). Dask cannot interrupt what a worker does; `onsite.end`, sent to
every worker beside its work, ends the child process that does it.

A cluster of one's own is in this process: a scheduler and a worker whose only work is to wait for child processes. It
starts in a fraction of a second, needs no `if __name__ == "__main__"`, and ends with the program however that ends.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import distributed
from distributed.client import Future
from distributed.scheduler import KilledWorker

from flowlib.clock import SystemClock
from flowlib.config import n_cpus
from flowlib.errors import ClusterTrouble, error_text
from flowlib.execution.cluster import Told, WorkerLost
from flowlib.execution.handshake import compare, needed, probe
from flowlib.execution.onsite import Order, end, perform

CONNECT_S = 10.0
"""How long a cluster has to answer, and a first worker to be there."""

_LOOK_S = 1.0
"""How often the number of workers is asked for."""

_SCATTER_BYTES = 1 << 20
"""Larger orders go to a worker directly, not through the scheduler."""

_IGNORED = frozenset({"cpu", "memory"})
"""What a worker need not declare: Dask counts threads, and memory is watched by us."""


def open_dask(executor: Any, n_workers: int, packages: Mapping[str, str]) -> "DaskCluster":
    """Return the cluster that a name or a client stands for.

    Args:
        executor: "dask", "dask://HOST:PORT", or a `distributed.Client`.
        n_workers: How many orders a cluster of one's own carries out at once; 0 for the processors of this machine.
        packages: What the workers must have installed, with versions.

    Raises:
        ClusterTrouble: It cannot be reached, has no workers, or they do not fit.
    """
    if isinstance(executor, distributed.Client):
        return _shaken(DaskCluster(executor, _close_nothing), packages)
    if executor == "dask":
        local = distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=n_workers or n_cpus(),
            processes=False,
            dashboard_address=None,
            memory_limit=0,
        )
        client = distributed.Client(local, set_as_default=False)

        def close() -> None:
            client.close()
            local.close()

        return DaskCluster(client, close, is_here=True)
    address = "tcp://" + executor.removeprefix("dask://")
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, distributed.comm.CommClosedError) as error:
        facts = {"address": address, "reason": error_text(error)[:300]}
        raise ClusterTrouble("There is no Dask cluster.", facts, "Start one: dask scheduler, dask worker.") from None
    return _shaken(DaskCluster(client, client.close), packages)


def _shaken(cluster: "DaskCluster", packages: Mapping[str, str]) -> "DaskCluster":
    """Return a cluster whose workers fit; let go of it if they do not."""
    try:
        cluster.shake_hands(packages)
    except BaseException:
        cluster.close()
        raise
    return cluster


async def _end(ticket: str) -> None:
    """End an order on a worker. Dask waits for no answer of a coroutine."""
    end(ticket)


def _close_nothing() -> None:
    """Leave alone what is the user's."""


class DaskCluster:
    """A client of dask.distributed as a cluster.

    Args:
        client: Connected.
        close: Lets go of it.
        is_here: Whether its workers are this program.
    """

    def __init__(self, client: distributed.Client, close: Callable[[], None], *, is_here: bool = False) -> None:
        self.name = "the Dask cluster of this run" if is_here else f"the Dask cluster at {client.scheduler.address}"
        self.is_here, self.keeps_time = is_here, True
        self._client, self._close = client, close
        self._futures: dict[str, Future] = {}
        self._monotonic = SystemClock().monotonic
        self._asked_at = -_LOOK_S
        self._n_threads = 1
        self._lock = threading.Lock()

    def shake_hands(self, packages: Mapping[str, str]) -> None:
        """Wait for a worker, and compare what all have with what they must have.

        Raises:
            ClusterTrouble: There is none, or they do not fit.
        """
        there: Mapping[str, Any] = {}
        here = needed(packages)
        with contextlib.suppress(OSError, TimeoutError):
            self._client.wait_for_workers(1, timeout=CONNECT_S)
            there = self._client.run(probe(), [name for name in here if name != "Python"])
        compare(self.name, here, there)

    def capacity(self) -> int:
        """Return the number of threads of all workers, asked for once a second."""
        now = self._monotonic()
        if now - self._asked_at >= _LOOK_S:
            self._asked_at = now
            with contextlib.suppress(Exception):  # it is gone: the orders say so
                self._n_threads = sum(self._client.nthreads().values())
        return self._n_threads

    def send(self, order: Order, wishes: Mapping[str, float], told: Told) -> None:
        """Submit an order to a worker that declares what it wishes for.

        Raises:
            ClusterTrouble: No worker does, or the cluster is gone.
        """
        resources = self._resources(wishes)
        packed: Any = order.packed()
        try:
            if len(packed) >= _SCATTER_BYTES:
                packed = self._client.scatter(packed, hash=False)
            future = self._client.submit(
                perform, packed, key=f"flowlib-{order.ticket}", pure=False, retries=0, resources=resources or None
            )
        except Exception as error:
            raise self._gone(error) from error
        with self._lock:
            self._futures[order.ticket] = future
        future.add_done_callback(lambda done: self._done(order.ticket, done, told))

    def _resources(self, wishes: Mapping[str, float]) -> dict[str, float]:
        """Return the resources of Dask that are meant, by the names that workers declare."""
        wanted = {name: amount for name, amount in wishes.items() if amount}
        if not wanted:
            return {}
        workers = self._client.scheduler_info()["workers"].values()
        offers = [{name.lower(): (name, amount) for name, amount in w.get("resources", {}).items()} for w in workers]
        for offer in offers:
            if all(name in _IGNORED or offer.get(name.lower(), ("", 0.0))[1] >= wanted[name] for name in wanted):
                return {offer[name.lower()][0]: amount for name, amount in wanted.items() if name.lower() in offer}
        offered = sorted({f"{name}={amount:g}" for offer in offers for name, amount in offer.values()})
        facts = {
            "wanted": ", ".join(f"{name}={amount:g}" for name, amount in wanted.items()),
            "offered": ", ".join(offered) or "nothing",
        }
        hint = 'Start workers that declare it: dask worker ... --resources "gpu=1"'
        raise ClusterTrouble(f"No worker of {self.name} has what a task wants.", facts, hint)

    def _done(self, ticket: str, future: Future, told: Told) -> None:
        """Hand on what became of an order. In Dask's own thread."""
        with self._lock:
            self._futures.pop(ticket, None)
        try:
            told(future.result())
        except KilledWorker as error:
            told(WorkerLost(error_text(error), error.allowed_failures + 1))
        except BaseException as error:
            told(self._gone(error) if future.status in ("cancelled", "lost") else error)

    def _gone(self, error: BaseException) -> ClusterTrouble:
        facts = {"reason": f"{type(error).__name__}: {error_text(error)[:300]}"}
        hint = "Start it again, and run again: finished results are kept."
        return ClusterTrouble(f"{self.name[0].upper()}{self.name[1:]} is gone.", facts, hint)

    def end(self, ticket: str) -> bool:
        """End an order, begun or not: the workers are told beside their work."""
        with self._lock:
            future = self._futures.pop(ticket, None)
        if future is not None:
            with contextlib.suppress(Exception):  # a cluster that is gone does nothing any more
                self._client.run(_end, ticket, wait=False, on_error="ignore")
                future.cancel(force=True)
        return True

    def close(self) -> None:
        """Let go of the client, and of the cluster if it was made for the run."""
        with contextlib.suppress(Exception):  # nothing that it says now helps anybody
            self._close()
