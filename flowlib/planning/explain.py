"""Explain a decision: why a node is cached, would run, or cannot be decided yet, down to the changed line of a helper."""

import difflib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.hashing.code import CodeVersion
from flowlib.ids import NodeId
from flowlib.planning.decide import Hit, Miss, Planner, nearest_entry
from flowlib.planning.preview import Plan, PlanRow
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry, Store
from flowlib.text import format_seconds

_CAUSES_SHOWN = 5
_DIFF_LINES = 40


@attrs.frozen(kw_only=True)
class CodeChange:
    """One function, class, constant or distribution whose part of a code version changed."""

    name: str
    diff: str
    """Unified diff of the source; empty when there is none to compare."""


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

    def __str__(self) -> str:
        label = f" [{self.label}]" if self.label else ""
        lines = [f"{self.task}{label} at {self.site}: {_SENTENCES[self.word]}"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.entry is not None:
            lines += [f"  {line}" for line in _entry_lines(self.entry)]
        for change in self.changes:
            lines.append(f"  changed: {change.name}")
            lines += [f"    {line}" for line in change.diff.splitlines()[:_DIFF_LINES]]
        for cause in self.causes:
            lines += [f"  {line}" for line in str(cause).splitlines()]
        return "\n".join(lines)


_SENTENCES = {
    "cached": "cached, nothing would run",
    "run": "would run",
    "undecided": "depends on what these give; equal results would keep it cached",
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
        return _explanation(row, entry=decision.entry)
    if isinstance(decision, Miss):
        changes = _code_changes(node, decision, planner, store) if store is not None else ()
        return _explanation(row, reasons=decision.reasons, changes=changes)
    causes = tuple(explain(cause, plan, graph, planner, store) for cause in _roots(number, plan, graph))
    return _explanation(row, causes=causes)


def _explanation(
    row: PlanRow,
    *,
    reasons: tuple[Reason, ...] = (),
    changes: tuple[CodeChange, ...] = (),
    entry: Entry | None = None,
    causes: tuple[Explanation, ...] = (),
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
    )


def _roots(number: NodeId, plan: Plan, graph: Graph) -> list[NodeId]:
    """Return the nearest ancestors that would certainly run."""
    found: dict[NodeId, None] = {}
    stack, seen = [number], {number}
    while stack and len(found) < _CAUSES_SHOWN:
        at = stack.pop()
        for dependency in graph.dependencies[at]:
            if dependency in seen:
                continue
            seen.add(dependency)
            if isinstance(plan.rows[dependency].decision, Miss):
                found[dependency] = None
            else:
                stack.append(dependency)
    return list(found)[:_CAUSES_SHOWN]


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
        changes.append(CodeChange(name=name, diff="\n".join(lines)))
    return tuple(changes)
