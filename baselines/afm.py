"""Attentional factorisation machine."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softmax

from flipbench.models.embedding import pair_indices
from flipbench.models.id_model import IDModel
from flipbench.models.mlp import linear
from flipbench.plan.settings import Code, Paper, Valid


class AFM(IDModel):
    """Factorisation machine whose pairs are weighted by attention (Xiao et al., IJCAI 2017, eq. 3-6).

    logit = w1·x + p·v + bias,    v = Σ_{i<j} a_ij (e_i ⊙ e_j)
    a = Dropout(softmax over pairs of h·ReLU(W (e_i ⊙ e_j) + b))

    e [B, F, D] are the fields' embeddings, v [B, D].
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "attention_dim": Code(8, "released afm.py", Valid.WIDTH),
        "dropout": Code(0.0, "released afm.py, on v", Valid.SHARE),
        "attention_dropout": Code(0.0, "released afm.py has none; FuxiCTR: on a", Valid.SHARE, unkeyed=0.0),
    }
    grid = {
        "attention_dim": [8, 16, 32],  # 8 as released, 16 and 32 as BARS
        "dropout": [0.0, 0.1, 0.3, 0.5],  # 0 as released, .3 and .4 in BARS
        "attention_dropout": [0.0, 0.1, 0.2, 0.3, 0.4],  # 0 as released, then BARS (there equal to the other)
    }

    first: Tensor
    second: Tensor

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        attention_dim: int,
        dropout: float,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=embedding_dim)
        first, second = pair_indices(fields)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.attention = linear(embedding_dim, attention_dim)
        self.query = linear(attention_dim, 1, bias=False)
        self.dropout, self.attention_dropout = nn.Dropout(dropout), nn.Dropout(attention_dropout)

    def represent(self, ids: Tensor) -> Tensor:
        e = self.embed(ids)
        pairs = e.index_select(1, self.first) * e.index_select(1, self.second)  # [B, P, D]
        weight = softmax(self.query(relu(self.attention(pairs))).transpose(1, 2), dim=2)  # [B, 1, P]
        v: Tensor = self.dropout(torch.bmm(self.attention_dropout(weight), pairs).squeeze(1))
        return v
