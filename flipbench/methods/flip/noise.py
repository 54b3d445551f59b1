"""Noise features for masked tabular modelling, drawn as often as they occur (paper IV-C4)."""

import torch
from torch import Tensor

FLOOR = 1e-10
"""Least probability of a feature in NCE's correction (code), so that ln q exists for the mask feature too."""


def feature_counts(ids: Tensor, features: int) -> Tensor:
    """How often each feature occurs in the rows to pretrain on: [features] int64 of ids [N, F].

    Raises:
        ValueError: the mask feature 0 occurs, so these are no clean rows.
    """
    counts = torch.bincount(ids.flatten(), minlength=features)
    if counts[0]:
        raise ValueError(f"the mask feature 0 occurs {int(counts[0])} times in rows that should be clean")
    return counts


def frequencies(counts: Tensor) -> Tensor:
    """q [M] float64 of the counts [M]: at least ``FLOOR`` before it is normalised over all features (code)."""
    q = (counts.double() / counts.sum()).clamp(min=FLOOR)
    return q / q.sum()


class Noise:
    """Draws feature ids in exact proportion to their counts; a feature never seen is never drawn.

    Args:
        counts: [M] int64, see :func:`feature_counts`.
    """

    def __init__(self, counts: Tensor) -> None:
        self.cumulative = counts.cpu().cumsum(0)
        self.total = int(self.cumulative[-1])

    def draw(self, rows: int, slots: int, noise: int, generator: torch.Generator) -> Tensor:
        """[rows, slots, noise] int64, independent; a draw may hit the masked feature itself, as in NCE."""
        tickets = torch.randint(self.total, (rows, slots, noise), generator=generator)
        return torch.searchsorted(self.cumulative, tickets, right=True)
