"""Pretrained language models: any encoder that ``transformers`` loads, without its pooler."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.models import packed
from flipbench.text import small, tokenizer
from flipbench.text.quiet import quiet
from flipbench.text.source import Source, folder_of, model_files, parse
from flipbench.text.tokenizer import TextTokenizer
from flipbench.text.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Attention = Literal["sdpa", "eager"]

_DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),  # BERT, RoBERTa, ELECTRA, DeBERTa, ALBERT
    *("dropout", "attention_dropout"),  # DistilBERT
    *("embedding_dropout", "mlp_dropout"),  # ModernBERT
    "dropout_rate",  # T5
)


class Encoder(nn.Module):
    """A PLM's encoder.

    Attributes:
        name: its specification.
        model: the ``transformers`` model.
        hidden_size: D_text.
        vocab_size: rows of its token embedding.
        max_positions: tokens that a sentence may have, special ones included.
    """

    def __init__(self, model: PreTrainedModel, name: str) -> None:
        super().__init__()
        self.name, self.model = name, model
        self.hidden_size: int = model.config.hidden_size
        self.vocab_size = self.token_embedding.num_embeddings
        self.max_positions = _max_positions(model)

    @property
    def token_embedding(self) -> nn.Embedding:
        """[vocab_size, D_text]; a masked-language-model head shares it."""
        table = self.model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Last hidden states.

        Args:
            tokens: [B, L] int64, padded on the right with the tokenizer's own padding id (RoBERTa counts
                positions by it).
            attention_mask: [B, L], true or 1 at real tokens.

        Returns:
            [B, L, D_text]; what stands at padding has no meaning.
        """
        states: Tensor = self.model(input_ids=tokens, attention_mask=attention_mask).last_hidden_state
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
        attention: torch's fused attention, or the plain formula.

    Raises:
        UserError: no such PLM, not an encoder, weights missing or of other shapes, or a tokenizer that does not match.
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


def _pretrained(source: Source, dropout: float | None, attention: Attention) -> PreTrainedModel:
    from transformers import AutoModel

    config = read_config(source)
    if config.is_encoder_decoder or getattr(config, "is_decoder", False) or not _is_encoder(config):
        raise UserError(f"PLM '{source.spec}': '{config.model_type}' is not an encoder such as bert or roberta")
    set_dropout(config, dropout)
    model, missing = read_weights(AutoModel, source, config, attention, **_without_pooler(config))
    refuse_missing(source, missing)
    return model


def read_config(source: Source) -> PretrainedConfig:
    """The configuration in a PLM's folder.

    Raises:
        UserError: no such PLM, or it lacks its configuration or weights.
    """
    from transformers import AutoConfig

    folder = folder_of(source)
    model_files(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise _unreadable(source, error) from None
    return config


def read_weights(
    auto: Any, source: Source, config: PretrainedConfig, attention: Attention = "sdpa", **more: Any
) -> tuple[PreTrainedModel, list[str]]:
    """A model of a PLM's folder in float32, and the names of its tensors that the folder lacks, drawn at random.

    Args:
        auto: one of the ``AutoModel`` classes of ``transformers``.
        more: arguments of the model's constructor.

    Raises:
        UserError: weights that cannot be read, or of other shapes than the configuration says.
    """
    folder = folder_of(source)
    weights = model_files(folder)[1:]
    try:
        model, info = auto.from_pretrained(
            str(folder),
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=weights[0].suffix == ".safetensors",
            weights_only=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below
            **more,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise _unreadable(source, error) from None
    except Exception as error:
        if type(error).__module__.startswith(("safetensors", "_pickle")):  # damaged, or more than tensors
            raise _unreadable(source, error) from None
        raise
    for name, saved, wanted in sorted(info["mismatched_keys"]):
        shapes = f"{list(saved)} in its weights, {list(wanted)} by its config.json"
        raise UserError(f"PLM '{source.spec}': '{name}' is {shapes}: they do not belong together")
    loaded: PreTrainedModel = model
    return loaded, sorted(info["missing_keys"])


def refuse_missing(source: Source, missing: list[str]) -> None:
    """Refuse a PLM of which tensors are missing.

    Raises:
        UserError: there are some; names the first.
    """
    if missing:
        raise UserError(f"PLM '{source.spec}': its weights lack {len(missing)} tensors, '{missing[0]}' among them")


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
    """Whether the model sees both sides of a token: so it has a masked-language-model form."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING


def _without_pooler(config: PretrainedConfig) -> dict[str, Any]:
    from transformers import MODEL_MAPPING

    model_class: Any = MODEL_MAPPING[type(config)]
    accepted = inspect.signature(model_class[0] if isinstance(model_class, tuple) else model_class).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in accepted else {}


def set_dropout(config: PretrainedConfig, dropout: float | None) -> None:
    """Set every dropout of a model to be made from ``config``; None leaves them."""
    if dropout is not None:
        for name in _DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)


def _max_positions(model: PreTrainedModel) -> int:
    """Rows of the position table, less those that RoBERTa leaves unused; no limit for relative positions."""
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if isinstance(table, nn.Embedding) and table.padding_idx is not None:
        return table.num_embeddings - table.padding_idx - 1
    return limit if limit and limit > 0 else sys.maxsize


def _unreadable(source: Source, error: Exception) -> UserError:
    return UserError(f"PLM '{source.spec}' cannot be loaded: {str(error).strip().partition(chr(10))[0]}")
