"""What differs between kinds of method: how a model is built, trained and scored."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.methods.base import PretrainingMethod
from flipbench.models.id_model import IDModel
from flipbench.plan import registry
from flipbench.plan.settings import TRAINING
from flipbench.plan.stage import Stage
from flipbench.store.runs import WEIGHTS, Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.id_models import Recipe, fit, predict, weights_sha256
from flipbench.train.rng import Streams
from flipbench.train.trainer import Fitted, Progress

if TYPE_CHECKING:
    from flipbench.train.pretrain import PretrainEpoch
    from flipbench.train.pretrain import Progress as PretrainProgress


class Task(Protocol):
    """A run's model and how it is trained and scored.

    Attributes:
        max_epochs: upper limit of a training with a validation part.
    """

    max_epochs: int

    def build(self) -> nn.Module:
        """The model as training starts from it."""
        ...

    def fit(
        self, model: Any, train: Rows, valid: Rows | None, epochs: int, checkpoint: Checkpoint, progress: Progress
    ) -> Fitted:
        """Train in place, with early stopping where there is a validation part, else for exactly ``epochs``."""
        ...

    def predict(self, model: Any, rows: Rows) -> NDArray[np.float32]:
        """Logits [n] in evaluation mode."""
        ...


class PretrainTask(Protocol):
    """A pretraining's model and how it is trained.

    Attributes:
        model: what is pretrained; holds the last epoch's weights after :meth:`run`.
        epochs: of the whole training.
    """

    epochs: int

    @property
    def model(self) -> nn.Module: ...

    def run(self, checkpoint: Checkpoint, progress: "PretrainProgress") -> "list[PretrainEpoch]":
        """Pretrain, from where the checkpoint is; every epoch's figures."""
        ...


class IDTask:
    """An ID-based model from fresh weights, drawn from its stream ``init``."""

    def __init__(self, stage: Stage, table: Table, device: str) -> None:
        self.stage, self.table, self.device = stage, table, device
        given = stage.spec["settings"]
        self.recipe = Recipe(**{name: given.get(name, setting.value) for name, setting in TRAINING.items()})
        self.max_epochs = self.recipe.max_epochs

    def build(self) -> IDModel:
        own = {name: value for name, value in self.stage.spec["settings"].items() if name not in TRAINING}
        return fresh_id_model(self.stage.method, own, self.table, self.stage.seed)

    def fit(
        self, model: IDModel, train: Rows, valid: Rows | None, epochs: int, checkpoint: Checkpoint, progress: Progress
    ) -> Fitted:
        return fit(
            model,
            train,
            replace(self.recipe, max_epochs=epochs),
            Streams(self.stage.seed),
            valid=valid,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )

    def predict(self, model: IDModel, rows: Rows) -> NDArray[np.float32]:
        return predict(model, rows, self.device, self.recipe.precision)


def task_of(stage: Stage, table: Table, store: Store, device: str) -> Task:
    """The task of a stage that fits or scores."""
    if registry.get(stage.method).kind == "id":
        return IDTask(stage, table, device)
    from flipbench.run.plm_tasks import PLMTask

    return PLMTask(stage, table, store, device)


def pretraining_of(stage: Stage, table: Table, rows: Rows, device: str) -> PretrainTask:
    """The task of a stage that pretrains on the training rows."""
    method: type[PretrainingMethod] = registry.pretraining(stage.method).load()
    return method.task(stage, table, rows, device)


def fresh_id_model(name: str, own: Mapping[str, Any], table: Table, seed: int) -> IDModel:
    """An ID-based model for a table, its weights drawn from the seed's stream ``init``."""
    torch.manual_seed(Streams(seed).seed_of("init"))
    model: IDModel = registry.get(name).load()(table.num_features, len(table.fields), **own)
    return model


def saved_weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    """The weights that a finished stage left.

    Raises:
        UserError: they are not the ones that its figures name.
    """
    path = store.folder(stage) / WEIGHTS
    weights: dict[str, Tensor] = load_file(path)
    if weights_sha256(weights) != store.metrics(stage)["weights"]:
        raise UserError(f"{path}: not the weights that this run recorded; delete its folder and run the suite again")
    return weights
