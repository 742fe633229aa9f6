"""Facts about nodes, written node by node."""

from collections.abc import Iterable, Sequence

import attrs

from flowlib.ids import NodeId
from flowlib.scheduling import messages as m
from flowlib.scheduling.budgets import Needs


@attrs.frozen(kw_only=True)
class Plan:
    """One node: its edges and its traits."""

    dependencies: tuple[NodeId, ...]
    task: str = ""
    pool: str | None = None
    always: bool = False
    priority: float = 0.0
    weight_s: float = 1.0
    needs: Needs = ()
    rates: tuple[str, ...] = ()
    is_timed: bool = False

    def traits(self) -> m.Traits:
        """Return what its task says."""
        return m.Traits(
            task=self.task,
            needs=((self.pool, 1), *self.needs) if self.pool else self.needs,
            rates=self.rates,
            always=self.always,
            priority=self.priority,
            weight_s=self.weight_s,
            is_timed=self.is_timed,
        )


def grown(plans: Sequence[Plan], targets: tuple[NodeId, ...] = (), parent: NodeId | None = None) -> m.Grown:
    """Return the fact that these nodes joined the graph."""
    return m.Grown([plan.dependencies for plan in plans], [plan.traits() for plan in plans], targets, parent)


def one_by_one(commands: Iterable[m.Command]) -> list[m.Command]:
    """Return commands with those about many nodes written out: one for each node."""
    single: list[m.Command] = []
    for command in commands:
        if isinstance(command, m.Drop):
            single += [m.Drop((node,)) for node in command.nodes]
        else:
            single.append(command)
    return single
