"""T5 of any size: its encoder and decoder, and a small one with the data's own vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.models.dropout import cheapen
from flipbench.models.precision import apply_head
from flipbench.models.pretrained import read_config, read_weights, refuse_missing, set_dropout
from flipbench.text import small, tokenizer
from flipbench.text.quiet import quiet
from flipbench.text.source import folder_of, parse
from flipbench.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration


def load_tokenizer(spec: str, table: Table | None = None, words: Iterable[str] = ()) -> TextTokenizer:
    """The tokenizer that belongs to a T5.

    Args:
        spec: ``hub-id@revision``, a folder, or ``small``.
        table: whose vocabulary ``small`` takes; needed for it alone.
        words: what ``small`` must know beside the table's words.

    Raises:
        UserError: no such T5, or none in its folder.
    """
    source = parse(spec)
    if source.kind != "small":
        return tokenizer.from_folder(folder_of(source), spec)
    if table is None:
        raise ValueError("the PLM 'small' takes its vocabulary from a table")
    return small.tokenizer(table, words)


def load(
    spec: str, tokens: TextTokenizer, *, seed: int = 0, dropout: float | None = None
) -> T5ForConditionalGeneration:
    """A T5 in float32 on the CPU, in training mode.

    Args:
        spec: ``hub-id@revision``, a folder, or ``small``: one layer of width 64 on either side, drawn at random.
        tokens: its tokenizer, see :func:`load_tokenizer`.
        seed: of ``small``'s weights.
        dropout: probability everywhere; None keeps the checkpoint's own (0.1).

    Raises:
        UserError: no such T5, another architecture, weights missing, or a tokenizer that does not match.
    """
    from transformers import T5ForConditionalGeneration

    source = parse(spec)
    config: Any
    model: Any
    with quiet():
        config = _small_config(tokens) if source.kind == "small" else read_config(source)
        if config.model_type != "t5":
            raise UserError(f"PLM '{spec}': '{config.model_type}' is not a T5; P5 needs an encoder and a decoder")
        set_dropout(config, dropout)
        if source.kind == "small":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = T5ForConditionalGeneration(config)
        else:
            model, missing = read_weights(T5ForConditionalGeneration, source, config)
            refuse_missing(source, missing)
    rows = model.get_input_embeddings().num_embeddings
    if tokens.vocab_size > rows:
        raise UserError(
            f"PLM '{spec}': its tokenizer has {tokens.vocab_size} tokens, its embedding {rows} rows: they do not "
            "belong together"
        )
    cheapen(model)
    model.lm_head = _Head.of(model.lm_head)
    t5: T5ForConditionalGeneration = model.train()
    return t5


class _Head(nn.Linear):
    """T5's own output layer, in float32."""

    @classmethod
    def of(cls, layer: nn.Linear) -> _Head:
        """One with the same weights, under the same names."""
        head = cls(layer.in_features, layer.out_features, bias=False, device="meta")  # draws nothing
        head.weight = layer.weight
        return head

    def forward(self, states: Tensor) -> Tensor:
        return apply_head(super().forward, states)


def _small_config(tokens: TextTokenizer) -> Any:
    from transformers import T5Config

    shape = small.RECIPE
    made: Any = T5Config
    return made(
        vocab_size=tokens.vocab_size,
        d_model=shape["hidden_size"],
        d_kv=shape["hidden_size"] // shape["num_attention_heads"],
        d_ff=shape["intermediate_size"],
        num_layers=shape["num_hidden_layers"] // 2,
        num_heads=shape["num_attention_heads"],
        pad_token_id=tokens.pad_id,
        eos_token_id=tokens.sep_id,
        decoder_start_token_id=tokens.pad_id,
    )


def answer_tokens(tokens: TextTokenizer, words: Sequence[str]) -> list[list[int]]:
    """The tokens of each of some words to answer with, the end included.

    Raises:
        UserError: two begin with the same token, so that the first step of an answer cannot distinguish them.
    """
    answers = [[*encoding.ids, tokens.sep_id] for encoding in tokens.pieces(list(words))]
    if len({answer[0] for answer in answers}) < len(answers):
        raise UserError(f"tokenizer '{tokens.name}': {' and '.join(words)} begin with the same token; take another T5")
    return answers


def word_starts(tokens: TextTokenizer) -> Tensor:
    """[V] bool, which tokens begin a word: SentencePiece marks those, WordPiece the others."""
    vocabulary = tokens.rust.get_vocab(with_added_tokens=True)
    marked = any(token.startswith(_MARK) for token in vocabulary)
    begins_word = torch.zeros(tokens.vocab_size, dtype=torch.bool)
    for token, number in vocabulary.items():
        begins_word[number] = token.startswith(_MARK) if marked else not token.startswith("##")
    return begins_word


_MARK = "\u2581"
