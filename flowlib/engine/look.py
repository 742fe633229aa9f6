"""Look without running: `plan` and `why`, on the same planner and the same store as a run."""

from typing import Any

from flowlib.engine.run import RunOptions, graph_of, open_context, planner_for
from flowlib.engine.stop import Stop
from flowlib.errors import FlowError
from flowlib.graph.args import targets_of
from flowlib.planning.explain import Explanation, explain
from flowlib.planning.preview import Plan, preview


def make_plan(target: Any, options: RunOptions) -> Plan:
    """Return what a run of the target would do now."""
    plan: Plan = _planned(target, options)[0]
    return plan


def explain_target(target: Any, options: RunOptions) -> tuple[Explanation, ...]:
    """Return one explanation for each node of the target.

    Raises:
        FlowError: There is no node in the target.
    """
    plan, graph, planner, context = _planned(target, options)
    nodes = targets_of(target)
    if not nodes:
        raise FlowError("There is no node to explain.", {"target": type(target).__name__}, "Pass what a task returned.")
    return tuple(explain(graph.id_of(node), plan, graph, planner, context.store) for node in nodes)


def _planned(target: Any, options: RunOptions) -> Any:
    graph = graph_of(target)
    context, _ = open_context(options, Stop(), looking=True)
    planner = planner_for(graph, context, options.force)
    store = context.store
    targets = list(dict.fromkeys(map(graph.id_of, targets_of(target))))
    plan = preview(
        graph, planner, lambda task: store.stats(task) if store else None, options.settings.n_workers, targets
    )
    return plan, graph, planner, context
