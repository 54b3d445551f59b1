"""Deep & Cross network, first version."""

import torch
from torch import Tensor, nn

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP
from flipbench.plan.settings import DEEP, DEEP_GRID, Code, Paper, Valid


class DCN(IDModel):
    """Cross network beside a deep network (Wang et al., ADKDD 2017, eq. 3-5).

    logit = w1·x + w·v + bias,    v = [x_L ; MLP(x0)]
    x_{l+1} = x0 (x_l · k_l) + b_l + x_l

    x0 [B, F·D] is the concatenation of the fields' embeddings, v [B, F·D + hidden[-1]].
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "cross_layers": Code(2, "released dcn.py", Valid.LAYERS),
        **DEEP,
    }
    grid = {"cross_layers": [2, 3, 4, 5], **DEEP_GRID}  # BARS searches 3 to 5

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        cross_layers: int,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        n = fields * embedding_dim
        super().__init__(features, fields, embedding_dim, representation_dim=n + hidden[-1])
        self.kernel = nn.Parameter(torch.empty(cross_layers, n, 1))
        self.bias = nn.Parameter(torch.zeros(cross_layers, n))
        for kernel in self.kernel:
            nn.init.xavier_normal_(kernel)
        self.mlp = MLP(n, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        x0 = self.embed(ids).flatten(1)
        x = x0
        for kernel, bias in zip(self.kernel, self.bias, strict=True):
            x = torch.addcmul(x + bias, x0, x @ kernel)
        return torch.cat([x, self.mlp(x0)], dim=1)
