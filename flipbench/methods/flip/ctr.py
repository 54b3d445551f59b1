"""Click prediction after pretraining: FLIP and FLIP_PLM (paper IV-D)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from flipbench.models.click_model import ClickModel, id_logit
from flipbench.models.id_model import IDModel
from flipbench.models.precision import full_precision

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder
    from flipbench.text.tokens import TokenBatch


class FLIPPLM(ClickModel):
    """FLIP_PLM: the language model alone, ŷ = σ(w · w_CLS + b) (Eq. 19)."""

    def __init__(self, encoder: "Encoder") -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.hidden_size, 1)

    def forward(self, ids: Tensor, text: "TokenBatch | None") -> Tensor:
        return text_logit(self.encoder, self.head, text)

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())


class FLIP(ClickModel):
    """FLIP: both models, ŷ = σ(α s_ID + (1 - α) s_PLM) with α learned (Eq. 16).

    Minimises BCE(ŷ) + BCE(σ(s_ID)) + BCE(σ(s_PLM)) (Eq. 17).

    Args:
        alpha_start: where α starts; it is a free scalar, not kept in [0, 1].
    """

    def __init__(self, id_model: IDModel, encoder: "Encoder", alpha_start: float = 0.0) -> None:
        super().__init__()
        self.id_model, self.encoder = id_model, encoder
        self.head = nn.Linear(encoder.hidden_size, 1)
        self.alpha = nn.Parameter(torch.tensor(float(alpha_start)))

    def forward(self, ids: Tensor, text: "TokenBatch | None") -> Tensor:
        return self.mix(*self.logits(ids, text))

    def logits(self, ids: Tensor, text: "TokenBatch | None") -> tuple[Tensor, Tensor]:
        """s_ID and s_PLM, each [B] float32."""
        return id_logit(self.id_model, ids), text_logit(self.encoder, self.head, text)

    def mix(self, s_id: Tensor, s_plm: Tensor) -> Tensor:
        """The logit of ŷ [B] (Eq. 16)."""
        return self.alpha * s_id + (1 - self.alpha) * s_plm

    def loss(self, ids: Tensor, text: "TokenBatch | None", labels: Tensor) -> Tensor:
        s_id, s_plm = self.logits(ids, text)
        return bce(self.mix(s_id, s_plm), labels) + bce(s_id, labels) + bce(s_plm, labels)

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def embedding_tables(self) -> list[nn.Parameter]:
        return self.id_model.embedding_tables()


def text_logit(encoder: "Encoder", head: nn.Linear, text: "TokenBatch | None") -> Tensor:
    """s_PLM [B] float32 from the first token's state; the head itself outside autocast."""
    assert text is not None, "a language model needs a token store"
    cls = encoder.states(text, text.first).float()
    with full_precision(cls):
        logit: Tensor = head(cls).squeeze(1)
        return logit
