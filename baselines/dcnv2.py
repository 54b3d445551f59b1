"""Deep & Cross network, second version: full rank, and the mixture of low-rank experts."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP, linear
from flipbench.plan.settings import DEEP, DEEP_GRID, Code, Guess, Paper, Range, Valid


class DCNv2(IDModel):
    """Cross network with a full matrix, beside a deep network (Wang et al., WWW 2021, eq. 1).

    logit = w1·x + w·v + bias,    v = [x_L ; MLP(x0)]
    x_{l+1} = x0 ⊙ (W_l x_l + b_l) + x_l

    x0 [B, F·D] is the concatenation of the fields' embeddings, v [B, F·D + hidden[-1]].
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "cross_layers": Guess(3, "released code has the mixture only; BARS searches 3 to 5", Valid.LAYERS),
        **DEEP,
    }
    grid = {"cross_layers": [2, 3, 4, 5], **DEEP_GRID}  # 2 as released, 3 to 5 as BARS

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
        self.cross = nn.ModuleList(linear(n, n) for _ in range(cross_layers))
        self.mlp = MLP(n, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        x0 = self.embed(ids).flatten(1)
        x = x0
        for layer in self.cross:
            x = torch.addcmul(x, x0, layer(x))
        return torch.cat([x, self.mlp(x0)], dim=1)


class DCNv2Mix(IDModel):
    """Cross network as a gated mixture of low-rank experts, DCN-Mix (Wang et al., WWW 2021, eq. 3-4).

    logit = w1·x + w·v + bias,    v = [x_L ; MLP(x0)]
    x_{l+1} = x0 ⊙ (Σ_e g_e U_le tanh(C_le tanh(V_leᵀ x_l)) + b_l) + x_l,    g = softmax(G x_l)

    The released FLIP code calls this one DCNv2. The gates G, one bias-free row per expert, are shared
    by all layers, as there; Σ_e g_e = 1 takes the bias and x0 out of the sum.
    x0 [B, F·D] is the concatenation of the fields' embeddings, v [B, F·D + hidden[-1]].
    """

    version = 1
    settings = {
        "embedding_dim": Paper(32, "V-A4", Valid.WIDTH),
        "cross_layers": Code(2, "released dcnv2.py", Valid.LAYERS),
        "experts": Code(4, "released dcnv2.py", Range(1, 1 << 10)),
        "rank": Code(32, "released dcnv2.py", Valid.WIDTH),
        **DEEP,
        "start": Guess(
            "fuxictr",
            "as every other model; 'released': the code's, which starts far smaller",
            ("fuxictr", "released"),
            unkeyed="fuxictr",
        ),
    }
    grid = {"cross_layers": [2, 3, 4, 5], **DEEP_GRID}  # 2 as released, 3 to 5 as BARS

    def __init__(
        self,
        features: int,
        fields: int,
        *,
        embedding_dim: int,
        cross_layers: int,
        experts: int,
        rank: int,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
        start: str = "fuxictr",
    ) -> None:
        n = fields * embedding_dim
        super().__init__(features, fields, embedding_dim, representation_dim=n + hidden[-1])
        self.down = nn.Parameter(torch.empty(cross_layers, experts, rank, n))  # Vᵀ
        self.core = nn.Parameter(torch.empty(cross_layers, experts, rank, rank))  # C
        self.up = nn.Parameter(torch.empty(cross_layers, experts, rank, n))  # Uᵀ
        for matrices in (self.down, self.core, self.up):
            for matrix in matrices.flatten(0, 1):
                nn.init.xavier_normal_(matrix)
        self.bias = nn.Parameter(torch.zeros(cross_layers, n))
        self.gate = linear(n, experts, bias=False)
        self.mlp = MLP(n, hidden, dropout, batch_norm)
        if start == "released":
            self._start_as_released()

    def _start_as_released(self) -> None:
        """Xavier-normal over a layer's experts as one tensor [experts, inputs, outputs], which torch takes for a
        convolution's; weights of the deep part from N(0, 1e-4²); the rest as ``nn.Linear`` starts (released code)."""
        for matrices in (self.down, self.core, self.up):
            for layer in matrices.detach():
                nn.init.xavier_normal_(layer.transpose(1, 2))
        deep = [module for module in self.mlp if isinstance(module, nn.Linear)]
        for linear_layer in (self.gate, self.head, *deep):
            linear_layer.reset_parameters()
        for linear_layer in deep:
            nn.init.normal_(linear_layer.weight, std=1e-4)
        nn.init.zeros_(self.head.bias)

    def represent(self, ids: Tensor) -> Tensor:
        x0 = self.embed(ids).flatten(1)
        x = x0
        for down, core, up, bias in zip(self.down, self.core, self.up, self.bias, strict=True):
            x = torch.addcmul(x, x0, self._mixture(x, down, core, up, bias))
        return torch.cat([x, self.mlp(x0)], dim=1)

    def _mixture(self, x: Tensor, down: Tensor, core: Tensor, up: Tensor, bias: Tensor) -> Tensor:
        """Σ_e g_e U_e tanh(C_e tanh(V_eᵀ x)) + b [B, n] of x [B, n]; experts side by side in one product."""
        experts, rank, _ = core.shape
        low = (x @ down.flatten(0, 1).t()).tanh()  # [B, E·r]
        low = torch.bmm(low.view(-1, experts, rank).transpose(0, 1), core.transpose(1, 2)).tanh()  # [E, B, r]
        gated = low * softmax(self.gate(x), dim=1).t().unsqueeze(2)
        return torch.addmm(bias, gated.transpose(0, 1).flatten(1), up.flatten(0, 1))
