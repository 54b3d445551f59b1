"""FLIP, FLIP_ID and FLIP_PLM against equations 15 to 19."""

import pytest
import torch
from tiny_encoder import TinyEncoder
from torch.nn.functional import binary_cross_entropy

from flipbench.methods.flip.ctr import FLIP, FLIPID, FLIPPLM


@pytest.fixture
def inputs(parts, store):
    ids = torch.from_numpy(parts[0].ids[:40]).long()
    return ids, store.batch(ids), torch.from_numpy(parts[0].labels[:40]).float()


@pytest.fixture
def flip(build_id, store):
    torch.manual_seed(0)
    return FLIP(build_id(std=0.5), TinyEncoder(store.vocab_size, dropout=0.0))


def test_at_the_start_flip_predicts_as_the_language_model_does(flip, inputs):
    ids, text, _ = inputs
    plm = FLIPPLM(flip.encoder)
    plm.head = flip.head
    assert flip.alpha.item() == 0.0
    assert torch.equal(flip(ids, text), plm(ids, text))


def test_alpha_learns_from_the_start(flip, inputs):
    flip.loss(*inputs).backward()
    assert flip.alpha.shape == ()
    assert abs(flip.alpha.grad.item()) > 1e-6


def test_the_loss_is_equation_17(flip, inputs):
    ids, text, labels = inputs
    with torch.no_grad():
        flip.alpha.fill_(0.3)
    s_id, s_plm = flip.logits(ids, text)
    torch.testing.assert_close(s_id, flip.id_model(ids))
    torch.testing.assert_close(s_plm, flip.head(flip.encoder(text.tokens, text.attention_mask)[:, 0]).squeeze(1))
    mixed = 0.3 * s_id + 0.7 * s_plm
    torch.testing.assert_close(flip(ids, text), mixed)
    terms = [binary_cross_entropy(s.sigmoid(), labels) for s in (mixed, s_id, s_plm)]
    torch.testing.assert_close(flip.loss(ids, text, labels), sum(terms))


def test_every_parameter_of_the_three_learns(flip, build_id, inputs):
    for model in (flip, FLIPID(flip.id_model), FLIPPLM(flip.encoder)):
        model.zero_grad()
        model.loss(*inputs).backward()
        assert all(p.grad is not None for p in model.parameters())
        assert all(g.abs().sum() > 0 for p in model.parameters() if (g := p.grad) is not None and p.dim() > 1)


def test_parameters_fall_in_their_groups(flip):
    plm = {id(p) for p in flip.plm_parameters()}
    assert plm == {id(p) for p in flip.encoder.parameters()}
    assert FLIPID(flip.id_model).plm_parameters() == []
    assert FLIPPLM(flip.encoder).embedding_tables() == []
    assert {id(p) for p in flip.embedding_tables()} == {id(p) for p in flip.id_model.embedding_tables()}
    names = set(flip.state_dict())
    assert {"alpha", "head.weight", "id_model.embed.weight", "encoder.tokens.weight"} <= names


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


def test_a_language_model_without_text_is_a_fault_of_the_caller(flip, inputs):
    with pytest.raises(AssertionError, match="needs a token store"):
        flip(inputs[0], None)
