"""Find past runs: list a `runs` directory, name one of its runs, load what it was.

Invariant: a run whose process is gone is never shown as running; it is `crashed`.
"""

import os
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import attrs

from flowlib.errors import UsageError, near_miss
from flowlib.events import RunFinished, RunStarted, RunStatus
from flowlib.history.log import SUFFIX, is_live, read_ends, read_log
from flowlib.history.record import RunRecord, fold
from flowlib.ids import RunId


@attrs.frozen(kw_only=True)
class RunSummary:
    """One line about a run."""

    run: RunId
    path: Path
    status: RunStatus
    started_at: float | None
    duration_s: float
    n_nodes: int
    counts: dict[str, int]
    """State -> number of nodes; states without nodes are left out."""
    tags: tuple[str, ...] = ()


def list_runs(directory: str | os.PathLike[str]) -> list[Path]:
    """Return the logs in a `runs` directory, newest first; empty when there is no such directory.

    Cost: O(runs log runs); a file is opened only to order runs that began in the same second.
    """
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.name.endswith(SUFFIX) and entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [Path(directory, name) for name in sorted(names, reverse=True)]
    ordered: list[Path] = []
    for _, group in groupby(paths, key=lambda path: path.name[: len("19700101-000000")]):
        same_second = list(group)
        if len(same_second) > 1:
            same_second.sort(key=_began_at, reverse=True)
        ordered.extend(same_second)
    return ordered


def find_run(directory: str | os.PathLike[str], name: str = "last") -> Path:
    """Return the log of the run that `name` means.

    Args:
        directory: a `runs` directory.
        name: a run id, the unique beginning of one, `last`, or `last~N` for the N-th before the last.

    Raises:
        UsageError: no run or several runs match.
    """
    paths = list_runs(directory)
    if not paths:
        raise UsageError("There are no runs yet.", {"directory": os.fspath(directory)}, "Run something first.")
    if back := re.fullmatch(r"last(?:~(\d{1,9}))?", name):
        steps = int(back[1] or 0)
        if steps < len(paths):
            return paths[steps]
        raise UsageError(f"There is no run {name!r}.", {"runs": len(paths)}, f"The oldest is last~{len(paths) - 1}.")
    exact = [path for path in paths if path.stem == name]
    matches = exact or [path for path in paths if path.stem.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    raise _not_one(name, matches, paths)


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Return what a run was, from its log; `crashed` when it has no end and nobody writes it any more.

    Raises:
        FileMissing: there is no such log.

    Cost: O(events).
    """
    live = is_live(path)  # asked first: a run that ends between the two looks is then read with its end
    record = fold(read_log(path))
    if not record.run:
        record = attrs.evolve(record, run=RunId(Path(path).stem))
    return attrs.evolve(record, status="crashed") if record.status == "running" and not live else record


def summarize_run(path: str | os.PathLike[str]) -> RunSummary:
    """Return one line about a run. Cost: O(1) for a run that ended, O(events) for one that did not.

    Raises:
        FileMissing: there is no such log.
    """
    first, last = read_ends(path)
    if isinstance(first, RunStarted) and isinstance(last, RunFinished):
        return RunSummary(
            run=first.run,
            path=Path(path),
            status=last.status,
            started_at=first.at,
            duration_s=last.duration_s,
            n_nodes=sum(last.counts.values()),
            counts={state: n for state, n in last.counts.items() if n},
            tags=first.tags,
        )
    record = load_record(path)
    return RunSummary(
        run=record.run,
        path=Path(path),
        status=record.status,
        started_at=record.started_at,
        duration_s=record.duration_s,
        n_nodes=record.n_nodes,
        counts=dict(record.counts),
        tags=record.tags,
    )


def _began_at(path: Path) -> float:
    first, _ = read_ends(path)
    return first.at if first is not None else float("-inf")


def _not_one(name: str, matches: Sequence[Path], paths: Sequence[Path]) -> UsageError:
    if matches:
        shown = "\n".join(path.stem for path in matches[:10])
        return UsageError(f"Several runs begin with {name!r}.", {"runs": shown}, "Give more characters.")
    hint = near_miss(name, [path.stem for path in paths[:20]])
    return UsageError(f"There is no run {name!r}.", {"runs": len(paths)}, hint)
