"""DeLong's test of two correlated AUCs, and the Hanley-McNeil standard error of one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, checked
from flipbench.stats.difference import standardised

Float = NDArray[np.float64]


@dataclass(frozen=True)
class DeLong:
    """Two AUCs measured on the same rows.

    Attributes:
        auc_a, auc_b: in [0, 1].
        variance_a, variance_b, covariance: of the two estimates.
        z: (auc_a - auc_b) over its standard error.
        p: two-sided, standard normal.
    """

    auc_a: float
    auc_b: float
    variance_a: float
    variance_b: float
    covariance: float
    z: float
    p: float


def delong_test(labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> DeLong:
    """Whether two scores of the same rows have the same AUC (DeLong et al., Biometrics 44, 1988).

    With placements V10_i (the share of negatives below positive i) and V01_j (the share of positives above
    negative j), ties counting one half, S = cov(V10)/m + cov(V01)/n and z = (A - B) / sqrt(S_aa + S_bb - 2 S_ab).
    Rows count as independent: where several are of one user, see :func:`flipbench.stats.bootstrap_difference`.

    Args:
        labels: [N] of 0 and 1. a, b: [N] scores, finite.

    Raises:
        MetricError: as :func:`flipbench.metrics.auc`, or fewer than two rows of a class.
    """
    placed = [placements(labels, scores) for scores in (a, b)]
    covariance = placement_covariance([p[0] for p in placed], [p[1] for p in placed])
    auc_a, auc_b = (float(above.mean()) for above, _ in placed)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z = standardised(auc_a - auc_b, math.sqrt(max(0.0, variance)))
    var_a, var_b, between = (float(covariance[i, j]) for i, j in ((0, 0), (1, 1), (0, 1)))
    return DeLong(auc_a, auc_b, var_a, var_b, between, z, p=math.erfc(abs(z) / math.sqrt(2)))


def placements(labels: ArrayLike, scores: ArrayLike) -> tuple[Float, Float]:
    """V10 [m] of the positives and V01 [n] of the negatives, from mid-ranks in O(N log N).

    Ranks among all rows less ranks within the class count the other class (Sun and Xu, IEEE SPL 21, 2014).
    """
    from scipy.stats import rankdata

    clicked, s = checked(labels, scores)
    m = int(clicked.sum())
    n = len(s) - m
    if m < 2 or n < 2:
        raise MetricError(f"DeLong needs two rows of each class; there are {m} of 1 and {n} of 0")
    rank = rankdata(s)
    above = (rank[clicked] - rankdata(s[clicked])) / n
    below = 1 - (rank[~clicked] - rankdata(s[~clicked])) / m
    return above, below


def placement_covariance(above: list[Float], below: list[Float]) -> Float:
    """Covariance matrix [K, K] of K AUCs from their placements."""
    return np.atleast_2d(np.cov(above)) / len(above[0]) + np.atleast_2d(np.cov(below)) / len(below[0])


def hanley_mcneil(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC from its value alone (Hanley and McNeil, Radiology 143, 1982, eq. 2).

    SE^2 = (A(1-A) + (m-1)(Q1 - A^2) + (n-1)(Q2 - A^2)) / mn, Q1 = A/(2-A), Q2 = 2A^2/(1+A): exact for
    exponential scores. It is what can be said of a printed AUC without its predictions.

    Args:
        auc: in [0, 1]. positives, negatives: rows of each class, at least 1.
    """
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return math.sqrt((auc * (1 - auc) + spread) / (positives * negatives))
