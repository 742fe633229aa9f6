"""Run orders on Ray: a cluster of one's own for the program, or one at an address.

Ray sees calls of one function with opaque bytes, each tried once: an order whose worker was lost comes back, and is given
to another one by us. What a task wants of its machine goes to Ray as it is: processors, GPUs, memory, resources by name.
An order is ended by an interrupt of its worker, which waits for nothing but the child process that does the work (`onsite`).

A program that has called `ray.init` itself works with that; for another, the first run that needs a cluster starts one on
this machine. That takes seconds, so it stays until the program ends, which ends it.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flowlib.clock import SystemClock
from flowlib.config import n_cpus
from flowlib.errors import ClusterTrouble, error_text
from flowlib.execution.cluster import Told, WorkerLost
from flowlib.execution.handshake import compare, needed, probe
from flowlib.execution.onsite import Order, perform

CONNECT_S = 30.0
"""How long the nodes have to answer the first question."""

_LOOK_S = 1.0
"""How often the number of processors is asked for."""

_LOST = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.LocalRayletDiedError,
    exceptions.OutOfMemoryError,
)
_NAMES = {"cpu": "CPU", "gpu": "GPU", "memory": "memory"}


def open_ray(executor: str, n_workers: int, packages: Mapping[str, str]) -> "RayCluster":
    """Return the cluster that a name stands for.

    Args:
        executor: "ray" or "ray://HOST:PORT".
        n_workers: How many orders a cluster of one's own has to carry out at once; it has all processors of this machine.
        packages: What the workers must have installed, with versions.

    Raises:
        ClusterTrouble: It cannot be reached, or its workers do not fit.
    """
    if executor == "ray":
        if not ray.is_initialized():
            ray.init(num_cpus=max(n_workers, n_cpus()), include_dashboard=False, logging_level="error")
        return _shaken(RayCluster("the Ray cluster of this program", _close_nothing), packages)
    try:
        context = ray.init(executor, logging_level="warning", allow_multiple=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        facts = {"address": executor, "reason": error_text(error)[:300]}
        hint = "Start one: ray start --head --ray-client-server-port=10001"
        raise ClusterTrouble("There is no Ray cluster.", facts, hint) from None
    return _shaken(RayCluster(f"the Ray cluster at {executor}", context.disconnect, context), packages)


def _shaken(cluster: "RayCluster", packages: Mapping[str, str]) -> "RayCluster":
    """Return a cluster whose workers fit; let go of it if they do not."""
    try:
        cluster.shake_hands(packages)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _close_nothing() -> None:
    """Leave alone what is the user's."""


class RayCluster:
    """A connection to Ray as a cluster.

    Args:
        name: What people call it.
        close: Lets go of it.
        context: The connection, where a program has several.
    """

    is_here, keeps_time = False, True

    def __init__(self, name: str, close: Callable[[], Any], context: Any = None) -> None:
        self.name, self._close = name, close
        self._context = context or contextlib.nullcontext()
        with self._context:
            self._perform = ray.remote(perform)
        self._refs: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._monotonic = SystemClock().monotonic
        self._asked_at = -_LOOK_S
        self._n_cpus = 1

    def shake_hands(self, packages: Mapping[str, str]) -> None:
        """Compare what every node has with what it must have.

        Raises:
            ClusterTrouble: None answers, or one does not fit.
        """
        here = needed(packages)
        names = [name for name in here if name != "Python"]
        with self._context:
            ask = ray.remote(probe())
            there: dict[str, Any] = {}
            asked = {}
            for node in ray.nodes():
                if node["Alive"]:
                    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                    asked[node["NodeManagerHostname"]] = ask.options(num_cpus=0, scheduling_strategy=where).remote(
                        names
                    )
            for host, ref in asked.items():
                try:
                    there[host] = ray.get(ref, timeout=CONNECT_S)
                except exceptions.GetTimeoutError:
                    continue
                except exceptions.RayError as error:
                    facts = {"node": host, "reason": error_text(error)[:300]}
                    raise ClusterTrouble(f"A node of {self.name} does not work.", facts, "Look at Ray's log.") from None
        compare(self.name, here, there)

    def capacity(self) -> int:
        """Return the number of processors that Ray counts, asked for once a second."""
        now = self._monotonic()
        if now - self._asked_at >= _LOOK_S:
            self._asked_at = now
            with contextlib.suppress(Exception), self._context:  # it is gone: the orders say so
                self._n_cpus = int(ray.cluster_resources().get("CPU", 1))
        return self._n_cpus

    def send(self, order: Order, wishes: Mapping[str, float], told: Told) -> None:
        """Submit an order to a node that has what it wishes for.

        Raises:
            ClusterTrouble: No node has, or the cluster is gone.
        """
        wanted = {_NAMES.get(name.lower(), name): amount for name, amount in wishes.items() if amount}
        try:
            with self._context:
                self._check(wanted)
                options: dict[str, Any] = {"num_cpus": wanted.pop("CPU", 1), "num_gpus": wanted.pop("GPU", 0)}
                options |= {"memory": wanted.pop("memory")} if "memory" in wanted else {}
                call = self._perform.options(max_retries=0, resources=wanted, name="flowlib", **options)
                ref = call.remote(order.packed())
        except ClusterTrouble:
            raise
        except Exception as error:
            raise self._gone(error) from error
        with self._lock:
            self._refs[order.ticket] = ref
        ref.future().add_done_callback(lambda done: self._done(order.ticket, done, told))

    def _check(self, wanted: Mapping[str, float]) -> None:
        """Refuse what no node could ever give: Ray would wait for one."""
        if not wanted:
            return
        offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(offer.get(name, 0.0) >= amount for name, amount in wanted.items()) for offer in offers):
            return
        offered = sorted(
            {f"{name}={amount:g}" for offer in offers for name, amount in offer.items() if ":" not in name}
        )
        facts = {
            "wanted": ", ".join(f"{name}={amount:g}" for name, amount in wanted.items()),
            "offered": ", ".join(offered) or "nothing",
        }
        hint = "Start a node that has it: ray start --resources='{\"licence\": 1}'"
        raise ClusterTrouble(f"No node of {self.name} has what a task wants.", facts, hint)

    def _done(self, ticket: str, future: Any, told: Told) -> None:
        """Hand on what became of an order. In Ray's own thread."""
        with self._lock:
            self._refs.pop(ticket, None)
        try:
            told(future.result())
        except _LOST as error:
            told(WorkerLost(f"{type(error).__name__}: {error_text(error)[:300]}"))
        except BaseException as error:
            told(error)

    def _gone(self, error: BaseException) -> ClusterTrouble:
        facts = {"reason": f"{type(error).__name__}: {error_text(error)[:300]}"}
        hint = "Start it again, and run again: finished results are kept."
        return ClusterTrouble(f"{self.name[0].upper()}{self.name[1:]} is gone.", facts, hint)

    def end(self, ticket: str) -> bool:
        """End an order, begun or not: its worker is interrupted, and ends what it has begun."""
        with self._lock:
            ref = self._refs.pop(ticket, None)
        if ref is not None:
            with contextlib.suppress(Exception), self._context:  # one that is gone does nothing any more
                ray.cancel(ref, force=False)  # by force, its child process could not end its own children
        return True

    def close(self) -> None:
        """Let go of the connection if it was made for the run."""
        with contextlib.suppress(Exception):  # nothing that it says now helps anybody
            self._close()
