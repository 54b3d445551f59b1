"""Is a mean equal to a printed value, up to a margin declared beforehand? And how many seeds would tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from flipbench.stats.difference import Difference, noncentral_t_tail, satterthwaite, t_difference, t_quantile, t_tail

VERDICT_LEVEL = 0.05
"""Level of each one-sided test behind a verdict; its interval is therefore the 90 % one."""

POWER = 0.8
MOST_SEEDS = 1000

Outcome = Literal["reproduced", "better", "worse", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What several runs say of a number in the paper.

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
    p, low, high = tost(sample, [printed] * n, margin, paired=True)
    outcome: Outcome = "inconclusive"
    if p < VERDICT_LEVEL:
        outcome = "reproduced"
    elif low > margin or high < -margin:
        outcome = "better" if (difference > 0) == higher_is_better else "worse"
    return Verdict(outcome, difference, low, high, p, margin, n, seeds_needed(spread, difference, margin))


def tost(a: Sequence[float], b: Sequence[float], margin: float, paired: bool) -> tuple[float, float, float]:
    """Two one-sided tests that the means of ``a`` and ``b`` differ by less than ``margin``.

    Args:
        paired: of the differences (equal lengths; ``b`` may repeat a constant: one sample); else Welch's two-sample.

    Returns:
        p, the larger of the two; and the 90 % interval of mean(a) - mean(b): p < .05 exactly where it lies
        within the margin.

    Raises:
        ValueError: fewer than two values, or none of them differs from another: t has no value then.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("an equivalence test needs two or more runs")
    if paired:
        differences = [x - y for x, y in zip(a, b, strict=True)]
        error, df = stdev(differences) / math.sqrt(len(a)), float(len(a) - 1)
    else:
        errors = [stdev(sample) / math.sqrt(len(sample)) for sample in (a, b)]
        error, df = math.hypot(*errors), satterthwaite(errors[0], len(a) - 1, errors[1], len(b) - 1)
    if error == 0:
        raise ValueError("an equivalence test needs runs that differ")
    mean = fmean(a) - fmean(b)
    p = t_tail((margin - abs(mean)) / error, df)
    reach = t_quantile(1 - VERDICT_LEVEL, df) * error
    return p, mean - reach, mean + reach


def seeds_needed(spread: float, difference: float, margin: float, power: float = POWER) -> int | None:
    """The fewest seeds that would give a verdict with probability ``power``; None over 1,000.

    Inside the margin: the power of TOST, P(T < -t, T' > t) by Bonferroni's inequality, T and T' noncentral t
    (Phillips, J. Pharmacokin. 18, 1990). Beyond it: that of the one-sided test against the margin.

    Args:
        spread: standard deviation over seeds. difference: assumed true one. margin: > 0.
    """

    def reached(n: int) -> bool:
        critical, scale = t_quantile(1 - VERDICT_LEVEL, n - 1), spread / math.sqrt(n)
        if abs(difference) >= margin:
            return noncentral_t_tail(critical, n - 1, (abs(difference) - margin) / scale) >= power
        sides = [noncentral_t_tail(critical, n - 1, (margin + side * difference) / scale) for side in (-1, 1)]
        return sum(sides) - 1 >= power

    if not reached(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # the power grows with n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def paired_t(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Student's paired t-test over seeds (same seeds, same test set), two-sided.

    Raises:
        ValueError: unequal lengths, fewer than two pairs, or seeds that agree to the last bit: they are one run.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(set(differences)) < 2:
        raise ValueError("a paired t-test needs two or more seeds that differ")
    error = stdev(differences) / math.sqrt(len(differences))
    return t_difference(fmean(differences), error, len(differences) - 1, "paired-t")
