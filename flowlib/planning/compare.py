"""Why a call missed: how it differs from the most similar earlier call of the same task.

Theory of operation: a call is compared with a few dozen recent entries. What comes of it depends on little: on the parts
that are not arguments, and for each argument on which of the entries have it. A sweep has thousands of points and few
such *patterns*, so each pattern is judged once (`_judge`, the definition), and its points share the verdict. Only a verdict
that tells an argument's old and new text is worded for each call.

Cost: a search through all entries for each pattern; 1 microsecond for another call of a known pattern, 3 when its argument
has to be shown; nothing when the task was never seen.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from flowlib.graph.args import ATOMS, nodes_in
from flowlib.graph.node import Node
from flowlib.planning.key import CallKey
from flowlib.planning.previews import labels_of, preview
from flowlib.planning.reason import Reason
from flowlib.store.base import Entry
from flowlib.text import one_line

_FIRST_SEEN = (Reason(kind="first seen"),)
_EXPIRED = (Reason(kind="expired"),)
_NEW_ARGUMENTS = (Reason(kind="new arguments"),)
_MOST_PATTERNS = 4096
_NONE: Mapping[str, int] = {}


@attrs.frozen
class _Verdict:
    """What calls of one pattern differ in: from which entry, in which parts; or reasons that fit them all."""

    nearest: Entry
    names: Sequence[str] = ()
    reasons: tuple[Reason, ...] = ()


class Recent:
    """The latest entries of one task, newest first, and what became of comparing calls with them."""

    __slots__ = ("_holders", "_verdicts", "entries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._holders: dict[str, dict[str, int]] = {}
        """Argument -> digest -> bit set of the entries that have it."""
        self._verdicts: dict[Any, _Verdict] = {}
        for place, entry in enumerate(entries):
            for name, part in entry.parts.items():
                holders = self._holders.setdefault(name, {})
                holders[part] = holders.get(part, 0) | 1 << place

    def reasons(self, node: Node, call: CallKey) -> tuple[Reason, ...]:
        """Return why no stored result fits a call that missed."""
        if not self.entries:
            return _FIRST_SEEN
        above = from_nodes(node) if node._fl_deps else ()
        parts, holders = call.parts, self._holders
        pattern = (
            bool(node._fl_label),
            *above,
            *[
                (name, holders.get(name, _NONE).get(part, 0) if name.startswith("arg:") else part)
                for name, part in parts.items()
            ],
        )
        verdict = self._verdicts.get(pattern)
        if verdict is None:
            verdict = _judge(node, call, self.entries, above)
            if len(self._verdicts) < _MOST_PATTERNS:
                self._verdicts[pattern] = verdict
        nearest = verdict.nearest
        if nearest.key == call.key:  # not valid any more; or another run has stored it since the look-up a moment ago
            return _FIRST_SEEN if nearest.expires_at is None else _EXPIRED
        return verdict.reasons or tuple([_difference(node, name, call, nearest, above) for name in verdict.names])


def _judge(node: Node, call: CallKey, recent: Sequence[Entry], above: Collection[str]) -> _Verdict:
    """Compare a call with all entries. Nothing here may depend on more than the pattern of the call."""
    nearest = nearest_entry(call, recent)
    changed = _changed_parts(call, nearest)
    varied = [name for name in changed if name not in above and _varies(name, nearest, recent)]
    others = [name for name in changed if name not in varied]
    if varied and not others and node._fl_label:
        return _Verdict(nearest, reasons=_NEW_ARGUMENTS)
    # An argument that differs from call to call says nothing once something else has changed. Equal parts under another
    # key are those of a flowlib that put keys together differently.
    names = others or varied
    if any(name.startswith("arg:") and name not in above for name in names):
        return _Verdict(nearest, names)
    return _Verdict(
        nearest, (), tuple([_difference(node, name, call, nearest, above) for name in names]) or _FIRST_SEEN
    )


def nearest_entry(call: CallKey, recent: Sequence[Entry]) -> Entry:
    """Return the entry that shares most parts with a call; the newest among equals."""

    def n_equal(entry: Entry) -> int:
        return sum(entry.parts.get(name) == part for name, part in call.parts.items())

    return max(recent, key=n_equal)


def _changed_parts(call: CallKey, old: Entry) -> list[str]:
    """Return the names of the parts in which a call differs from an earlier one."""
    names = dict.fromkeys([*old.parts, *call.parts])
    return [name for name in names if old.parts.get(name, "") != call.parts.get(name, "")]


def _varies(name: str, one: Entry, recent: Sequence[Entry]) -> bool:
    """Whether a part is an argument that differed from call to call already, as the parameters of a sweep do.

    It did if it differs within the run of one entry, or between that entry and others that are equal but for it.
    """
    if not name.startswith("arg:"):
        return False
    others = [part for part in one.parts if part != name]
    alike = (entry for entry in recent if entry.run == one.run or share(entry, one.parts, others))
    return any(entry.parts.get(name) != one.parts.get(name) for entry in alike)


def _difference(node: Node, name: str, call: CallKey, old: Entry, above: Collection[str]) -> Reason:
    """Return the reason that one changed part is."""
    subject = name.partition(":")[2]
    if name == "code":
        return Reason(kind="code changed")
    if name in above:
        return Reason(kind="upstream changed", subject=subject)
    before, after = old.parts.get(name, ""), call.parts.get(name, "")
    if name == "version":
        return Reason(kind="version changed", old=before, new=after)
    if name.startswith("env:"):
        return Reason(kind="environment changed", subject=subject, old=one_line(before, 80), new=one_line(after, 80))
    labels = labels_of(node._fl_task.signature.names)
    text = preview(node._fl_args[labels.index(name)]) if name in labels else ""
    return Reason(kind="argument changed", subject=subject, old=old.previews.get(name, ""), new=text)


def from_nodes(node: Node) -> tuple[str, ...]:
    """Return the parts of a call's key that come from other nodes, wholly or in part."""
    pairs = zip(labels_of(node._fl_task.signature.names), node._fl_args, strict=True)
    return tuple([label for label, value in pairs if type(value) not in ATOMS and _has_nodes(value)])


def _has_nodes(value: Any) -> bool:
    return type(value) is Node or bool(nodes_in([value], str))


def share(entry: Entry, parts: Mapping[str, str], names: Sequence[str]) -> bool:
    """Whether an entry has the same parts as a call, as far as some names go."""
    return all(entry.parts.get(name) == parts[name] for name in names)
