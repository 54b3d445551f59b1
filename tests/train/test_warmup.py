"""Learning rates by step, against ``transformers``' schedules, and after an interruption."""

import pytest
import torch
from torch import nn

from flipbench.train.lr_schedule import Decay, factor, scheduled


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.05), (37, 0.1), (10, 0.0), (3, 0.5), (1, 0.9)])
def test_factors_are_those_of_transformers(decay: Decay, steps: int, warmup: float) -> None:
    from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

    make = get_linear_schedule_with_warmup if decay == "linear" else get_cosine_schedule_with_warmup
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = make(optimizer, int(steps * warmup), steps)
    for step in range(steps):
        assert factor(step, steps, warmup, decay) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()
    assert factor(steps + 5, steps, warmup, decay) == 0.0


def test_every_group_keeps_its_share_and_a_loaded_state_goes_on() -> None:
    def make() -> torch.optim.Optimizer:
        parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        groups = [{"params": [p], "lr": rate} for p, rate in zip(parameters, (1.0, 0.1), strict=True)]
        return torch.optim.AdamW(groups)

    def rates(optimizer: torch.optim.Optimizer) -> list[float]:
        return [group["lr"] for group in optimizer.param_groups]

    whole = make()
    before = scheduled(whole, 10, 0.2, "linear")
    seen = []
    for _ in range(6):
        before()
        seen.append(rates(whole))
    assert [a / b if b else 0.0 for a, b in seen] == pytest.approx([0.0] + [10.0] * 5)
    assert [a for a, _ in seen] == pytest.approx([0.0, 0.5, 1.0, 0.875, 0.75, 0.625])

    first = make()
    before = scheduled(first, 10, 0.2, "linear")
    for _ in range(3):
        before()
    second = make()
    before = scheduled(second, 10, 0.2, "linear")
    second.load_state_dict(first.state_dict())
    for expected in seen[3:]:
        before()
        assert rates(second) == expected
