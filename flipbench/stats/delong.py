"""Standard errors of AUCs: DeLong's from the scores, for any number of correlated AUCs, and Hanley and McNeil's."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, checked

Float = NDArray[np.float64]


def placements(labels: ArrayLike, scores: ArrayLike) -> tuple[Float, Float]:
    """V10 [m] of the positives and V01 [n] of the negatives (DeLong et al., Biometrics 44, 1988).

    V10_i is the share of negatives below positive i, V01_j the share of positives above negative j, ties counting
    one half; the mean of either is the AUC. O(N log N): ranks among all rows less ranks within the class count the
    other class (Sun and Xu, IEEE SPL 21, 2014).

    Args:
        labels: [N] of 0 and 1. scores: [N], finite.

    Raises:
        MetricError: as :func:`flipbench.metrics.auc`, or fewer than two rows of a class.
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


def auc_covariance(above: list[Float], below: list[Float]) -> Float:
    """Covariance matrix [K, K] of K AUCs from their placements: S = cov(V10)/m + cov(V01)/n.

    Rows count as independent: where several are of one user, see :mod:`flipbench.stats.bootstrap`.
    """
    return np.atleast_2d(np.cov(above)) / len(above[0]) + np.atleast_2d(np.cov(below)) / len(below[0])


def hanley_mcneil(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC from its value alone (Hanley and McNeil, Radiology 143, 1982, eq. 2).

    SE^2 = (A(1-A) + (m-1)(Q1 - A^2) + (n-1)(Q2 - A^2)) / mn, Q1 = A/(2-A), Q2 = 2A^2/(1+A): exact for
    exponential scores. It is all that is known of a printed AUC without its predictions.

    Args:
        auc: in [0, 1]. positives, negatives: rows of each class, at least 1.
    """
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return math.sqrt((auc * (1 - auc) + spread) / (positives * negatives))
