"""FusedAdam against torch's Adam: equal bits, also where it resumes and where a parameter has no gradient."""

import copy

import pytest
import torch
from torch import nn

from flipbench.engine.fused_adam import FusedAdam


def start() -> nn.ParameterList:
    torch.manual_seed(0)
    return nn.ParameterList(torch.randn(shape) for shape in [(50, 8), (50, 1), (8, 16), (16,), ()])


def ours(weights: nn.ParameterList) -> torch.optim.Adam:
    return FusedAdam([{"params": list(weights[:2]), "weight_decay": 0.1}, {"params": list(weights[2:])}], 1e-2)


def torchs(weights: nn.ParameterList) -> torch.optim.Adam:
    groups = [{"params": list(weights[:2]), "weight_decay": 0.1}, {"params": list(weights[2:])}]
    return torch.optim.Adam(groups, lr=1e-2, fused=True)


def train(
    weights: nn.ParameterList, optimiser: torch.optim.Adam, steps: range, missing: int | None = None
) -> nn.ParameterList:
    """Steps whose gradients depend on step and weights; in every third, weight ``missing`` has none."""
    for step in steps:
        optimiser.zero_grad()
        assert all(weight.grad is None for weight in weights)
        noise = torch.Generator().manual_seed(step)
        for index, weight in enumerate(weights):
            if index != missing or step % 3:
                weight.grad = torch.randn(weight.shape, generator=noise) + weight.detach()
        optimiser.step()
    return weights


def equal(some: nn.ParameterList, others: nn.ParameterList) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("missing", [None, 0, 3])
def test_equals_torch_bit_for_bit(missing: int | None) -> None:
    mine, theirs = start(), start()
    assert equal(train(mine, ours(mine), range(20), missing), train(theirs, torchs(theirs), range(20), missing))


@pytest.mark.parametrize(("first", "then"), [(ours, ours), (ours, torchs), (torchs, ours)])
def test_goes_on_from_a_saved_state_in_either_class(first: object, then: object) -> None:
    whole = start()
    train(whole, ours(whole), range(12))
    weights = start()
    optimiser = first(weights)  # type: ignore[operator]
    train(weights, optimiser, range(5))
    saved = copy.deepcopy([weight.detach() for weight in weights]), copy.deepcopy(optimiser.state_dict())
    optimiser = then(weights)  # type: ignore[operator]
    train(weights, optimiser, range(3))  # has stepped before the state is loaded
    for weight, kept in zip(weights, saved[0], strict=True):
        weight.data.copy_(kept)
    optimiser.load_state_dict(saved[1])
    assert equal(train(weights, optimiser, range(5, 12)), whole)
