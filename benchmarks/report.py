"""Write RESULTS.md from `results.json`: the goals first, then every figure, losses included.

python -m benchmarks.report
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.goals import Goal, all_goals
from benchmarks.results import Results

HERE = Path(__file__).parent
NAMES = {
    "floor": "floor (by hand)",
    "futures": "ThreadPoolExecutor",
    "diskcache": "diskcache.memoize",
    "joblib": "joblib.Memory",
    "hamilton": "Hamilton",
    "prefect": "Prefect",
    "dask": "dask.delayed",
}
FRAME_NAMES = {"flowlib": "fl.digest", "dask": "dask's tokenize", "joblib": "joblib.hash"}
TABLES = (  # title, cells, unit of a figure, what it is multiplied with, whether it is for one of n
    ("W1: independent tasks, nothing kept, us a task", "flat", 1e6, True),
    ("W2: a chain, nothing kept, us a task", "chain", 1e6, True),
    ("W2 cold: a chain, every result kept, us a task", "chain cold", 1e6, True),
    ("W3: layers of 100, nothing kept, us a task", "layers", 1e6, True),
    ("W4 cold: independent tasks, every result kept, us a task", "cached cold", 1e6, True),
    ("W4 warm: a new process finds every result, us a task", "cached warm", 1e6, True),
    ("W4 final: a new process wants the total alone, us a task", "cached final", 1e6, True),
    ("W4big cold: 1,000 arrays of 1 MB and their sum, s", "arrays cold", 1.0, False),
    ("W4big warm: a new process wants the sum, s", "arrays warm", 1.0, False),
    ("W5 cold: one array of 400 MB, s", "array cold", 1.0, False),
    ("W5 warm: a new process looks at each of its pages, s", "array warm", 1.0, False),
    ("W6: 16 waits of 0.1 s on 8 threads, s (bound 0.2)", "waits", 1.0, False),
    ("W6: the unbalanced graph, s (bound 0.4)", "unbalanced", 1.0, False),
    ("W8: digest of a frame of a million rows, s", "frame", 1.0, False),
)


def main() -> None:
    """Write RESULTS.md beside this file."""
    text = "\n".join(render(Results.read(HERE / "results.json"))) + "\n"
    (HERE / "RESULTS.md").write_text(text, "utf-8")


def render(results: Results) -> Iterator[str]:
    """Give the lines of the report."""
    yield "# Results"
    yield ""
    yield "Made by `python -m benchmarks.peers`; see [README.md](README.md) for what is measured and how. Every figure is the median"
    yield "of new processes, flowlib and peers in turns; ratios are flowlib's median over the other's, so less is better."
    yield ""
    yield "![Cost of one task against their number, for flowlib and its peers](overhead.svg)"
    yield ""
    yield from _runs(results)
    yield from _goals(results)
    yield from _losses(results)
    for title, label, scale, is_each in TABLES:
        yield from _table(results, title, label, scale, is_each)
    yield from _remarks()


def _runs(results: Results) -> Iterator[str]:
    for name, run in sorted(results.runs.items()):
        peers = sorted({cell["peer"] for cell in results.cells.values() if cell["run"] == name})
        yield f"**{name} UTC**, commit {run['commit']}: {run['cpu']}, {run['cores']} cores, {run['memory_gb']:g} GB, {run['system']},"
        yield f"Python {run['python']}, {_rounds(results, name)} rounds; load {run['load']:g} when it began{_load_remark(run)}."
        yield (
            ", ".join(
                f"{_named(peer)} {run['versions'].get(peer, '?')}" for peer in peers if peer not in ("floor", "futures")
            )
            + "."
        )
        for peer, why in run["missing"].items():
            yield f"Not to be had on this machine: {_named(peer)} ({why})."
        yield ""
    if len(results.runs) > 1:
        yield "Ratios between figures of different runs carry the machine's drift; those of one run do not."
        yield ""


def _rounds(results: Results, run: str) -> int:
    """Return how often the cells of a run were measured; a run that was stopped did fewer rounds than were asked for."""
    return max((len(cell["samples"]) for cell in results.cells.values() if cell["run"] == run), default=0)


def _load_remark(run: dict[str, float]) -> str:
    return ", so that other work shared the processor: read differences below 2x as noise" if run["load"] > 1 else ""


def _goals(results: Results) -> Iterator[str]:
    yield "## Goals"
    yield ""
    yield "| workload | compared with | goal: at most | measured | | by processor time |"
    yield "|---|---|---|---|---|---|"
    for goal in all_goals():
        yield f"| {goal.workload} | {goal.text}{_where(goal, results)} | {_figure(goal.at_most, goal.unit)} | {_measured(goal, results)} |"
    yield ""


def _where(goal: Goal, results: Results) -> str:
    at = goal.falls_short_at(results)
    return "" if at is None else f" (at {at:,})"


def _measured(goal: Goal, results: Results) -> str:
    figure, met, cpu = goal.found(results), goal.is_met(results), goal.by_processor(results)
    if figure is None:
        return "not measured | | "
    return f"{_figure(figure, goal.unit)} | {'met' if met else '**missed**'} | {'' if cpu is None else _figure(cpu, goal.unit)}"


def _figure(number: float, unit: str) -> str:
    if unit == "x":
        return f"1/{1 / number:.3g}" if 0 < number < 0.95 else f"{number:.3g}x"
    return f"{number:,.3g}{unit}" if number < 1000 else f"{number:,.0f}{unit}"


def _losses(results: Results) -> Iterator[str]:
    """Name every cell in which a peer, floors aside, was quicker than flowlib."""
    lost = []
    for title, label, _, _ in TABLES:
        for peer in results.peers():
            if peer in ("flowlib", "floor"):
                continue
            for n in results.sizes(peer, label):
                ours, theirs = results.median("flowlib", label, n), results.median(peer, label, n)
                if ours is not None and theirs is not None and theirs < 0.98 * ours:
                    lost.append(
                        f"- {title.partition(':')[0]} ({label}), n = {n:,}: {_named(peer)} takes {theirs / ours:.2g} of flowlib's time."
                    )
    yield "## Where flowlib is slower"
    yield ""
    yield "By more than two per cent, floors aside:"
    yield ""
    yield from lost or ["- nowhere among the cells below."]
    yield ""


def _table(results: Results, title: str, label: str, scale: float, is_each: bool) -> Iterable[str]:
    peers = [peer for peer in results.peers() if results.sizes(peer, label)]
    sizes = sorted({n for peer in peers for n in results.sizes(peer, label)})
    if not peers:
        return
    yield f"## {title}"
    yield ""
    yield "| | " + " | ".join(f"{n:,}" for n in sizes) + " | over flowlib |"
    yield "|---|" + "---|" * (len(sizes) + 1)
    for peer in peers:
        cells = [_cell(results, peer, label, n, scale / n if is_each else scale) for n in sizes]
        yield (
            f"| {FRAME_NAMES.get(peer, peer) if label == 'frame' else _named(peer)} | "
            + " | ".join(cells)
            + f" | {_over_flowlib(results, peer, label)} |"
        )
    yield ""


def _cell(results: Results, peer: str, label: str, n: int, scale: float) -> str:
    median = results.median(peer, label, n)
    if median is not None:
        return f"{median * scale:.3g}" if median * scale < 1000 else f"{median * scale:,.0f}"
    cell = results.cell(peer, label, n)
    why_not = str(cell["why not"]) if cell and "why not" in cell else ""
    return "" if not why_not else why_not.partition(":")[0] if "Error" in why_not else "–"


def _over_flowlib(results: Results, peer: str, label: str) -> str:
    both = [n for n in results.sizes(peer, label) if n in results.sizes("flowlib", label)]
    if not both or peer == "flowlib":
        return ""
    ours, theirs = results.median("flowlib", label, both[-1]), results.median(peer, label, both[-1])
    return f"{theirs / ours:.3g}x" if ours and theirs else ""


def _remarks() -> Iterator[str]:
    yield "## What the figures do not say"
    yield ""
    yield "- checkpointer, diskcache, joblib and cachau compute or load at each call: they have no graph, so nothing runs in parallel,"
    yield "  and a warm run loads every value on the way. flowlib's *warm* asks for every value as well; *final* does not."
    yield "- checkpointer writes files in place and syncs none; diskcache's key has no code in it, joblib's only the function's own;"
    yield "  cachau syncs twice for each result; flowlib syncs groups of results before it returns."
    yield "- A cell with – was not measured, because it would take too long, as the size before it says; `--limit` raises the limit."
    yield "  Where a cell names an error, that is what came of it with the peer's, and Python's, usual settings."
    yield "- pipefunc's equal tasks are elements of one array, which is its own way to say them; its chains are not measured."
    yield "- dask and ray keep nothing between processes. ray's and Prefect's servers were started before the clock was."


def _named(peer: str) -> str:
    return NAMES.get(peer, peer)


if __name__ == "__main__":
    main()
