"""RowAdam is torch's Adam, at whatever gaps a row is read."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from flipbench.models.embedding import FeatureEmbedding
from flipbench.train import row_adam
from flipbench.train.row_adam import RowAdam

ROWS, DIM = 60, 3


def trained(batches: list[Tensor], by_rows: bool, scale: float = 1.0, reload_at: tuple[int, ...] = ()) -> list[Tensor]:
    """Table and dense weight after one step a batch of ids; before the steps ``reload_at`` Adam is saved and loaded."""
    torch.manual_seed(0)
    table, dense = FeatureEmbedding(ROWS, DIM), nn.Linear(DIM, 1)
    whole = [table.weight, *dense.parameters()]
    make = partial(RowAdam, [table], whole[1:]) if by_rows else partial(torch.optim.Adam, whole)
    optimizer = make(1e-3)
    for number, ids in enumerate(batches):
        if number in reload_at:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = make(1e-3)
            optimizer.load_state_dict(state)
        if isinstance(optimizer, RowAdam):
            optimizer.catch_up(ids)
        loss = scale * (dense(table(ids)) - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if isinstance(optimizer, RowAdam):
        optimizer.catch_up()
    return [table.weight.detach(), dense.weight.detach()]


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-9])  # sqrt(v) above, about and far below epsilon
@pytest.mark.parametrize("steps", [5, 100, 700])
def test_equals_torch_adam(steps: int, scale: float) -> None:
    draw = torch.Generator().manual_seed(1)
    odds = torch.arange(1.0, ROWS + 1) ** -1.5  # some rows in each batch, some once in hundreds, some never
    batches = [torch.multinomial(odds, 4, replacement=True, generator=draw) for _ in range(steps)]
    table, dense = trained(batches, True, scale)
    expected_table, expected_dense = trained(batches, False, scale)
    torch.testing.assert_close(table, expected_table, atol=2e-7, rtol=2e-5)
    torch.testing.assert_close(dense, expected_dense, atol=1e-6, rtol=1e-5)


def test_a_row_drifts_after_its_last_gradient() -> None:
    """What SparseAdam leaves out is not small: ten times the move of the gradient's own step."""
    once = [torch.tensor([7])] + [torch.tensor([8])] * 400
    moved = trained(once, True)[0][7] - trained(once[:1], True)[0][7]
    assert (moved.abs() > 2e-3).all()


def test_resumes_bit_exactly() -> None:
    draw = torch.Generator().manual_seed(1)
    batches = [torch.randint(ROWS, (4,), generator=draw) for _ in range(300)]
    assert torch.equal(trained(batches, True, reload_at=(50, 200))[0], trained(batches, True)[0])


def test_catching_up_twice_is_catching_up_once() -> None:
    table = FeatureEmbedding(ROWS, DIM)
    optimizer = RowAdam([table], [], 1e-3)
    for ids in (torch.tensor([1, 2]), torch.tensor([3])):
        optimizer.catch_up(ids)
        table(ids).square().sum().backward()
        optimizer.step()
    optimizer.catch_up()
    once = table.weight.detach().clone()
    for again in (torch.tensor([1, 3]), torch.tensor([1]), None):
        optimizer.catch_up(again)
    assert torch.equal(table.weight, once)
    with pytest.raises(RuntimeError, match="catch_up"):
        optimizer.step()


def test_two_nodes_are_enough() -> None:
    """The closed form against the sum of its terms, wherever it is used."""
    since = torch.tensor([row_adam.EARLY_STEPS, 300, 5000, 39_990, 10**6]).repeat_interleave(3)
    missed = torch.tensor([1, 20, 400]).repeat(5)
    for root in (1e-2, 1e-8, 1e-11):
        terms, nodes = (
            sum(a / (root + 1e-8 * x) for a, x in rule(since, missed, 0.9, 0.999))
            for rule in (row_adam._terms, row_adam._nodes)
        )
        torch.testing.assert_close(nodes, terms, rtol=1e-5, atol=0)
