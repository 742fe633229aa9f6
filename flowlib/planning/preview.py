"""Look ahead: decide every node of a graph that can be decided, without running anything."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import attrs

from flowlib.graph.graph import Graph
from flowlib.graph.node import site_of
from flowlib.ids import Key, NodeId
from flowlib.planning.decide import COVERED, Covered, Decision, Hit, Miss, Planner, Undecided
from flowlib.planning.key import CallKey
from flowlib.store.base import TaskStats
from flowlib.text import format_seconds

_REASONS_SHOWN = 3
_WORTH_SAYING_S = 0.01
"""Predictions below this are noise."""


@attrs.frozen(kw_only=True)
class PlanRow:
    """What would become of one node."""

    node: NodeId
    task: str
    label: str
    site: str
    decision: Decision
    expected_s: float | None
    """Mean seconds of past runs of the task; None without history. 0 for a hit."""

    @property
    def word(self) -> str:
        """`cached`, `run` or `undecided`."""
        return {Hit: "cached", Covered: "cached", Miss: "run", Undecided: "undecided"}[type(self.decision)]


@attrs.frozen(kw_only=True)
class Plan:
    """What a run would do now: which nodes are cached, which would run and why, which depend on what those give."""

    rows: tuple[PlanRow, ...]
    workers: int
    critical_s: float = 0.0
    """Longest path through the nodes that would run, from past durations."""

    @property
    def n_cached(self) -> int:
        """Nodes whose stored results would be used, or those of targets that are made of them."""
        return sum(type(row.decision) in (Hit, Covered) for row in self.rows)

    @property
    def n_to_run(self) -> int:
        """Nodes that would certainly run."""
        return sum(type(row.decision) is Miss for row in self.rows)

    @property
    def n_undecided(self) -> int:
        """Nodes that run only if what they wait for gives something new, or fails to give what they would."""
        return sum(type(row.decision) is Undecided for row in self.rows)

    @property
    def stored_bytes(self) -> int:
        """Size of the stored results that would be used."""
        entries = [row.decision.entry for row in self.rows if isinstance(row.decision, Hit)]
        return sum(entry.payload.n_bytes for entry in entries if entry.payload.kept)

    @property
    def expected_s(self) -> float | None:
        """Predicted wall seconds if everything undecided runs, too; None when some task has no history."""
        costs = [row.expected_s for row in self.rows]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            return None
        return max(self.critical_s, sum(known) / max(1, self.workers))

    def by_task(self) -> Iterator[tuple[str, list[PlanRow]]]:
        """Yield each task name with its rows, in the order of the graph."""
        groups: dict[str, list[PlanRow]] = {}
        for row in self.rows:
            groups.setdefault(row.task, []).append(row)
        yield from groups.items()

    def __str__(self) -> str:
        lines = [_headline(self)]
        tasks = list(self.by_task())
        width = max((len(_title(task, rows)) for task, rows in tasks), default=0)
        for task, rows in tasks:
            lines.append(f"  {_title(task, rows):<{width}}  {_counts(rows)}")
            lines.extend(f"  {'':<{width}}    {line}" for line in _reason_lines(rows))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)  # what a console shows; the fields of a hundred thousand rows would fill it for minutes


def _headline(plan: Plan) -> str:
    parts = [f"{plan.n_cached} cached", f"{plan.n_to_run} to run"]
    if plan.n_undecided:
        parts.append(f"{plan.n_undecided} undecided")
    n_open = plan.n_to_run + plan.n_undecided
    if plan.expected_s is not None and plan.expected_s >= _WORTH_SAYING_S and n_open:
        workers = f" on {min(plan.workers, n_open)} workers" if min(plan.workers, n_open) > 1 else ""
        parts.append(f"about {format_seconds(plan.expected_s)}{workers}")
    return f"Plan: {', '.join(parts)}"


def _title(task: str, rows: list[PlanRow]) -> str:
    return task if len(rows) == 1 else f"{task} x{len(rows)}"


def _counts(rows: list[PlanRow]) -> str:
    counts = Counter(row.word for row in rows)
    texts = {
        word: text if len(rows) == 1 else f"{counts[word]} {text}" for word, text in _WORDS.items() if counts[word]
    }
    expected_s = sum(row.expected_s or 0.0 for row in rows if type(row.decision) is Miss)
    if expected_s >= _WORTH_SAYING_S:
        texts["run"] += f" (about {format_seconds(expected_s)}{' of work' if counts['run'] > 1 else ''})"
    return ", ".join(texts.values())


_WORDS = {"cached": "cached", "run": "to run", "undecided": "undecided"}


def _reason_lines(rows: list[PlanRow]) -> list[str]:
    texts: Counter[str] = Counter()
    for row in rows:
        if isinstance(row.decision, Miss):
            texts.update([", ".join(str(reason) for reason in row.decision.reasons)])
    lines = [text if len(texts) == 1 else f"{count} x {text}" for text, count in texts.most_common(_REASONS_SHOWN)]
    if len(texts) > _REASONS_SHOWN:
        lines.append(f"... and {len(texts) - _REASONS_SHOWN} other reasons")
    return lines


def preview(
    graph: Graph,
    planner: Planner,
    stats: Callable[[str], TaskStats | None],
    workers: int,
    targets: Sequence[NodeId] = (),
) -> Plan:
    """Decide a whole graph, one batch of look-ups per level. Runs no task and writes nothing.

    Args:
        graph: The graph.
        planner: The same planner a run would use.
        stats: Past cost of a task by name.
        workers: For the prediction of wall time.
        targets: Nodes that would be asked for. If they are recognised by their recipes, nothing else is decided.
    """
    decisions: dict[NodeId, Decision] = {}
    computing: dict[Key, NodeId] = {}
    entries = planner.recognise(targets)
    if entries is not None:
        decisions.update((NodeId(number), COVERED) for number in range(len(graph)))
        hits = [Hit(CallKey(entry.key, parts=entry.parts), entry) for entry in entries]
        decisions.update(zip(targets, hits, strict=True))
    else:
        for level in _levels(graph):
            _decide_level(level, graph, planner, decisions, computing)
    known: dict[str, TaskStats | None] = {}
    rows = []
    for number, node in enumerate(graph.nodes):
        task, decision = node._fl_task.name, decisions[NodeId(number)]
        if task not in known:
            known[task] = stats(task)
        past = known[task]
        expected_s = 0.0 if type(decision) in (Hit, Covered) else past.mean_s if past is not None else None
        row = PlanRow(
            node=NodeId(number),
            task=task,
            label=node._fl_label,
            site=str(site_of(node)),
            decision=decision,
            expected_s=expected_s,
        )
        rows.append(row)
    return Plan(rows=tuple(rows), workers=workers, critical_s=_critical_s(graph, rows))


def _levels(graph: Graph) -> Iterator[list[NodeId]]:
    """Yield nodes by depth: every dependency of a node is in an earlier level."""
    depths = [0] * len(graph)
    levels: dict[int, list[NodeId]] = {}
    for number in range(len(graph)):
        depths[number] = max((depths[d] + 1 for d in graph.dependencies[number]), default=0)
        levels.setdefault(depths[number], []).append(NodeId(number))
    for depth in range(len(levels)):
        yield levels[depth]


def _decide_level(
    level: list[NodeId],
    graph: Graph,
    planner: Planner,
    decisions: dict[NodeId, Decision],
    computing: dict[Key, NodeId],
) -> None:
    """Decide the nodes of one level; `computing` maps the keys that would be computed to the first node of each."""
    decidable = []
    for number in level:
        waiting_for = tuple([d for d in graph.dependencies[number] if type(decisions[d]) is not Hit])
        if waiting_for:
            decisions[number] = planner.certain(number) or Undecided(waiting_for)
        else:
            decidable.append(number)
    for number, decision in zip(decidable, planner.decide(decidable), strict=True):
        decisions[number] = decision
        if isinstance(decision, Hit):
            planner.record(number, decision.entry.output)
        elif isinstance(decision, Miss) and decision.call.key is not None:
            first = computing.setdefault(decision.call.key, number)
            if first != number:  # the same call twice in one run: the second uses what the first gives
                decisions[number] = Undecided((first,))


def _critical_s(graph: Graph, rows: list[PlanRow]) -> float:
    ends = [0.0] * len(rows)
    for number, row in enumerate(rows):
        before = max((ends[d] for d in graph.dependencies[number]), default=0.0)
        ends[number] = before + (row.expected_s or 0.0)
    return max(ends, default=0.0)
