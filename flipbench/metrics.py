"""The two metrics of CTR prediction: AUC and logloss, over a whole test set at once."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


class MetricError(ValueError):
    """A metric has no value here: empty or unequal input, labels other than 0 and 1, one class only, NaN or Inf."""


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a click scores above a non-click, ties counting one half.

    The Mann-Whitney statistic from mid-ranks, hence exact with ties and equal on every machine, where
    scikit-learn's sum of trapezoids is off in the last bit. Any increasing transform of the scores (logits,
    probabilities) gives the same value.

    Args:
        labels: [N] of 0 and 1, any dtype.
        scores: [N] real, finite.

    Returns:
        A number in [0, 1].

    Raises:
        MetricError: see its docstring; a diverged model gets no number.
    """
    from scipy.stats import rankdata

    clicked, s = checked(labels, scores)
    positives = int(clicked.sum())
    negatives = len(clicked) - positives
    if not positives or not negatives:
        raise MetricError(f"AUC needs both classes; all {len(clicked)} labels are {int(positives > 0)}")
    rank_sum = float(rankdata(s)[clicked].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def logloss(labels: ArrayLike, logits: ArrayLike) -> float:
    """Mean of :func:`row_losses`, in nats."""
    return float(row_losses(labels, logits).mean())


def row_losses(labels: ArrayLike, logits: ArrayLike) -> Float:
    """Negative log-likelihood of each row [N] in nats, from logits in float64.

    ``softplus(-x)`` for a click and ``softplus(x)`` for a non-click: no probability is formed, so
    nothing is clipped and a confident mistake costs its full ``|x|``.

    Args:
        labels: [N] of 0 and 1, any dtype.
        logits: [N] real, finite; not probabilities.

    Raises:
        MetricError: see its docstring; a single class is fine here.
    """
    clicked, x = checked(labels, logits)
    return np.logaddexp(0.0, np.where(clicked, -x, x))


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Float]:
    """Labels as booleans and scores in float64, both [N]; raises MetricError where a metric has no value."""
    y: NDArray[Any] = np.asarray(labels)
    s: Float = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise MetricError(f"labels {y.shape} and scores {s.shape} must be two vectors of one length")
    if not len(y):
        raise MetricError("no rows")
    if not ((y == 0) | (y == 1)).all():
        raise MetricError("labels must be 0 or 1")
    bad = int((~np.isfinite(s)).sum())
    if bad:
        raise MetricError(f"{bad} of {len(s)} scores are NaN or infinite")
    return y == 1, s
