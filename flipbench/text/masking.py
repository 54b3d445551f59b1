"""Hiding single tokens of a text, as BERT's masked language modelling does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from flipbench.text.tokens import TokenBatch, TokenStore


class RandomStreams(Protocol):
    """Named random generators (:class:`flipbench.train.rng.Streams`)."""

    def generator(self, name: str, *parts: int) -> torch.Generator: ...


@dataclass(frozen=True)
class TextMask:
    """A masked text.

    Attributes:
        tokens: [B, L] int64, the chosen tokens replaced by the tokenizer's mask.
        positions: [m] int64, where tokens are to be predicted, in [0, B * L): row times L plus column, ascending.
        targets: [m] int64, the tokens that stood there.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor


def corrupt_tokens(batch: TokenBatch, keys: Tensor, ratio: float, store: TokenStore) -> TextMask:
    """BERT's corruption: each token that is not special is chosen with probability ``ratio``; of the chosen, 80 %
    become the mask, 10 % a random token of the vocabulary, 10 % stay. All chosen are targets.

    Args:
        keys: [B, L, 3] or longer, independent uniform numbers: whether chosen, what becomes of it, which random token.
    """
    choice, fate, token = keys[:, : batch.tokens.shape[1]].unbind(2)
    chosen = maskable(batch, store) & (choice < ratio)
    random = (token * store.vocab_size).long().clamp(max=store.vocab_size - 1)
    tokens = batch.tokens.masked_fill(chosen & (fate < 0.8), store.mask_id)
    tokens = torch.where(chosen & (fate >= 0.9), random, tokens)
    positions = chosen.flatten().nonzero().squeeze(1)
    return TextMask(tokens, positions, batch.tokens.flatten()[positions])


def maskable(batch: TokenBatch, store: TokenStore) -> Tensor:
    """[B, L], where the tokens that are not special stand."""
    special = (batch.tokens == store.cls_id) | (batch.tokens == store.sep_id) | (batch.tokens == store.pad_id)
    return batch.attention_mask.bool() & ~special


def hide(tokens: Tensor, chosen: Tensor, mask_id: int) -> TextMask:
    masked = tokens.masked_fill(chosen, mask_id)
    positions = (masked != tokens).flatten().nonzero().squeeze(1)
    return TextMask(masked, positions, tokens.flatten()[positions])


@dataclass(frozen=True)
class MaskedTokens:
    """What a step of MLM on single tokens reads: ids [B, F], their clean tokens, and what is hidden of these."""

    ids: Tensor
    text: TokenBatch
    mask: TextMask


def masked_token_batches(
    store: TokenStore, ratio: float, streams: RandomStreams
) -> Callable[[Tensor, int, int, slice], MaskedTokens]:
    """Makes batches with BERT's corruption of their tokens, by the stream ``masks`` at (epoch, step).

    Args:
        store: tokens by feature, on the CPU.
        ratio: probability that a token is to be predicted.
    """

    def make_batch(ids: Tensor, epoch: int, step: int, share: slice) -> MaskedTokens:
        keys = torch.rand(len(ids), store.longest(ids), 3, generator=streams.generator("masks", epoch, step))
        by_length = store.lengths(ids[share]).argsort(stable=True)  # the encoder's speed depends on the order, no loss
        mine = ids[share].long()[by_length]
        text = store.batch(mine)
        return MaskedTokens(mine, text, corrupt_tokens(text, keys[share][by_length], ratio, store))

    return make_batch
