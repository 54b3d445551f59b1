"""A difference, its interval and its p-value: what every comparison here ends in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import variance

LEVEL = 0.95
"""Of every interval of a difference."""


@dataclass(frozen=True)
class Luck:
    """Why one seed's difference between two rows is not the true one: standard deviations in the metric's unit.

    Attributes:
        users: which users the test set has, in the mean over all seeds that there could be.
        both: users and seed together: whom one seed's runs happen to suit; it falls with seeds and with users.
        seeds: the seed alone, on all users that there could be; None where only one is known: ``users`` then has
            ``both`` in it.
        df: degrees of freedom of ``users`` and ``both``.
    """

    users: float
    both: float
    seeds: float | None
    df: float


def luck_of(per_seed: Sequence[float], each: float, mean: float, df: float) -> Luck:
    """What several seeds tell of each kind of luck.

    A seed's difference has variance users² + both² over test sets, the mean of S seeds users² + both²/S, and the seeds
    on one test set vary by both² + seeds². An estimate below 0 is 0: it then says that none was seen, not that there is
    none.

    Args:
        per_seed: differences of S seeds. each, mean: the standard error over test sets of one, and of their mean.
        df: of these.
    """
    seeds = len(per_seed)
    if seeds == 1:
        return Luck(mean, 0.0, None, df)
    users = max(seeds * mean**2 - each**2, 0.0) / (seeds - 1)
    both = max(each**2 - users, 0.0)
    return Luck(math.sqrt(users), math.sqrt(both), math.sqrt(max(variance(per_seed) - both, 0.0)), df)


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
        luck: what moves it.
    """

    value: float
    error: float
    df: float
    low: float
    high: float
    p: float
    test: str
    adjusted: float | None = None
    luck: Luck | None = None

    def within(self, adjusted: float) -> "Difference":
        return replace(self, adjusted=adjusted)


def t_difference(value: float, error: float, df: float, test: str) -> Difference:
    """Student's two-sided test and interval of an estimate with a standard error; the normal's where df is infinite.

    A difference without any error is certain, and no difference is none.
    """
    from scipy.stats import t

    reach = float(t.ppf((1 + LEVEL) / 2, df)) * error
    standardised = 0.0 if abs(value) < 1e-15 else abs(value) / error if error else math.inf
    return Difference(value, error, df, value - reach, value + reach, 2 * float(t.sf(standardised, df)), test)


def satterthwaite(first: float, df: float, second: float, other: float) -> float:
    """Degrees of freedom of a sum of two independent variance estimates, given as standard errors."""
    parts = [(e**4 / d) for e, d in ((first, df), (second, other)) if e > 0]
    total = sum(parts)
    return (first**2 + second**2) ** 2 / total if total > 0 else math.inf


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scand. J. Stat. 6, 1979): p-values that bound the chance of any false alarm.

    Args:
        p: in [0, 1], in any order, as is the result; may be empty.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted: list[float] = multipletests(p, method="holm")[1].tolist() if p else []
    return adjusted
