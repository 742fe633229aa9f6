"""`flowlib why`: why a node is cached or would run, down to the changed line."""

from typing import Annotated, Any

from cyclopts import Parameter

from flowlib.cli import flags
from flowlib.cli.as_json import print_json
from flowlib.cli.building import Built, build, check_tasks, only_answers
from flowlib.cli.exits import Ended, Exit
from flowlib.cli.plan import looking_options, reason_document
from flowlib.engine.look import explain_target
from flowlib.errors import UsageError, near_miss
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.planning.explain import Explanation
from flowlib.text import format_count

SHOWN = 5
"""Nodes explained in text; further ones that are not cached are counted."""

OneTask = Annotated[
    str | None,
    Parameter(
        name="--task", help="Explain the nodes of this task instead of what the pipeline returns.", group=flags.OWN
    ),
]


def why(
    target: flags.Target,
    /,
    *,
    task: OneTask = None,
    cache: flags.Cache = None,
    force: flags.Force = None,
    json: flags.Json = False,
    tokens: flags.Tokens = (),
    own: flags.Tokens = (),
) -> Exit:
    """Explain why the result is cached or would be computed: the changed argument, helper or package. Runs no task.

    Takes the same options of the pipeline as `run`.
    """
    with only_answers(json):
        built = build(target, tokens, own)
        check_tasks(force or (), built)
        wanted = built.target if task is None else _nodes_of(task, built)
        found = explain_target(wanted, looking_options(cache, {}, force))
    if json:
        print_json({"schema": "flowlib.why/1", "nodes": [explanation_document(one) for one in found]})
    else:
        _print(found)
    return Exit.OK


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    entry = explanation.entry
    stored = None
    if entry is not None:
        stored = {
            "key": entry.key,
            "run": entry.run,
            "created_at": entry.created_at,
            "duration_s": entry.duration_s,
            "expires_at": entry.expires_at,
            "flags": sorted(entry.flags),
        }
    return {
        "task": explanation.task,
        "label": explanation.label,
        "at": explanation.site,
        "decision": explanation.word,
        "reasons": [reason_document(reason) for reason in explanation.reasons],
        "changes": [{"name": change.name, "diff": change.diff} for change in explanation.changes],
        "entry": stored,
        "causes": [explanation_document(cause) for cause in explanation.causes],
    }


def _nodes_of(task: str, built: Built) -> list[Any]:
    nodes = Graph(targets_of(built.target)).nodes
    chosen = [node for node in nodes if node._fl_task.name == task]
    if not chosen:
        hint = near_miss(task, {node._fl_task.name for node in nodes})
        raise Ended(Exit.USAGE, UsageError(f"There is no node of a task {task!r}.", {}, hint))
    return chosen


def _print(found: tuple[Explanation, ...]) -> None:
    """Show what is not cached; one that is, if all are."""
    open_ones = [explanation for explanation in found if explanation.word != "cached"]
    n_cached = len(found) - len(open_ones)
    for explanation in open_ones[:SHOWN] or found[:1]:
        print(explanation)
    if len(open_ones) > SHOWN:
        print(f"and {format_count(len(open_ones) - SHOWN, 'more node')} not cached")
    others = n_cached if open_ones else n_cached - 1
    if others:
        print(f"and {format_count(others, 'more node')} cached")
