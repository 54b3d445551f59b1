"""A pretraining batch: rows, their text, and what is hidden of both."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flipbench.methods.flip.masking import (
    TableMask,
    draw_fields,
    mask_table,
    mask_tokens,
    mask_values,
    share_of_tokens,
    tokens_of,
)
from flipbench.methods.flip.noise import Noise
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.text.masking import TextMask
from flipbench.train.rng import Streams

if TYPE_CHECKING:
    from flipbench.text.tokens import TokenBatch, TokenStore


@dataclass(frozen=True)
class Masks:
    """What is hidden of a batch; a part that no objective reads is None.

    Attributes:
        text: for MLM.
        table: for MTM.
        candidates: [B, n, 1 + K] int64, for every masked field its true feature, then noise.
    """

    text: TextMask | None
    table: TableMask | None
    candidates: Tensor | None


@dataclass(frozen=True)
class PretrainBatch:
    """What a step reads: clean ids [B, F], their clean tokens, and the masks."""

    ids: Tensor
    text: "TokenBatch"
    masks: Masks


def draw_batch(
    ids: Tensor,
    store: "TokenStore",
    noise: Noise,
    settings: PretrainSettings,
    streams: Streams,
    epoch: int,
    step: int,
    share: slice = slice(None),
) -> PretrainBatch:
    """One step's batch, masked with the streams ``masks`` and ``noise`` at (epoch, step).

    Text and table are masked independently (IV-C1), and neither draw moves with the objectives in use. A row's
    draws depend on its place in the global batch, not on how many processes share it.

    Args:
        ids: [B, F] of the global batch, clean, on the CPU.
        store: tokens by feature. The batch is made on its device; on the CPU, sizes that depend on the data are
            known without waiting for another one.
        share: this process's rows of the global batch.
    """
    rows, fields = ids.shape
    mine = ids[share].to(store.device, torch.int64)
    by_length = store.lengths(mine).argsort(stable=True)  # no loss depends on the rows' order, the encoder's speed does
    mine = mine[by_length]

    def own_rows(drawn: Tensor) -> Tensor:
        return drawn[share].to(store.device)[by_length]

    text, text_mask, table_mask, candidates = store.batch(mine), None, None, None
    if settings.mlm:
        generator = streams.generator("masks", epoch, step, 0)
        if settings.mask_unit == "token":
            count = share_of_tokens(text, settings.text_mask_ratio, store)
        else:
            chosen = own_rows(draw_fields(rows, fields, settings.text_mask_ratio, generator))
            count = tokens_of(text, chosen).sum(1)
        if settings.mask_unit == "field":
            text_mask = mask_values(text, chosen, store.mask_id)
        else:
            keys = own_rows(torch.rand(rows, store.longest(ids), generator=generator))
            text_mask = mask_tokens(text, keys, count, store)
    if settings.mtm:
        generator = streams.generator("masks", epoch, step, 1)
        chosen = own_rows(draw_fields(rows, fields, settings.table_mask_ratio, generator))
        table_mask = mask_table(mine, chosen)
        slots = table_mask.fields.shape[1]
        drawn = own_rows(noise.draw(rows, slots, settings.noise, streams.generator("noise", epoch, step)))
        candidates = torch.cat([table_mask.targets.unsqueeze(2), drawn], dim=2)
    return PretrainBatch(mine, text, Masks(text_mask, table_mask, candidates))
