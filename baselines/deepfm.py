"""DeepFM."""

import torch
from torch import Tensor

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.models.precision import apply_head
from flipbench.plan.settings import DEEP, DEEP_GRID, Paper, Valid


class DeepFM(IDModel):
    """Factorisation machine and deep network on one embedding (Guo et al., IJCAI 2017, eq. 1-4).

    logit = w1·x + Σ_{i<j} ⟨e_i, e_j⟩ + w·MLP(x0) + bias

    e [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation. The factorisation
    machine has no layer after it, so v = [w1·x + Σ ⟨e_i, e_j⟩ ; MLP(x0)], [B, 1 + hidden[-1]],
    and its first column enters the logit as it is.
    """

    version = 1
    settings = {"embedding_dim": Paper(32, "V-A4", Valid.WIDTH), **DEEP}
    grid = {**DEEP_GRID}

    def __init__(
        self, features: int, fields: int, *, embedding_dim: int, hidden: list[int], dropout: float, batch_norm: bool
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=1 + hidden[-1])
        self.mlp = MLP(fields * embedding_dim, hidden, dropout, batch_norm)
        self.head = linear(hidden[-1], 1)

    def represent(self, ids: Tensor) -> Tensor:
        e = self.embed(ids)
        wide = self.first_order(ids) + pairwise(e)
        return torch.cat([wide.unsqueeze(1), self.mlp(e.flatten(1))], dim=1)

    def score(self, ids: Tensor, v: Tensor) -> Tensor:
        return v[:, 0] + apply_head(self.head, v[:, 1:]).squeeze(1)


def pairwise(e: Tensor) -> Tensor:
    """Σ_{i<j} ⟨e_i, e_j⟩ [B] of e [B, F, D], as (|Σ e_i|² - Σ |e_i|²) / 2 (Rendle, ICDM 2010, lemma 3.1)."""
    return 0.5 * (e.sum(1).square().sum(1) - e.square().sum((1, 2)))
