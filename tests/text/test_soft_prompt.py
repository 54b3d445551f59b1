"""Soft prompts against what they stand for: tokens in front of a sentence, and keys and values in every layer."""

from typing import Any

import pytest
import torch
from torch import Tensor

from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.models import encoder as plm
from flipbench.models.soft_prompt import Form, SoftPrompts, pool
from flipbench.text.tokens import TokenBatch, TokenStore

INPUTS, COUNT = 6, 3


@pytest.fixture(params=["bert", "roberta"])
def spec(request: pytest.FixtureRequest, folders: Any) -> str:
    return str(folders(request.param, "byte-level" if request.param == "roberta" else "wordpiece"))


def texts(spec: str, table: Table, rows: int = 5) -> TokenBatch:
    return TokenStore.build(table, plm.load_tokenizer(spec, table)).batch(torch.from_numpy(table.ids[:rows].copy()))


def build(spec: str, form: Form, **more: Any) -> tuple[plm.Encoder, SoftPrompts]:
    encoder = plm.load(spec, dropout=0.0, **more)
    torch.manual_seed(1)
    return encoder, SoftPrompts(encoder, INPUTS, COUNT, form)


def one(text: TokenBatch, row: int) -> TokenBatch:
    length = int(text.lengths[row])
    part = slice(row, row + 1)
    return TokenBatch(text.tokens[part, :length], text.lengths[part], text.field_of[part, :length])


@pytest.mark.parametrize("form", ["prompt", "prefix"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_outcome_changes_with_c_feels_no_padding_and_sends_gradient_back(
    spec: str, form: Form, attention: Any, table: Table
) -> None:
    encoder, prompts = build(spec, form, attention=attention)
    text = texts(spec, table)
    assert len(set(text.lengths.tolist())) > 2
    c = torch.randn(len(text.tokens), INPUTS, requires_grad=True)
    states = prompts.states(encoder, text, c)
    assert [s.shape for s in states] == [(*text.tokens.shape, encoder.hidden_size)] * 3
    alone = encoder(text.tokens, text.attention_mask)
    for row in range(len(text.tokens)):
        own = one(text, row)
        length = own.tokens.shape[1]
        again = prompts.states(encoder, own, c[row : row + 1])[-1][0]
        torch.testing.assert_close(states[-1][row, :length], again, atol=3e-6, rtol=1e-4)
        assert (again - alone[row, :length]).abs().max() > 0.01
        other = prompts.states(encoder, own, c[row : row + 1] + 1.0)[-1][0]
        assert (again - other).abs().max() > 1e-3
    gradient = torch.autograd.grad(states[-1][0, 0].square().sum() + states[-1][1, 0].sum(), [c, *prompts.parameters()])
    assert all(g.abs().sum() > 0 for g in gradient)
    assert gradient[0][2:].abs().sum() == 0  # a row's prompts are its own


def test_a_prompt_that_is_a_tokens_embedding_is_that_token(spec: str, table: Table) -> None:
    encoder, prompts = build(spec, "prompt")
    text = one(texts(spec, table), 0)
    before = torch.tensor([[7, 9, 8]])
    layer: Any = prompts.layers
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(encoder.token_embedding(before).flatten())
    found = prompts.states(encoder, text, torch.zeros(1, INPUTS))[-1]
    whole = torch.cat([before, text.tokens], dim=1)
    expected = encoder(whole, torch.ones_like(whole))[:, COUNT:]
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=1e-4)


def test_a_prefix_is_keys_and_values_in_every_layer(folders: Any, table: Table) -> None:
    """Recomputed with a plain attention, layer by layer; positions go on after the prefix."""
    spec = str(folders())
    encoder, prompts = build(spec, "prefix")
    text = one(texts(spec, table), 1)
    c = torch.randn(1, INPUTS)
    made = prompts(c)  # [1, K, layers, 2, heads, d]
    model: Any = encoder.model
    embeddings = model.embeddings
    length = text.tokens.shape[1]
    x = embeddings.word_embeddings(text.tokens[0]) + embeddings.token_type_embeddings.weight[0]
    x = embeddings.LayerNorm(x + embeddings.position_embeddings.weight[COUNT : COUNT + length])
    for number, layer in enumerate(model.encoder.layer):
        own = layer.attention.self
        heads = []
        for head in range(own.num_attention_heads):
            part = slice(head * own.attention_head_size, (head + 1) * own.attention_head_size)
            q, k, v = (m(x)[:, part] for m in (own.query, own.key, own.value))
            k = torch.cat([made[0, :, number, 0, head], k])
            v = torch.cat([made[0, :, number, 1, head], v])
            heads.append((q @ k.t() / own.attention_head_size**0.5).softmax(1) @ v)
        x = layer.attention.output.LayerNorm(x + layer.attention.output.dense(torch.cat(heads, 1)))
        x = layer.output.LayerNorm(x + layer.output.dense(layer.intermediate(x)))
    torch.testing.assert_close(prompts.states(encoder, text, c)[-1][0], x, atol=3e-6, rtol=1e-4)


def test_an_architecture_without_room_for_a_prefix_is_named(folders: Any, table: Table) -> None:
    spec = str(folders("distilbert"))
    with pytest.raises(UserError, match="'distilbert' takes no prefix; form: prompt works with it"):
        build(spec, "prefix")
    encoder, prompts = build(spec, "prompt")
    text = texts(spec, table)
    assert len(prompts.states(encoder, text, torch.zeros(len(text.tokens), INPUTS))) == 3


def test_pooling_reads_real_tokens_of_the_named_layers() -> None:
    lengths = torch.tensor([2, 3])
    text = TokenBatch(torch.zeros(2, 3, dtype=torch.int64), lengths, torch.zeros(2, 3, dtype=torch.int64))
    states = tuple(torch.randn(2, 3, 4) for _ in range(4))
    mean = [torch.stack([layer[0, :2].mean(0), layer[1].mean(0)]) for layer in states]
    first: Tensor = states[3][:, 0]
    for pooling, expected in (
        ("cls", first),
        ("avg", mean[3]),
        ("avg_first_last", (mean[1] + mean[3]) / 2),
        ("avg_top2", (mean[2] + mean[3]) / 2),
    ):
        torch.testing.assert_close(pool(states, text, pooling), expected)  # type: ignore[arg-type]
