"""DeLong's test against its definition, and the standard error of a lone AUC."""

import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flipbench.metrics import MetricError, auc
from flipbench.stats.compare import compare
from flipbench.stats.delong import auc_covariance, hanley_mcneil, placements


def delong(y, a, b):
    """The declared test of one run each."""
    return compare("delong", "auc", y, [a], [b], np.arange(len(y)))


def covariance(y, *scores):
    above, below = zip(*(placements(y, s) for s in scores), strict=True)
    return [v.mean() for v in above], auc_covariance(list(above), list(below))


def brute(y, *scores):
    """Every pair of a positive and a negative, as DeLong et al. write it."""
    wins = [(s[y][:, None] > s[~y][None, :]) + 0.5 * (s[y][:, None] == s[~y][None, :]) for s in scores]
    above, below = [w.mean(axis=1) for w in wins], [w.mean(axis=0) for w in wins]
    return [v.mean() for v in above], np.cov(above) / y.sum() + np.cov(below) / (~y).sum()


def test_equals_proc_on_rows_of_our_own():
    """R's pROC 1.18.0: roc(y, x, direction = "<"), var, cov and roc.test(method = "delong") of the same rows."""
    i = np.arange(200)
    y = (i * 7919) % 13 < 5
    a, b = (i * 31) % 17 + 3 * y, (i * 57) % 23 + 2 * y
    aucs, s = covariance(y, a, b)
    assert aucs == pytest.approx([0.67034468263976, 0.56105506515343], abs=1e-12)
    assert s[[0, 1, 0], [0, 1, 1]] == pytest.approx([0.00146175986838, 0.00174002922566, -0.00008046433333], abs=1e-12)
    found = delong(y, a, b)
    assert [found.value / found.error, found.p] == pytest.approx([1.88466296784381, 0.05947535510157], abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(1, 6))
def test_equals_all_pairs_with_heavy_ties(seed, n, values):
    random = np.random.default_rng(seed)
    y = random.random(n) < 0.5
    assume(2 <= y.sum() <= n - 2)
    a, b = random.integers(values, size=n), random.integers(values, size=n)
    (aucs, s), (expected, expected_s) = covariance(y, a, b), brute(y, a, b)
    assert aucs == pytest.approx(expected, abs=1e-12)
    assert s == pytest.approx(expected_s, abs=1e-12)
    found, back = delong(y, a, b), delong(y, b, a)
    assert found.value == pytest.approx(expected[0] - expected[1], abs=1e-12)
    assert found.error**2 == pytest.approx(s[0, 0] + s[1, 1] - 2 * s[0, 1], abs=1e-12)
    assert (back.value, back.p) == pytest.approx((-found.value, found.p), abs=1e-9)


def test_a_case_worked_by_hand():
    y, a, b = np.array([1, 1, 0, 0]), [3, 1, 2, 0], [3, 2, 1, 0]
    aucs, s = covariance(y, a, b)  # a's placements: 1 and .5 in both classes; b's all 1
    assert aucs == [0.75, 1.0]
    assert s.tolist() == [[0.125, 0.0], [0.0, 0.0]]  # var(1, .5) / 2, for each class
    assert (delong(y, a, b).value, delong(y, a, b).error ** 2) == pytest.approx((-0.25, 0.125))


def test_an_increasing_transform_changes_nothing():
    random = np.random.default_rng(1)
    y, a, b = random.random(200) < 0.3, random.normal(size=200), random.normal(size=200)
    assert vars(delong(y, np.exp(a), 1 / (1 + np.exp(-b)))) == pytest.approx(vars(delong(y, a, b)), abs=1e-12)
    assert covariance(y, a)[0] == pytest.approx([auc(y, a)], abs=1e-12)
    assert (delong(y, a, 2 * a).value, delong(y, a, 2 * a).p) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("y", "a", "says"),
    [
        ([1, 1, 1], [1, 2, 3], "3 of 1 and 0 of 0"),
        ([1, 0, 0], [1, 2, 3], "two rows of each class"),
        ([0, 1, 0, 1], [1, 2, np.nan, 3], "NaN"),
        ([0, 1, 2, 1], [1, 2, 3, 4], "0 or 1"),
        ([0, 1], [1, 2, 3], "one length"),
    ],
)
def test_what_cannot_be_tested_is_named(y, a, says):
    with pytest.raises(MetricError, match=says):
        delong(y, a, a)


def test_it_keeps_its_level():
    random = np.random.default_rng(3)
    p = []
    for _ in range(600):
        y = random.random(300) < 0.4
        shared = random.normal(size=300) + y
        p.append(delong(y, shared + random.normal(size=300), shared + random.normal(size=300)).p)
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.075  # .05 +- 2.8 standard errors


def test_two_million_rows_in_seconds():
    random = np.random.default_rng(0)
    n = 2_000_000
    y = random.random(n) < 0.3
    a = (random.normal(size=n) + y).astype(np.float32)
    b = (a + random.normal(size=n)).astype(np.float32)
    began = time.process_time()
    delong(y, a, b)
    assert time.process_time() - began < 5


def test_hanley_mcneil():
    assert hanley_mcneil(0.8548, 57619, 73902 - 57619) == pytest.approx(0.00135, abs=5e-5)
    assert hanley_mcneil(1.0, 5, 5) == 0.0


def test_hanley_mcneil_is_right_for_exponential_scores():
    random = np.random.default_rng(5)
    m, n, rate = 60, 90, 3.0  # A = rate / (1 + rate)
    y = np.array([1] * m + [0] * n)
    found = [auc(y, np.r_[random.exponential(rate, m), random.exponential(1, n)]) for _ in range(1500)]
    assert np.std(found) == pytest.approx(hanley_mcneil(rate / (1 + rate), m, n), rel=0.07)
