"""Product-based neural network, inner products (IPNN)."""

import torch
from torch import Tensor

from flipbench.models.embedding import pair_indices
from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP
from flipbench.plan.settings import DEEP, DEEP_GRID, Paper, Valid


class PNN(IDModel):
    """Deep network on embeddings and their inner products (Qu et al., ICDM 2016, eq. 2-4, 9).

    logit = w·v + bias,    v = MLP([x0 ; ⟨e_i, e_j⟩ for i < j])

    e [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation, v [B, hidden[-1]].
    No first-order term.
    """

    version = 1
    settings = {"embedding_dim": Paper(32, "V-A4", Valid.WIDTH), **DEEP}
    grid = {**DEEP_GRID}

    pairs: Tensor

    def __init__(
        self, features: int, fields: int, *, embedding_dim: int, hidden: list[int], dropout: float, batch_norm: bool
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=hidden[-1], first_order=False)
        first, second = pair_indices(fields)
        self.register_buffer("pairs", first * fields + second, persistent=False)
        self.mlp = MLP(fields * embedding_dim + len(first), hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        e = self.embed(ids)
        products = torch.bmm(e, e.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
        v: Tensor = self.mlp(torch.cat([e.flatten(1), products], dim=1))
        return v
