"""FLIP, FLIP_ID and FLIP_PLM against equations 15 to 19."""

import pytest
import torch
from tiny_flip import TinyEncoder, build_id, planted_rows, tokens
from torch.nn.functional import binary_cross_entropy

from flipbench.methods.flip.ctr import FLIP, FLIPPLM
from flipbench.models.click_model import IDClickModel


@pytest.fixture
def inputs():
    train = planted_rows()[0]
    ids = torch.from_numpy(train.ids[:40]).long()
    return ids, tokens().batch(ids), torch.from_numpy(train.labels[:40]).float()


@pytest.fixture
def flip():
    torch.manual_seed(0)
    return FLIP(build_id(std=0.5), TinyEncoder())


def test_logits_and_loss_are_equations_16_to_19(flip, inputs):
    ids, text, labels = inputs
    assert torch.equal(flip.alpha, torch.tensor(0.0)), "it predicts as the language model does"
    flip.alpha.data.fill_(0.3)
    s_id, s_plm = flip.logits(ids, text)
    torch.testing.assert_close(s_id, flip.id_model(ids))
    torch.testing.assert_close(s_plm, flip.head(flip.encoder(text.tokens, text.attention_mask)[:, 0]).squeeze(1))
    plm = FLIPPLM(flip.encoder)
    plm.head = flip.head
    torch.testing.assert_close(plm(ids, text), s_plm)
    mixed = 0.3 * s_id + 0.7 * s_plm
    torch.testing.assert_close(flip(ids, text), mixed)
    terms = [binary_cross_entropy(s.sigmoid(), labels) for s in (mixed, s_id, s_plm)]
    torch.testing.assert_close(flip.loss(ids, text, labels), sum(terms))


def test_two_more_biases(flip, inputs):
    ids, text, _ = inputs
    biased = FLIP(flip.id_model, flip.encoder, 0.3, fused_biases=True)
    biased.head = flip.head
    flip.alpha.data.fill_(0.3)
    assert torch.equal(biased(ids, text), flip(ids, text)), "they start at 0"
    biased.biases.data.copy_(torch.tensor([2.0, 5.0]))
    (s_id, s_plm), parts = flip.logits(ids, text), biased.logits(ids, text)
    torch.testing.assert_close(parts, (s_id, s_plm + 2))
    torch.testing.assert_close(biased(ids, text), 0.3 * s_id + 0.7 * (s_plm + 2) + 5)


def test_pooling_and_dropout_of_the_language_model_alone(flip, inputs):
    ids, text, _ = inputs
    model = FLIPPLM(flip.encoder, "avg", 0.5)
    model.head = flip.head
    states = flip.encoder(text.tokens, text.attention_mask)
    mean = torch.stack([state[:length].mean(0) for state, length in zip(states, text.lengths, strict=True)])
    torch.testing.assert_close(model.eval()(ids, text), flip.head(mean).squeeze(1))
    assert not torch.equal(model.train()(ids, text), model(ids, text))


def test_every_parameter_learns(flip, inputs):
    for model in (flip, IDClickModel(flip.id_model), FLIPPLM(flip.encoder)):
        model.zero_grad()
        model.loss(*inputs).backward()
        assert all(p.grad is not None for p in model.parameters())
        assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1)
    flip.zero_grad()
    flip.loss(*inputs).backward()
    assert abs(flip.alpha.grad.item()) > 1e-6


def test_parameters_fall_in_their_groups(flip):
    assert {*flip.plm_parameters()} == {*flip.encoder.parameters()}
    assert {*flip.embedding_tables()} == {*flip.id_model.embedding_tables()}
    assert IDClickModel(flip.id_model).plm_parameters() == FLIPPLM(flip.encoder).embedding_tables() == []
    assert {"alpha", "head.weight", "id_model.embed.weight", "encoder.tokens.weight"} <= {*flip.state_dict()}


def test_autocast_leaves_the_id_model_and_the_losses_alone(flip, inputs):
    ids, text, labels = inputs
    full_id, full_plm = flip.logits(ids, text)
    with torch.autocast("cpu", torch.bfloat16):
        s_id, s_plm = flip.logits(ids, text)
        loss = flip.loss(ids, text, labels)
    assert torch.equal(s_id, full_id)
    assert s_plm.dtype == loss.dtype == torch.float32
    assert not torch.equal(s_plm, full_plm)
    torch.testing.assert_close(s_plm, full_plm, rtol=0.05, atol=0.02)


def test_a_language_model_needs_text(flip, inputs):
    with pytest.raises(AssertionError, match="needs a token store"):
        flip(inputs[0], None)
