"""Is a mean equal to a printed value, up to a margin declared beforehand? How many seeds are needed to decide it?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from flipbench.stats.difference import Difference, t_difference
from flipbench.stats.power import EQUIVALENCE_LEVEL, MOST_SEEDS, POWER, Reach

PRINTED_RUNS = 1
"""Seeds behind a number of the paper's: its released code has one, and the text tells of no other."""

Outcome = Literal["reproduced", "better", "worse", "inconclusive", "out-of-reach"]


@dataclass(frozen=True)
class Verdict:
    """Whether several runs reproduce a number in the paper, on the test rows that both are of.

    Attributes:
        outcome: ``reproduced`` (inside the margin), ``better`` or ``worse`` (beyond it); else ``inconclusive``, or
            ``out-of-reach`` where endless seeds of ours, at the spread and difference seen, would not settle it.
        difference: ours minus the paper's.
        low, high: its 90 % interval over seeds, ours and the paper's; None for one seed, which has no spread.
        p: of the equivalence test: the chance of such runs if the true difference were at the margin or beyond.
        margin: differences smaller than this count as none.
        seeds: runs it is from.
        seeds_needed: runs for power .8, at the spread and difference seen; None where unknown, or over 1,000.
        reach: how far our mean over endless seeds must lie from the printed value to be called better or worse, and
            the smallest margin within which a mean that equals it would be called reproduced; None for one seed.
    """

    outcome: Outcome
    difference: float
    low: float | None
    high: float | None
    p: float | None
    margin: float
    seeds: int
    seeds_needed: int | None
    reach: Reach | None = None


def verdict(sample: Sequence[float], printed: float, margin: float, higher_is_better: bool) -> Verdict:
    """Two one-sided t-tests of the runs' mean against a printed value (Schuirmann, J. Pharmacokin. 15, 1987).

    ``reproduced``: both reject "off by the margin or more" at 5 %. ``better`` or ``worse``: the 90 % interval lies
    wholly beyond the margin. The printed value is :data:`PRINTED_RUNS` run whose seed moves it as much as ours do; no
    seed of ours takes that away. The test rows are the same on both sides and count as given. ``out-of-reach``: at the
    spread seen endless seeds could show no equivalence, however small the difference, and the one seen is too small
    for them to call. One seed, or seeds that agree to the last bit (one run under
    several names), are ``inconclusive``.

    Args:
        sample: one metric value a seed. printed: the paper's. margin: > 0, same unit.
    """
    difference, n = fmean(sample) - printed, len(sample)
    spread = stdev(sample) if n > 1 else 0.0
    if spread == 0:
        return Verdict("inconclusive", difference, None, None, None, margin, n, None)
    p, low, high = tost([value - printed for value in sample], margin, PRINTED_RUNS)
    can = _reach(spread, n, margin)
    outcome: Outcome = "inconclusive"
    if p < EQUIVALENCE_LEVEL:
        outcome = "reproduced"
    elif low > margin or high < -margin:
        outcome = "better" if (difference > 0) == higher_is_better else "worse"
    elif can.margin_at_best >= margin and abs(difference) <= can.difference_at_best:
        outcome = "out-of-reach"
    needed = seeds_needed(spread, difference, margin, PRINTED_RUNS)
    return Verdict(outcome, difference, low, high, p, margin, n, needed, can)


def _reach(spread: float, seeds: int, margin: float) -> Reach:
    from scipy.special import nctdtrinc, ndtri

    error, critical = spread / math.sqrt(seeds), _critical(seeds, PRINTED_RUNS)
    beyond, within = (error * float(nctdtrinc(seeds - 1, 1 - p, critical)) for p in (POWER, (1 + POWER) / 2))
    at_best = spread / math.sqrt(PRINTED_RUNS) * float(-ndtri(EQUIVALENCE_LEVEL))
    return Reach(margin + beyond, margin + at_best, within, at_best)


def _critical(seeds: Any, others: float) -> Any:
    """The least t, in standard errors of our mean, at which one of the two tests rejects."""
    from scipy.special import stdtrit

    return stdtrit(seeds - 1, 1 - EQUIVALENCE_LEVEL) * np.sqrt(1 + seeds / others)


def tost(differences: Sequence[float], margin: float, others: float = math.inf) -> tuple[float, float, float]:
    """Two one-sided t-tests that a mean difference is smaller than ``margin``.

    Args:
        differences: one a seed, of two methods or of a run and a constant. margin: > 0, same unit.
        others: runs behind the constant, which move it as the seeds do; infinite: it is exact.

    Returns:
        p, the larger of the two; and the 90 % interval of the mean: p < .05 exactly where it lies within the margin.

    Raises:
        ValueError: fewer than two values, or none of them differs from another: t has no value then.
    """
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        raise ValueError("an equivalence test needs two or more runs")
    if len(set(differences)) < 2:  # rounding would give them a spread
        raise ValueError("an equivalence test needs runs that differ")
    mean, error = fmean(differences), stdev(differences) * math.sqrt(1 / n + 1 / others)
    half = error * float(t.isf(EQUIVALENCE_LEVEL, n - 1))
    return float(t.sf((margin - abs(mean)) / error, n - 1)), mean - half, mean + half


def seeds_needed(spread: float, difference: float, margin: float, others: float = math.inf) -> int | None:
    """The fewest seeds that would give a verdict with probability :data:`POWER`; None over 1,000.

    Inside the margin: the power of TOST, P(T < -t, T' > t) by Bonferroni's inequality, T and T' noncentral t
    (Phillips, J. Pharmacokin. 18, 1990). Beyond it: that of the one-sided test against the margin. The constant has
    been drawn already: its luck is in the tests' error, but only our mean is yet to move.

    Args:
        spread: standard deviation over seeds. difference: assumed true one of our mean from the constant. margin: > 0.
        others: as for :func:`tost`.
    """
    from scipy.special import nctdtr

    n = np.arange(2, MOST_SEEDS + 1)
    off = abs(difference)
    distances = [off - margin] if off >= margin else [margin - off, margin + off]
    # scipy.stats.nct warns where the noncentral t has no value: there nothing is left below the critical t
    below = [nctdtr(n - 1, d * np.sqrt(n) / spread, _critical(n, others)) for d in distances]
    enough = np.flatnonzero(1 - np.nan_to_num(below).sum(axis=0) >= POWER)
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
