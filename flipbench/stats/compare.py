"""Two methods, each run with the same seeds on the same test rows: is the difference more than chance?"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, row_losses
from flipbench.protocol import Metric
from flipbench.stats.bootstrap import Resampled, bootstrap_metrics, spread
from flipbench.stats.delong import auc_covariance, placements
from flipbench.stats.difference import Difference, Luck, luck_of, satterthwaite, t_difference
from flipbench.stats.equivalence import paired_t

Float = NDArray[np.float64]


def compare(
    test: str, metric: Metric, labels: ArrayLike, a: Sequence[ArrayLike], b: Sequence[ArrayLike], groups: ArrayLike
) -> Difference:
    """The mean difference over seeds, ``a`` minus ``b``, by a suite's declared test.

    Two things are chance: which users the test set has, and which seed a run had. ``user-bootstrap`` and ``delong``
    add both: SE^2 = SE^2 of the mean over seeds for the test rows + s^2/S of the S paired differences, with
    Satterthwaite's degrees of freedom. ``paired-t`` has the seeds alone, for this one test set. With one seed only
    the test rows count. DeLong's counterpart for logloss is the paired z-test over rows.

    Args:
        test: ``user-bootstrap``, ``delong`` or ``paired-t``.
        labels, groups: [N], of the test rows. a, b: S arrays [N] of logits, in the same order of seeds.

    Raises:
        ValueError: no common seeds, or ``paired-t`` without two that differ; as MetricError from the metrics.
    """
    if not a or len(a) != len(b):
        raise MetricError(f"a comparison needs the same seeds on both sides; got {len(a)} and {len(b)} runs")
    if test == "user-bootstrap":
        return compare_resampled(metric, *(bootstrap_metrics(labels, np.stack(x), groups) for x in (a, b)))
    per_seed, each, mean = _by_rows(metric, labels, a, b)
    if test == "paired-t":
        found = paired_t(per_seed)
        return replace(found, luck=Luck(0.0, 0.0, found.error * math.sqrt(len(a)), math.inf))
    return _with_seeds(per_seed, each, mean, math.inf, test)


def compare_resampled(metric: Metric, a: Resampled, b: Resampled) -> Difference:
    """:func:`compare` by ``user-bootstrap``, from metrics resampled alike: of the same seeds on the same rows.

    p and interval are Student's with the standard error of the resampled differences and (users - 1) degrees of
    freedom: the share of 2,000 resamples beyond zero cannot distinguish p = .0001 from p = .001.
    """
    differences = a.each(metric) - b.each(metric)
    each = _rms([spread(seed) for seed in differences[:, 1:]])
    mean = spread(differences[:, 1:].mean(axis=0))
    return _with_seeds(differences[:, 0].tolist(), each, mean, a.users - 1, "user-bootstrap")


def _with_seeds(per_seed: list[float], each: float, mean: float, rows_df: float, test: str) -> Difference:
    """The mean over seeds, its error that of the test rows (``mean``; ``each``: of one seed) and of the seeds."""
    seeds = len(per_seed)
    seeds_error = float(np.std(per_seed, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
    df = satterthwaite(mean, rows_df, seeds_error, seeds - 1)
    found = t_difference(float(np.mean(per_seed)), math.hypot(mean, seeds_error), df, test)
    return replace(found, luck=luck_of(per_seed, each, mean, rows_df))


def _by_rows(
    metric: Metric, labels: ArrayLike, a: Sequence[ArrayLike], b: Sequence[ArrayLike]
) -> tuple[list[float], float, float]:
    """Difference of each seed, and the standard errors of one of them and of their mean if rows were independent."""
    if metric == "logloss":
        losses = np.stack([row_losses(labels, x) - row_losses(labels, y) for x, y in zip(a, b, strict=True)])
        errors = [float(rows.std(ddof=1)) / math.sqrt(rows.size) for rows in (*losses, losses.mean(axis=0))]
        return losses.mean(axis=1).tolist(), _rms(errors[:-1]), errors[-1]
    placed = [(placements(labels, x), placements(labels, y)) for x, y in zip(a, b, strict=True)]
    above, below = (np.stack([x[side] - y[side] for x, y in placed]) for side in (0, 1))
    pairs = (*zip(above, below, strict=True), (above.mean(axis=0), below.mean(axis=0)))
    errors = [math.sqrt(float(auc_covariance([p], [n])[0, 0])) for p, n in pairs]
    return above.mean(axis=1).tolist(), _rms(errors[:-1]), errors[-1]


def _rms(values: Sequence[float]) -> float:
    """The root of the mean square: of standard deviations their mean, as variances."""
    return math.sqrt(math.fsum(value * value for value in values) / len(values))
