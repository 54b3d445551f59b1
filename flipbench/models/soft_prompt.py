"""Vectors that a PLM reads before a sentence's tokens (ClickPrompt, Lin et al., WWW 2024)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from flipbench.errors import UserError
from flipbench.models.mlp import linear

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder
    from flipbench.text.tokens import TokenBatch

Form = Literal["prefix", "prompt"]
Pooling = Literal["cls", "avg", "avg_first_last", "avg_top2"]


class SoftPrompts(nn.Module):
    """K vectors made from a representation c, and the states of a sentence that is read after them.

    ``prompt``: K linear maps of c to the size of a token's embedding, before the embeddings of the tokens.
    ``prefix``: W2 tanh(W1 c), K keys and values for every layer. In both the tokens' positions go on after K.

    Args:
        encoder: the PLM; only its sizes are kept.
        inputs: size of c.
        count: K.

    Raises:
        UserError: the PLM's architecture takes no keys and values from outside, or nothing but tokens.
    """

    def __init__(self, encoder: Encoder, inputs: int, count: int, form: Form) -> None:
        super().__init__()
        config, width = encoder.model.config, encoder.hidden_size
        self.count, self.form = count, form
        self.shape = (count, config.num_hidden_layers, 2, config.num_attention_heads, -1)
        accepted = inspect.signature(encoder.model.forward).parameters
        if "inputs_embeds" not in accepted:
            raise UserError(f"PLM '{encoder.name}': '{config.model_type}' takes no soft prompts, only tokens")
        if form == "prompt":
            self.layers: nn.Module = linear(inputs, count * encoder.embedding_size)  # the K maps side by side
            return
        if "past_key_values" not in accepted:
            raise UserError(f"PLM '{encoder.name}': '{config.model_type}' takes no prefix; form: prompt works with it")
        outputs = count * config.num_hidden_layers * 2 * width
        self.layers = nn.Sequential(linear(inputs, width), nn.Tanh(), linear(width, outputs))

    def forward(self, c: Tensor) -> Tensor:
        """[B, K, E] of c [B, inputs], or [B, K, layers, 2, heads, d] as keys and values."""
        made: Tensor = self.layers(c)
        shape = (self.count, -1) if self.form == "prompt" else self.shape
        return made.view(len(c), *shape)

    def states(self, encoder: Encoder, text: TokenBatch, c: Tensor) -> tuple[Tensor, ...]:
        """States of the text's tokens after the embedding and after every layer, each [B, L, D_text].

        What stands at padding has no meaning.
        """
        from transformers import DynamicCache

        made, model = self(c), encoder.model
        seen = nn.functional.pad(text.attention_mask, (self.count, 0), value=True).long()
        if self.form == "prompt":
            tokens = encoder.embed(text.tokens, text.attention_mask)
            inputs = torch.cat([made.to(tokens.dtype), tokens], dim=1)
            outputs = model(inputs_embeds=inputs, attention_mask=seen, output_hidden_states=True).hidden_states
            return tuple(states[:, self.count :] for states in outputs)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(made.permute(2, 3, 0, 4, 1, 5).unbind(0)):
            cache.update(keys, values, number)
        outputs = model(text.tokens, attention_mask=seen, past_key_values=cache, output_hidden_states=True)
        states: tuple[Tensor, ...] = outputs.hidden_states
        return states


def pooled(encoder: Encoder, text: TokenBatch, pooling: Literal["cls", "avg"]) -> Tensor:
    """One vector a sentence [B, D_text] float32 without prompts: :func:`pool`, and no padding computed for ``cls``."""
    if pooling == "cls":
        return encoder.states(text, text.first).float()
    return pool((encoder.states(text).float(),), text, pooling)


def pool(states: tuple[Tensor, ...], text: TokenBatch, pooling: Pooling) -> Tensor:
    """One vector a sentence [B, D_text]: the first token's last state, or the mean over its tokens of the last states,
    of the first and the last layer's, or of the last two layers' (ClickPrompt's code)."""
    if pooling == "cls":
        return states[-1][:, 0]
    other = {"avg": -1, "avg_first_last": 1, "avg_top2": -2}[pooling]
    mean = (states[-1] + states[other]) / 2
    weights = text.attention_mask.unsqueeze(2).to(mean.dtype)
    return (mean * weights).sum(1) / weights.sum(1)
