"""Learning rates by step and by epoch, against those of ``transformers`` and torch, and after an interruption."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from flipbench.train.config import Decay
from flipbench.train.lr_schedule import epoch_cosine, factor, lr_scheduler, plateau_factors


def make_optimizer(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates])


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.05), (37, 0.1), (10, 0.0), (3, 0.5), (1, 0.9)])
def test_factors_are_those_of_transformers(decay: Decay, steps: int, warmup: float) -> None:
    schedule = get_linear_schedule_with_warmup if decay == "linear" else get_cosine_schedule_with_warmup
    optimizer = make_optimizer(1.0)
    reference = schedule(optimizer, int(steps * warmup), steps)
    for step in range(steps):
        assert factor(step, steps, warmup, decay) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()
    assert factor(steps + 5, steps, warmup, decay) == 0.0


def test_a_cosine_by_epoch_is_torchs() -> None:
    optimizer = make_optimizer(1e-4)
    reference = CosineAnnealingLR(optimizer, T_max=30, eta_min=0)
    for epoch in range(30):
        assert epoch_cosine(1e-4, epoch, 30) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        reference.step()
    assert epoch_cosine(1e-4, 29, 30) == pytest.approx(0.0027 * 1e-4, rel=0.02)


def test_plateau() -> None:
    assert plateau_factors([]) == [1.0]
    aucs = [0.7, 0.8, 0.8, 0.79, 0.81, 0.805]  # no better: the third, the fourth and the last
    assert plateau_factors(aucs) == pytest.approx([1, 1, 1, 0.1, 0.01, 0.01, 0.001])


def test_groups_and_resuming() -> None:
    def rates_before_steps(optimizer: torch.optim.Optimizer, steps: int) -> list[list[float]]:
        rates = []
        for _ in range(steps):
            before_step(0)
            rates.append([group["lr"] for group in optimizer.param_groups])
        return rates

    undisturbed = make_optimizer(1.0, 0.1)
    before_step = lr_scheduler(undisturbed, "linear", 0.2, epochs=1, steps_an_epoch=10)
    expected = rates_before_steps(undisturbed, 6)
    assert [a / b if b else 0.0 for a, b in expected] == pytest.approx([0.0] + [10.0] * 5)
    assert [a for a, _ in expected] == pytest.approx([0.0, 0.5, 1.0, 0.875, 0.75, 0.625])

    first, second = make_optimizer(1.0, 0.1), make_optimizer(1.0, 0.1)
    before_step = lr_scheduler(first, "linear", 0.2, epochs=1, steps_an_epoch=10)
    rates_before_steps(first, 3)
    before_step = lr_scheduler(second, "linear", 0.2, epochs=1, steps_an_epoch=10)
    second.load_state_dict(first.state_dict())
    assert rates_before_steps(second, 3) == expected[3:]
