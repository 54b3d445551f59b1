"""Adaptive factorisation network."""

from torch import Tensor, nn

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP_GRID, Code, Paper, Range, Valid

SMALLEST = 1e-7
"""Floor of |e| before the logarithm (released afn.py)."""


class AFN(IDModel):
    """Cross features of learned order through logarithmic neurons (Cheng et al., AAAI 2020, eq. 5-8).

    logit = w1·x + w·v + bias,    v = MLP(y flattened)
    y_n = BN(exp(Σ_f W_fn BN(ln max(|e_f|, 1e-7)) + b_n))

    e [B, F, D] are the fields' embeddings, y [B, D, N] the neurons' output in every dimension,
    v [B, hidden[-1]]. Both BN have one mean and variance for each of the D dimensions.
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "log_neurons": Code(256, "released afn.py", Range(1, 1 << 20)),
        "hidden": Paper([300, 300, 128], "V-A4"),
        "dropout": Code(0.0, "released afn.py", Valid.SHARE),
        "batch_norm": Code(True, "released afn.py: on, for AFN alone"),
    }
    grid = {"log_neurons": [256, 800, 1000, 1200], **DEEP_GRID}  # 256 as released, 800 to 1200 as BARS

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        log_neurons: int,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=hidden[-1])
        self.log_norm = nn.BatchNorm1d(embedding_dim)
        self.neurons = linear(fields, log_neurons)
        nn.init.normal_(self.neurons.weight, std=0.1)
        self.exp_norm = nn.BatchNorm1d(embedding_dim)
        self.mlp = MLP(embedding_dim * log_neurons, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        logs = self.embed(ids).abs().clamp_min(SMALLEST).log()  # [B, F, D]
        logs = self.log_norm(logs.flatten(0, 1)).view_as(logs)
        y = self.exp_norm(self.neurons(logs.transpose(1, 2)).exp())  # [B, D, N]
        v: Tensor = self.mlp(y.flatten(1))
        return v
