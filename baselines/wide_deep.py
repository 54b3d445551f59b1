"""Wide & Deep."""

from torch import Tensor

from flipbench.models.id_model import IDModel
from flipbench.models.mlp import MLP
from flipbench.plan.settings import DEEP, DEEP_GRID, Paper, Valid


class WideDeep(IDModel):
    """Linear model beside a deep network (Cheng et al., DLRS 2016, eq. 3).

    logit = w1·x + w·v + bias,    v = MLP(x0)

    e [B, F, D] are the fields' embeddings, x0 [B, F·D] their concatenation, v [B, hidden[-1]].
    """

    version = 1
    settings = {"embedding_dim": Paper(32, "V-A4", Valid.WIDTH), **DEEP}
    grid = {**DEEP_GRID}

    def __init__(
        self, features: int, fields: int, *, embedding_dim: int, hidden: list[int], dropout: float, batch_norm: bool
    ) -> None:
        super().__init__(features, fields, embedding_dim, representation_dim=hidden[-1])
        self.mlp = MLP(fields * embedding_dim, hidden, dropout, batch_norm)

    def represent(self, ids: Tensor) -> Tensor:
        v: Tensor = self.mlp(self.embed(ids).flatten(1))
        return v
