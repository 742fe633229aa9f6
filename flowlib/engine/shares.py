"""What the tasks of a run share beside slots: pools, rates and resources, over all runs inside its tasks.

Theory of operation: sizes come from the settings, from `Pool` objects, and from the machine. A rate is a budget whose units
come back by themselves, each as long after it was used up as the rate says; so no window of that length sees more starts.

Invariant: a call that waits for a run of its own holds nothing that its inner calls might need; it takes it again before it
goes on. So whoever holds something is at work and will give it back, and no two calls wait for each other.
"""

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowlib.config import Settings, machine_resources
from flowlib.engine.clusters import counts_for_itself
from flowlib.errors import ConfigError, near_miss
from flowlib.graph.budget import CPU_PARTS, Pool, Rate, amount_from, shared_by
from flowlib.graph.policy import Policy
from flowlib.scheduling.budgets import Budgets, Needs
from flowlib.text import format_bytes

_LOOK_S = 0.005
"""How often a call that goes on after a run of its own asks for what it held."""


class Shares:
    """The budgets of one run and of the runs inside its tasks. Thread-safe.

    Args:
        settings: Say how large pools and resources are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self.budgets = Budgets(lock=self._lock)
        self._per_s: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._lent: dict[int, int] = {}
        self.n_engines = 0
        """How many runs use these budgets at the moment."""

    def needs_of(self, policy: Policy, task: str) -> tuple[Needs, tuple[str, ...]]:
        """Return what a call needs while it runs, and of which rates one; all of it is declared then.

        Raises:
            ConfigError: A pool or resource has no size, or the call asks for more than there is.
        """
        needs: list[tuple[str, int]] = []
        rates: list[str] = []
        for shared in shared_by(policy.pool):
            if isinstance(shared, Rate):
                rates.append(self._declared_rate(shared))
            else:
                needs.append((self._declared_pool(shared, task), 1))
        where = self._settings.executor if policy.executor is None else policy.executor
        if policy.resources is not None and not counts_for_itself(where):
            needs += [(self._declared_resource(name, n, task), n) for name, n in policy.resources.amounts]
        return tuple(dict(needs).items()), tuple(dict.fromkeys(rates))

    def spend(self, rates: tuple[str, ...], now: float) -> None:
        """Note that starts used up rates: each comes back in its time."""
        with self._lock:
            for name in rates:
                heapq.heappush(self._due, (now + self._per_s[name], name))

    def return_due(self, now: float) -> float | None:
        """Give back the rates whose time has come; return when the next one comes back, if any."""
        with self._lock:
            while self._due and self._due[0][0] <= now:
                self.budgets.give(((heapq.heappop(self._due)[1], 1),))
            return self._due[0][0] if self._due else None

    @contextmanager
    def lent(self, job: Any, meanwhile: Callable[[], object], must_go_on: Callable[[], bool]) -> Iterator[None]:
        """Let inner calls have what a call holds, inside the block.

        Args:
            job: The call that has a run of its own; None where there is none.
            meanwhile: Called again and again while the call waits to get back what it held.
            must_go_on: Whether it must not wait any more, because the run is being killed.
        """
        policy: Policy | None = getattr(job, "policy", None)
        is_plain = policy is None or (policy.pool is None and policy.resources is None)
        needs = () if is_plain or policy is None else self.needs_of(policy, job.task.name)[0]
        if not needs:
            yield
            return
        with self._lock:
            self._lent[id(job)] = self._lent.get(id(job), 0) + 1
            if self._lent[id(job)] == 1:  # a task may have several runs at once, in threads of its own
                self.budgets.give(needs)
        try:
            yield
        finally:
            while not self._is_back(id(job), needs):
                if must_go_on():
                    self._force_back(id(job), needs)
                    break
                meanwhile()
                threading.Event().wait(_LOOK_S)

    def _is_back(self, job: int, needs: Needs) -> bool:
        with self._lock:
            if self._lent[job] == 1 and self.budgets.take(needs) is not None:
                return False
            self._leave(job)
            return True

    def _force_back(self, job: int, needs: Needs) -> None:
        with self._lock:
            if self._lent[job] == 1:
                self.budgets.give(tuple([(name, -amount) for name, amount in needs]))
            self._leave(job)

    def _leave(self, job: int) -> None:
        self._lent[job] -= 1
        if not self._lent[job]:
            del self._lent[job]

    # ---- sizes

    def _declared_pool(self, pool: Pool | str, task: str) -> str:
        name = pool if isinstance(pool, str) else pool.name
        sizes = [size for size in (self._settings.pools.get(name), getattr(pool, "slots", None)) if size is not None]
        if not sizes:
            raise _unsized(f"pool {name!r}", task, f"pools={{{name!r}: 2}}", "pools", self._settings.pools)
        for size in sizes:
            self.budgets.declare(f"pool {name}", size)
        return f"pool {name}"

    def _declared_rate(self, rate: Rate) -> str:
        name = f"rate {rate.name}"
        with self._lock:
            self.budgets.declare(name, rate.n)
            self._per_s[name] = max(rate.per_s, self._per_s.get(name, 0.0))
        return name

    def _declared_resource(self, name: str, amount: int, task: str) -> str:
        if self.budgets.size(name) is None:
            given = machine_resources() | dict(self._settings.resources)
            if name not in given:
                raise _unsized(f"resource {name!r}", task, f"resources={{{name!r}: 1}}", "resources", given)
            self.budgets.declare(name, amount_from(name, given[name], "The settings"))
        total = self.budgets.size(name) or 0
        if amount > total:
            raise ConfigError(
                f"Task {task!r} asks for more of {name!r} than there is, so it could never start.",
                {"asks for": _in_words(name, amount), "there is": _in_words(name, total)},
                f"Ask for less, or say that there is more: fl.configure(resources={{{name!r}: ...}}).",
            )
        return name


def _unsized(what: str, task: str, example: str, setting: str, known: Any) -> ConfigError:
    word = what.split("'")[1]
    return ConfigError(
        f"Nobody has said how large the {what} of task {task!r} is.",
        {"say it in": f"fl.configure({example}), [tool.flowlib.{setting}], or FLOWLIB_{setting.upper()}={word}=2"},
        near_miss(word, known) if known else "",
    )


def _in_words(name: str, amount: int) -> str:
    return format_bytes(amount) if name == "memory" else f"{amount / CPU_PARTS:g}"
