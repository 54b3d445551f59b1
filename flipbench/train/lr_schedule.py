"""Learning rates over a training: a rise over the first steps, then a fall to 0."""

import math
from collections.abc import Callable, Sequence

import torch

from flipbench.train.config import Decay

_TAKEN = "steps_taken"

PLATEAU_CUT = 0.1
"""What the rate is multiplied by after an epoch without a better validation AUC (FuxiCTR, and so every log of BARS)."""


def factor(step: int, steps: int, warmup: float, decay: Decay) -> float:
    """Share of the full learning rate at a step.

    Args:
        step: from 0.
        steps: of the whole training; the rate is 0 from there on.
        warmup: share of the steps over which the rate rises linearly from 0, in [0, 1).
        decay: ``linear``, or half a ``cosine``, from the full rate to 0 over the others.
    """
    rising = int(steps * warmup)
    if step < rising:
        return step / rising
    left = max(0.0, (steps - step) / max(1, steps - rising))
    return left if decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def epoch_cosine(rate: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch: half a cosine from ``rate``, a step an epoch, no warm-up (V-A4, and code)."""
    return rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def plateau_factors(aucs: Sequence[float]) -> list[float]:
    """Shares of the full rate in epochs of these validation AUCs, and in the one after them: one more than given."""
    factors, best = [1.0], -math.inf
    for auc in aucs:
        factors.append(factors[-1] * (1.0 if auc > best else PLATEAU_CUT))
        best = max(best, auc)
    return factors


def lr_scheduler(
    optimizer: torch.optim.Optimizer, decay: Decay, warmup: float, epochs: int, steps_an_epoch: int
) -> Callable[[int], None]:
    """What to call with the epoch before each of the optimizer's steps: it sets the groups' rates.

    Full is the rate that a group has now.

    How many steps were taken stands in the optimizer's groups, and so in its state: a training that goes on from a
    checkpoint goes on here too.
    """
    full = [group["lr"] for group in optimizer.param_groups]
    if decay in ("linear", "cosine"):
        for group in optimizer.param_groups:
            group.setdefault(_TAKEN, 0)

    def set_rates(epoch: int) -> None:
        for group, rate in zip(optimizer.param_groups, full, strict=True):
            if decay == "epoch-cosine":
                group["lr"] = epoch_cosine(rate, epoch, epochs)
            elif decay in ("linear", "cosine"):
                group["lr"] = rate * factor(group[_TAKEN], steps_an_epoch * epochs, warmup, decay)
                group[_TAKEN] += 1

    return set_rates
