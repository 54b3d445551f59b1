"""Click prediction after pretraining: FLIP and FLIP_PLM (paper IV-D)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from flipbench.models.click_model import ClickModel, id_logit
from flipbench.models.id_model import IDModel
from flipbench.models.precision import apply_head, widened
from flipbench.models.soft_prompt import Pooling, pool

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder
    from flipbench.text.tokens import TokenBatch


class FLIPPLM(ClickModel):
    """FLIP_PLM: the language model alone, ŷ = σ(w · w_CLS + b) (Eq. 19).

    Args:
        pooling: ``avg``: the mean of all tokens' states instead of the first's.
        dropout: of what is pooled.
    """

    def __init__(self, encoder: "Encoder", pooling: Pooling = "cls", dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.hidden_size, 1)

    def forward(self, ids: Tensor, text: "TokenBatch | None") -> Tensor:
        return text_logit(self.head, self.dropout(pooled(self.encoder, text, self.pooling)))

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())


class FLIP(ClickModel):
    """FLIP: both models, ŷ = σ(α s_ID + (1 - α) s_PLM) with α learned (Eq. 16).

    Minimises BCE(ŷ) + BCE(σ(s_ID)) + BCE(σ(s_PLM)) (Eq. 17).

    Args:
        alpha_start: where α starts; it is a free scalar, not kept in [0, 1].
        fused_biases: whether two more biases are added, one to s_PLM beside the head's own and one to ŷ's logit alone.
    """

    def __init__(
        self, id_model: IDModel, encoder: "Encoder", alpha_start: float = 0.0, fused_biases: bool = False
    ) -> None:
        super().__init__()
        self.id_model, self.encoder = id_model, encoder
        self.head = nn.Linear(encoder.hidden_size, 1)
        self.alpha = nn.Parameter(torch.tensor(float(alpha_start)))
        self.biases = nn.Parameter(torch.zeros(2)) if fused_biases else None

    def forward(self, ids: Tensor, text: "TokenBatch | None") -> Tensor:
        return self.mix(*self.logits(ids, text))

    def logits(self, ids: Tensor, text: "TokenBatch | None") -> tuple[Tensor, Tensor]:
        """s_ID and s_PLM, each [B] float32."""
        s_plm = text_logit(self.head, pooled(self.encoder, text))
        return id_logit(self.id_model, ids), s_plm if self.biases is None else s_plm + self.biases[0]

    def mix(self, s_id: Tensor, s_plm: Tensor) -> Tensor:
        """The logit of ŷ [B] (Eq. 16)."""
        mixed = self.alpha * s_id + (1 - self.alpha) * s_plm
        return mixed if self.biases is None else mixed + self.biases[1]

    def loss(self, ids: Tensor, text: "TokenBatch | None", labels: Tensor) -> Tensor:
        s_id, s_plm = self.logits(ids, text)
        return bce(self.mix(s_id, s_plm), labels) + bce(s_id, labels) + bce(s_plm, labels)

    def plm_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def embedding_tables(self) -> list[nn.Parameter]:
        return self.id_model.embedding_tables()


def pooled(encoder: "Encoder", text: "TokenBatch | None", pooling: Pooling = "cls") -> Tensor:
    """[B, D_text] float32: the first token's state, which alone is computed then, or the mean of all tokens'."""
    assert text is not None, "a language model needs a token store"
    if pooling == "cls":
        return widened(encoder.states(text, text.first))
    return pool((widened(encoder.states(text)),), text, pooling)


def text_logit(head: nn.Linear, state: Tensor) -> Tensor:
    """s_PLM [B] float32 of a pooled state [B, D_text]."""
    return apply_head(head, state).squeeze(1)
