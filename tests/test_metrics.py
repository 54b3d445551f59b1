"""AUC and logloss: known values, brute force, invariance, and no number where there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from flipbench.metrics import MetricError, auc, logloss

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def test_auc_known_values() -> None:
    assert auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auc([0, 1], [0, 1]) == 1
    assert auc([0, 1], [1, 0]) == 0
    assert auc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[bool, int]]) -> None:
    clicks = [score for label, score in rows if label]
    rest = [score for label, score in rows if not label]
    pairs = sum(1.0 if c > r else 0.5 if c == r else 0.0 for c in clicks for r in rest)
    labels, scores = zip(*rows, strict=True)
    assert auc(labels, scores) == pytest.approx(pairs / (len(clicks) * len(rest)), rel=1e-15)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_auc_ignores_monotone_transforms_and_row_order(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    value = auc(labels, scores)
    assert auc(labels, 1 / (1 + np.exp(-scores / 2))) == value
    assert auc(labels, scores**3 - 7.0) == value
    assert auc(labels[::-1], scores[::-1]) == value
    assert auc(labels, -scores) == pytest.approx(1 - value, rel=1e-12, abs=1e-15)


def test_both_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(5000) < 0.3).astype(np.uint8)
    logits = (rng.normal(size=5000) + labels).round(2).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert auc(labels, logits) == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    assert logloss(labels, logits) == pytest.approx(log_loss(labels, probabilities), abs=1e-12)


def test_logloss_known_values() -> None:
    assert logloss([0, 1], [0, 0]) == pytest.approx(math.log(2))
    assert logloss([1], [math.log(3)]) == pytest.approx(math.log(4 / 3))  # p = 3/4
    assert logloss([1, 1], [2.0, 2.0]) == logloss([0], [-2.0])  # one class is fine here


def test_logloss_of_extreme_logits_is_exact() -> None:
    assert logloss([0, 1], [1000.0, -1000.0]) == 1000
    assert logloss([1, 0], [1000.0, -1000.0]) == 0
    assert logloss([1], [50.0]) == pytest.approx(math.exp(-50), rel=1e-12)  # not rounded to zero
    assert logloss([0], np.array([1e30], dtype=np.float32)) == pytest.approx(1e30)


def test_logloss_adds_in_float64() -> None:
    logits = np.full(1_000_000, 0.1, dtype=np.float32)
    assert logloss(np.zeros(1_000_000, np.uint8), logits) == pytest.approx(math.log1p(math.exp(np.float32(0.1))), 1e-12)


@pytest.mark.parametrize("metric", [auc, logloss])
@pytest.mark.parametrize(
    ("labels", "scores", "says"),
    [
        ([0, 1], [0.1, math.nan], "1 of 2 scores"),
        ([0, 1], [math.inf, 0.1], "NaN or infinite"),
        ([], [], "no rows"),
        ([0, 1, 1], [0.1, 0.2], "one length"),
        ([[0, 1]], [[0.1, 0.2]], "two vectors"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0.0, math.nan], [0.1, 0.2], "0 or 1"),
    ],
)
def test_bad_input_gets_an_error_never_a_number(metric, labels, scores, says: str) -> None:
    with pytest.raises(MetricError, match=says):
        metric(labels, scores)


@pytest.mark.parametrize("label", [0, 1])
def test_auc_of_one_class_is_an_error(label: int) -> None:
    with pytest.raises(MetricError, match=f"both classes; all 3 labels are {label}"):
        auc([label] * 3, [0.1, 0.2, 0.3])
    assert issubclass(MetricError, ValueError)
