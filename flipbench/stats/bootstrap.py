"""Paired bootstrap of AUC and logloss that redraws users, not rows: a user's rows are not independent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, checked
from flipbench.protocol import Metric
from flipbench.stats.difference import Difference, t_difference

Float = NDArray[np.float64]

RESAMPLES = 2000

VERSION = 1
"""Raised when the same input gives other resamples: kept ones are then made anew."""


@dataclass(frozen=True)
class Resampled:
    """A run's metrics on the test rows (first entry) and under each resample of their users.

    Attributes:
        auc, logloss: [1 + resamples] float64; AUC is NaN where a resample has one class only.
        users: how many there are to draw from.
    """

    auc: Float
    logloss: Float
    users: int

    def of(self, metric: Metric) -> Float:
        return self.auc if metric == "auc" else self.logloss


def bootstrap_difference(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    metric: Metric,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """``metric(a) - metric(b)`` with the uncertainty of which users are in the test set.

    Users are drawn with replacement, all rows of a drawn user with them, the same draw for both scores (Field and
    Welsh, JRSS B 69, 2007). The standard error is that of the resampled differences; p and the 95 % interval are
    Student's with (users - 1) degrees of freedom, since the share of 2,000 resamples beyond zero cannot tell
    p = .0001 from p = .001.

    Args:
        labels: [N] of 0 and 1. a, b: [N] logits. groups: [N] whole numbers >= 0, equal for rows of one user.
        metric: ``auc`` or ``logloss``.

    Raises:
        MetricError: as :mod:`flipbench.metrics`, or fewer than two users.
    """
    one, other = (bootstrap_metrics(labels, s, groups, resamples, seed) for s in (a, b))
    difference = one.of(metric) - other.of(metric)
    return t_difference(float(difference[0]), spread(difference[1:]), one.users - 1, "user-bootstrap")


def bootstrap_metrics(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """AUC and logloss of the test rows and of each resample of their users.

    Equal ``groups``, ``resamples`` and ``seed`` give the same resamples, so that differences of two results are
    paired. Rows are sorted once: a resample only reweighs them, which costs O(N). AUC is a ratio of whole numbers,
    exact on every machine.

    Raises:
        MetricError: as :func:`bootstrap_difference`.
    """
    clicked, x = checked(labels, logits)
    g = np.asarray(groups)
    if g.shape != x.shape or not np.issubdtype(g.dtype, np.integer) or g.min(initial=0) < 0:
        raise MetricError(f"groups must be {len(x)} whole numbers >= 0")
    count = len(np.unique(g))
    if count < 2:
        raise MetricError("resampling users needs two or more of them")
    if clicked.all() or not clicked.any():
        raise MetricError(f"AUC needs both classes; all {len(x)} labels are {int(clicked[0])}")
    g = np.unique(g, return_inverse=True)[1]
    rows = np.bincount(g, minlength=count)
    loss = np.bincount(g, np.logaddexp(0.0, np.where(clicked, -x, x)), count)
    positives_of, negatives_of = np.bincount(g[clicked], minlength=count), np.bincount(g[~clicked], minlength=count)
    up, down = np.argsort(x[clicked], kind="stable"), np.argsort(x[~clicked], kind="stable")
    positive_scores, negative_scores = x[clicked][up], x[~clicked][down]
    positive_users, negative_users = g[clicked][up], g[~clicked][down]
    below = np.searchsorted(positive_scores, negative_scores, "left")  # positives ranked under each negative
    ties = np.searchsorted(positive_scores, negative_scores, "right")

    stream = np.random.PCG64(seed)  # its raw numbers are the same in every numpy, those of a Generator need not be
    auc, logloss = np.empty(1 + resamples), np.empty(1 + resamples)
    ranked = np.zeros(len(positive_users) + 1, dtype=np.int64)
    for i in range(1 + resamples):
        drawn = np.ones(count, dtype=np.int64)
        if i:
            high = stream.random_raw(count) >> np.uint64(32)
            drawn = np.bincount((high * np.uint64(count) >> np.uint64(32)).astype(np.int64), minlength=count)
        np.cumsum(drawn[positive_users], out=ranked[1:])
        lost = int(drawn[negative_users] @ (ranked[below] + ranked[ties]))  # twice the pairs in wrong order
        pairs = int(drawn @ positives_of) * int(drawn @ negatives_of)
        auc[i] = 1 - lost / (2 * pairs) if pairs else math.nan
        logloss[i] = float(drawn @ loss) / float(drawn @ rows)
    return Resampled(auc, logloss, count)


def spread(resampled: Float) -> float:
    """Standard deviation over the resamples that have both classes."""
    kept = resampled[np.isfinite(resampled)]
    if len(kept) < max(2, len(resampled) / 2):
        raise MetricError(f"{len(resampled) - len(kept)} of {len(resampled)} resamples have one class only")
    return float(kept.std(ddof=1))
