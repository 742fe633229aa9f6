"""`flowlib run`: run what is missing and write the value."""

import sys
from typing import Any

from flowlib.cli import flags
from flowlib.cli.as_json import print_json, to_plain
from flowlib.cli.building import Built, build, check_tasks, only_answers
from flowlib.cli.exits import Ended, Exit
from flowlib.cli.show import print_value
from flowlib.config import load_settings, wants_no_color
from flowlib.engine.run import RunOptions, execute, options_from
from flowlib.engine.stop import Terminated
from flowlib.errors import ConfigError, UsageError
from flowlib.events import Event, Noticed, Observer
from flowlib.graph.args import targets_of
from flowlib.graph.graph import Graph
from flowlib.text import one_line
from flowlib.views.progress import choose_progress


class _NoticePrinter:
    """Writes notices to standard error, for runs whose progress is not shown."""

    notices_only = True

    def on_event(self, event: Event) -> None:
        if isinstance(event, Noticed):
            print(f"note: {one_line(event.message, 500)}", file=sys.stderr)


def run(
    target: flags.Target,
    /,
    *,
    workers: flags.Workers = None,
    executor: flags.Executor = None,
    timeout: flags.Timeout = None,
    cache: flags.Cache = None,
    on_error: flags.OnError = None,
    progress: flags.Progress = None,
    force: flags.Force = None,
    tag: flags.Tag = None,
    json: flags.Json = False,
    tokens: flags.Tokens = (),
    own: flags.Tokens = (),
) -> Exit:
    """Run what is missing and write the value to standard output.

    Options of the pipeline are made from the parameters of its function; see them with `flowlib run FILE --help`.
    """
    with only_answers(json):
        built = build(target, tokens, own)
        check_tasks(force or (), built)
        settings = {"workers": workers, "executor": executor, "on_error": on_error, "progress": progress}
        options = options_from(
            settings,
            cache=flags.cache_argument(cache),
            observers=(_display(built, progress),),
            tags=tuple(tag or ()),
            force=tuple(force or ()),
            deadline_s=timeout,
            is_firm=True,
        )
        value = _executed(built, options)
        document = _plain(value) if json else None
    if json:
        print_json(document)
    else:
        print_value(value)
    return Exit.OK


def _executed(built: Built, options: RunOptions) -> Any:
    try:
        return execute(built.target, options)
    except ConfigError:
        raise
    except Terminated as error:
        raise Ended(Exit.TERMINATED, error) from error
    except (Exception, SystemExit) as error:
        raise Ended(Exit.TASK_FAILED, error) from error


def _plain(value: Any) -> Any:
    try:
        return to_plain(value)
    except UsageError as error:
        raise Ended(Exit.USAGE, error) from None


def _display(built: Built, progress: bool | None) -> Observer:
    totals: dict[str, int] = {}
    for node in Graph(targets_of(built.target)).nodes:
        totals[node._fl_task.name] = totals.get(node._fl_task.name, 0) + 1
    display = choose_progress(
        load_settings({"progress": progress}).progress,
        is_tty=sys.stderr.isatty(),
        in_notebook=False,
        no_color=wants_no_color(),
        stream=sys.stderr,
        title=built.title,
        totals=totals,
    )
    return display or _NoticePrinter()
