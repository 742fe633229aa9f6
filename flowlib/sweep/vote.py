"""The reducer that lets points vote: hard, weighted or soft, on one question or on each position of an array.

Rules:
    None, NaN and the `abstain` value are no votes. Failed points do not vote but count for the quorum. A position on
    which nobody votes has no winner; if nobody votes at all, that is an error.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import attrs

from flowlib.errors import ReducerError, near_miss
from flowlib.sweep.ballot import Tally, as_list, check_positions, label_of, probabilities_of
from flowlib.sweep.exact import from_units, to_float, to_units
from flowlib.sweep.mean import Weights, weigher
from flowlib.sweep.metric import MISSING, Metric, finder, unreadable
from flowlib.sweep.reducer import Item, ReduceContext, Reducer, no_answer
from flowlib.sweep.text import short_repr

TieRule = Literal["first", "smallest", "abstain", "error"] | Callable[[list[Any]], Any]
_TIE_RULES = ("first", "smallest", "abstain", "error")


@attrs.frozen(kw_only=True, repr=False)
class Vote:
    """The outcome of a vote. Where points vote on positions, every field but `n` and `failed` has one entry for each."""

    winner: Any
    """The label chosen, None without a decision; a list of labels for positions."""
    counts: Any
    """Label -> votes (weights, mean probabilities), most first; a list of such dicts for positions."""
    margin: Any
    """How far the winner is ahead of the next label, in the unit of `counts`."""
    n: int
    """Good points."""
    n_abstained: Any
    tied: Any
    """The labels that share the lead, empty if one leads alone."""
    failed: tuple[str, ...] = ()
    """Labels of the points that failed."""

    @property
    def label(self) -> Any:
        """The winner."""
        return self.winner

    def __repr__(self) -> str:
        parts = [short_repr(self.winner)]
        if isinstance(self.counts, dict):
            parts += [f"counts={short_repr(self.counts)}", f"margin={short_repr(self.margin)}"]
        parts.append(f"n={self.n}")
        if self.tied and isinstance(self.counts, dict):
            parts.append(f"tied={short_repr(self.tied)}")
        return f"Vote({', '.join(parts)})"


@attrs.frozen(kw_only=True)
class _Decision:
    """The outcome on one question."""

    winner: Any
    counts: dict[Any, int | float]
    margin: int | float
    n_abstained: int
    tied: tuple[Any, ...]


class _Votes:
    """The tallies while points go by."""

    __slots__ = ("find", "has_positions", "n", "tallies", "weigh")

    def __init__(self, reducer: "VoteOf") -> None:
        metric = reducer.of if reducer.proba is None else reducer.proba
        self.find: Callable[[Any], Any] = (lambda value: value) if metric is None else finder(metric)
        self.weigh = None if reducer.weight is None else weigher(reducer.weight)
        self.n = 0
        self.tallies: list[Tally] = []
        self.has_positions: bool | None = None

    def shaped(self, votes: Any, item: Item[Any]) -> list[Any]:
        """Return the votes of an item as a list with one entry per tally; the first item decides how many."""
        has_positions = isinstance(votes, list)
        rows = votes if has_positions else [votes]
        if self.has_positions is None:
            self.has_positions = has_positions
            self.tallies = [Tally() for _ in rows]
        if has_positions is not self.has_positions:
            raise ReducerError(
                f"Point {item.label!r} votes on {'positions' if has_positions else 'one question'}, others do not.",
                {"value": short_repr(item.value)},
                "All points must return the same kind of vote.",
            )
        check_positions(len(self.tallies), rows, item)
        return rows


@attrs.frozen(kw_only=True)
class VoteOf(Reducer[Any, Vote]):
    """Counts votes. See `vote`."""

    of: Metric | None = None
    weight: Weights | None = None
    proba: Metric | None = None
    tie: TieRule = "first"
    quorum: int | float | None = None
    abstain: object = None

    @property
    def name(self) -> str:
        return "vote"

    def start(self) -> _Votes:
        return _Votes(self)

    def add(self, accumulator: _Votes, item: Item[Any]) -> _Votes:
        accumulator.n += 1
        weight = 1 if accumulator.weigh is None else to_units(accumulator.weigh(item))
        found = accumulator.find(item.value)
        if found is MISSING:
            raise unreadable(self.proba or self.of or "label", item, found)
        if found is None or weight == 0:
            return accumulator
        if self.proba is None:
            self._add_labels(accumulator, found, weight, item)
        else:
            self._add_probabilities(accumulator, found, weight, item)
        return accumulator

    def _add_labels(self, votes: _Votes, found: Any, weight: int, item: Item[Any]) -> None:
        labels = as_list(found)
        rows = votes.shaped(found if labels is None else labels, item)
        for tally, row in zip(votes.tallies, rows, strict=True):
            label = label_of(row, self.abstain, item)
            if label is not None:
                tally.add(label, weight, item.index)
                tally.n_votes += 1

    def _add_probabilities(self, votes: _Votes, found: Any, weight: int, item: Item[Any]) -> None:
        rows = votes.shaped(probabilities_of(found, item), item)
        for tally, row in zip(votes.tallies, rows, strict=True):
            for rank, (label, units) in enumerate(row.items()):
                tally.add(label, units * weight, rank)
            tally.n_votes += 1
            tally.units_cast += weight

    def finish(self, accumulator: _Votes, context: ReduceContext) -> Vote:
        if not any(tally.n_votes for tally in accumulator.tallies):
            facts = {"good": accumulator.n, "abstained": accumulator.n}
            raise no_answer("Nobody voted.", context, facts, "None, NaN and the abstain value are no votes.")
        decisions = [self._decide(tally, accumulator.n, context) for tally in accumulator.tallies]
        if not accumulator.has_positions:
            (one,) = decisions
            return Vote(n=accumulator.n, failed=context.failed_labels, **attrs.asdict(one, recurse=False))
        return Vote(
            winner=[decision.winner for decision in decisions],
            counts=[decision.counts for decision in decisions],
            margin=[decision.margin for decision in decisions],
            n=accumulator.n,
            n_abstained=[decision.n_abstained for decision in decisions],
            tied=[decision.tied for decision in decisions],
            failed=context.failed_labels,
        )

    def _decide(self, tally: Tally, n_good: int, context: ReduceContext) -> _Decision:
        self._check_quorum(tally, context)
        standings = tally.standings()
        tied = [label for label, units in standings if units == standings[0][1]]
        winner = None if not standings else tied[0] if len(tied) == 1 else self._break_tie(tied, context)
        numbers = [self._number(units, tally) for _, units in standings]
        ahead = standings[0][1] - standings[1][1] if len(standings) > 1 else sum(units for _, units in standings[:1])
        return _Decision(
            winner=winner,
            counts={label: number for (label, _), number in zip(standings, numbers, strict=True)},
            margin=self._number(ahead, tally),
            n_abstained=n_good - tally.n_votes,
            tied=tuple(tied) if len(tied) > 1 else (),
        )

    def _number(self, units: int, tally: Tally) -> int | float:
        """Return votes, weights or mean probabilities, rounded once."""
        if self.proba is None:
            return units if self.weight is None else to_float(from_units(units))
        power = 1 if self.weight is None else 2
        cast = Fraction(tally.units_cast) if self.weight is None else from_units(tally.units_cast)
        return to_float(from_units(units, power) / cast) if cast else 0.0

    def _break_tie(self, tied: list[Any], context: ReduceContext) -> Any:
        if self.tie == "first":
            return tied[0]
        if self.tie == "abstain":
            return None
        if self.tie == "smallest":
            return _smallest(tied)
        if not callable(self.tie):
            facts = {"tied": ", ".join(map(repr, tied))}
            raise no_answer("The vote is tied.", context, facts, 'Choose a rule: tie="first", "smallest", "abstain".')
        chosen = self.tie(tied)
        if chosen is not None and chosen not in tied:
            raise ReducerError(
                "The tie rule chose a label that is not tied.",
                {"chosen": short_repr(chosen), "tied": ", ".join(map(repr, tied))},
                "Return one of the labels it is given, or None for no decision.",
            )
        return chosen

    def _check_quorum(self, tally: Tally, context: ReduceContext) -> None:
        if self.quorum is None:
            return
        is_share = isinstance(self.quorum, float)
        needed = self.quorum * context.n_total if is_share else self.quorum
        if tally.n_votes < round(needed, 9):
            facts = {"votes": tally.n_votes, "quorum": f"{self.quorum:.6g} of all points" if is_share else self.quorum}
            raise no_answer("The quorum is not reached.", context, facts, "Lower quorum=, or look why points abstain.")


def _smallest(tied: list[Any]) -> Any:
    try:
        return min(tied)
    except TypeError:
        raise ReducerError(
            "The tied labels cannot be ordered.",
            {"tied": ", ".join(map(repr, tied))},
            'Use tie="first", or a function of the list of labels.',
        ) from None


def vote(
    metric_or_attr: Metric | None = None,
    *,
    weight: Weights | None = None,
    proba: Metric | None = None,
    tie: TieRule = "first",
    quorum: int | float | None = None,
    abstain: object = None,
) -> VoteOf:
    """Let points vote: for the most frequent label, or the highest mean probability (`proba=`).

    Lists, tuples and arrays are votes on each of their positions.

    Args:
        metric_or_attr: where the label is in the value; the value itself if not given.
        weight: a metric of the value, or a mapping from point labels to weights; each vote counts 1 if not given.
        proba: where the probabilities are, for a soft vote: class -> probability, a list (classes 0, 1, ...), or rows
            of them; "value" for the value itself.
        tie: "first" (of tied labels the one voted for first, in enumeration order; for probabilities the first class),
            "smallest", "abstain" (no winner), "error", or a function from the tied labels to one of them.
        quorum: number (int) or share (float) of all points, failed ones included, that must have voted.
        abstain: a label that is no vote, beside None and NaN.

    Returns:
        A reducer whose result is a `Vote`: winner, counts, margin, n, n_abstained, tied, failed.

    Raises:
        ReducerError: Contradicting arguments; when reducing: nobody voted, a tie or quorum rule, shapes that differ.

    Cost: holds one count per label and position.

    >>> vote("label", tie="smallest").of
    'label'
    """
    if proba is not None and metric_or_attr is not None:
        raise ReducerError(
            "A vote is either hard or soft.",
            {"label": short_repr(metric_or_attr), "proba": short_repr(proba)},
            'Write vote("label") to count labels, vote(proba="p") to average probabilities.',
        )
    if not callable(tie) and tie not in _TIE_RULES:
        raise ReducerError(f"tie={tie!r} is not known.", {}, near_miss(str(tie), _TIE_RULES))
    if quorum is not None and (isinstance(quorum, bool) or quorum < 0 or (isinstance(quorum, float) and quorum > 1)):
        raise ReducerError(
            f"quorum={quorum!r} is neither a number of votes nor a share.", {}, "Write quorum=3 or quorum=0.5."
        )
    return VoteOf(of=metric_or_attr, weight=weight, proba=proba, tie=tie, quorum=quorum, abstain=abstain)
