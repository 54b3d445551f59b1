"""BERT's encoder over the real tokens of a batch, end to end: no padding is computed.

BERT and RoBERTa (one architecture) in the layout of ``transformers``: the weights stay where it keeps them, the
states are those that it gives, and only the way there differs. Attention runs over groups of consecutive rows of
equal length, so rows should come sorted by length. Where only some tokens' states are wanted, the last layer computes
no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, layer_norm, linear

from flipbench.models.dropout import dropout
from flipbench.models.precision import full_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def can_pack(model: PreTrainedModel) -> bool:
    """Whether :func:`states` knows the model's architecture."""
    config = model.config
    absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
    return config.model_type in ("bert", "roberta") and absolute and not config.is_decoder


@dataclass(frozen=True)
class Queries:
    """Tokens whose last states are wanted.

    Attributes:
        tokens: [n] int64, which of the T real tokens.
        slots: [n] int64 in [0, B * width): row times width plus the token's rank among its row's.
        width: most of them in one row.
    """

    tokens: Tensor
    slots: Tensor
    width: int


@dataclass(frozen=True)
class Layout:
    """Where the T real tokens of B rows stand.

    Attributes:
        tokens: [T] int64 token ids, rows end to end.
        rows, columns: [T] int64, where each stands in the padded batch.
        groups: (rows, length) of consecutive rows of equal length.
    """

    tokens: Tensor
    rows: Tensor
    columns: Tensor
    groups: list[tuple[int, int]]

    @classmethod
    def of(cls, tokens: Tensor, lengths: Tensor) -> Layout:
        """The layout of padded tokens [B, L] with ``lengths`` [B] real ones a row."""
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)
        groups = [(len([*rows]), length) for length, rows in groupby(lengths.tolist())]
        rows, columns = real.nonzero(as_tuple=True)
        return cls(tokens[real], rows, columns, groups)

    def places(self, length: int) -> Tensor:
        """[T] int64: row times ``length`` plus column."""
        return self.rows * length + self.columns

    def queries(self, at: Tensor, length: int, lengths: Tensor) -> Queries:
        """The tokens at the places ``at`` [n] int64, ascending: row times ``length`` plus column."""
        rows = at // length
        counts = torch.bincount(rows, minlength=len(lengths))
        width = max(int(counts.max()), 1)
        rank = torch.arange(len(at), device=at.device) - (counts.cumsum(0) - counts)[rows]
        starts = lengths.cumsum(0) - lengths
        return Queries(starts[rows] + at % length, rows * width + rank, width)


def states(model: PreTrainedModel, layout: Layout, queries: Queries | None = None) -> Tensor:
    """Last hidden states [T, D_text], or [n, D_text] of the queries.

    Under autocast to bfloat16 weights and states are bfloat16 from the first layer on; softmax and layer norm
    compute in float32 as everywhere.
    """
    device = layout.tokens.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    modules: Any = model
    *layers, last = modules.encoder.layer
    with full_precision(layout.tokens):
        x = _embed(modules.embeddings, layout).to(dtype)
        for layer in layers:
            x = _layer(layer, x, layout.groups, None)
        return _layer(last, x, layout.groups, queries)


def _embed(module: Any, layout: Layout) -> Tensor:
    """Words, positions and the one segment [T, D], float32."""
    words, positions = module.word_embeddings, module.position_embeddings
    # RoBERTa counts positions from its padding id on, which its table names
    first = 0 if positions.padding_idx is None else positions.padding_idx + 1
    x = words.weight.index_select(0, layout.tokens) + embedding(layout.columns + first, positions.weight)
    return _dropout(module, _norm(module.LayerNorm, x + module.token_type_embeddings.weight[0]))


def _layer(layer: Any, x: Tensor, groups: list[tuple[int, int]], queries: Queries | None) -> Tensor:
    """One transformer layer: x [T, D] to [T, D], or to [n, D] of the queries."""
    attention, output = layer.attention.output, layer.output
    attended = _attend(layer.attention.self, x, groups, queries)
    if queries is not None:
        x = x.index_select(0, queries.tokens)
    x = _norm(attention.LayerNorm, x + _dropout(attention, _linear(attention.dense, attended)))
    inner = layer.intermediate.intermediate_act_fn(_linear(layer.intermediate.dense, x))
    return _norm(output.LayerNorm, x + _dropout(output, _linear(output.dense, inner)))


def _attend(module: Any, x: Tensor, groups: list[tuple[int, int]], queries: Queries | None) -> Tensor:
    """softmax(q kᵀ / √d) v of every head, each row's tokens among themselves: [T, D], or [n, D] of the queries."""
    heads, dropped = module.num_attention_heads, module.dropout.p if module.training else 0.0
    sizes = [rows * length for rows, length in groups]

    def split(states: Tensor, counts: list[int], parts: int) -> list[tuple[Tensor, ...]]:
        """For each group its parts (query, key, value), each [rows, heads, tokens, d]."""
        shapes = [(rows, count // rows, parts, heads, -1) for (rows, _), count in zip(groups, counts, strict=True)]
        pieces = torch.split(states, counts)
        return [p.view(shape).permute(2, 0, 3, 1, 4).unbind(0) for p, shape in zip(pieces, shapes, strict=True)]

    if queries is None:
        triples = split(_linears((module.query, module.key, module.value), x), sizes, 3)
    else:
        asked = _linear(module.query, x.index_select(0, queries.tokens))
        padded = asked.new_zeros(sum(rows for rows, _ in groups) * queries.width, asked.shape[1])
        padded = padded.index_copy(0, queries.slots, asked)
        firsts = split(padded, [rows * queries.width for rows, _ in groups], 1)
        known = split(_linears((module.key, module.value), x), sizes, 2)
        triples = [(q, *pair) for (q,), pair in zip(firsts, known, strict=True)]
    mixed = []
    for q, k, v in triples:
        weights = dropout(torch.matmul(q * module.scaling, k.transpose(2, 3)).softmax(3), dropped)
        mixed.append(torch.matmul(weights, v).transpose(1, 2).flatten(2).flatten(0, 1))
    attended = torch.cat(mixed)
    return attended if queries is None else attended.index_select(0, queries.slots)


def _linear(module: nn.Linear, x: Tensor) -> Tensor:
    return _linears((module,), x)


def _linears(modules: tuple[nn.Linear, ...], x: Tensor) -> Tensor:
    """Their outputs side by side, in x's precision, by one matrix product."""
    weight = torch.cat([module.weight.to(x.dtype) for module in modules])
    bias = torch.cat([module.bias.to(x.dtype) for module in modules])
    return linear(x, weight, bias)


def _norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    weight: Tensor = module.weight
    bias: Tensor = module.bias
    if x.device.type != "cpu":  # where both must be of one precision
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return layer_norm(x, list(module.normalized_shape), weight, bias, module.eps)


def _dropout(module: Any, x: Tensor) -> Tensor:
    return dropout(x, module.dropout.p, module.training)
