"""What a stage trains or scores: a floor, an ID-based model, a method with a PLM, or a pretraining."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.context import MethodContext, fresh_id_model
from flipbench.methods.floor import Floor
from flipbench.models.click_model import ClickModel
from flipbench.models.id_model import IDModel
from flipbench.plan import registry
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.finetune import finetune
from flipbench.train.history import Epoch, Fitted
from flipbench.train.id_models import click_metrics, fit, predict
from flipbench.train.pretrain import PretrainModel, pretrain
from flipbench.train.rng import Streams
from flipbench.train.trainer import Progress


class FitTask(Protocol):
    """A run's model and how it is trained and scored.

    Attributes:
        max_epochs: the upper limit of a training with a validation part.
    """

    max_epochs: int

    def build(self) -> nn.Module:
        """The model as training starts from it."""
        ...

    def fit(
        self,
        model: Any,
        train: Rows,
        valid: Rows | None,
        epochs: int,
        rate_factors: Sequence[float],
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Fitted:
        """Train in place, with early stopping where there is a validation part, else for exactly ``epochs``.

        Args:
            rate_factors: what the learning rates are multiplied by in each epoch, where that is known beforehand.
        """
        ...

    def predict(self, model: Any, rows: Rows) -> NDArray[np.float32]:
        """Logits [n] in evaluation mode."""
        ...


class IDTask:
    """An ID-based model from fresh weights, drawn from its stream ``init``."""

    def __init__(self, stage: Stage, table: Table, device: str) -> None:
        self.stage, self.table, self.device = stage, table, device
        self.config, self._settings = TrainConfig.split(stage.spec["settings"])
        self.max_epochs = self.config.max_epochs

    def build(self) -> IDModel:
        return fresh_id_model(self.stage.method, self._settings, self.table, self.stage.seed)

    def fit(
        self,
        model: IDModel,
        train: Rows,
        valid: Rows | None,
        epochs: int,
        rate_factors: Sequence[float],
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Fitted:
        return fit(
            model,
            train,
            replace(self.config, max_epochs=epochs),
            Streams(self.stage.seed),
            valid=valid,
            rate_factors=rate_factors,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )

    def predict(self, model: IDModel, rows: Rows) -> NDArray[np.float32]:
        return predict(model, rows, self.device, self.config.precision)


class PLMTask:
    """A :class:`PLMMethod` finetuned, from its pretraining where the stage has one."""

    def __init__(self, stage: Stage, table: Table, store: Store, device: str) -> None:
        self.device = device
        self.method: type[PLMMethod] = registry.get(stage.method).load()
        self.config, self._settings = TrainConfig.split(stage.spec["settings"])
        self.max_epochs = self.config.max_epochs
        self.context = MethodContext(stage, table, store)
        self.collator = self.method.collator(self.context, **self._settings)
        self.scorer = self.method.scorer()

    def build(self) -> ClickModel:
        torch.manual_seed(self.context.streams.seed_of("init", 1))  # for the new layers
        return self.method.model(self.context, **self._settings)

    def fit(
        self,
        model: ClickModel,
        train: Rows,
        valid: Rows | None,
        epochs: int,
        rate_factors: Sequence[float],
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Fitted:
        return finetune(
            model,
            train,
            self.config,
            self.context.streams,
            collator=self.collator,
            epochs=epochs,
            valid=valid,
            rate_factors=rate_factors,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
            scorer=self.scorer,
        )

    def predict(self, model: ClickModel, rows: Rows) -> NDArray[np.float32]:
        return self.scorer(model, rows, self.collator, self.config.precision, self.device)


class FloorTask:
    """A :class:`Floor`, fitted at once on the CPU: its only epoch."""

    max_epochs = 1

    def __init__(self, stage: Stage, table: Table) -> None:
        self.method: type[Floor] = registry.get(stage.method).load()
        self.table, self._settings = table, stage.spec["settings"]

    def build(self) -> Floor:
        return self.method(self.table, **self._settings)

    def fit(
        self,
        model: Floor,
        train: Rows,
        valid: Rows | None,
        epochs: int,
        rate_factors: Sequence[float],
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Fitted:
        model.fit(train)
        loss = {"loss": metrics.logloss(train.labels, self.predict(model, train))}
        epoch = Epoch(0, loss | click_metrics(valid, None if valid is None else self.predict(model, valid)))
        progress(0, 1.0, epoch)
        return Fitted([epoch])

    def predict(self, model: Floor, rows: Rows) -> NDArray[np.float32]:
        return model(torch.from_numpy(rows.ids)).float().numpy()  # type: ignore[no-any-return]


class PretrainTask:
    """A :class:`PretrainingMethod` on the training rows, whose labels it does not read.

    Attributes:
        model: what is pretrained; holds the last epoch's weights after :meth:`run`.
    """

    def __init__(self, stage: Stage, table: Table, rows: Rows, device: str) -> None:
        method: type[PretrainingMethod] = registry.pretraining(stage.method).load()
        settings: Mapping[str, Any]
        self.ids, self.device = rows.ids, device
        self.config, settings = TrainConfig.split(stage.spec["settings"])
        context, ids = MethodContext(stage, table), torch.from_numpy(rows.ids)
        self.streams = context.streams
        torch.manual_seed(self.streams.seed_of("init", 1))  # for the new layers
        self.model: PretrainModel = method.model(context, ids, **settings)
        self.make_batch = method.make_batch(context, ids, **settings)

    def run(self, checkpoint: Checkpoint, progress: Progress) -> Fitted:
        """Pretrain, from where the checkpoint is."""
        return pretrain(
            self.model,
            self.ids,
            self.make_batch,
            self.config,
            self.streams,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )


def fit_task(stage: Stage, table: Table, store: Store, device: str) -> FitTask:
    """The task of a stage that fits or scores."""
    kind = registry.get(stage.method).kind
    if kind == "floor":
        return FloorTask(stage, table)
    if kind == "id":
        return IDTask(stage, table, device)
    return PLMTask(stage, table, store, device)
