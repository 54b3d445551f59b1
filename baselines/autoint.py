"""AutoInt, with the deep network beside it (AutoInt+)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP, DEEP_GRID, Code, Divides, Paper, Range, Valid, check_rules


class AutoInt(IDModel):
    """Self-attention over the fields, beside a deep network (Song et al., CIKM 2019, eq. 5-8).

    logit = w1·x + w·v + bias,    v = [e^L flattened ; MLP(x0)]
    e^{l+1} = ReLU(LN([softmax(Q_h K_hᵀ) V_h for every head h] + W_res e^l))

    e^0 [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation, v [B, F·A + hidden[-1]] with A the
    ``attention_dim``, D where that is 0; heads have A / heads dimensions each. With ``scale`` the products are divided
    by √(A / heads); LN is a layer norm with ``layer_norm``, else nothing.

    Raises:
        UserError: ``heads`` does not divide A.
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "attention_layers": Code(3, "released autoint.py", Valid.LAYERS),
        "heads": Code(2, "released autoint.py", Valid.WIDTH),
        "scale": Code(False, "released autoint.py, as AutoInt's own"),
        "layer_norm": Code(False, "released autoint.py; on the sum with the residual in FuxiCTR", unkeyed=False),
        "attention_dim": Code(0, "released autoint.py: an embedding's; free in FuxiCTR", Range(0, 1 << 16), unkeyed=0),
        **DEEP,
    }
    grid = {
        "attention_layers": [2, 3, 4],  # BARS
        "heads": [2, 4, 8],  # BARS
        "scale": [False, True],  # BARS
        "layer_norm": [False, True],  # BARS
        "attention_dim": [0, 128],  # as released, then BARS
        **DEEP_GRID,
    }
    rules = [Divides("heads", "attention_dim", instead="embedding_dim")]

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        attention_layers: int,
        heads: int,
        scale: bool,
        layer_norm: bool = False,
        attention_dim: int = 0,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        given = {"heads": heads, "embedding_dim": embedding_dim, "attention_dim": attention_dim}
        check_rules(self.rules, given)
        width = attention_dim or embedding_dim
        super().__init__(features, fields, embedding_dim, representation_dim=fields * width + hidden[-1])
        inputs = [embedding_dim, *[width] * (attention_layers - 1)]
        self.attention = nn.ModuleList(FieldAttention(dim, width, heads, scale, layer_norm) for dim in inputs)
        self.mlp = MLP(fields * embedding_dim, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        e0 = self.embed(ids)
        e = e0
        for layer in self.attention:
            e = layer(e)
        return torch.cat([e.flatten(1), self.mlp(e0.flatten(1))], dim=1)


class FieldAttention(nn.Module):
    """One interacting layer: [B, F, dim] to [B, F, width]. Query, key, value and residual are one product."""

    def __init__(self, dim: int, width: int, heads: int, scale: bool, layer_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.factor = (width // heads) ** -0.5 if scale else 1.0
        self.project = linear(dim, 4 * width, bias=False)
        for matrix in self.project.weight.data.chunk(4):
            nn.init.xavier_normal_(matrix)
        self.norm = nn.LayerNorm(width) if layer_norm else nn.Identity()

    def forward(self, e: Tensor) -> Tensor:
        batch, fields, _ = e.shape
        query, key, value, residual = self.project(e).view(batch, fields, 4, self.heads, -1).unbind(2)
        out = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=self.factor
        )
        return relu(self.norm((out.transpose(1, 2) + residual).reshape(batch, fields, -1)))
