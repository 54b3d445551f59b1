"""The packed encoder gives what ``transformers`` gives, padding aside."""

import pytest
import torch
from tiny_plm import prompts

from flipbench.models import encoder as plm
from flipbench.models import packed


@pytest.fixture(params=["bert", "roberta", "distilbert"])
def case(request, folders, table):
    """An encoder in evaluation mode and twelve rows of several lengths, not sorted."""
    folder = str(folders(request.param))
    return plm.load(folder).eval(), prompts(table, folder)


def test_berts_family_is_packed_and_others_are_not(case):
    assert packed.can_pack(case[0].model) == (case[0].model.config.model_type != "distilbert")


def gradients(encoder, states):
    generator = torch.Generator().manual_seed(0)
    loss = (states * torch.randn(states.shape, generator=generator)).sum()
    parameters = dict(encoder.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}


def assert_same(mine, theirs):
    assert mine.keys() == theirs.keys()
    largest = max(g.abs().max() for g in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, atol=1e-6 * largest.item(), rtol=1e-4, msg=name)


def test_states_and_gradients_are_the_padded_ones(case):
    encoder, batch = case
    real = batch.attention_mask
    mine, theirs = encoder.states(batch), encoder(batch.tokens, real)
    assert mine.shape == theirs.shape
    assert not mine[~real].any()
    torch.testing.assert_close(mine[real], theirs[real], atol=2e-6, rtol=1e-5)
    assert_same(gradients(encoder, mine[real]), gradients(encoder, theirs[real]))


@pytest.mark.parametrize("choice", ["first", "several a row", "none in some rows"])
def test_states_of_some_tokens_are_those_among_all(choice, case):
    encoder, batch = case
    drawn = torch.rand(batch.tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    drawn[3] = choice == "several a row"
    drawn &= batch.attention_mask
    at = batch.first if choice == "first" else drawn.flatten().nonzero().squeeze(1)
    mine, theirs = encoder.states(batch, at), encoder(batch.tokens, batch.attention_mask).flatten(0, 1)[at]
    torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-5)
    assert_same(gradients(encoder, mine), gradients(encoder, theirs))


def test_dtypes_under_autocast(case):
    encoder, batch = case
    exact = encoder.states(batch, batch.first)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder.states(batch, batch.first)
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()
    if packed.can_pack(encoder.model):
        assert rough.dtype == torch.bfloat16
    mine, theirs = gradients(encoder, rough), gradients(encoder, exact)
    for name, gradient in theirs.items():
        assert mine[name].dtype == torch.float32
        assert (mine[name] - gradient).norm() <= 0.1 * max(gradient.norm(), 1e-3 * exact.norm()), name


def test_dropout_is_drawn_anew_and_follows_the_seed(case):
    encoder, batch = case
    encoder.train()

    def drawn(seed):
        torch.manual_seed(seed)
        return encoder.states(batch, batch.first)

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
