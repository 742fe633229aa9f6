"""`flowlib cache`: look after the kept results. Nothing here runs a task or decodes a value.

Rules: only a directory that is a cache already is opened. What removes results of several tasks at once wants `--yes`.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import attrs
from cyclopts import App, Group, Parameter

from flowlib.cli import flags
from flowlib.cli.as_json import print_json
from flowlib.cli.exits import Ended, Exit
from flowlib.cli.show import terminal_width
from flowlib.cli.trouble import short_path
from flowlib.config import Settings, cache_directory, load_settings
from flowlib.engine.stores import store_options
from flowlib.errors import StoreTrouble, UsageError, near_miss
from flowlib.history.query import list_runs, load_record
from flowlib.ids import Key
from flowlib.store import maintain
from flowlib.store.local import LocalStore, open_store
from flowlib.text import format_bytes, format_count, format_seconds
from flowlib.text import parse_bytes as bytes_in
from flowlib.views.table import Column, render_table

MAX_ROWS = 200
_SHORTEST_PREFIX = 6
_MARKS = ("format", "CACHEDIR.TAG")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

Directory = Annotated[
    str | None,
    Parameter(name="--cache", help="The directory; `.flowlib/` in the project unless given.", group=flags.OWN),
]
DryRun = Annotated[
    bool, Parameter(name="--dry-run", show_default=False, negative=(), help="Only say what would go.", group=flags.OWN)
]
Yes = Annotated[
    bool,
    Parameter(name="--yes", show_default=False, negative=(), help="Remove results of several tasks.", group=flags.OWN),
]
TaskName = Annotated[str | None, Parameter(name="--task", help="Only results of this task.", group=flags.OWN)]
Name = Annotated[
    str, Parameter(name="NAME", help="A task, or the beginning of a key.", group=Group("What", sort_key=0))
]


_WHAT_GOES = Group("What goes", sort_key=1)
OlderThan = Annotated[
    str | None, Parameter(name="--older-than", help="Results made longer ago: 12h, 30d, 8w.", group=_WHAT_GOES)
]
MaxSize = Annotated[
    str | None,
    Parameter(
        name="--max-size", help="The least useful ones, until values take no more: 500MB, 10GB.", group=_WHAT_GOES
    ),
]
Unreachable = Annotated[
    bool,
    Parameter(
        name="--unreachable",
        show_default=False,
        negative=(),
        help="Results that no recorded run used.",
        group=_WHAT_GOES,
    ),
]


def cache_app() -> App:
    """Return the command `cache` with its own commands."""
    app = App(name="cache", help="Look after the kept results: list, measure, check, repair, remove.", version_flags=[])
    for verb in (ls, size, verify, repair, gc, trust):
        app.command(verb)
    app.command(rm, usage="flowlib cache rm NAME... [OPTIONS]")
    return app


def ls(*, task: TaskName = None, cache: Directory = None, json: flags.Json = False) -> Exit:
    """List the kept results, newest first."""
    with _opened(cache) as store:
        kept = maintain.ls(store, task=task) if store is not None else ()
        if task is not None and not kept and store is not None:
            known = {item.task for item in maintain.ls(store)}
            raise Ended(Exit.USAGE, UsageError(f"No result of a task {task!r} is kept.", {}, near_miss(task, known)))
    if json:
        results = [{**attrs.asdict(item), "flags": sorted(item.flags)} for item in kept]
        print_json({"schema": "flowlib.cache.ls/1", "results": results})
        return Exit.OK
    columns = [Column("key"), Column("task", shrinks=True), Column("made"), Column("took", "right"),
               Column("size", "right"), Column("kind")]  # fmt: skip
    rows = [
        [item.key[:12], item.task, _moment(item.created_at), format_seconds(item.duration_s), format_bytes(item.n_bytes),
         item.codec]
        for item in kept
    ]  # fmt: skip
    print(render_table(columns, rows, width=terminal_width(), max_rows=MAX_ROWS) if kept else "Nothing is kept.")
    return Exit.OK


def size(*, cache: Directory = None, json: flags.Json = False) -> Exit:
    """Say how much disk the cache takes, by kind."""
    with _opened(cache) as store:
        usage = maintain.size(store) if store is not None else None
    if usage is None:
        if json:
            print_json({"schema": "flowlib.cache.size/1", "total_bytes": 0, "n_entries": 0})
        return Exit.OK
    if json:
        print_json({"schema": "flowlib.cache.size/1", **attrs.asdict(usage), "total_bytes": usage.total_bytes})
        return Exit.OK
    rows: list[list[object]] = [
        ["values", format_count(usage.n_blobs, "file"), format_bytes(usage.blob_bytes)],
        ["results", format_count(usage.n_entries), format_bytes(usage.log_bytes)],
        ["index", None, format_bytes(usage.index_bytes)],
        ["runs", None, format_bytes(usage.run_bytes)],
        ["being written", None, format_bytes(usage.temporary_bytes)],
        ["quarantine", None, format_bytes(usage.quarantine_bytes)],
        ["all", None, format_bytes(usage.total_bytes)],
    ]
    print(render_table([Column(""), Column("", "right"), Column("", "right")], rows, width=terminal_width()))
    return Exit.OK


def verify(*, cache: Directory = None, json: flags.Json = False) -> Exit:
    """Read and check everything that is kept. Exits with 6 if something is damaged or missing."""
    with _opened(cache) as store:
        found = maintain.verify(store) if store is not None else None
    if found is None:
        if json:
            print_json({"schema": "flowlib.cache.verify/1", "is_sound": True})
        return Exit.OK
    if json:
        print_json({"schema": "flowlib.cache.verify/1", "is_sound": found.is_sound, **attrs.asdict(found)})
    else:
        print("\n".join(_verification_lines(found)))
    return Exit.OK if found.is_sound else Exit.CACHE


def repair(*, cache: Directory = None, json: flags.Json = False) -> Exit:
    """Rebuild the index from the log, and put damaged files aside; their results are computed again."""
    with _opened(cache) as store:
        done = maintain.repair(store) if store is not None else None
    if json:
        print_json({"schema": "flowlib.cache.repair/1", **(attrs.asdict(done) if done is not None else {})})
    elif done is not None:
        print(f"index     {'made anew' if done.is_index_new else 'sound'}")
        print(f"restored  {format_count(done.n_restored, 'record')}")
        print(f"dropped   {format_count(done.n_dropped, 'result')}")
        print(f"put aside {format_count(done.n_quarantined, 'file')}")
    return Exit.OK


def gc(
    *,
    older_than: OlderThan = None,
    max_size: MaxSize = None,
    unreachable: Unreachable = False,
    dry_run: DryRun = False,
    cache: Directory = None,
    json: flags.Json = False,
) -> Exit:
    """Free space: expired results, those you name by age, size or reach, and files that nothing needs."""
    older_than_s = None if older_than is None else parse_seconds(older_than)
    max_bytes = None if max_size is None else parse_bytes(max_size)
    with _opened(cache) as store:
        if store is None:
            return Exit.OK
        reachable = _reachable(store) if unreachable else None
        done = maintain.gc(store, older_than_s=older_than_s, max_bytes=max_bytes, reachable=reachable, dry_run=dry_run)
    if json:
        print_json({"schema": "flowlib.cache.gc/1", **attrs.asdict(done)})
        return Exit.OK
    verb = "would remove" if dry_run else "removed"
    files = f"{format_count(done.n_blobs, 'value')}, {format_count(done.n_files, 'stray file')}"
    print(f"{verb} {format_count(len(done.keys), 'result')}, {files}: {format_bytes(done.n_bytes)}")
    return Exit.OK


def rm(
    *names: Name, yes: Yes = False, dry_run: DryRun = False, cache: Directory = None, json: flags.Json = False
) -> Exit:
    """Remove the results of a task, or those whose keys begin with the given characters."""
    if not names:
        raise UsageError("Nothing is named.", {}, "Give a task, or the beginning of a key; see `flowlib cache ls`.")
    with _opened(cache) as store:
        kept = maintain.ls(store) if store is not None else ()
        chosen = {name: _chosen(name, kept) for name in names}
        items = {item.key: item for found in chosen.values() for item in found}
        tasks = sorted({item.task for item in items.values()})
        if len(tasks) > 1 and not (yes or dry_run):
            raise UsageError(
                "This would remove results of several tasks.",
                {"tasks": ", ".join(tasks), "results": len(items)},
                "Add --yes if that is meant, or --dry-run to look.",
            )
        if store is not None and not dry_run:
            for name in names:
                _remove(store, name, kept)
    if json:
        print_json({"schema": "flowlib.cache.rm/1", "is_dry_run": dry_run, "keys": list(items)})
        return Exit.OK
    verb = "would remove" if dry_run else "removed"
    print(f"{verb} {format_count(len(items), 'result')} of {', '.join(tasks)}")
    return Exit.OK


def trust(*, cache: Directory = None, json: flags.Json = False) -> Exit:
    """Adopt a cache that was made with another key. Only for one whose origin you trust: loading its values runs code."""
    with _opened(cache) as store:
        n_adopted = maintain.trust(store) if store is not None else 0
    if json:
        print_json({"schema": "flowlib.cache.trust/1", "n_adopted": n_adopted})
    else:
        print(f"adopted {format_count(n_adopted, 'result')}")
    return Exit.OK


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration such as `30d`.

    Raises:
        UsageError: It is none.

    >>> parse_seconds("90s"), parse_seconds("1.5h")
    (90.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if found is None or found[2] not in _SECONDS:
        raise UsageError(f"{text!r} is not a duration.", {}, "Write 90s, 15min, 12h, 30d or 8w.")
    return float(found[1]) * _SECONDS[found[2]]


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as `10GB`; decimal units, or binary ones as in `10GiB`.

    Raises:
        UsageError: It is none.

    >>> parse_bytes("500MB"), parse_bytes("1 KiB")
    (500000000, 1024)
    """
    size_bytes = bytes_in(text)
    if size_bytes is None:
        raise UsageError(f"{text!r} is not a size.", {}, "Write 500MB, 10GB or 1GiB.")
    return size_bytes


@contextmanager
def _opened(cache: str | None) -> Iterator[LocalStore | None]:
    """Open the cache for the block; None, after saying so, if the project has none yet."""
    settings: Settings = load_settings({"cache": cache})
    directory = cache_directory(settings)
    if directory is None:
        raise UsageError("The cache is off.", {}, "Say which one with --cache DIR.")
    if cache is None and not directory.exists():
        print(f"There is no cache at {short_path(directory)} yet.", file=sys.stderr)
        yield None
        return
    if not any((directory / mark).exists() for mark in _MARKS):
        there = "There is no such directory." if not directory.exists() else "It does not look like one."
        raise StoreTrouble("This is not a cache of flowlib.", {"directory": directory, "reason": there}, "")
    store = open_store(directory, store_options(settings))
    try:
        yield store
    finally:
        store.close()
        for _, message in store.take_notices():
            print(f"note: {message}", file=sys.stderr)


def _reachable(store: LocalStore) -> set[Key]:
    logs = list_runs(store.root / "runs")
    if not logs:
        raise UsageError(
            "No run is recorded in this cache, so every result would go.",
            {"directory": store.root},
            "Choose with --older-than or --max-size.",
        )
    return {node.key for log in logs for node in load_record(log).nodes.values() if node.key is not None}


def _chosen(name: str, kept: tuple[maintain.Kept, ...]) -> list[maintain.Kept]:
    """Return the results a word means.

    Raises:
        UsageError: It means none.
    """
    by_task = [item for item in kept if item.task == name]
    if by_task:
        return by_task
    if re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},64}}", name):
        by_key = [item for item in kept if item.key.startswith(name)]
        if by_key:
            return by_key
    hint = near_miss(name, {item.task for item in kept})
    raise UsageError(
        f"No result of a task {name!r}, and none whose key begins with that, is kept.",
        {},
        f"{hint} Keys need at least {_SHORTEST_PREFIX} characters.",
    )


def _remove(store: LocalStore, name: str, kept: tuple[maintain.Kept, ...]) -> None:
    if any(item.task == name for item in kept):
        maintain.rm(store, task=name)
    else:
        maintain.rm(store, prefix=name)


def _verification_lines(found: maintain.Verification) -> list[str]:
    checked = f"{format_count(found.n_entries, 'result')}, {format_count(found.n_blobs, 'value file')}"
    lines = [f"checked {checked}, {format_bytes(found.n_bytes)}"]
    if found.n_foreign:
        lines.append(f"{format_count(found.n_foreign, 'record')} made with another key, not used; see `cache trust`")
    if not found.is_index_sound:
        lines.append("damaged: the index")
    lines += [f"damaged: result {key}" for key in found.damaged_entries]
    lines += [f"damaged: value {name}: {problem}" for name, problem in found.damaged_blobs]
    lines += [f"incomplete: result {key}: {problem}" for key, problem in found.incomplete_entries]
    if len(lines) > MAX_ROWS:
        lines = [*lines[:MAX_ROWS], f"and {format_count(len(lines) - MAX_ROWS, 'more line')}"]
    lines.append("all is well" if found.is_sound else "Run `flowlib cache repair`: what is damaged is computed again.")
    return lines


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "?"
