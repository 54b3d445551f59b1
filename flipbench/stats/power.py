"""How small a difference can be resolved, and how many seeds or users a given one takes."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from flipbench.stats.difference import Luck

POWER = 0.8
"""Chance of finding a difference that is called resolvable."""

EQUIVALENCE_LEVEL = 0.05
"""Level of each one-sided test behind an equivalence; its interval is therefore the 90 % one."""

MOST_SEEDS = 1000
MOST_USERS = 10**9


@dataclass(frozen=True)
class Reach:
    """The smallest differences that a test settles with probability :data:`POWER`, in the metric's unit.

    Attributes:
        difference: smallest true difference that is found.
        margin: smallest margin within which two rows without any true difference are shown to be equivalent.
        difference_at_best, margin_at_best: the same whatever the number of seeds; nan where they cannot be estimated:
            the runs of different seeds show no luck of the users in common, which does not mean that there is none.
    """

    difference: float
    difference_at_best: float
    margin: float
    margin_at_best: float


def reach(luck: Luck, seeds: int, alpha: float) -> Reach | None:
    """What a comparison of two rows can resolve; None where its runs do not tell.

    One seed tells nothing of the others; runs that are equal to the last bit show no luck of any kind.

    Args:
        seeds: how many of each row, at least two. alpha: two-sided, of the single test: a family's is divided already.
    """
    if luck.seeds is None or not (luck.users or luck.both or luck.seeds):
        return None
    return Reach(
        resolvable(luck, seeds, alpha),
        resolvable(luck, math.inf, alpha) if luck.users else math.nan,
        equivalence_margin(luck, seeds),
        equivalence_margin(luck, math.inf) if luck.users else math.nan,
    )


def resolvable(luck: Luck, seeds: float, alpha: float) -> float:
    """The smallest true difference that the declared test finds at ``alpha`` with probability :data:`POWER`.

    The test's error counts the luck of users and seed together twice, among the resampled users and among the seeds;
    the difference itself has it once. How far the seeds happen to lie apart moves error and degrees of freedom: their
    chi-squared is integrated over (with the expected error alone, three seeds at .001 would find it 7 times in 10).
    The other side, where the wrong row would be found the better one, is left out.
    """
    return _smallest(luck, seeds, alpha / 2, POWER, 1)


def equivalence_margin(luck: Luck, seeds: float) -> float:
    """The smallest margin within which the two one-sided tests would show rows without any difference to lie."""
    return _smallest(luck, seeds, EQUIVALENCE_LEVEL, (1 + POWER) / 2, 2)


@lru_cache(maxsize=1 << 14)
def _smallest(luck: Luck, seeds: float, level: float, power: float, sides: int) -> float:
    """What a test at ``level`` a side, of so many sides at once, finds with probability ``power`` a side."""
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr, roots_legendre, stdtrit

    if luck.seeds is None:
        raise ValueError("of one seed nothing is known about others")
    rows = math.hypot(luck.users, luck.both / math.sqrt(seeds))
    over_seeds = math.hypot(luck.seeds, luck.both) / math.sqrt(seeds)
    actual = math.hypot(luck.users, over_seeds)
    if rows == 0 or over_seeds == 0:  # one kind of luck alone
        return actual * noncentrality(luck.df if rows else seeds - 1, level, power) if actual else 0.0
    nodes, weights = roots_legendre(64)
    found = over_seeds * np.sqrt(chdtri(seeds - 1, (1 - nodes) / 2) / (seeds - 1))
    df = (rows**2 + found**2) ** 2 / (rows**4 / luck.df + found**4 / (seeds - 1))  # Satterthwaite
    limits = stdtrit(np.minimum(df, 1e9), 1 - level) * np.hypot(rows, found)

    def missing(distance: float) -> float:
        within = np.maximum(1 - sides * ndtr((limits - distance) / actual), 0)
        return float(weights @ within) / 2 - (1 - sides * (1 - power))

    return float(brentq(missing, 0, limits.max() + 10 * actual, rtol=1e-9))


def noncentrality(df: float, level: float, power: float) -> float:
    """The true value, in standard errors, that a one-sided t-test at ``level`` finds with probability ``power``.

    Args:
        df: degrees of freedom; may be infinite.
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    if df > 1e6:
        return float(ndtri(power) - ndtri(level))
    return float(nctdtrinc(df, 1 - power, stdtrit(df, 1 - level)))


def seeds_for(luck: Luck, difference: float, alpha: float) -> int | None:
    """The fewest seeds, two or more, with which ``difference`` is resolvable; None over :data:`MOST_SEEDS`."""
    counts = range(2, MOST_SEEDS + 1)
    index = bisect_left(counts, True, key=lambda n: resolvable(luck, n, alpha) <= difference)
    return counts[index] if index < len(counts) else None


def users_for(luck: Luck, users: int, seeds: float, difference: float, alpha: float) -> int | None:
    """The fewest test users like these with whom ``difference`` is resolvable; None over :data:`MOST_USERS`.

    Looked for in steps of a tenth, then between the last two: with few seeds, more users can resolve less, since
    Satterthwaite's degrees of freedom fall to those of the seeds.

    Args:
        luck: with ``users`` of them. seeds: how many, or infinite.
    """

    def enough(count: int) -> bool:
        return resolvable(with_users(luck, users, count), seeds, alpha) <= difference

    below, count = 1, 2
    while not enough(count):
        if count == MOST_USERS:
            return None
        below, count = count, min(MOST_USERS, count + 1 + count // 10)
    between = range(below + 1, count + 1)
    return between[bisect_left(between, True, key=enough)]


def with_users(luck: Luck, users: int, others: int) -> Luck:
    """The luck of a comparison on a test set of ``others`` users instead of ``users``."""
    share = math.sqrt(users / others)
    df = luck.df if math.isinf(luck.df) else others - 1
    return replace(luck, users=luck.users * share, both=luck.both * share, df=df)
