"""A difference, its interval and its p-value: what every comparison here ends in."""

from dataclasses import dataclass, replace

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
    from scipy.stats import t

    reach = float(t.ppf((1 + LEVEL) / 2, df)) * error
    p = float(2 * t.sf(abs(standardised(value, error)), df))
    return Difference(value, error, df, value - reach, value + reach, min(1.0, p), test)
