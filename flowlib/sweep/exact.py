"""Exact sums of floats, so that a mean does not depend on the order of its summands.

Theory of operation: every finite float is a whole multiple of 2**-1074, so a sum of floats is one Python integer that
counts these, and a sum of squares counts 2**-2148. Integers add exactly in any order, in bounded memory (a few hundred
bytes), as fast as `math.fsum` needs per item; rounding happens once, at the end.
"""

import math
from fractions import Fraction

_BITS = 1074
_INFINITIES = (math.inf, -math.inf)


def to_units(value: int | float) -> int:
    """Return a finite number as a count of 2**-1074.

    >>> from_units(to_units(0.1) + to_units(0.2) + to_units(-0.3)) == Fraction(0.1) + Fraction(0.2) - Fraction(0.3)
    True
    """
    numerator, shift = _split(value)
    return numerator << shift


def _split(value: int | float) -> tuple[int, int]:
    """Return a short integer and how far to shift it left to count 2**-1074; multiply before shifting."""
    numerator, denominator = value.as_integer_ratio()
    return numerator, _BITS + 1 - denominator.bit_length()


def from_units(units: int, power: int = 1) -> Fraction:
    """Return the exact number that a count of 2**-1074 (to a power) stands for."""
    return Fraction(units, 1 << (_BITS * power))


def to_float(value: Fraction) -> float:
    """Return the nearest float; infinite if the value is beyond the largest float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _as_float(value: int | float) -> float:
    return value + 0.0 if isinstance(value, float) else to_float(Fraction(value))  # -0.0 + 0.0 is 0.0


def root(value: Fraction) -> float:
    """Return the square root of an exact number, right to the last bit or one beside it.

    Works where the value itself is too large or too small for a float.

    >>> root(Fraction(2)) == 2**0.5, root(Fraction(1, 10**400))
    (True, 1e-200)
    """
    if value <= 0:
        return 0.0
    numerator, denominator = value.as_integer_ratio()
    shift = 2 * ((130 - numerator.bit_length() + denominator.bit_length()) // 2)
    scaled = numerator << shift if shift >= 0 else numerator >> -shift
    return to_float(Fraction(math.isqrt(scaled // denominator)) / Fraction(2) ** (shift // 2))


class Moments:
    """Count, sum, sum of squares and extremes of numbers, with or without weights; exact, in any order.

    Without weights, sums are counted in the finest unit that a number so far needed, so the integers stay short.

    Cost: about 0.5 us per number without weights.
    """

    __slots__ = (
        "_is_weighted",
        "_max",
        "_min",
        "_minus",
        "_nan",
        "_per_one",
        "_plus",
        "_sum",
        "_sum_of_squares",
        "_weight",
        "_weight_of_squares",
        "n",
    )

    def __init__(self, *, is_weighted: bool = False) -> None:
        self.n = 0
        self._is_weighted = is_weighted
        self._min: int | float = math.inf
        self._max: int | float = -math.inf
        self._per_one = 1
        """How many units make 1, without weights; a power of two."""
        self._sum = self._sum_of_squares = self._weight = self._weight_of_squares = 0
        self._nan = self._plus = self._minus = False

    def add(self, value: int | float) -> None:
        """Take one number of a sum without weights."""
        if value - value:  # 0 for finite numbers, NaN for the others
            self._take_special(value)
            return
        self.n += 1
        if value < self._min:
            self._min = value
        if value > self._max:
            self._max = value
        numerator, denominator = value.as_integer_ratio()
        per_one = self._per_one
        if denominator > per_one:
            finer = denominator // per_one
            self._per_one = denominator
            self._sum *= finer
            self._sum_of_squares *= finer * finer
        elif denominator < per_one:
            numerator *= per_one // denominator
        self._sum += numerator
        self._sum_of_squares += numerator * numerator

    def add_weighted(self, value: int | float, weight: int | float) -> None:
        """Take one number of a weighted sum; the weight is finite and not negative."""
        factor, offset = _split(weight)
        self._weight += factor << offset
        self._weight_of_squares += factor * factor << 2 * offset
        if value != value or value in _INFINITIES:
            self._take_special(value)
            return
        self.n += 1
        self._min = min(self._min, value)
        self._max = max(self._max, value)
        numerator, shift = _split(value)
        self._sum += factor * numerator << (offset + shift)
        self._sum_of_squares += factor * numerator * numerator << (offset + 2 * shift)

    def _take_special(self, value: int | float) -> None:
        """Count a number that no sum can hold."""
        self.n += 1
        if value != value:
            self._nan = True
            return
        self._min = min(self._min, value)
        self._max = max(self._max, value)
        self._plus |= value > 0
        self._minus |= value < 0

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest number as floats, so that equal numbers of two types are one result."""
        return _as_float(self._min), _as_float(self._max)

    def summary(self) -> tuple[float, float, float]:
        """Return mean, standard deviation (one degree of freedom less) and standard error of the mean.

        With weights, they are the weighted mean and its unbiased counterparts for reliability weights. NaN where there
        is no answer: for no numbers, with NaN among them, and the deviations of infinite or single numbers.
        """
        special = self._special_mean()
        if special is not None:
            return special, math.nan, math.nan
        weighted = self._is_weighted
        weight = from_units(self._weight) if weighted else Fraction(self.n)
        squares = from_units(self._weight_of_squares, 2) if weighted else Fraction(self.n)
        total, of_squares = self._sum, self._sum_of_squares
        one = self._per_one
        mean = (from_units(total, 2) if weighted else Fraction(total, one)) / weight
        spread = (from_units(of_squares, 3) if weighted else Fraction(of_squares, one * one)) - mean * mean * weight
        freedom = weight - squares / weight
        if freedom <= 0:
            return to_float(mean), math.nan, math.nan
        variance = spread / freedom
        return to_float(mean), root(variance), root(variance * squares / (weight * weight))

    def _special_mean(self) -> float | None:
        is_empty = self.n == 0 or (self._is_weighted and self._weight == 0)
        if self._nan or is_empty or (self._plus and self._minus):
            return math.nan
        if self._plus or self._minus:
            return math.inf if self._plus else -math.inf
        return None
