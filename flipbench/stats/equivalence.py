"""Is a mean equal to a printed value, up to a margin declared beforehand? How many seeds are needed to decide it?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

import numpy as np

from flipbench.stats.difference import Difference, t_difference

VERDICT_LEVEL = 0.05
"""Level of each one-sided test behind a verdict; its interval is therefore the 90 % one."""

POWER = 0.8
MOST_SEEDS = 1000

Outcome = Literal["reproduced", "better", "worse", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """Whether several runs reproduce a number in the paper.

    Attributes:
        outcome: ``reproduced`` (inside the margin), ``better`` or ``worse`` (beyond it), else ``inconclusive``.
        difference: ours minus the paper's.
        low, high: its 90 % interval over seeds; None for one seed, which has no spread.
        p: of the equivalence test: the chance of such runs if the true difference were at the margin or beyond.
        margin: differences smaller than this count as none.
        seeds: runs it is from.
        seeds_needed: runs for power .8, at the spread and difference seen; None where unknown, or over 1,000.
    """

    outcome: Outcome
    difference: float
    low: float | None
    high: float | None
    p: float | None
    margin: float
    seeds: int
    seeds_needed: int | None


def verdict(sample: Sequence[float], printed: float, margin: float, higher_is_better: bool) -> Verdict:
    """Two one-sided t-tests of the runs' mean against a printed value (Schuirmann, J. Pharmacokin. 15, 1987).

    ``reproduced``: both reject "off by the margin or more" at 5 %. ``better`` or ``worse``: the 90 % interval lies
    wholly beyond the margin. The printed value counts as exact: the paper gives no spread. One seed, or seeds that
    agree to the last bit (one run under several names), are ``inconclusive``.

    Args:
        sample: one metric value a seed. printed: the paper's. margin: > 0, same unit.
    """
    difference, n = fmean(sample) - printed, len(sample)
    spread = stdev(sample) if n > 1 else 0.0
    if spread == 0:
        return Verdict("inconclusive", difference, None, None, None, margin, n, None)
    p, low, high = tost([value - printed for value in sample], margin)
    outcome: Outcome = "inconclusive"
    if p < VERDICT_LEVEL:
        outcome = "reproduced"
    elif low > margin or high < -margin:
        outcome = "better" if (difference > 0) == higher_is_better else "worse"
    return Verdict(outcome, difference, low, high, p, margin, n, seeds_needed(spread, difference, margin))


def tost(differences: Sequence[float], margin: float) -> tuple[float, float, float]:
    """Two one-sided t-tests that a mean difference is smaller than ``margin``.

    Args:
        differences: one a seed, of two methods or of a run and a constant. margin: > 0, same unit.

    Returns:
        p, the larger of the two; and the 90 % interval of the mean: p < .05 exactly where it lies within the margin.

    Raises:
        ValueError: fewer than two values, or none of them differs from another: t has no value then.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    if len(differences) < 2:
        raise ValueError("an equivalence test needs two or more runs")
    if len(set(differences)) < 2:  # rounding would give them a spread
        raise ValueError("an equivalence test needs runs that differ")
    sample = DescrStatsW(differences)
    low, high = sample.tconfint_mean(2 * VERDICT_LEVEL)
    return float(sample.ttost_mean(-margin, margin)[0]), float(low), float(high)


def seeds_needed(spread: float, difference: float, margin: float, power: float = POWER) -> int | None:
    """The fewest seeds that would give a verdict with probability ``power``; None over 1,000.

    Inside the margin: the power of TOST, P(T < -t, T' > t) by Bonferroni's inequality, T and T' noncentral t
    (Phillips, J. Pharmacokin. 18, 1990). Beyond it: that of the one-sided test against the margin.

    Args:
        spread: standard deviation over seeds. difference: assumed true one. margin: > 0.
    """
    from scipy.special import nctdtr, stdtrit

    n = np.arange(2, MOST_SEEDS + 1)
    off = abs(difference)
    distances = [off - margin] if off >= margin else [margin - off, margin + off]
    # scipy.stats.nct warns where the noncentral t has no value: there nothing is left below the critical t
    below = [nctdtr(n - 1, d * np.sqrt(n) / spread, stdtrit(n - 1, 1 - VERDICT_LEVEL)) for d in distances]
    enough = np.flatnonzero(1 - np.nan_to_num(below).sum(axis=0) >= power)
    return int(n[enough[0]]) if len(enough) else None


def paired_t(differences: Sequence[float]) -> Difference:
    """Student's paired t-test, two-sided, of differences over seeds (same seeds, same test set).

    Raises:
        ValueError: fewer than two, or seeds that agree to the last bit: they are one run.
    """
    if len(set(differences)) < 2:
        raise ValueError("a paired t-test needs two or more seeds that differ")
    error = stdev(differences) / math.sqrt(len(differences))
    return t_difference(fmean(differences), error, len(differences) - 1, "paired-t")
