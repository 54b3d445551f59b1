"""AutoInt, with the deep network beside it (AutoInt+)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP, DEEP_GRID, Code, Divides, Paper, Valid, check_rules


class AutoInt(IDModel):
    """Self-attention over the fields, beside a deep network (Song et al., CIKM 2019, eq. 5-8).

    logit = w1·x + w·v + bias,    v = [e^L flattened ; MLP(x0)]
    e^{l+1} = ReLU([softmax(Q_h K_hᵀ) V_h for every head h] + W_res e^l)

    e^0 [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation, v [B, F·D + hidden[-1]];
    heads have D / heads dimensions each. With ``scale`` the products are divided by √(D / heads).

    Raises:
        UserError: ``heads`` does not divide ``embedding_dim``.
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "attention_layers": Code(3, "released autoint.py", Valid.LAYERS),
        "heads": Code(2, "released autoint.py", Valid.WIDTH),
        "scale": Code(False, "released autoint.py, as AutoInt's own"),
        **DEEP,
    }
    grid = {
        "attention_layers": [2, 3, 4],  # BARS
        "heads": [2, 4, 8],  # BARS
        "scale": [False, True],  # BARS
        **DEEP_GRID,
    }
    rules = [Divides("heads", "embedding_dim")]

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        attention_layers: int,
        heads: int,
        scale: bool,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        check_rules(self.rules, {"heads": heads, "embedding_dim": embedding_dim})
        n = fields * embedding_dim
        super().__init__(features, fields, embedding_dim, representation_dim=n + hidden[-1])
        self.attention = nn.ModuleList(FieldAttention(embedding_dim, heads, scale) for _ in range(attention_layers))
        self.mlp = MLP(n, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        e0 = self.embed(ids)
        e = e0
        for layer in self.attention:
            e = layer(e)
        return torch.cat([e.flatten(1), self.mlp(e0.flatten(1))], dim=1)


class FieldAttention(nn.Module):
    """One interacting layer: [B, F, D] to [B, F, D]. Query, key, value and residual are one product."""

    def __init__(self, dim: int, heads: int, scale: bool) -> None:
        super().__init__()
        self.heads = heads
        self.factor = (dim // heads) ** -0.5 if scale else 1.0
        self.project = linear(dim, 4 * dim, bias=False)
        for matrix in self.project.weight.data.chunk(4):
            nn.init.xavier_normal_(matrix)

    def forward(self, e: Tensor) -> Tensor:
        batch, fields, dim = e.shape
        query, key, value, residual = self.project(e).view(batch, fields, 4, self.heads, -1).unbind(2)
        out = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=self.factor
        )
        return relu(out.transpose(1, 2) + residual).reshape(batch, fields, dim)
