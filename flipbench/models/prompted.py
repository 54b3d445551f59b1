"""A CTR model of two: a PLM that reads soft prompts before a row's text, and the ID-based model that makes them."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from flipbench.models.click_model import ClickModel
from flipbench.models.id_model import IDModel
from flipbench.models.mlp import linear
from flipbench.models.precision import apply_head, full_precision
from flipbench.models.soft_prompt import Pooling, SoftPrompts, pool

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder
    from flipbench.text.tokens import TokenBatch

Fusion = Literal["weighted", "add", "plm"]


class PromptedClicks(ClickModel):
    """logit = α s_PLM + (1 - α) s_ID with s_PLM = W2 tanh(W1 h), h the pooled states of the text after the prompts.

    Args:
        fusion: ``weighted`` as above with α learned; ``add``: s_PLM + s_ID; ``plm``: s_PLM, to which the ID-based model
            adds by its prompts alone.
        alpha_start: where α starts.
    """

    def __init__(
        self,
        id_model: IDModel,
        encoder: "Encoder",
        prompts: SoftPrompts,
        pooling: Pooling = "cls",
        fusion: Fusion = "weighted",
        alpha_start: float = 0.5,
    ) -> None:
        super().__init__()
        self.id_model, self.encoder, self.prompts = id_model, encoder, prompts
        self.pooling, self.fusion = pooling, fusion
        width = encoder.hidden_size
        self.head = nn.Sequential(linear(width, width), nn.Tanh(), linear(width, 1))
        self.alpha = nn.Parameter(torch.tensor(float(alpha_start))) if fusion == "weighted" else None

    def forward(self, ids: Tensor, text: "TokenBatch") -> Tensor:
        with full_precision(ids):
            c = self.id_model.represent(ids)
            s_id = self.id_model.score(ids, c)
        h = pool(self.prompts.states(self.encoder, text, c), text, self.pooling)
        s_plm = apply_head(self.head, h).squeeze(1)
        if self.fusion == "plm":
            return s_plm
        return s_plm + s_id if self.alpha is None else self.alpha * s_plm + (1 - self.alpha) * s_id

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def embedding_tables(self) -> list[nn.Parameter]:
        return self.id_model.embedding_tables()
