"""The dropout for CPUs, against what dropout is."""

import pytest
import torch
from torch import nn

from flipbench.models.dropout import Dropout, cheapen, dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_rate_scale_and_gradient(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(401, 1003, dtype=dtype, requires_grad=True)  # not a multiple of four
    y = dropout(x, p)
    y.float().sum().backward()
    assert torch.equal(x.grad, y)  # of ones: dropped and scaled where the output was
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5)
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-4 if dtype == torch.float32 else 4e-3)


def test_neighbours_are_independent():
    torch.manual_seed(1)
    kept = (dropout(torch.ones(1 << 18), 0.5) != 0).float().view(-1, 4)
    correlation = torch.corrcoef(kept.t()) - torch.eye(4)
    assert correlation.abs().max() < 5 / len(kept) ** 0.5


def test_the_seed_decides():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(dropout(torch.ones(1000), 0.3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_nothing_is_dropped_in_evaluation_or_at_zero():
    x = torch.randn(7)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert not dropout(x, 1.0).any()


def test_a_models_dropouts_are_put_in_the_others_place():
    model = nn.Sequential(nn.Linear(8, 400), nn.Dropout(0.25), nn.Sequential(nn.Dropout(0.0)))
    cheapen(model)
    assert [type(module) for module in model.modules()].count(Dropout) == 2
    assert model[1].p == 0.25
    x = torch.ones(50, 8)
    torch.manual_seed(2)
    drawn = model(x)
    torch.manual_seed(2)
    assert torch.equal(drawn, dropout(model[0](x), 0.25))
    assert torch.equal(model.eval()(x), model[0](x))
