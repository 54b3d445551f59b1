"""Floors: what the base rate, the item alone, and logistic regression make of the same rows, in seconds.

The share of clicks is what normalised entropy divides by (He et al., ADKDD 2014); logistic regression on ids is the
first model of CTR prediction (Richardson et al., WWW 2007).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from flipbench.data.split import Rows
from flipbench.methods.floor import Float, Floor
from flipbench.plan.settings import Guess, Range

GRADIENT = 1e-5
"""Largest entry of the scaled gradient at which a regression ends: MovieLens-1M's test logloss is then within 3e-6 of
what a hundredth of it gives."""


class Constant(Floor):
    """The share of clicks for every row: no ranking at all."""

    version = 1
    settings = {}
    grid = {}

    def solve(self, rows: Rows, rate: float) -> tuple[Float, float]:
        return np.zeros(self.features), float(logit(rate))


class ItemMean(Floor):
    """The item's share of clicks, smoothed.

    (clicks + a p) / (rows + a), with p the share of clicks of all rows: p for an item never seen.
    """

    version = 1
    settings = {
        "pseudo_counts": Guess(10.0, "a; best validation AUC on MovieLens-1M over the grid", Range(1e-3, 1e6)),
    }
    grid = {"pseudo_counts": [1.0, 3.0, 10.0, 30.0, 100.0]}

    def solve(self, rows: Rows, rate: float) -> tuple[Float, float]:
        items, a = rows.ids[:, self.item], self.chosen["pseudo_counts"]
        seen = np.bincount(items, minlength=self.features)
        clicks = np.bincount(items, rows.labels, minlength=self.features)
        smoothed = logit((clicks + a * rate) / (seen + a)) - logit(rate)
        return np.where(seen > 0, smoothed, 0.0), float(logit(rate))


class Bias(Floor):
    """Logistic regression on user and item alone: logit = bias + b_user + b_item."""

    version = 1
    settings = {
        "l2": Guess(3e-6, "best validation AUC and logloss on MovieLens-1M over the grid", Range(1e-9, 1e3)),
    }
    grid = {"l2": [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4]}

    def solve(self, rows: Rows, rate: float) -> tuple[Float, float]:
        return logistic(rows.ids[:, [self.user, self.item]], rows.labels, self.features, self.chosen["l2"])


class Linear(Floor):
    """Logistic regression on the ids of all fields: logit = bias + w·x (LR in the literature)."""

    version = 1
    settings = {
        "l2": Guess(3e-6, "as bias; within .0003 of the best validation AUC on MovieLens-1M", Range(1e-9, 1e3)),
    }
    grid = {"l2": [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4]}

    def solve(self, rows: Rows, rate: float) -> tuple[Float, float]:
        return logistic(rows.ids, rows.labels, self.features, self.chosen["l2"])


def logistic(ids: NDArray[np.int32], labels: NDArray[np.uint8], features: int, l2: float) -> tuple[Float, float]:
    """The minimum of mean logloss + ``l2``/2 |w|² over the weights w and an unpenalised bias, by L-BFGS in float64.

    The variables are w/s, with s the inverse root of the loss's curvature along each weight at the start: rare
    features then converge as fast as frequent ones, in a sixth of the steps.

    Args:
        ids: [n, F]. labels: [n] of 0 and 1, not all the same. l2: above 0.

    Returns:
        w [features], exactly 0 for features that ``ids`` lacks, and the bias.

    Raises:
        RuntimeError: no convergence.
    """
    n, fields = ids.shape
    design = csr_matrix((np.ones(ids.size), ids.ravel(), np.arange(0, ids.size + 1, fields)), shape=(n, features))
    by_feature, clicked, rate = design.T.tocsr(), labels == 1, float(labels.mean())
    s = 1 / np.sqrt(rate * (1 - rate) * np.bincount(ids.ravel(), minlength=features) / n + l2)

    def objective(x: Float) -> tuple[float, Float]:
        w = s * x[1:]
        z = design @ w + x[0]
        residual = (expit(z) - clicked) / n
        value = np.logaddexp(0, np.where(clicked, -z, z)).mean() + l2 / 2 * (w @ w)
        return value, np.append(residual.sum(), s * (by_feature @ residual + l2 * w))

    start = np.append(logit(rate), np.zeros(features))
    options = {"gtol": GRADIENT, "ftol": 0.0, "maxiter": 10_000, "maxfun": 20_000}
    with threadpool_limits(1):  # sums of the linear algebra library are split by the number of its threads
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    if not found.success:
        raise RuntimeError(f"logistic regression did not converge: {found.message}")
    return s * found.x[1:], float(found.x[0])
