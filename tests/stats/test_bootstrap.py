"""The user-clustered bootstrap against a plain one, and its error rate where an unclustered test is wrong."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flipbench import metrics
from flipbench.metrics import MetricError
from flipbench.stats import bootstrap
from flipbench.stats.bootstrap import bootstrap_metrics
from flipbench.stats.compare import compare, compare_resampled


def difference(labels, a, b, groups, metric, **how):
    """The declared test of one run each."""
    return compare_resampled(metric, *(bootstrap_metrics(labels, logits, groups, **how) for logits in (a, b)))


def drawn_users(seed, resamples, count):
    stream = np.random.PCG64(seed)
    for _ in range(resamples):
        yield [int(raw >> np.uint64(32)) * count >> 32 for raw in stream.random_raw(count)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 8))
def test_each_resample_is_the_metric_of_the_rows_drawn(seed, count, values):
    random = np.random.default_rng(seed)
    groups = np.sort(np.r_[np.arange(count), random.integers(count, size=30)])
    y = np.r_[0, 1, random.integers(2, size=count + 28)]
    x = random.integers(-values, values + 1, size=count + 30).astype(np.float32)
    found = bootstrap_metrics(y, x, groups, resamples=6, seed=seed)
    assert found.users == count
    assert found.runs("auc") == pytest.approx(metrics.auc(y, x), abs=1e-12)
    assert found.runs("logloss") == pytest.approx(metrics.logloss(y, x), abs=1e-12)
    for i, users in enumerate(drawn_users(seed, 6, count), 1):
        rows = np.concatenate([np.flatnonzero(groups == user) for user in users])
        assert found.logloss[0, i] == pytest.approx(metrics.logloss(y[rows], x[rows]), abs=1e-12)
        if 0 < y[rows].sum() < len(rows):
            assert found.auc[0, i] == pytest.approx(metrics.auc(y[rows], x[rows]), abs=1e-12)
        else:
            assert math.isnan(found.auc[0, i])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6), st.integers(1, 3))
def test_pairs_of_users_and_ranks_of_rows_give_the_same_bits(seed, count, values, runs):
    random = np.random.default_rng(seed)
    groups = np.r_[np.arange(count), random.integers(count, size=80)]
    y = np.r_[0, 1, random.integers(2, size=count + 78)]
    x = random.integers(-values, values + 1, size=(runs, count + 80)) / 4
    paired = bootstrap_metrics(y, x, groups, resamples=20, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "MOST_PAIRED", 0)
        patch.setattr(bootstrap, "_AT_ONCE", 100)  # draws by the few
        ranked = bootstrap_metrics(y, x, groups, resamples=20, seed=seed)
    assert np.array_equal(paired.auc, ranked.auc, equal_nan=True)
    assert paired.logloss == pytest.approx(ranked.logloss, abs=1e-12)
    alone = [bootstrap_metrics(y, run, groups, resamples=20, seed=seed) for run in x]
    assert np.array_equal(paired.auc, np.concatenate([run.auc for run in alone]), equal_nan=True)
    assert paired.logloss == pytest.approx(np.concatenate([run.logloss for run in alone]), abs=1e-12)


def skewed(random, users=60):
    """Users of very different sizes, whose clicks each of two equal models finds more or less easily."""
    sizes = np.minimum(1 + (random.pareto(1.0, users) * 6).astype(int), 120)
    groups = np.repeat(np.arange(users), sizes)
    y = random.random(len(groups)) < 0.5
    ease = [1 + random.normal(size=users) for _ in "ab"]
    a, b = (e[groups] * (2.0 * y - 1) + random.normal(size=len(groups)) for e in ease)
    return y, a, b, groups


@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_bootstrap_keeps_its_level(metric):
    random = np.random.default_rng(11)
    clustered, by_rows = [], []
    for _ in range(250):
        y, a, b, groups = skewed(random)
        clustered.append(difference(y, a, b, groups, metric, resamples=150).p)
        by_rows.append(compare("delong", metric, y, [a], [b], groups).p)
    assert np.mean(np.array(clustered) < 0.05) < 0.11  # heavy tails: few users carry most rows
    assert np.mean(np.array(by_rows) < 0.05) > 0.3


def test_equal_users_are_rejected_at_the_level():
    random = np.random.default_rng(2)
    p = []
    for _ in range(400):
        groups = np.repeat(np.arange(60), 5)
        y = random.random(300) < 0.5
        a, b = (y + random.normal(size=300) + random.normal(size=60)[groups] for _ in "ab")
        p.append(difference(y, a, b, groups, "auc", resamples=100).p)
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_a_real_difference_is_found_and_the_interval_holds_it():
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(200), 10)
    y = random.random(2000) < 0.5
    b = y + random.normal(size=2000)
    a = b + 0.5 * y
    found = difference(y, a, b, groups, "auc")
    assert found.p < 1e-6
    assert found.low < metrics.auc(y, a) - metrics.auc(y, b) < found.high
    assert found.value == pytest.approx(metrics.auc(y, a) - metrics.auc(y, b), abs=1e-12)
    back = difference(y, b, a, groups, "auc")
    assert (back.value, back.low, back.p) == pytest.approx((-found.value, -found.high, found.p))


def test_bootstrap_depends_on_the_seed_alone():
    random = np.random.default_rng(3)
    y, a, b, groups = skewed(random)
    found = difference(y, a, b, groups, "auc", resamples=50)
    order = random.permutation(len(y))
    assert vars(difference(y[order], a[order], b[order], groups[order], "auc", resamples=50)) == vars(found)
    assert vars(difference(y, a, b, groups * 7 + 3, "auc", resamples=50)) == vars(found)
    assert difference(y, a, b, groups, "auc", resamples=50, seed=1).error != found.error


def test_one_user_a_row_agrees_with_delong():
    random = np.random.default_rng(4)
    y = random.random(1500) < 0.4
    b = y + random.normal(size=1500)
    a = b + 0.3 * random.normal(size=1500)
    found = difference(y, a, b, np.arange(1500), "auc")
    assert found.error == pytest.approx(compare("delong", "auc", y, [a], [b], np.arange(1500)).error, rel=0.08)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": [0, 0, 0, 0]}, "two or more"),
        ({"groups": [0, 1]}, "4 whole numbers"),
        ({"groups": [-1, 0, 1, 2]}, "whole numbers >= 0"),
        ({"groups": [0.5, 1, 1, 2]}, "whole numbers"),
        ({"y": [1, 1, 1, 1]}, "both classes; all 4 labels are 1"),
        ({"a": [0, 1, math.inf, 2]}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_resampled_is_named(change, says):
    given_ = {"y": [0, 1, 0, 1], "a": [0, 1, 2, 3], "groups": [0, 0, 1, 1]} | change
    with pytest.raises(MetricError, match=says):
        difference(given_["y"], given_["a"], [3, 2, 1, 0], given_["groups"], "auc")


def test_too_many_resamples_of_one_class_are_an_error():
    with pytest.raises(MetricError, match="resamples have one class only"):
        difference([1, 0], [1, 0], [0, 1], [0, 1], "auc", seed=5, resamples=3)


def test_movielens_size_is_well_under_a_minute():
    random = np.random.default_rng(0)
    groups = np.sort(random.integers(1214, size=74_000))
    y = random.random(74_000) < 0.76
    a = random.normal(size=74_000) + y
    began = time.process_time()
    difference(y, a, a + random.normal(size=74_000), groups, "auc")
    assert time.process_time() - began < 8
