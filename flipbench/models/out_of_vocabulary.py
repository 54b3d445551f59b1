"""What stands for a feature that training never showed."""

import torch
from torch import Tensor, nn

ID_DROPOUT = 0.05
"""Share of the ids that training replaces, so that what stands for unseen ones is trained at all."""


class OutOfVocabulary(nn.Module):
    """A row of the tables for each field, which stands for its features that no training row has.

    Training puts it in the place of :data:`ID_DROPOUT` of all ids at random (as word dropout trains an unknown word:
    Kiperwasser and Goldberg, TACL 2016); scoring, of those that :meth:`observe` has not seen.

    Args:
        features: rows of the tables without these. fields: F; their rows are the next F.
    """

    seen: Tensor
    rows: Tensor

    def __init__(self, features: int, fields: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(features, dtype=torch.bool))
        self.register_buffer("rows", features + torch.arange(fields), persistent=False)

    def observe(self, ids: Tensor) -> None:
        """Take the features of the training rows' ids [N, F] as known, and no others."""
        self.seen.zero_()
        self.seen[ids.flatten().long()] = True

    def forward(self, ids: Tensor) -> Tensor:
        """The ids [B, F], int32 or int64, some of them replaced."""
        replaced = torch.rand(ids.shape, device=ids.device) < ID_DROPOUT if self.training else ~self.seen[ids.long()]
        return torch.where(replaced, self.rows.to(ids.dtype), ids)
