"""Read votes from values and count them: labels or probabilities, for one question or for many positions at once.

Invariant: counts are exact integers (of votes, or of 2**-1074 of a weight), so neither winner nor counts depend on the
order of the points; what comes first is decided by the points' index.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from flowlib.errors import ReducerError
from flowlib.sweep.exact import to_units
from flowlib.sweep.metric import as_number
from flowlib.sweep.reducer import Item
from flowlib.sweep.text import short_repr
from flowlib.sweep.value import NAN, canonical


class Tally:
    """The votes on one question."""

    __slots__ = ("_by_label", "n_votes", "units_cast")

    def __init__(self) -> None:
        self.n_votes = 0
        self.units_cast = 0
        self._by_label: dict[Any, list[Any]] = {}

    def add(self, label: Any, units: int, rank: int) -> None:
        """Give `units` to a label; the smallest `rank` it is given with decides what came first, and how it is written.

        Equal labels of different types, as 1 and 1.0, are one label.
        """
        entry = self._by_label.get(label)
        if entry is None:
            self._by_label[label] = [units, rank, label]
            return
        entry[0] += units
        if rank < entry[1]:
            entry[1], entry[2] = rank, label

    def standings(self) -> list[tuple[Any, int]]:
        """Return label and units, most first, then what came first."""
        entries = sorted(self._by_label.values(), key=lambda entry: (-entry[0], entry[1]))
        return [(label, units) for units, _, label in entries]


def as_list(value: Any) -> list[Any] | None:
    """Return the elements of a list, tuple, one-dimensional array or series; None for a single label.

    >>> as_list((1, 2)), as_list("ab")
    ([1, 2], None)
    """
    if isinstance(value, list | tuple):
        return list(value)
    shape, tolist = getattr(value, "shape", None), getattr(value, "tolist", None)
    if shape is None or not callable(tolist) or len(shape) == 0:
        return None
    elements: list[Any] = tolist()
    return elements


def label_of(value: Any, abstain: object, item: Item[Any]) -> Hashable:
    """Return the canonical label, None for an abstention: None, NaN, or the value that means it.

    Raises:
        ReducerError: The value cannot be a label.
    """
    is_scalar_array = type(value).__name__ in ("ndarray", "Tensor") and getattr(value, "shape", None) == ()
    label = canonical(value.item() if is_scalar_array else value)
    if label is None or label is NAN or (type(label) is type(abstain) and label == abstain):
        return None
    try:
        hash(label)
    except TypeError:
        raise ReducerError(
            f"The vote of point {item.label!r} is not a label.",
            {"value": short_repr(value), "type": type(value).__name__},
            'Name the label inside the value: vote("label"); or probabilities: vote(proba="p").',
        ) from None
    return label


def probabilities_of(value: Any, item: Item[Any]) -> dict[Any, int] | list[dict[Any, int]]:
    """Return probabilities as exact units by class: one dict, or one for each position.

    Args:
        value: a mapping class -> probability, a sequence (classes 0, 1, ...), or a sequence of such rows.
        item: where the value is from, for messages.

    Raises:
        ReducerError: A probability is not a finite number from 0 up.
    """
    if isinstance(value, Mapping):
        return _row(value, item)
    rows = as_list(value)
    if rows is None:
        raise _improper(value, item)
    if rows and (isinstance(rows[0], Mapping) or as_list(rows[0]) is not None):
        return [_row(row, item) for row in rows]
    return _row(rows, item)


def _row(row: Any, item: Item[Any]) -> dict[Any, int]:
    elements = row if isinstance(row, Mapping) else dict(enumerate(as_list(row) or ()))
    units: dict[Any, int] = {}
    for label, probability in elements.items():
        number = as_number(probability)
        if number is None or not 0 <= number < float("inf"):
            raise _improper(probability, item)
        units[canonical(label)] = to_units(number)
    return units


def _improper(value: object, item: Item[Any]) -> ReducerError:
    return ReducerError(
        f"The probabilities of point {item.label!r} cannot be averaged.",
        {"found": short_repr(value), "type": type(value).__name__},
        "Return one probability per class, finite and not negative: a dict, a list, or rows of them.",
    )


def check_positions(n_expected: int, found: Sequence[object], item: Item[Any]) -> None:
    """Raise ReducerError if a point votes on another number of positions than the points before it."""
    if len(found) != n_expected:
        raise ReducerError(
            f"Point {item.label!r} votes on {len(found)} positions, others on {n_expected}.",
            {"value": short_repr(item.value)},
            "All points must predict for the same rows.",
        )
