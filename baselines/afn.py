"""Adaptive factorisation network."""

import torch
from torch import Tensor, nn

from flipbench.models.embedding import FeatureEmbedding
from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP_GRID, Code, Paper, Range, Valid

SMALLEST = {"dimensions": 1e-7, "fields": 1e-5}
"""Floor of |e| before the logarithm, by what the batch norms are over (released afn.py; FuxiCTR)."""


class AFN(IDModel):
    """Cross features of learned order through logarithmic neurons (Cheng et al., AAAI 2020, eq. 5-8).

    logit = w1·x + w·v + bias,    v = [MLP(y flattened) ; MLP'(x0')], the second of AFN+ (``ensemble``) alone
    y_n = BN(exp(Σ_f W_fn BN(ln max(|e_f|, floor)) + b_n))

    e [B, F, D] are the fields' embeddings, y [B, D, N] the neurons' output in every dimension, x0' [B, F·D] the fields'
    embeddings in a table of their own. v [B, hidden[-1]], twice as wide in AFN+, whose two towers have the same shape.
    ``norm_over`` dimensions: both BN have one mean and variance for each of the D dimensions, and the floor is 1e-7;
    ``fields``: for each field before the logarithmic neurons and for each neuron after them, and the floor is 1e-5.
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "log_neurons": Code(256, "released afn.py", Range(1, 1 << 20)),
        "norm_over": Code(
            "dimensions", "released afn.py; fields in FuxiCTR", ("dimensions", "fields"), unkeyed="dimensions"
        ),
        "ensemble": Code(False, "released afn.py; AFN+ where it is on, as FuxiCTR's ensemble_dnn", unkeyed=False),
        "hidden": Paper([300, 300, 128], "V-A4"),
        "dropout": Code(0.0, "released afn.py", Valid.SHARE),
        "batch_norm": Code(True, "released afn.py: on, for AFN alone"),
    }
    grid = {
        "log_neurons": [256, 800, 1000, 1200],  # as released, then BARS
        "norm_over": ["dimensions", "fields"],  # as released, then BARS
        "ensemble": [False, True],  # BARS ranks both
        **DEEP_GRID,
    }

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        log_neurons: int,
        norm_over: str = "dimensions",
        ensemble: bool = False,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=hidden[-1] * (2 if ensemble else 1))
        self.over_fields, self.smallest = norm_over == "fields", SMALLEST[norm_over]
        self.log_norm = nn.BatchNorm1d(fields if self.over_fields else embedding_dim)
        self.neurons = linear(fields, log_neurons)
        nn.init.normal_(self.neurons.weight, std=0.1)
        self.exp_norm = nn.BatchNorm1d(log_neurons if self.over_fields else embedding_dim)
        self.mlp = MLP(embedding_dim * log_neurons, hidden, dropout, batch_norm)
        self.deep_embed = FeatureEmbedding(features, embedding_dim) if ensemble else None
        self.deep = MLP(fields * embedding_dim, hidden, dropout, batch_norm) if ensemble else None

    def represent(self, ids: Tensor) -> Tensor:
        logs = self.embed(ids).abs().clamp_min(self.smallest).log()  # [B, F, D]
        if self.over_fields:
            y = self.neurons(self.log_norm(logs).transpose(1, 2)).exp()  # [B, D, N]
            y = self.exp_norm(y.transpose(1, 2)).transpose(1, 2)
        else:
            logs = self.log_norm(logs.flatten(0, 1)).view_as(logs)
            y = self.exp_norm(self.neurons(logs.transpose(1, 2)).exp())
        v: Tensor = self.mlp(y.flatten(1))
        if self.deep is None or self.deep_embed is None:
            return v
        return torch.cat([v, self.deep(self.deep_embed(ids).flatten(1))], dim=1)

    def embedding_tables(self) -> list[nn.Parameter]:
        tables = super().embedding_tables()
        return tables if self.deep_embed is None else [*tables, *self.deep_embed.parameters()]
