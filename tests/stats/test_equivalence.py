"""Verdicts, their error rates, power, and tests over seeds."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from flipbench.metrics import MetricError
from flipbench.stats.compare import compare
from flipbench.stats.difference import holm, t_difference
from flipbench.stats.equivalence import paired_t, seeds_needed, tost, verdict


def test_the_five_verdicts():
    def of(*sample, higher=True):
        return verdict([0.8548 + d for d in sample], 0.8548, 0.001, higher).outcome

    assert of(0.0001, -0.0001, 0.0002) == "reproduced"
    assert of(0.0030, 0.0031, 0.0029) == "better"
    assert of(0.0030, 0.0031, 0.0029, higher=False) == "worse"
    assert of(-0.0030, -0.0031, -0.0029) == "worse"
    assert of(-0.0030, -0.0031, -0.0029, higher=False) == "better"
    assert of(0.0004, 0.0008, 0.0006) == "inconclusive"
    assert of(0.0009, 0.0015, -0.0001) == "out-of-reach", "one printed run moves by more than the margin"
    assert of(0.0070, 0.0100, 0.0130) == "inconclusive", "more seeds may call this better"
    assert of(*[0.0070, 0.0100, 0.0130] * 5) == "better", "and do"
    assert of(0.05) == "inconclusive", "one seed"
    assert of(0.05, 0.05, 0.05) == "inconclusive", "one run under three names"


def test_a_verdict_and_its_interval_say_the_same():
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        found = verdict(list(random.normal(random.uniform(-3, 3), random.uniform(0, 0.6), 5)), 0.0, 1.0, True)
        inside = found.low > -1 and found.high < 1
        assert (found.outcome == "reproduced") == inside == (found.p < 0.05)
        assert (found.outcome == "better") == (found.low > 1)
        assert (found.outcome == "worse") == (found.high < -1)
        seen.add(found.outcome)
        if found.outcome == "out-of-reach":
            assert found.seeds_needed is None
            assert 1 - found.reach.margin_at_best <= abs(found.difference) <= found.reach.difference_at_best
    assert len(seen) == 5


@pytest.mark.parametrize("others", [math.inf, 1])
def test_at_the_margin_tost_is_wrong_one_time_in_twenty(others):
    random = np.random.default_rng(7)
    printed = random.normal(0.0, 0.3 / math.sqrt(others), 1200)
    wrong = sum(tost(random.normal(1.0, 0.3, 6) - paper, 1.0, others)[0] < 0.05 for paper in printed)
    assert 0.034 < wrong / 1200 < 0.069  # .05 +- 3 standard errors


def test_what_a_verdict_can_resolve_comes_at_the_stated_rate():
    """``better`` at the difference that the reach gives, ``reproduced`` within its margin: 4 times in 5."""
    random = np.random.default_rng(12)
    spread, margin, n = 0.3, 1.0, 6
    steps = np.linspace(-1, 1, n)
    can = verdict(list(spread * steps / np.std(steps, ddof=1)), 0.0, margin, True).reach

    def share(outcome, difference, margin):
        samples = random.normal(difference, spread, (300, n))
        return np.mean([verdict(list(sample), 0.0, margin, True).outcome == outcome for sample in samples])

    assert share("better", can.difference, margin) == pytest.approx(0.8, abs=0.055)
    assert share("reproduced", 0.0, can.margin) == pytest.approx(0.8, abs=0.055)
    assert (can.margin_at_best, can.difference_at_best) == pytest.approx((0.4935, 1.4935), abs=1e-4)


@pytest.mark.parametrize("others", [math.inf, 1])
@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "reproduced"), (0.0018, "better"), (0.0004, "reproduced")])
def test_the_seeds_said_to_be_needed_give_the_power_promised(difference, outcome, others):
    spread = 0.0006 if math.isinf(others) else 0.0002
    n = seeds_needed(spread, difference, 0.001, others)
    random = np.random.default_rng(9)

    def power(seeds):
        samples = random.normal(difference, spread, (300, seeds))
        tests = [tost(sample, 0.001, others) for sample in samples]
        return np.mean([p < 0.05 if outcome == "reproduced" else low > 0.001 for p, low, _ in tests])

    assert power(n) > 0.74  # .8 less 2.6 standard errors
    assert n > 2
    assert power(n - 1) < 0.86


def test_seeds_needed_is_unknown_where_no_number_will_do():
    assert seeds_needed(0.01, 0.001, 0.001) is None  # at the margin itself
    assert seeds_needed(1e-6, 0.0, 0.001) == 2
    assert seeds_needed(0.0007, 0.0, 0.001, 1) is None, "the one printed run moves too much"
    assert seeds_needed(0.002, 0.0, 0.001) > seeds_needed(0.001, 0.0, 0.001) > seeds_needed(0.0005, 0.0, 0.001)


@pytest.mark.parametrize(("sample", "says"), [([1.0], "two or more"), ([0.1, 0.1, 0.1], "that differ")])
def test_tests_over_seeds_need_runs_that_differ(sample, says):
    with pytest.raises(ValueError, match=says):
        tost(sample, 0.1)
    with pytest.raises(ValueError, match="seeds that differ"):
        paired_t(sample)


def test_paired_t_by_hand():
    found = paired_t([2.0, 3.0, 1.0])  # mean 2, sd 1, t = 2 sqrt 3
    assert found.value / found.error == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(0.074179900, abs=1e-8)
    assert (found.low, found.high) == pytest.approx((2 - 4.302652730 / math.sqrt(3), 2 + 4.302652730 / math.sqrt(3)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=8), st.floats(0.01, 1))
def test_tests_over_seeds_agree_with_scipy(sample, margin):
    assume(np.std(sample) > 1e-3)
    found, scipy = paired_t(sample), ttest_1samp(sample, 0)
    assert (found.p, found.low, found.high) == pytest.approx((scipy.pvalue, *scipy.confidence_interval(0.95)), rel=1e-8)
    p = max(ttest_1samp(sample, side * margin, alternative=a).pvalue for side, a in ((1, "less"), (-1, "greater")))
    assert tost(sample, margin) == pytest.approx((p, *scipy.confidence_interval(0.9)), rel=1e-8, abs=1e-12)


def test_normal_is_t_of_infinite_df():
    found = t_difference(1.959963985, 1.0, math.inf, "delong")
    assert (found.p, found.low) == pytest.approx((0.05, 0.0), abs=1e-9)
    assert [t_difference(0.2, 0.0, 3, "t").p, t_difference(0.0, 0.0, 3, "t").p] == [0.0, 1.0]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def two_models(random, seeds, gain=0.0, spread=0.3):
    groups = np.repeat(np.arange(80), 4)
    y = random.random(320) < 0.5
    noise = random.normal(size=320)
    scores = [[(1 + g + spread * random.normal()) * y + noise for _ in range(seeds)] for g in (gain, 0.0)]
    return y, *scores, groups


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
def test_declared_tests_find_a_real_gain(test, metric):
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
