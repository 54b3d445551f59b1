"""Pretrained language models: any encoder that ``transformers`` loads and that reads no padding, without its pooler."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.models import packed, probe
from flipbench.models.pretrained import (
    Attention,
    model_class,
    read_config,
    read_weights,
    refuse_missing,
    set_dropout,
)
from flipbench.text import small, tokenizer
from flipbench.text.quiet import quiet
from flipbench.text.source import Source, folder_of, parse
from flipbench.text.tokenizer import TextTokenizer
from flipbench.text.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_NEIGHBOURS = ("mobilebert",)
"""Architectures in which a token reads its neighbours' embeddings, whatever the attention mask says."""


class Encoder(nn.Module):
    """A PLM's encoder.

    Attributes:
        name: its specification.
        model: the ``transformers`` model.
        hidden_size: D_text.
        embedding_size: E, width of its token embedding: D_text but in ALBERT, ELECTRA and their like.
        vocab_size: rows of its token embedding.
        max_positions: tokens that a sentence may have, special ones included.
    """

    def __init__(self, model: PreTrainedModel, name: str) -> None:
        super().__init__()
        self.name, self.model = name, model
        self.hidden_size: int = model.config.hidden_size
        self.vocab_size, self.embedding_size = self.token_embedding.weight.shape
        self.max_positions = _max_positions(model)

    @property
    def token_embedding(self) -> nn.Embedding:
        """[vocab_size, E]; a masked-language-model head shares it."""
        table = self.model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

    def embed(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings of tokens [B, L, E], zero at padding, as beyond a sentence's end."""
        embedded: Tensor = self.token_embedding(tokens)
        return embedded.masked_fill(~attention_mask.bool().unsqueeze(2), 0.0)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Last hidden states.

        Args:
            tokens: [B, L] int64, padded on the right with the tokenizer's own padding id (RoBERTa counts
                positions by it).
            attention_mask: [B, L], true or 1 at real tokens.

        Returns:
            [B, L, D_text]; what stands at padding has no meaning.
        """
        read = {"input_ids": tokens}
        if self.model.config.model_type in _NEIGHBOURS:
            read = {"inputs_embeds": self.embed(tokens, attention_mask)}
        states: Tensor = self.model(**read, attention_mask=attention_mask).last_hidden_state
        return states

    def states(self, text: TokenBatch, at: Tensor | None = None) -> Tensor:
        """Last hidden states of a batch: those of :meth:`forward`, without computing padding where possible.

        Args:
            text: B rows, best sorted by length.
            at: [n] int64, ascending: the only tokens whose states are wanted, each row times L plus column.

        Returns:
            [n, D_text] of the tokens ``at``, or [B, L, D_text] with zeros at padding.
        """
        batch, length = text.tokens.shape
        if not (packed.can_pack(self.model) and text.tokens.device.type == "cpu"):
            states: Tensor = self(text.tokens, text.attention_mask)
            if at is not None:
                return states.flatten(0, 1).index_select(0, at)
            return states.masked_fill(~text.attention_mask.unsqueeze(2), 0.0)
        layout = packed.Layout.of(text.tokens, text.lengths)
        if at is not None:
            return packed.states(self.model, layout, layout.queries(at, length, text.lengths))
        states = packed.states(self.model, layout)
        padded = states.new_zeros(batch * length, self.hidden_size)
        return padded.index_copy(0, layout.places(length), states).view(batch, length, -1)


def load(
    spec: str,
    *,
    table: Table | None = None,
    seed: int = 0,
    dropout: float | None = None,
    attention: Attention = "sdpa",
) -> Encoder:
    """A PLM in float32 on the CPU, in training mode.

    Args:
        spec: ``hub-id@revision``, a folder, or ``small`` (see :mod:`flipbench.text.source`).
        table: whose vocabulary ``small`` takes; needed for it alone.
        seed: of ``small``'s random weights; a pretrained model has none to draw.
        dropout: probability everywhere in the encoder; None keeps the checkpoint's own (0.1 in the paper's).
        attention: torch's fused attention, which an architecture may lack, or the plain formula.

    Raises:
        UserError: no such PLM, not an encoder, weights missing or of other shapes, a tokenizer that does not match, or
            an architecture whose states depend on the padding behind a sentence.
    """
    source = parse(spec)
    tokens = load_tokenizer(spec, table)
    with quiet():
        if source.kind == "small":
            model = _random(small.config(tokens.vocab_size), seed, dropout, attention)
        else:
            model = _pretrained(source, dropout, attention)
    encoder = Encoder(model.train(), spec)
    check_match(encoder, tokens)
    if source.kind != "small":
        _check_states(encoder, tokens)
    return encoder


def load_tokenizer(spec: str, table: Table | None = None) -> TextTokenizer:
    """The tokenizer that belongs to a PLM; ``table`` as for :func:`load`.

    Raises:
        UserError: no such PLM, or none in its folder.
    """
    source = parse(spec)
    if source.kind == "small":
        if table is None:
            raise ValueError("the PLM 'small' takes its vocabulary from a table")
        return small.tokenizer(table)
    return tokenizer.from_folder(folder_of(source), spec)


def check_match(encoder: Encoder, tokens: TextTokenizer) -> None:
    """Refuse a tokenizer that is not the encoder's.

    Raises:
        UserError: it has ids that the encoder has no embedding for, or lacks a special token that FLIP needs.
    """
    if tokens.vocab_size > encoder.vocab_size:
        raise UserError(
            f"PLM '{encoder.name}': its tokenizer has {tokens.vocab_size} tokens, its embedding {encoder.vocab_size} "
            "rows: they do not belong together"
        )
    for token in ("cls_id", "sep_id", "mask_id", "pad_id"):
        getattr(tokens, token)


def _check_states(encoder: Encoder, tokens: TextTokenizer) -> None:
    """Raises UserError where the architecture's states are not a sentence's own."""
    length = min(probe.LENGTH, encoder.max_positions)
    sentence = tokens.sentences([probe.SENTENCE])[0][: max(length // 2, 2)]
    with quiet():
        problem = probe.problem(
            encoder,
            sentence,
            length=length,
            pad_id=tokens.pad_id,
            other_id=tokens.mask_id,
            width=encoder.hidden_size,
        )
    if problem:
        raise UserError(f"PLM '{encoder.name}': '{encoder.model.config.model_type}' {problem}")


def _pretrained(source: Source, dropout: float | None, attention: Attention) -> PreTrainedModel:
    from transformers import AutoModel

    config = read_config(source)
    if config.is_encoder_decoder or getattr(config, "is_decoder", False) or not _is_encoder(config):
        raise UserError(f"PLM '{source.spec}': '{config.model_type}' is not an encoder such as bert or roberta")
    set_dropout(config, dropout)
    model, missing = read_weights(AutoModel, source, config, attention, **_without_pooler(config))
    refuse_missing(source, missing)
    if not isinstance(model.get_input_embeddings(), nn.Embedding):
        raise UserError(f"PLM '{source.spec}': '{config.model_type}' has no plain table of token embeddings")
    return model


def _random(config: PretrainedConfig, seed: int, dropout: float | None, attention: Attention) -> PreTrainedModel:
    from transformers import AutoModel

    set_dropout(config, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32, attn_implementation=attention, **_without_pooler(config)
        )
    return model


def _is_encoder(config: PretrainedConfig) -> bool:
    """Whether the model reads text alone and sees both sides of a token: so it has a masked-language-model form."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING and isinstance(getattr(config, "hidden_size", None), int)


def _without_pooler(config: PretrainedConfig) -> dict[str, Any]:
    accepted = inspect.signature(model_class(config)).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in accepted else {}


def _max_positions(model: PreTrainedModel) -> int:
    """Rows of the position table, less those that RoBERTa leaves unused; no limit for relative positions."""
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if isinstance(table, nn.Embedding) and table.padding_idx is not None:
        return table.num_embeddings - table.padding_idx - 1
    return limit if limit and limit > 0 else sys.maxsize
