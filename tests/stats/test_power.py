"""The smallest resolvable difference: found at the stated rate where users are unequal, and its properties."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm, t
from statsmodels.stats.power import TTestPower

from flipbench.stats.bootstrap import bootstrap_metrics
from flipbench.stats.compare import compare, compare_resampled
from flipbench.stats.difference import Luck, luck_of
from flipbench.stats.power import equivalence_margin, noncentrality, reach, resolvable, seeds_for, users_for, with_users

USERS, SEEDS, ALPHA = 100, 4, 0.05


def compared(random, gain, own, both, seed, seeds=SEEDS):
    """The test of two rows on users with log-normal numbers of rows.

    Each user suits each row more or less (``own``), each seed of it more or less (``both``), and each seed is more or
    less lucky (``seed``); ``gain`` parts the first row's clicks that much further, and the second's less.
    """
    groups = np.repeat(np.arange(USERS), 1 + random.lognormal(1.0, 0.8, USERS).astype(int))
    y = random.random(len(groups)) < 0.5
    noise = random.normal(size=len(groups))
    resampled = []
    for further in (gain, -gain):
        ease = own * random.normal(size=USERS) + both * random.normal(size=(seeds, USERS))
        luck = seed * random.normal(size=(seeds, 1))
        logits = y * (1 + further + luck + ease[:, groups]) + noise
        resampled.append(bootstrap_metrics(y, logits, groups, resamples=100))
    return compare_resampled("auc", *resampled)


@pytest.mark.parametrize(("own", "both", "seed"), [(0.3, 0.1, 0.05), (0.1, 0.4, 0.1)])
def test_the_smallest_resolvable_difference_is_found_at_the_stated_rate(own, both, seed):
    random = np.random.default_rng(3)
    nature = own, both, seed
    pilots = [compared(random, 0.0, *nature, seeds=10).luck for _ in range(30)]
    mean = {n: math.sqrt(np.mean([getattr(luck, n) ** 2 for luck in pilots])) for n in ("users", "both", "seeds")}
    can = reach(Luck(df=USERS - 1, **mean), SEEDS, ALPHA)
    scale = math.sqrt(2 + own**2 + both**2 + seed**2)  # of a click's score less another row's: AUC = Phi(1 / scale)
    gain = brentq(lambda g: norm.cdf((1 + g) / scale) - norm.cdf((1 - g) / scale) - can.difference, 0, 1)
    found = [compared(random, gain, *nature).p < ALPHA for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)
    equal = [compared(random, 0.0, *nature) for _ in range(200)]
    within = [abs(d.value) + t.isf(0.05, d.df) * d.error < can.margin for d in equal]
    assert np.mean(within) == pytest.approx(0.8, abs=0.06)
    assert np.mean([d.p < ALPHA for d in equal]) < 0.09
    assert can.difference_at_best < can.difference


@pytest.mark.parametrize(("seeds", "alpha"), [(3, 0.001 / 10), (5, 0.001 / 4)])
def test_the_rate_holds_at_the_level_that_suites_declare(seeds, alpha):
    """On the test's own formula, the luck known: 20,000 test sets with so many seeds."""
    random, df, n = np.random.default_rng(4), 1213, 20_000
    luck = Luck(users=0.0005, both=0.0014, seeds=0.0012, df=df)
    rows = math.hypot(luck.users, luck.both / math.sqrt(seeds))
    each = random.normal(0.0, math.hypot(luck.seeds, luck.both), (n, seeds))
    found = each.std(axis=1, ddof=1) / math.sqrt(seeds)
    resampled = rows * np.sqrt(random.chisquare(df, n) / df)
    freedom = (resampled**2 + found**2) ** 2 / (resampled**4 / df + found**4 / (seeds - 1))
    value = resolvable(luck, seeds, alpha) + random.normal(0.0, luck.users, n) + each.mean(axis=1)
    assert np.mean(2 * t.sf(value / np.hypot(resampled, found), freedom) < alpha) == pytest.approx(0.8, abs=0.012)


def test_each_kind_of_luck_is_told_from_the_others():
    luck = luck_of(
        [0.1, 0.3, 0.2], each=0.05, mean=0.04, df=9
    )  # users^2 + both^2 = .0025, users^2 + both^2 / 3 = .0016
    assert (luck.users**2, luck.both**2, luck.seeds**2) == pytest.approx((0.00115, 0.00135, 0.01 - 0.00135))
    assert luck_of([0.1, 0.1], each=0.05, mean=0.01, df=9) == Luck(0.0, 0.05, 0.0, 9), "no estimate is below 0"
    assert luck_of([0.1], each=0.05, mean=0.05, df=9) == Luck(0.05, 0.0, None, 9)
    assert reach(Luck(0.05, 0.0, None, 9), 3, 0.05) is None
    assert reach(Luck(0.0, 0.0, 0.0, 9), 3, 0.05) is None, "equal to the last bit"
    unseen = reach(Luck(0.0, 0.05, 0.01, 9), 3, 0.05)
    assert unseen.difference > unseen.margin > 0
    assert math.isnan(unseen.difference_at_best)
    assert math.isnan(unseen.margin_at_best), "no luck of the users was seen, which is not to say that there is none"
    with pytest.raises(ValueError, match="one seed"):
        resolvable(Luck(0.05, 0.0, None, 9), 3, 0.05)


@pytest.mark.parametrize("test", ["user-bootstrap", "delong"])
@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_what_the_runs_of_a_test_show_of_luck(test, metric):
    """Models of independent noise share no luck of users from seed to seed; one model under three names, all of it."""
    random = np.random.default_rng(8)
    groups = np.repeat(np.arange(300), 4)
    y = random.random(1200) < 0.5
    own = [y + random.normal(size=1200) for _ in range(6)]
    lucky = compare(test, metric, y, own[:3], own[3:], groups).luck
    fixed = compare(test, metric, y, [own[0]] * 3, [own[1]] * 3, groups).luck
    assert lucky.users < lucky.both
    assert fixed.both == pytest.approx(0, abs=1e-9)
    assert fixed.users == pytest.approx(math.hypot(lucky.users, lucky.both), rel=0.15)


def test_paired_t_knows_of_seeds_alone():
    random = np.random.default_rng(8)
    y = random.random(200) < 0.5
    a, b = ([y + random.normal(size=200) for _ in range(3)] for _ in "ab")
    found = compare("paired-t", "auc", y, a, b, np.arange(200))
    assert found.luck == Luck(0.0, 0.0, pytest.approx(found.error * math.sqrt(3)), math.inf)
    assert resolvable(found.luck, 3, 0.01) == pytest.approx(found.error * noncentrality(2, 0.005, 0.8))
    assert resolvable(found.luck, math.inf, 0.01) == 0.0


@pytest.mark.parametrize(("n", "alpha", "power"), [(3, 0.05, 0.8), (10, 0.001, 0.8), (400, 0.01, 0.9)])
def test_power_agrees_with_statsmodels(n, alpha, power):
    effect = TTestPower().solve_power(nobs=n, alpha=alpha, power=power)
    assert noncentrality(n - 1, alpha / 2, power) == pytest.approx(effect * math.sqrt(n), rel=1e-4)


def test_power_of_the_normal():
    assert noncentrality(math.inf, 0.0005, 0.8) == pytest.approx(4.1321, abs=1e-4)
    assert noncentrality(9e5, 0.0005, 0.8) == pytest.approx(noncentrality(2e6, 0.0005, 0.8), rel=1e-5)
    assert resolvable(Luck(0.001, 0.0, 0.0, math.inf), 5, 0.001) == pytest.approx(0.0041321, abs=1e-6)
    assert equivalence_margin(Luck(0.001, 0.0, 0.0, math.inf), 5) == pytest.approx(0.0029264, abs=1e-6)


sds = st.floats(1e-4, 0.1)
lucks = st.builds(Luck, users=sds, both=sds | st.just(0.0), seeds=sds | st.just(0.0), df=st.just(99))


@settings(max_examples=60, deadline=None)
@given(lucks, st.integers(2, 40), st.integers(2, 5000), st.sampled_from([0.05, 0.001]))
def test_more_seeds_and_more_users_resolve_more(luck, seeds, users, alpha):
    now, at_best = resolvable(luck, seeds, alpha), resolvable(luck, math.inf, alpha)
    slack = 1.01  # beside the seeds' error, that of the users counts as known
    assert at_best <= resolvable(luck, seeds + 1, alpha) * slack <= now * slack**2
    for count in (math.inf, seeds):  # few seeds that move by themselves leave the test fewer degrees of freedom
        still = replace(luck, seeds=0.0)
        fewer, more = (resolvable(with_users(still, 100, n), count, alpha) for n in (users, users + 1 + users // 10))
        assert more <= fewer * slack
    assert equivalence_margin(luck, seeds + 1) <= equivalence_margin(luck, seeds) * slack
    assert resolvable(luck, seeds, alpha / 2) >= now


@settings(max_examples=30, deadline=None)
@given(lucks, st.floats(0.3, 3.0))
def test_the_seeds_and_users_needed_are_the_fewest(luck, times):
    difference = times * resolvable(luck, 5, 0.01)
    seeds = seeds_for(luck, difference, 0.01)
    assert (seeds is None) == (resolvable(luck, 1000, 0.01) > difference)
    if seeds and seeds > 2:
        assert resolvable(luck, seeds, 0.01) <= difference < resolvable(luck, seeds - 1, 0.01)
    users = users_for(luck, 100, 5, difference, 0.01)
    assert users is not None or times < 1, "a hundred are enough for what a hundred resolve"
    if users and users > 2:
        here, fewer = (resolvable(with_users(luck, 100, n), 5, 0.01) for n in (users, users - 1))
        assert here <= difference < fewer
