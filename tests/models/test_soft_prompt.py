"""Soft prompts against what they stand for: tokens in front of a sentence, and keys and values in every layer."""

import pytest
import torch
from tiny_plm import prompts

from flipbench.errors import UserError
from flipbench.models import encoder as plm
from flipbench.models.soft_prompt import SoftPrompts, pool, pooled
from flipbench.text.tokens import TokenBatch

INPUTS, COUNT = 6, 3


@pytest.fixture(params=["bert", "roberta"])
def spec(request, folders):
    return str(folders(request.param))


def build(spec, form, **more):
    encoder = plm.load(spec, dropout=0.0, **more)
    torch.manual_seed(1)
    return encoder, SoftPrompts(encoder, INPUTS, COUNT, form)


def row_of(text, row):
    part, length = slice(row, row + 1), int(text.lengths[row])
    return TokenBatch(text.tokens[part, :length], text.lengths[part], text.field_of[part, :length])


@pytest.mark.parametrize("form", ["prompt", "prefix"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_prompted_states(spec, form, attention, table):
    encoder, soft = build(spec, form, attention=attention)
    text = prompts(table, spec, rows=5)
    c = torch.randn(5, INPUTS, requires_grad=True)
    made = soft(c)
    assert made.shape == ((5, COUNT, 32) if form == "prompt" else (5, COUNT, 2, 2, 2, 16))
    assert (made[0] - made[1]).abs().max() > 1e-3
    states = soft.states(encoder, text, c)
    assert [s.shape for s in states] == [(*text.tokens.shape, encoder.hidden_size)] * 3
    plain = encoder(text.tokens, text.attention_mask)
    for row in range(5):
        single = row_of(text, row)
        alone = soft.states(encoder, single, c[row : row + 1])[-1][0]
        torch.testing.assert_close(states[-1][row, : len(alone)], alone, atol=3e-6, rtol=1e-4)
        assert (alone - plain[row, : len(alone)]).abs().max() > 0.01
        other = soft.states(encoder, single, c[row : row + 1] + 1.0)[-1][0]
        assert (alone - other).abs().max() > 1e-3
    gradient = torch.autograd.grad(states[-1][0, 0].square().sum() + states[-1][1, 0].sum(), [c, *soft.parameters()])
    assert all(g.any() for g in gradient)
    assert not gradient[0][2:].any(), "a row's prompts are its own"


def test_a_prompt_that_is_a_tokens_embedding_is_that_token(spec, table):
    encoder, soft = build(spec, "prompt")
    text, before = row_of(prompts(table, spec), 0), torch.tensor([[7, 9, 8]])
    with torch.no_grad():
        soft.layers.weight.zero_()
        soft.layers.bias.copy_(encoder.token_embedding(before).flatten())
    whole = torch.cat([before, text.tokens], dim=1)
    expected = encoder(whole, torch.ones_like(whole))[:, COUNT:]
    torch.testing.assert_close(soft.states(encoder, text, torch.zeros(1, INPUTS))[-1], expected, atol=3e-6, rtol=1e-4)


def test_a_prefix_is_keys_and_values_in_every_layer(folders, table):
    """Recomputed with a plain attention, layer by layer; positions go on after the prefix."""
    spec = str(folders())
    encoder, soft = build(spec, "prefix")
    text, c = row_of(prompts(table, spec), 1), torch.randn(1, INPUTS)
    made = soft(c)  # [1, K, layers, 2, heads, d]
    embeddings = encoder.model.embeddings
    x = embeddings.word_embeddings(text.tokens[0]) + embeddings.token_type_embeddings.weight[0]
    x = embeddings.LayerNorm(x + embeddings.position_embeddings.weight[COUNT : COUNT + len(x)])
    for number, layer in enumerate(encoder.model.encoder.layer):
        attention, heads = layer.attention.self, []
        for head in range(attention.num_attention_heads):
            part = slice(head * attention.attention_head_size, (head + 1) * attention.attention_head_size)
            q, k, v = (m(x)[:, part] for m in (attention.query, attention.key, attention.value))
            k = torch.cat([made[0, :, number, 0, head], k])
            v = torch.cat([made[0, :, number, 1, head], v])
            heads.append((q @ k.t() / attention.attention_head_size**0.5).softmax(1) @ v)
        x = layer.attention.output.LayerNorm(x + layer.attention.output.dense(torch.cat(heads, 1)))
        x = layer.output.LayerNorm(x + layer.output.dense(layer.intermediate(x)))
    torch.testing.assert_close(soft.states(encoder, text, c)[-1][0], x, atol=3e-6, rtol=1e-4)


def test_an_architecture_without_room_for_a_prefix_is_named(folders, table):
    spec = str(folders("distilbert"))
    with pytest.raises(UserError, match="'distilbert' takes no prefix; form: prompt works with it"):
        build(spec, "prefix")
    encoder, soft = build(spec, "prompt")
    assert len(soft.states(encoder, prompts(table, spec), torch.zeros(12, INPUTS))) == 3


@pytest.mark.parametrize("kind", ["bert", "distilbert"])  # with and without padding computed
def test_pooling_without_prompts_leaves_padding_out(kind, folders, table):
    encoder = plm.load(str(folders(kind)), dropout=0.0)
    text = prompts(table, encoder.name)
    first, mean = (pooled(encoder, text, pooling) for pooling in ("cls", "avg"))
    for row in range(len(text.tokens)):
        single = row_of(text, row)
        states = encoder(single.tokens, single.attention_mask)[0]
        torch.testing.assert_close(first[row], states[0], atol=3e-6, rtol=1e-4)
        torch.testing.assert_close(mean[row], states.mean(0), atol=3e-6, rtol=1e-4)


def test_pooling_reads_real_tokens_of_the_named_layers():
    zeros = torch.zeros(2, 3, dtype=torch.int64)
    text = TokenBatch(zeros, torch.tensor([2, 3]), zeros)
    states = tuple(torch.randn(2, 3, 4) for _ in range(4))
    mean = [torch.stack([layer[0, :2].mean(0), layer[1].mean(0)]) for layer in states]
    for pooling, expected in (
        ("cls", states[3][:, 0]),
        ("avg", mean[3]),
        ("avg_first_last", (mean[1] + mean[3]) / 2),
        ("avg_top2", (mean[2] + mean[3]) / 2),
    ):
        torch.testing.assert_close(pool(states, text, pooling), expected)
