"""`flowlib plan`: what a run would do now."""

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from flowlib.cli import flags
from flowlib.cli.as_json import print_json
from flowlib.cli.building import build, check_tasks, only_answers
from flowlib.cli.exits import Exit
from flowlib.engine.look import make_plan
from flowlib.engine.run import RunOptions, options_from
from flowlib.engine.stores import store_for
from flowlib.planning.decide import Miss
from flowlib.planning.preview import Plan, PlanRow
from flowlib.planning.reason import Reason

Check = Annotated[
    bool,
    Parameter(
        name="--check", show_default=False, negative=(), help="Exit with 5 if there is work to do.", group=flags.OWN
    ),
]


def plan(
    target: flags.Target,
    /,
    *,
    check: Check = False,
    workers: flags.Workers = None,
    cache: flags.Cache = None,
    force: flags.Force = None,
    json: flags.Json = False,
    tokens: flags.Tokens = (),
    own: flags.Tokens = (),
) -> Exit:
    """Show what a run would do now: what is cached, what would run and why. Runs no task.

    Takes the same options of the pipeline as `run`.
    """
    with only_answers(json):
        built = build(target, tokens, own)
        check_tasks(force or (), built)
        options = looking_options(cache, {"workers": workers}, force)
        found = make_plan(built.target, options)
    if json:
        print_json(plan_document(found))
    else:
        print(found)
    return Exit.WORK_TO_DO if check and found.n_to_run else Exit.OK


def looking_options(cache: str | None, settings: dict[str, Any], force: list[str] | None) -> RunOptions:
    """Return the options of a look, after saying so if the cache cannot be used."""
    options = options_from(settings, cache=flags.cache_argument(cache), force=tuple(force or ()))
    trouble = store_for(options.cache, options.settings)[1]
    if trouble:
        print(f"note: {trouble}", file=sys.stderr)
    return options


def plan_document(found: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "schema": "flowlib.plan/1",
        "n_cached": found.n_cached,
        "n_to_run": found.n_to_run,
        "n_undecided": found.n_undecided,
        "stored_bytes": found.stored_bytes,
        "expected_s": found.expected_s,
        "workers": found.workers,
        "nodes": [_row_document(row) for row in found.rows],
    }


def reason_document(reason: Reason) -> dict[str, str]:
    """Return a reason as plain data."""
    return {"kind": reason.kind, "subject": reason.subject, "old": reason.old, "new": reason.new}


def _row_document(row: PlanRow) -> dict[str, Any]:
    reasons = row.decision.reasons if isinstance(row.decision, Miss) else ()
    return {
        "node": row.node,
        "task": row.task,
        "label": row.label,
        "at": row.site,
        "decision": row.word,
        "reasons": [reason_document(reason) for reason in reasons],
        "expected_s": row.expected_s,
    }
