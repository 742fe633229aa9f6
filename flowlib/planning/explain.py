"""Explain a decision: why a node is cached, would run, or cannot be decided yet, down to the changed line of a helper."""

import difflib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import attrs

from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.hashing.code import CodeVersion
from flowlib.ids import NodeId
from flowlib.planning.compare import nearest_entry
from flowlib.planning.decide import Covered, Hit, Miss, Planner, Undecided
from flowlib.planning.preview import Plan, PlanRow
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry, Store
from flowlib.text import format_count, format_seconds

_CAUSES_SHOWN = 5
_DIFF_LINES = 40


@attrs.frozen(kw_only=True)
class CodeChange:
    """One function, class, constant or distribution whose part of a code version changed."""

    name: str
    diff: str
    """Unified diff of the source; empty when there is none to compare."""
    how: Literal["changed", "new", "gone"] = "changed"

    def lines(self) -> Iterator[str]:
        """Yield the change for people: the name, then the lines that differ with what is around them."""
        yield f"{self.how}: {self.name}"
        shown = self.diff.splitlines()[3:]  # without the heads of the diff and of its first hunk
        for line in shown[:_DIFF_LINES]:
            yield f"  {'...' if line.startswith('@@') else line}"
        if len(shown) > _DIFF_LINES:
            yield f"  ... and {format_count(len(shown) - _DIFF_LINES, 'more line')}"


@attrs.frozen(kw_only=True)
class Explanation:
    """Why one node is cached, would run, or is undecided."""

    task: str
    site: str
    label: str = ""
    word: str
    """`cached`, `run` or `undecided`."""
    reasons: tuple[Reason, ...] = ()
    changes: tuple[CodeChange, ...] = ()
    entry: Entry | None = None
    """The stored result that is used."""
    causes: tuple["Explanation", ...] = ()
    """For an undecided node: the nearest nodes above it that would run."""
    n_covered: int = 0
    """How many other nodes were not looked at, because all targets were recognised by their recipes."""

    def __str__(self) -> str:
        label = f" [{self.label}]" if self.label else ""
        lines = [f"{self.task}{label} at {self.site}: {_SENTENCES[self.word]}"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.entry is not None:
            lines += [f"  {line}" for line in _entry_lines(self.entry)]
        if self.n_covered:
            nodes = "the node" if self.n_covered == 1 else f"all {self.n_covered} nodes"
            lines.append(f"  recognised by its recipe: code, settings and arguments of {nodes} above are as they were")
        for change in self.changes:
            lines += [f"  {line}" for line in change.lines()]
        for cause in self.causes:
            lines += [f"  {line}" for line in str(cause).splitlines()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)  # what a console shows


_SENTENCES = {
    "cached": "cached, nothing would run",
    "run": "would run",
    "undecided": "undecided until these have run (results equal to earlier ones would be hits)",
}


def _entry_lines(entry: Entry) -> list[str]:
    made = datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"computed {made} in {format_seconds(entry.duration_s)} by run {entry.run}", f"key {entry.key}"]
    if "weak" in entry.flags:
        lines.append("weak: a global it reads was identified by the code that defines it, not by its value")
    if "expanded" in entry.flags:
        lines.append("the task returned nodes; their values were put together")
    if entry.expires_at is not None:
        until = datetime.fromtimestamp(entry.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"valid until {until}")
    return lines


def explain(number: NodeId, plan: Plan, graph: Graph, planner: Planner, store: Store | None) -> Explanation:
    """Explain the decision that a plan holds for one node.

    Args:
        number: The node.
        plan: The plan of the whole graph.
        graph: The graph.
        planner: The planner that made the plan; it knows earlier entries and code versions.
        store: Where sources of earlier code versions are kept.
    """
    row, node = plan.rows[number], graph.nodes[number]
    decision = row.decision
    if isinstance(decision, Hit):
        n_covered = sum(isinstance(other.decision, Covered) for other in plan.rows)
        return _explanation(row, entry=decision.entry, n_covered=n_covered)
    if isinstance(decision, Miss):
        changes = _code_changes(node, decision, planner, store) if store is not None else ()
        return _explanation(row, reasons=decision.reasons, changes=changes)
    causes = tuple(explain(cause, plan, graph, planner, store) for cause in _roots(number, plan))
    return _explanation(row, causes=causes)


def _explanation(
    row: PlanRow,
    *,
    reasons: tuple[Reason, ...] = (),
    changes: tuple[CodeChange, ...] = (),
    entry: Entry | None = None,
    causes: tuple[Explanation, ...] = (),
    n_covered: int = 0,
) -> Explanation:
    return Explanation(
        task=row.task,
        site=row.site,
        label=row.label,
        word=row.word,
        reasons=reasons,
        changes=changes,
        entry=entry,
        causes=causes,
        n_covered=n_covered,
    )


def _roots(number: NodeId, plan: Plan) -> list[NodeId]:
    """Return the nearest nodes that an undecided one waits for and that would certainly run, in the graph's order."""
    found: list[NodeId] = []
    stack, seen = [number], {number}
    while stack and len(found) < _CAUSES_SHOWN:
        decision = plan.rows[stack.pop()].decision
        fresh = [n for n in decision.waiting_for if n not in seen] if isinstance(decision, Undecided) else []
        seen.update(fresh)
        found += [n for n in fresh if isinstance(plan.rows[n].decision, Miss)]
        stack += [n for n in fresh if not isinstance(plan.rows[n].decision, Miss)]
    return sorted(found)[:_CAUSES_SHOWN]


def _code_changes(node: Node, miss: Miss, planner: Planner, store: Store) -> tuple[CodeChange, ...]:
    recent = planner.recent(node._fl_task.name)
    version = planner.keys.code_version(node)
    if not recent or version is None or not any(reason.kind == "code changed" for reason in miss.reasons):
        return ()
    old_parts = _old_parts(nearest_entry(miss.call, recent), store)
    return compare_versions(old_parts, version, store)


def _old_parts(entry: Entry, store: Store) -> dict[str, str]:
    name = f"code:{entry.parts.get('code', '')}"
    text = store.texts([name]).get(name)
    parts: dict[str, str] = json.loads(text) if text else {}
    return parts


def compare_versions(old: Mapping[str, str], new: CodeVersion, store: Store) -> tuple[CodeChange, ...]:
    """Return what changed between the parts of an earlier code version and a present one, with source diffs."""
    changed = [name for name in dict.fromkeys([*old, *new.parts]) if old.get(name) != new.parts.get(name)]
    sources = store.texts([f"source:{old[name]}" for name in changed if name in old])
    changes = []
    for name in changed:
        before = sources.get(f"source:{old.get(name)}", "")
        digest = new.parts.get(name)
        after = new.texts.get(digest, "") if digest is not None else ""
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "now", lineterm="", n=2)
        how: Literal["changed", "new", "gone"] = (
            "new" if name not in old else "changed" if digest is not None else "gone"
        )
        changes.append(CodeChange(name=name, diff="\n".join(lines), how=how))
    return tuple(changes)
