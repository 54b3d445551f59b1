"""How a model is trained: the settings of a method that are not its model's own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from flipbench.protocol import Precision

Decay = Literal["none", "plateau", "epoch-cosine", "linear", "cosine"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a method that say how it is trained; each has the name of its setting.

    Attributes:
        learning_rate: of all but the PLM.
        batch_size: rows a step, over all processes.
        max_epochs: upper limit, or the exact number where there is no validation part (a pretraining's setting
            ``epochs``); what ``decay`` reaches 0 at.
        patience: epochs without a better validation AUC before stopping.
        embedding_l2: lambda of ``lambda/2 |E|^2`` beside the mean loss, over all rows of the ID-based model's tables.
        plm_learning_rate: of the PLM; 0 for the same as the rest.
        id_learning_rate: in a pretraining, of the ID-based model and what it makes for the PLM; 0 likewise.
        weight_decay: AdamW's, on every parameter; at 0 it is Adam.
        adam_eps: the optimizer's epsilon. clip: largest norm of the gradient; 0 for no limit.
        decay: of the learning rates. ``plateau``: a tenth after every epoch without a better validation AUC, in a refit
            after the same epochs as in its selection; ``epoch-cosine``: half a cosine stepped once an epoch, without
            warm-up; ``linear`` and ``cosine`` are stepped with every batch. warmup: share of the steps over which they
            rise before those.
        precision: ``bfloat16``: matrix products by autocast where the model leaves it on; tables, sums and the
            optimizer stay float32.
    """

    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int = 1
    embedding_l2: float = 0.0
    plm_learning_rate: float = 0.0
    id_learning_rate: float = 0.0
    weight_decay: float = 0.0
    adam_eps: float = 1e-8
    clip: float = 0.0
    decay: Decay = "none"
    warmup: float = 0.0
    precision: Precision = "float32"

    @classmethod
    def split(cls, settings: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The configuration that a method's settings hold, and the settings that are its model's own."""
        names = {field.name for field in fields(cls)} | {"epochs"}
        of_model = {name: value for name, value in settings.items() if name not in names}
        given = {("max_epochs" if n == "epochs" else n): v for n, v in settings.items() if n in names}
        return cls(**given), of_model
