"""The masked-language-model head that BERT and RoBERTa were pretrained with, for methods that train it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear

from flipbench.models.precision import widened
from flipbench.models.pretrained import read_config, read_weights
from flipbench.text.quiet import quiet
from flipbench.text.source import parse

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder

_PARTS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
}
"""Where ``transformers`` keeps the head's dense layer, layer norm and output bias, by architecture."""


class TokenHead(nn.Module):
    """Logits over the vocabulary: LayerNorm(gelu(W h + b)) Eᵀ + c, E the encoder's token embedding, as wide as W h.

    E is given to :meth:`forward`, so that it is one parameter of the model and not two.

    Args:
        encoder: whose sizes it takes.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        width = encoder.embedding_size
        self.dense = nn.Linear(encoder.hidden_size, width)
        self.norm = nn.LayerNorm(width, eps=getattr(encoder.model.config, "layer_norm_eps", 1e-12))
        self.bias = nn.Parameter(torch.zeros(encoder.vocab_size))
        nn.init.normal_(self.dense.weight, std=0.02)  # BERT's start
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: Tensor, embedding: Tensor) -> Tensor:
        """Logits [m, V] of the states [m, D_text] and the token embedding [V, E]."""
        return linear(self.norm(gelu(self.dense(states))), embedding, self.bias)


def token_head(spec: str, encoder: Encoder) -> TokenHead:
    """The head of the checkpoint ``spec``, where it holds one; else a fresh one, drawn from torch's generator.

    ``small`` and sentence encoders (MiniLM) have none, nor has any architecture but BERT's and RoBERTa's.

    Args:
        encoder: loaded from the same ``spec``.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    head = TokenHead(encoder)
    source, kind = parse(spec), encoder.model.config.model_type
    if source.kind == "small" or kind not in _PARTS:
        return head
    from transformers import AutoModelForMaskedLM

    with quiet(), torch.random.fork_rng(devices=[]):
        model, missing = read_weights(AutoModelForMaskedLM, source, read_config(source))
    dense, norm, bias = _PARTS[kind]
    if any(name.startswith((dense, norm)) for name in missing):
        return head
    head.dense.load_state_dict(model.get_submodule(dense).state_dict())
    head.norm.load_state_dict(model.get_submodule(norm).state_dict())
    with torch.no_grad():
        head.bias.copy_(model.get_parameter(bias))
    return head


def token_loss(logits: Tensor, targets: Tensor, rows: Tensor, batch: int, per_sample: bool) -> Tensor:
    """Cross-entropy of the masked tokens (Eq. 6).

    Args:
        logits: [m, V]. targets: [m] int64.
        rows: [m] int64, the row of the batch that each token is in.
        batch: B. A row without a masked token counts as 0.
        per_sample: average over a row's tokens, then over B rows (Eq. 14); else over all m tokens.
    """
    losses = cross_entropy(widened(logits), targets, reduction="none")
    if not per_sample:
        return losses.sum() / max(len(losses), 1)
    # not bincount: on a GPU it would wait to learn its size
    per_row = losses.new_zeros(batch).index_add(0, rows, torch.ones_like(losses))
    return (losses / per_row[rows]).sum() / batch
