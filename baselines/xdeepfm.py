"""xDeepFM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP, DEEP_GRID, Code, Halves, Paper, Valid, check_rules


class XDeepFM(IDModel):
    """Compressed interaction network beside a deep network (Lian et al., KDD 2018, eq. 6-9).

    logit = w1·x + w·v + bias,    v = [CIN(e) ; MLP(x0)]

    e [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation,
    v [B, maps of the CIN + hidden[-1]].

    Raises:
        UserError: an odd width that should be split.
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "cin": Code([256, 128], "released xdeepfm.py"),
        "split_half": Code(True, "released xdeepfm.py"),
        "cin_relu": Code(True, "released xdeepfm.py; FuxiCTR's CIN is linear, as eq. 6", unkeyed=True),
        **DEEP,
    }
    grid = {
        "cin": [[256, 128], [64, 64], [128, 128], [64, 64, 64]],  # released, then BARS
        "split_half": [True, False],  # released, then BARS
        "cin_relu": [True, False],  # released, then BARS
        **DEEP_GRID,
    }
    rules = [Halves("cin", where="split_half")]

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        cin: list[int],
        split_half: bool,
        cin_relu: bool = True,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        check_rules(self.rules, {"cin": cin, "split_half": split_half})
        maps = CIN(fields, cin, split_half, cin_relu)
        super().__init__(features, fields, embedding_dim, representation_dim=maps.outputs + hidden[-1])
        self.cin = maps
        self.mlp = MLP(fields * embedding_dim, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        e = self.embed(ids)
        return torch.cat([self.cin(e), self.mlp(e.flatten(1))], dim=1)


class CIN(nn.Module):
    """Compressed interaction network: e [B, F, D] to sum-pooled feature maps [B, outputs].

    X^k_h = ReLU(Σ_{i,j} W^k_hij (X^{k-1}_i ⊙ X^0_j) + b^k_h), summed over the D dimensions.

    With ``split_half`` the first half of a layer's maps goes on and the other half is pooled; of the
    last layer all are pooled. Without, all maps do both. ReLU and bias are the released code's; without ``with_relu``
    the maps are linear.
    """

    def __init__(self, fields: int, widths: Sequence[int], split_half: bool, with_relu: bool) -> None:
        super().__init__()
        kept = [w // 2 if split_half else w for w in widths[:-1]]
        self.kept = [*kept, 0]
        self.layers = nn.ModuleList(linear(h * fields, w) for h, w in zip([fields, *kept], widths, strict=True))
        self.outputs = sum(kept) + widths[-1]
        self.split_half, self.with_relu = split_half, with_relu

    def forward(self, e: Tensor) -> Tensor:
        batch, fields, dim = e.shape
        x0 = e.transpose(1, 2).reshape(batch * dim, fields, 1)  # every position of every sample is a row
        x, pooled = x0.transpose(1, 2), []
        for layer, kept in zip(self.layers, self.kept, strict=True):
            out = layer(torch.bmm(x0, x).flatten(1))  # the outer product's backward is a product too
            out = relu(out) if self.with_relu else out
            x = out[:, :kept].unsqueeze(1)
            pooled.append((out[:, kept:] if self.split_half else out).view(batch, dim, -1).sum(1))
        return torch.cat(pooled, dim=1)
