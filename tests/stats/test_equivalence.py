"""Verdicts, their error rates, power, and tests over seeds."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import nct
from scipy.stats import t as student_t
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flipbench.metrics import MetricError
from flipbench.stats import compare, holm, paired_t, seeds_needed, tost, verdict
from flipbench.stats.difference import noncentral_t_tail, t_quantile, t_tail


def test_the_four_verdicts():
    def of(*sample, higher=True):
        return verdict([0.8548 + d for d in sample], 0.8548, 0.001, higher).outcome

    assert of(0.0001, -0.0001, 0.0002) == "reproduced"
    assert of(0.0030, 0.0031, 0.0029) == "better"
    assert of(0.0030, 0.0031, 0.0029, higher=False) == "worse"
    assert of(-0.0030, -0.0031, -0.0029) == "worse"
    assert of(-0.0030, -0.0031, -0.0029, higher=False) == "better"
    assert of(0.0009, 0.0015, -0.0001) == "inconclusive"
    assert of(0.05) == "inconclusive", "one seed"
    assert of(0.05, 0.05, 0.05) == "inconclusive", "one run under three names"


def test_a_verdict_and_its_interval_say_the_same():
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        found = verdict(list(random.normal(random.uniform(-3, 3), 0.5, 5)), 0.0, 1.0, True)
        inside = found.low > -1 and found.high < 1
        assert (found.outcome == "reproduced") == inside == (found.p < 0.05)
        assert (found.outcome == "better") == (found.low > 1)
        assert (found.outcome == "worse") == (found.high < -1)
        seen.add(found.outcome)
    assert len(seen) == 4


@pytest.mark.parametrize("paired", [True, False])
def test_at_the_margin_tost_is_wrong_one_time_in_twenty(paired):
    random = np.random.default_rng(7)
    other = [0.0] * 6 if paired else None
    wrong = 0
    for _ in range(1200):
        b = other or list(random.normal(0, 0.3, 6))
        wrong += tost(list(random.normal(1.0, 0.3, 6)), b, 1.0, paired)[0] < 0.05
    assert 0.034 < wrong / 1200 < 0.069  # .05 +- 3 standard errors


def test_unequal_data_is_never_called_equal_more_often_than_that():
    random = np.random.default_rng(8)
    outcomes = [verdict(list(random.normal(0.0013, 0.0005, 10)), 0.0, 0.001, True).outcome for _ in range(150)]
    assert outcomes.count("reproduced") / 150 < 0.02
    assert outcomes.count("worse") == 0


@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "reproduced"), (0.0018, "better"), (0.0004, "reproduced")])
def test_the_seeds_said_to_be_needed_give_the_power_promised(difference, outcome):
    n = seeds_needed(0.0006, difference, 0.001)
    random = np.random.default_rng(9)

    def power(seeds):
        samples = random.normal(difference, 0.0006, (300, seeds))
        if outcome == "reproduced":
            return np.mean([tost(list(s), [0.0] * seeds, 0.001, True)[0] < 0.05 for s in samples])
        return np.mean([tost(list(s), [0.0] * seeds, 0.001, True)[1] > 0.001 for s in samples])

    assert power(n) > 0.74  # .8 less 2.6 standard errors
    assert n > 2
    assert power(n - 1) < 0.86


def test_seeds_needed_is_unknown_where_no_number_will_do():
    assert seeds_needed(0.01, 0.001, 0.001) is None  # at the margin itself
    assert seeds_needed(1e-6, 0.0, 0.001) == 2
    assert seeds_needed(0.002, 0.0, 0.001) > seeds_needed(0.001, 0.0, 0.001) > seeds_needed(0.0005, 0.0, 0.001)


def test_tost_needs_runs_that_differ():
    with pytest.raises(ValueError, match="two or more"):
        tost([1.0], [1.0], 0.1, True)
    with pytest.raises(ValueError, match="that differ"):
        tost([1.0, 1.0], [0.5, 0.5], 0.1, True)
    with pytest.raises(ValueError, match="that differ"):
        tost([1.0, 1.0], [0.5, 0.5], 0.1, False)


def test_paired_t_by_hand():
    found = paired_t([3.0, 5.0, 4.0], [1.0, 2.0, 3.0])  # differences 2, 3, 1: mean 2, sd 1, t = 2 sqrt 3
    assert found.value / found.error == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(0.074179900, abs=1e-8)
    assert (found.low, found.high) == pytest.approx((2 - 4.302652730 / math.sqrt(3), 2 + 4.302652730 / math.sqrt(3)))
    with pytest.raises(ValueError, match="seeds that differ"):
        paired_t([2.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="zip"):
        paired_t([2.0, 2.0], [1.0])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(4))  # few: statsmodels collects garbage at every call
def test_holm_agrees_with_statsmodels(seed):
    random = np.random.default_rng(seed)
    p = random.choice([0.0, 0.004, 0.02, 0.5, 1.0, *random.random(9)], 20).tolist()
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-15)


SAMPLE = st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=8)


@settings(max_examples=30, deadline=None)
@given(SAMPLE, SAMPLE, st.floats(0.01, 1))
def test_tost_agrees_with_statsmodels(a, b, margin):
    assume(np.std(a) > 1e-3)
    assume(np.std(b) > 1e-3)
    means = CompareMeans.from_data(a, b)
    p = means.ttost_ind(-margin, margin, usevar="unequal")[0]
    interval = means.tconfint_diff(alpha=0.1, usevar="unequal")
    assert tost(a, b, margin, paired=False) == pytest.approx((p, *interval), rel=1e-8, abs=1e-12)
    differences = DescrStatsW([x - 0.25 for x in a])
    p = differences.ttost_mean(-margin, margin)[0]
    interval = differences.tconfint_mean(alpha=0.1)
    assert tost(a, [0.25] * len(a), margin, paired=True) == pytest.approx((p, *interval), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2.5, 30, 1213.0, math.inf])
def test_students_t_agrees_with_scipy_stats_far_into_the_tail(df):
    for t in (0.0, 0.3, 2.0, 8.0, 30.0):
        assert t_tail(t, df) == pytest.approx(student_t.sf(t, df), rel=1e-9, abs=1e-300)
    for p in (0.5, 0.9, 0.975, 0.9999):
        assert t_quantile(p, df) == pytest.approx(student_t.ppf(p, df), rel=1e-9, abs=1e-12)


def test_power_agrees_with_scipy_stats_where_nothing_is_left_of_it_too():
    for df in (1, 2, 4, 31, 63, 999):
        critical = t_quantile(0.95, df)
        for shift in (0.0, 0.5, 2.5, 10.0, 37.0, 39.0, 55.0, 4000.0):
            assert noncentral_t_tail(critical, df, shift) == pytest.approx(nct.sf(critical, df, shift), abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    for x, a in zip(p, adjusted, strict=True):
        assert x - 1e-12 <= a <= min(1, len(p) * x) + 1e-12
    ordered = [a for _, a in sorted(zip(p, adjusted, strict=True))]
    assert ordered == sorted(ordered)


def two_models(random, seeds, gain=0.0, spread=0.3):
    groups = np.repeat(np.arange(80), 4)
    y = random.random(320) < 0.5
    noise = random.normal(size=320)
    own = [[(1 + g + spread * random.normal()) * y + noise for _ in range(seeds)] for g in (gain, 0.0)]
    return y, own[0], own[1], groups


def test_seeds_are_luck_too():
    """With rows alone a lucky seed looks significant; with both sources the level holds."""
    random = np.random.default_rng(21)
    both, rows_alone = [], []
    for _ in range(200):
        y, a, b, groups = two_models(random, 4)
        both.append(compare("delong", "auc", y, a, b, groups).p)
        rows_alone.append(compare("delong", "auc", y, a[:1], b[:1], groups).p)
    assert np.mean(np.array(rows_alone) < 0.05) > 0.3
    assert np.mean(np.array(both) < 0.05) < 0.09


@pytest.mark.parametrize("test", ["user-bootstrap", "delong", "paired-t"])
@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_every_declared_test_finds_a_real_gain_and_names_itself(test, metric):
    y, a, b, groups = two_models(np.random.default_rng(5), 4, gain=1.0, spread=0.02)
    found = compare(test, metric, y, a, b, groups)
    assert found.test == test
    assert found.p < 0.01
    assert (found.value > 0) == (metric == "auc")
    assert found.low <= found.value <= found.high


def test_comparing_needs_the_same_seeds():
    y, a, b, groups = two_models(np.random.default_rng(5), 2)
    with pytest.raises(MetricError, match="2 and 1 runs"):
        compare("delong", "auc", y, a, b[:1], groups)
    with pytest.raises(ValueError, match="seeds that differ"):
        compare("paired-t", "auc", y, a[:1], b[:1], groups)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_two_methods_that_predict_the_same_do_not_differ(seed):
    y, a, _, groups = two_models(np.random.default_rng(seed), 2)
    found = compare("user-bootstrap", "auc", y, a, a, groups)
    assert (found.value, found.p) == (0.0, 1.0)
