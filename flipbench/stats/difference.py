"""A difference, its interval and its p-value: what every comparison here ends in."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from flipbench.stats.delong import standardised

LEVEL = 0.95
"""Of every interval of a difference."""


@dataclass(frozen=True)
class Difference:
    """One metric's difference between two methods.

    Attributes:
        value: first minus second, in the metric's unit.
        error: its standard error. df: Student's degrees of freedom; infinite for a normal test.
        low, high: 95 % confidence interval.
        p: two-sided.
        test: which test it is of.
        adjusted: p after Holm over the family it was tested in; None outside a family.
    """

    value: float
    error: float
    df: float
    low: float
    high: float
    p: float
    test: str
    adjusted: float | None = None

    def within(self, adjusted: float) -> "Difference":
        return replace(self, adjusted=adjusted)


def t_difference(value: float, error: float, df: float, test: str) -> Difference:
    """Student's two-sided test and interval of an estimate with a standard error."""
    reach = t_quantile((1 + LEVEL) / 2, df) * error
    p = 2 * t_tail(abs(standardised(value, error)), df)
    return Difference(value, error, df, value - reach, value + reach, min(1.0, p), test)


def t_tail(t: float, df: float) -> float:
    """P(T > t) of Student's t; of the normal where ``df`` is infinite.

    The normal's without scipy, which takes longer to import than all tests of a table.
    """
    if math.isinf(df):
        return math.erfc(t / math.sqrt(2)) / 2
    from scipy.special import stdtr

    return float(stdtr(df, -t))


def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, of Student's t; of the normal where ``df`` is infinite."""
    if math.isinf(df):
        return NormalDist().inv_cdf(p)
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def noncentral_t_tail(t: float, df: float, shift: float) -> float:
    """P(T > t) of the noncentral t with noncentrality ``shift`` >= 0: the power of a one-sided test."""
    from scipy.special import nctdtr

    below = float(nctdtr(df, shift, t))
    return 1.0 if math.isnan(below) else 1 - below  # it has no value where that is 1 to the last bit


def satterthwaite(first: float, df: float, second: float, other: float) -> float:
    """Degrees of freedom of a sum of two independent variance estimates, given as standard errors."""
    parts = [(e**4 / d) for e, d in ((first, df), (second, other)) if e > 0]
    total = sum(parts)
    return (first**2 + second**2) ** 2 / total if total > 0 else math.inf
