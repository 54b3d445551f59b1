"""Two methods, each run with the same seeds on the same test rows: is the difference more than chance?"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, row_losses
from flipbench.protocol import Metric
from flipbench.stats.bootstrap import Resampled, bootstrap_metrics, spread
from flipbench.stats.delong import auc_covariance, placements
from flipbench.stats.difference import Difference, satterthwaite, t_difference
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
    per_seed, rows_error = _by_rows(metric, labels, a, b)
    if test == "paired-t":
        return paired_t(per_seed)
    return _with_seeds(per_seed, rows_error, math.inf, test)


def compare_resampled(metric: Metric, a: Resampled, b: Resampled) -> Difference:
    """:func:`compare` by ``user-bootstrap``, from metrics resampled alike: of the same seeds on the same rows.

    p and interval are Student's with the standard error of the resampled differences and (users - 1) degrees of
    freedom: the share of 2,000 resamples beyond zero cannot distinguish p = .0001 from p = .001.
    """
    error = spread((a.of(metric) - b.of(metric))[1:])
    return _with_seeds((a.runs(metric) - b.runs(metric)).tolist(), error, a.users - 1, "user-bootstrap")


def _with_seeds(per_seed: list[float], rows_error: float, rows_df: float, test: str) -> Difference:
    """The mean over seeds, its error that of the test rows and of the seeds."""
    seeds = len(per_seed)
    seeds_error = float(np.std(per_seed, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
    df = satterthwaite(rows_error, rows_df, seeds_error, seeds - 1)
    return t_difference(float(np.mean(per_seed)), math.hypot(rows_error, seeds_error), df, test)


def _by_rows(
    metric: Metric, labels: ArrayLike, a: Sequence[ArrayLike], b: Sequence[ArrayLike]
) -> tuple[list[float], float]:
    """Difference of each seed, and the standard error of their mean if rows were independent."""
    if metric == "logloss":
        rows = [row_losses(labels, x) - row_losses(labels, y) for x, y in zip(a, b, strict=True)]
        mean = np.mean(rows, axis=0)
        return [float(r.mean()) for r in rows], float(mean.std(ddof=1)) / math.sqrt(len(mean))
    placed = [(placements(labels, x), placements(labels, y)) for x, y in zip(a, b, strict=True)]
    above = np.mean([x[0] - y[0] for x, y in placed], axis=0)
    below = np.mean([x[1] - y[1] for x, y in placed], axis=0)
    variance = float(auc_covariance([above], [below])[0, 0])
    return [float((x[0] - y[0]).mean()) for x, y in placed], math.sqrt(variance)
