"""Paired bootstrap of AUC and logloss that redraws users, not rows: a user's rows are not independent."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, checked, row_losses
from flipbench.protocol import Metric

Float = NDArray[np.float64]
Whole = NDArray[np.intp]

RESAMPLES = 2000

VERSION = 3
"""Raised when the same input gives other resamples, or they are kept in another form: kept ones are then made anew."""

MOST_PAIRED = 2000
"""Users up to which a table of users by users is made, of 32 MB."""

_AT_ONCE = 1 << 18
"""How many users are drawn at a time: test sets of millions fit in memory."""


@dataclass(frozen=True)
class Resampled:
    """The metrics of some runs on the test rows (first column) and under each resample of their users.

    Attributes:
        auc, logloss: [runs, 1 + resamples] float64; AUC is NaN where a resample has one class only.
        users: how many there are to draw from.
    """

    auc: Float
    logloss: Float
    users: int

    def each(self, metric: Metric) -> Float:
        return self.auc if metric == "auc" else self.logloss

    def of(self, metric: Metric) -> Float:
        """[1 + resamples], the mean over the runs."""
        mean: Float = self.each(metric).mean(axis=0)
        return mean

    def runs(self, metric: Metric) -> Float:
        """[runs], each on the test rows themselves."""
        return self.each(metric)[:, 0]


def bootstrap_metrics(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """AUC and logloss of the test rows and of each resample of their users, of one run or of several.

    Users are drawn with replacement, all rows of a drawn user with them (Field and Welsh, JRSS B 69, 2007).
    Equal ``groups``, ``resamples`` and ``seed`` give the same resamples, so that differences of two results are
    paired. Nothing is sorted again: a resample only reweighs users, by w, and AUC = 1 - w'Lw / (2 w'p w'n) with L the
    pairs that each two users have in wrong order and p, n their rows of either class. Where there are so many users
    that L is larger than the rows are many, pairs are counted along the ranks of the run's rows, O(rows) a resample.
    Either way the counts are whole numbers, and AUC is exact on every machine.

    Args:
        labels: [N] of 0 and 1. logits: [N], or [runs, N]. groups: [N] whole numbers >= 0, equal for rows of one user.

    Raises:
        MetricError: as :mod:`flipbench.metrics`, or fewer than two users.
    """
    x = np.atleast_2d(np.asarray(logits, dtype=np.float64))
    clicked, _ = checked(labels, x[0])
    g = np.asarray(groups)
    if g.shape != clicked.shape or not np.issubdtype(g.dtype, np.integer) or g.min(initial=0) < 0:
        raise MetricError(f"groups must be {len(clicked)} whole numbers >= 0")
    names, g = np.unique(g, return_inverse=True)
    users = len(names)
    if users < 2:
        raise MetricError("resampling users needs two or more of them")
    if clicked.all() or not clicked.any():
        raise MetricError(f"AUC needs both classes; all {len(clicked)} labels are {int(clicked[0])}")
    counts = [np.bincount(g[rows], minlength=users).astype(np.float64) for rows in (clicked, ~clicked)]
    paired = users <= MOST_PAIRED and users * users <= 50 * x.size  # about where both take equally long
    auc, logloss = np.empty((2, len(x), 1 + resamples))
    for i, run in enumerate(x):
        loss = np.bincount(g, row_losses(labels, run), users)
        ranked = _ranked(run, clicked, g)
        by_pairs = _wrong_pairs(ranked, users) if paired else None
        done = 0
        for drawn in _draws(users, resamples, seed):
            pairs = (drawn @ counts[0]) * (drawn @ counts[1])
            if by_pairs is None:
                lost = np.array([_wrong(ranked, row) for row in drawn])
            else:
                lost = np.einsum("bu,bu->b", drawn @ by_pairs, drawn)
            now = slice(done, done := done + len(drawn))
            auc[i, now] = 1 - np.divide(lost, 2 * pairs, out=np.full(len(drawn), math.nan), where=pairs > 0)
            logloss[i, now] = (drawn @ loss) / (drawn @ (counts[0] + counts[1]))
    return Resampled(auc, logloss, users)


def _draws(users: int, resamples: int, seed: int) -> Iterator[Float]:
    """How often each user is drawn, [B, users] at a time: once each, then the resamples."""
    stream = np.random.PCG64(seed)  # its raw numbers are the same in every numpy, those of a Generator need not be
    yield np.ones((1, users))
    at_once = max(1, _AT_ONCE // users)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        high = (stream.random_raw(rows * users) >> np.uint64(32)).reshape(rows, users)
        who = (high * np.uint64(users) >> np.uint64(32)).astype(np.int64) + users * np.arange(rows)[:, None]
        yield np.bincount(who.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float64)


class _Ranked(NamedTuple):
    """One run's rows by rising score; in what order rows tie does not matter.

    Attributes:
        positives, negatives: users of the rows of either class.
        below, ties: how many positives rank under each negative, without and with those that tie with it.
    """

    positives: Whole
    negatives: Whole
    below: Whole
    ties: Whole


def _ranked(run: Float, clicked: NDArray[np.bool_], g: Whole) -> _Ranked:
    up, down = (rows[np.argsort(run[rows])] for rows in (np.flatnonzero(clicked), np.flatnonzero(~clicked)))
    below, ties = (np.searchsorted(run[up], run[down], side) for side in ("left", "right"))
    return _Ranked(g[up], g[down], below, ties)


def _wrong(run: _Ranked, drawn: Float) -> float:
    """Twice the pairs of rows in wrong order where each user is drawn so often, [users]; ties count half."""
    under = np.concatenate([[0.0], drawn[run.positives].cumsum()])
    return float(drawn[run.negatives] @ (under[run.below] + under[run.ties]))


def _wrong_pairs(run: _Ranked, users: int) -> Float:
    """[users, users] the same by the user of the negative and of the positive."""
    limits = np.concatenate([run.below, run.ties])
    rising = np.argsort(limits, kind="stable")
    limits, of = limits[rising], np.tile(run.negatives, 2)[rising]
    wrong = np.empty((users, users))
    for user in range(users):
        first_above = np.searchsorted(limits, np.flatnonzero(run.positives == user), "right")
        under = np.bincount(first_above, minlength=len(limits) + 1)[:-1].cumsum()
        wrong[:, user] = np.bincount(of, under, users)
    return wrong


def spread(resampled: Float) -> float:
    """Standard deviation over the resamples that have both classes."""
    kept = resampled[np.isfinite(resampled)]
    if len(kept) < max(2, len(resampled) / 2):
        raise MetricError(f"{len(resampled) - len(kept)} of {len(resampled)} resamples have one class only")
    return float(kept.std(ddof=1))
