"""Distributions to sample parameters from, and the counter-based generator behind them.

Theory of operation: the draw for (seed, parameter name, index) is a hash of exactly these three. So the first sixty of
a hundred points are the sixty points of a smaller sample, and a new parameter leaves the draws of the others alone.
Values that need a logarithm are rounded to 12 significant digits: mathematics libraries differ in the last bit, and a
point should be the same point on every machine.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import attrs

from flowlib.errors import SpaceError
from flowlib.sweep.text import short_repr


@runtime_checkable
class Distribution(Protocol):
    """Turns a number that is uniform on [0, 1) into a value."""

    def draw(self, u: float) -> object:
        """Return the value for `u`; must depend on nothing else."""


@runtime_checkable
class RandomVariates(Protocol):
    """A frozen distribution as scipy makes them."""

    def rvs(self, *, random_state: Any) -> Any:
        """Return one draw; `random_state` is an integer seed."""


Drawable = Distribution | RandomVariates


def drawer(distribution: Drawable, seed: int, name: str) -> Callable[[int], object]:
    """Return the function from a point's index to the draw of one parameter.

    Cost: about 2 us per draw of flowlib's own distributions.
    """
    start = hashlib.blake2b(f"{seed}\0{name}\0".encode(), digest_size=8)

    def bits(index: int) -> int:
        counter = start.copy()
        counter.update(b"%d" % index)
        return int.from_bytes(counter.digest(), "big")

    if isinstance(distribution, Distribution):
        draw = distribution.draw
        return lambda index: draw((bits(index) >> 11) * 2.0**-53)
    rvs = distribution.rvs
    return lambda index: rvs(random_state=bits(index) >> 32)


def round_digits(value: float) -> float:
    """Return the value with 12 significant digits, so that a computed 0.1 is the literal 0.1.

    >>> round_digits(10**-1.0000000000000002)
    0.1
    """
    return float(f"{value:.12g}")


@attrs.frozen
class uniform:  # noqa: N801 (reads as a verb beside `grid` and `choice`)
    """Draw floats evenly between `low` and `high`.

    >>> uniform(0.0, 10.0).draw(0.25)
    2.5
    """

    low: float
    high: float

    def __attrs_post_init__(self) -> None:
        _check_ends("uniform", self.low, self.high)

    def draw(self, u: float) -> float:
        """Return the value at fraction `u` of the way from low to high."""
        return self.low + u * (self.high - self.low)


@attrs.frozen
class loguniform:  # noqa: N801
    """Draw floats between positive ends so that each factor of ten is equally likely.

    >>> loguniform(1e-4, 1.0).draw(0.5)
    0.01
    """

    low: float
    high: float

    def __attrs_post_init__(self) -> None:
        _check_ends("loguniform", self.low, self.high)
        if self.low <= 0:
            raise SpaceError(
                "loguniform needs positive ends.",
                {"low": self.low, "high": self.high},
                "Pass the ends themselves, not their exponents: loguniform(1e-5, 1e-1).",
            )

    def draw(self, u: float) -> float:
        """Return the value at fraction `u` of the way on a logarithmic scale."""
        bottom, top = math.log(self.low), math.log(self.high)
        return min(max(round_digits(math.exp(bottom + u * (top - bottom))), self.low), self.high)


@attrs.frozen
class randint:  # noqa: N801
    """Draw integers from `low` to `high`, both included (as `random.randint`, not as numpy).

    >>> randint(2, 12).draw(0.0), randint(2, 12).draw(0.9999)
    (2, 12)
    """

    low: int
    high: int

    def __attrs_post_init__(self) -> None:
        if not (_is_int(self.low) and _is_int(self.high)):
            raise SpaceError(
                "randint needs integer ends.",
                {"low": short_repr(self.low), "high": short_repr(self.high)},
                "Use uniform(low, high) for floats.",
            )
        _check_ends("randint", self.low, self.high)

    def draw(self, u: float) -> int:
        """Return the integer at fraction `u` of the range."""
        numerator, denominator = u.as_integer_ratio()  # exact: a float product would lose integers beyond 2**53
        return int(self.low) + numerator * (int(self.high) - int(self.low) + 1) // denominator


@attrs.frozen
class choice:  # noqa: N801
    """Draw one of the values; evenly, or with the given weights.

    >>> choice(["svm", "tree"]).draw(0.7), choice(["svm", "tree"], weights=[9, 1]).draw(0.7)
    ('tree', 'svm')
    """

    values: Sequence[object] = attrs.field(converter=tuple)
    weights: Sequence[float] | None = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(tuple)
    )

    def __attrs_post_init__(self) -> None:
        if not self.values:
            raise SpaceError("choice has no values.", {}, "Pass a list with at least one value.")
        if self.weights is None:
            return
        usable = all(weight >= 0 and math.isfinite(weight) for weight in self.weights) and sum(self.weights) > 0
        if len(self.weights) != len(self.values) or not usable:
            raise SpaceError(
                "choice needs one weight per value, none negative, not all zero.",
                {"values": len(self.values), "weights": short_repr(self.weights)},
                "Leave weights out to draw evenly.",
            )

    def draw(self, u: float) -> object:
        """Return the value whose share of [0, 1) holds `u`."""
        if self.weights is None:
            return self.values[int(u * len(self.values))]
        bounds = list(accumulate(self.weights))
        index = bisect_right(bounds, u * bounds[-1])
        return self.values[index if index < len(bounds) else bounds.index(bounds[-1])]


def logspace(low: float, high: float, n: int) -> list[float]:
    """Return `n` floats from `low` to `high`, each the same factor from the last; the ends are exact.

    Unlike numpy's, it takes the ends themselves, not exponents. Inner values are rounded to 12 significant digits, so
    they meet literals in the cache.

    Raises:
        SpaceError: An end is not positive, or `n` is less than 1.

    >>> logspace(1e-2, 1e2, 5)
    [0.01, 0.1, 1.0, 10.0, 100.0]
    """
    if not (0 < low < math.inf and 0 < high < math.inf):
        raise SpaceError(
            "logspace needs positive, finite ends.",
            {"low": low, "high": high},
            "Pass the ends themselves, not their exponents: logspace(1e-2, 1e2, 5).",
        )
    if not _is_int(n) or n < 1:
        raise SpaceError("logspace needs at least one value.", {"n": n}, "Pass n >= 1.")
    if n == 1:
        return [float(low)]
    bottom, top = math.log(low), math.log(high)
    inner = [round_digits(math.exp(bottom + (top - bottom) * i / (n - 1))) for i in range(1, n - 1)]
    return [float(low), *inner, float(high)]


def checked_distribution(name: str, candidate: object) -> Drawable:
    """Return the distribution for one parameter of `sample`; a list or tuple means `choice`.

    Raises:
        SpaceError: It has neither `.draw` nor `.rvs`.
    """
    if isinstance(candidate, list | tuple):
        return choice(candidate)
    if not isinstance(candidate, type) and isinstance(candidate, Distribution | RandomVariates):
        return candidate
    raise SpaceError(
        f"Parameter {name!r} of sample is not a distribution.",
        {"value": short_repr(candidate), "type": type(candidate).__name__},
        f"Use uniform, loguniform, randint or choice; for a fixed value multiply: sample(...) * grid({name}=[...]).",
    )


def checked_distributions(distributions: Mapping[str, object]) -> dict[str, Drawable]:
    """Return the distributions of `sample`, each checked."""
    if not distributions:
        raise SpaceError("sample has no distributions.", {}, "Name at least one: sample(20, lr=loguniform(1e-5, 0.1)).")
    return {name: checked_distribution(name, candidate) for name, candidate in distributions.items()}


def _check_ends(name: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise SpaceError(
            f"{name} needs finite ends, the lower one first.",
            {"low": low, "high": high},
            f"Write {name}(low, high).",
        )


def _is_int(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
