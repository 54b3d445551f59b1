"""Paired bootstrap of AUC and logloss that redraws users, not rows: a user's rows are not independent."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipbench.metrics import MetricError, checked, row_losses
from flipbench.protocol import Metric

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Whole = NDArray[np.intp]
Classes = tuple[Whole, Whole]
"""The rows of the positives and those of the negatives."""
Ranked = tuple[Whole, Whole, Whole, Whole]
Lost = Callable[[Float], Float]
"""From how often each user is drawn, [B, users], to twice the pairs of rows in wrong order, [B]; ties count half."""

RESAMPLES = 2000

VERSION = 2
"""Raised when the same input gives other resamples, or they are kept in another form: kept ones are then made anew."""

MOST_PAIRED = 2000
"""Users up to which a table of users by users is made, of 32 MB."""

_AT_ONCE = 1 << 18
"""How many numbers are worked on at a time: they stay in the processor's cache, and test sets of millions fit."""


@dataclass(frozen=True)
class Resampled:
    """The mean of some runs' metrics on the test rows (first entry) and under each resample of their users.

    Attributes:
        auc, logloss: [1 + resamples] float64; AUC is NaN where a resample has one class only.
        auc_of, logloss_of: [runs] float64, of each run on the test rows.
        users: how many there are to draw from.
    """

    auc: Float
    logloss: Float
    auc_of: Float
    logloss_of: Float
    users: int

    def of(self, metric: Metric) -> Float:
        return self.auc if metric == "auc" else self.logloss

    def runs(self, metric: Metric) -> Float:
        return self.auc_of if metric == "auc" else self.logloss_of


def bootstrap_metrics(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """AUC and logloss of the test rows and of each resample of their users: of one run, or the mean over several.

    Users are drawn with replacement, all rows of a drawn user with them (Field and Welsh, JRSS B 69, 2007).
    Equal ``groups``, ``resamples`` and ``seed`` give the same resamples, so that differences of two results are
    paired. Nothing is sorted again: a resample only reweighs users, by w, and AUC = 1 - w'Lw / (2 w'p w'n) with L the
    pairs that each two users have in wrong order and p, n their rows of either class. L is the sum over runs, so that
    the resampling of many costs what that of one does. Where there are so many users that L is larger than the rows
    are many, pairs are counted along the ranks of each run's rows, O(rows) a resample. Either way the counts are whole
    numbers, and AUC is exact on every machine.

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
    loss = np.stack([np.bincount(g, row_losses(labels, run), users) for run in x])
    paired = users <= MOST_PAIRED and users * users <= 50 * x.size  # about where both take equally long
    of_class = np.flatnonzero(clicked), np.flatnonzero(~clicked)
    of_runs, lost = (_by_pairs if paired else _by_ranks)(of_class, x, g, counts)

    auc, logloss = np.empty(1 + resamples), np.empty(1 + resamples)
    done = 0
    for drawn in _draws(users, resamples, seed):
        pairs = (drawn @ counts[0]) * (drawn @ counts[1])
        wrong = np.divide(lost(drawn), 2 * len(x) * pairs, out=np.full(len(drawn), math.nan), where=pairs > 0)
        now = slice(done, done := done + len(drawn))
        auc[now] = 1 - wrong
        logloss[now] = (drawn @ loss.mean(axis=0)) / (drawn @ (counts[0] + counts[1]))
    pairs = counts[0].sum() * counts[1].sum()
    return Resampled(auc, logloss, 1 - np.array(of_runs) / (2 * pairs), loss.sum(axis=1) / len(g), users)


def _draws(users: int, resamples: int, seed: int) -> Iterable[Float]:
    """How often each user is drawn, [B, users] at a time: once each, then the resamples."""
    return (_kept_draws if users <= MOST_PAIRED else _made_draws)(users, resamples, seed)


@lru_cache(maxsize=1)
def _kept_draws(users: int, resamples: int, seed: int) -> list[Float]:
    """The same for every row of a table."""
    return list(_made_draws(users, resamples, seed))


def _made_draws(users: int, resamples: int, seed: int) -> Iterator[Float]:
    stream = np.random.PCG64(seed)  # its raw numbers are the same in every numpy, those of a Generator need not be
    yield np.ones((1, users))
    at_once = max(1, _AT_ONCE // users)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        high = (stream.random_raw(rows * users) >> np.uint64(32)).reshape(rows, users)
        who = (high * np.uint64(users) >> np.uint64(32)).astype(np.int64) + users * np.arange(rows)[:, None]
        yield np.bincount(who.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float64)


def _by_pairs(of_class: Classes, x: Float, g: Whole, counts: list[Float]) -> tuple[list[float], Lost]:
    """What each run loses on the test rows, and what all together lose under a draw."""
    each, total = [], np.zeros((len(counts[0]), len(counts[0])))
    for run in x:
        wrong = _wrong_pairs(*_ranked(of_class, run, g), len(total))
        each.append(float(wrong.sum()))
        total += wrong
    return each, lambda drawn: np.asarray(np.einsum("bu,bu->b", drawn @ total, drawn))


def _by_ranks(of_class: Classes, x: Float, g: Whole, counts: list[Float]) -> tuple[list[float], Lost]:
    """As :func:`_by_pairs`."""
    ranked = [_ranked(of_class, run, g) for run in x]
    under = np.zeros(1 + len(ranked[0][0]))

    def of_one(run: Ranked, drawn: Float) -> float:
        positives, negatives, below, ties = run
        np.cumsum(drawn[positives], out=under[1:])
        return float(drawn[negatives] @ (under[below] + under[ties]))

    def lost(drawn: Float) -> Float:
        return np.array([sum(of_one(run, row) for run in ranked) for row in drawn])

    return [of_one(run, np.ones(len(counts[0]))) for run in ranked], lost


def _ranked(of_class: Classes, run: Float, g: Whole) -> Ranked:
    """Users of the positives and of the negatives by rising score; positives ranked under each negative, without and
    with those that tie with it."""
    # in what order rows tie does not matter
    up, down = (rows[np.argsort(run[rows])] for rows in of_class)
    positives, negatives = run[up], run[down]
    below, ties = (np.searchsorted(positives, negatives, side) for side in ("left", "right"))
    return g[up], g[down], below, ties


def _wrong_pairs(positives: Whole, negatives: Whole, below: Whole, ties: Whole, users: int) -> Float:
    """[users, users] twice the pairs of a negative of the one and a positive of the other in wrong order.

    The ranked positives are cut into blocks: whole blocks under a negative are counted by one product of matrices,
    those in its own block one by one.
    """
    limits, of = np.concatenate([below, ties]), np.tile(negatives, 2)
    width = max(8, users // 8)  # about where both parts take equally long
    blocks = 1 + len(positives) // width
    block, rest = np.divmod(limits, width)
    in_block = _table(positives, np.arange(len(positives)) // width, users, blocks)
    before = in_block.cumsum(axis=1) - in_block
    wrong = _table(of, block, users, blocks) @ before.T
    padded = np.pad(positives, (0, blocks * width - len(positives))).reshape(blocks, width)
    for start in range(0, len(limits), at_once := max(_AT_ONCE, users * users) // width):
        part = slice(start, start + at_once)
        inside = np.arange(width) < rest[part, None]
        pairs = (of[part, None] * users + padded[block[part]])[inside]
        wrong += np.bincount(pairs, minlength=users * users).reshape(users, users)
    return wrong


def _table(i: Whole, j: Whole, rows: int, columns: int) -> Float:
    """[rows, columns] how often each pair occurs."""
    return np.bincount(i * columns + j, minlength=rows * columns).reshape(rows, columns).astype(np.float64)


def spread(resampled: Float) -> float:
    """Standard deviation over the resamples that have both classes."""
    kept = resampled[np.isfinite(resampled)]
    if len(kept) < max(2, len(resampled) / 2):
        raise MetricError(f"{len(resampled) - len(kept)} of {len(resampled)} resamples have one class only")
    return float(kept.std(ddof=1))
