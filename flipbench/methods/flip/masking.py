"""What pretraining hides: whole field values of the table and of the text (paper IV-C1).

All draws come from a generator that is given, all work is vectorised over the batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flipbench.errors import UserError
from flipbench.text.masking import TextMask, hide, maskable

if TYPE_CHECKING:
    from flipbench.text.tokens import TokenBatch, TokenStore

MASK_FEATURE = 0
"""The feature id that stands for a masked field: one for all fields (IV-C1), in no clean row."""


@dataclass(frozen=True)
class TableMask:
    """A masked table.

    Attributes:
        ids: [B, F], the chosen fields replaced by the mask feature.
        fields: [B, n] int64, the chosen fields, ascending.
        targets: [B, n] int64, the feature ids that stood there.
    """

    ids: Tensor
    fields: Tensor
    targets: Tensor


def masked_fields(fields: int, ratio: float) -> int:
    """How many of ``fields`` a ratio masks: int(fields * ratio), at least one.

    Raises:
        UserError: a ratio that is not above 0 and at most 1.
    """
    if not 0 < ratio <= 1:
        raise UserError(f"mask ratio: {ratio:g} is not above 0 and at most 1; the paper's is 0.15")
    return max(1, int(fields * ratio + 1e-9))  # 1e-9: .29 * 100 is 28.999...


def draw_fields(rows: int, fields: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Exactly :func:`masked_fields` distinct fields a row, every set equally likely: [rows, n] int64, ascending."""
    n = masked_fields(fields, ratio)
    return torch.rand(rows, fields, generator=generator).topk(n, dim=1).indices.sort(dim=1).values


def mask_table(ids: Tensor, fields: Tensor) -> TableMask:
    """Hide the ``fields`` [B, n] of the ids [B, F] behind the mask feature."""
    return TableMask(ids.scatter(1, fields, MASK_FEATURE), fields, ids.gather(1, fields).long())


def mask_values(batch: "TokenBatch", fields: Tensor, mask_id: int) -> TextMask:
    """Hide all tokens of the values of ``fields`` [B, n]; never a field's name, "is", "." or a special token."""
    return hide(batch.tokens, tokens_of(batch, fields), mask_id)


def share_of_tokens(batch: "TokenBatch", ratio: float, store: "TokenStore") -> Tensor:
    """[B] int64: int(ratio * n), at least one, of a row's n tokens that are not special."""
    return (maskable(batch, store).sum(1) * ratio + 1e-9).long().clamp(min=1)


def tokens_of(batch: "TokenBatch", fields: Tensor) -> Tensor:
    """[B, L], where the tokens of the values of ``fields`` [B, n] stand."""
    return (batch.field_of.unsqueeze(2) == fields.unsqueeze(1)).any(2)


def mask_tokens(batch: "TokenBatch", keys: Tensor, count: Tensor, store: "TokenStore") -> TextMask:
    """Hide ``count`` [B] of each row's tokens that are not special (the ablation of Table VII).

    All are replaced by the mask, none kept or swapped, so that only the unit of masking differs from fields.

    Args:
        keys: [B, L] or wider, independent uniform numbers; the smallest of a row's choose its tokens.
    """
    tokens, free = batch.tokens, maskable(batch, store)
    rank = keys[:, : tokens.shape[1]].masked_fill(~free, 2.0).argsort(dim=1).argsort(dim=1)
    return hide(tokens, free & (rank < count.unsqueeze(1)), store.mask_id)
