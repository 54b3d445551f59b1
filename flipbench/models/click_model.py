"""The contract of a CTR model that reads text: ids and text in, a logit out."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from flipbench.models.id_model import IDModel
from flipbench.models.precision import full_precision


class ClickModel(nn.Module):
    """Base of the models with a PLM: :meth:`forward` gives the logit that is reported, :meth:`loss` what is minimised.

    ``text`` is what the method's collator makes of the rows (:mod:`flipbench.text.collator`); None where it has none.
    """

    def forward(self, ids: Tensor, text: Any) -> Tensor:
        """Logits [B] float32 of the ids [B, F] int64 and their text."""
        raise NotImplementedError

    def loss(self, ids: Tensor, text: Any, labels: Tensor) -> Tensor:
        """Mean binary cross-entropy with the labels [B] float32."""
        return bce(self(ids, text), labels)

    def plm_parameters(self) -> list[nn.Parameter]:
        """Those of the language model, trained at a learning rate of their own."""
        return []

    def embedding_tables(self) -> list[nn.Parameter]:
        """Those of the ID-based model that ``embedding_l2`` shrinks."""
        return []


class IDClickModel(ClickModel):
    """An ID-based model alone with its own head, trained as a baseline is, from other weights (FLIP_ID, Eq. 18)."""

    def __init__(self, id_model: IDModel) -> None:
        super().__init__()
        self.id_model = id_model

    def forward(self, ids: Tensor, text: Any = None) -> Tensor:
        return id_logit(self.id_model, ids)

    def embedding_tables(self) -> list[nn.Parameter]:
        return self.id_model.embedding_tables()


def id_logit(id_model: IDModel, ids: Tensor) -> Tensor:
    """s_ID [B], outside autocast."""
    with full_precision(ids):
        logit: Tensor = id_model(ids)
        return logit


class TanhHead(nn.Sequential):
    """w · Dropout(tanh(W x + b)) + c, [B, 1] of x [B, inputs]; torch's own start (the released PLM baselines')."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, 1))
