"""Stages of the methods with a PLM: what :mod:`flipbench.methods.base` declares, trained and scored."""

import numpy as np
import torch
from numpy.typing import NDArray

from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.context import Parts
from flipbench.models.click_model import ClickModel
from flipbench.plan import registry
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.finetune import FinetuneRecipe, finetune
from flipbench.train.pretrain import PretrainEpoch, PretrainRecipe, pretrain
from flipbench.train.pretrain import Progress as PretrainProgress
from flipbench.train.trainer import Fitted, Progress


class PLMTask:
    """A :class:`PLMMethod` finetuned, from its pretraining where the stage has one."""

    def __init__(self, stage: Stage, table: Table, store: Store, device: str) -> None:
        self.device = device
        self.method: type[PLMMethod] = registry.get(stage.method).load()
        self.recipe, self.own = FinetuneRecipe.split(stage.spec["settings"])
        self.max_epochs = self.recipe.max_epochs
        self.parts = Parts(stage, table, store)
        self.reader = self.method.reader(self.parts, **self.own)
        self.scores = self.method.scores()

    def build(self) -> ClickModel:
        torch.manual_seed(self.parts.streams.seed_of("init", 1))  # for the new layers
        return self.method.model(self.parts, **self.own)

    def fit(
        self,
        model: ClickModel,
        train: Rows,
        valid: Rows | None,
        epochs: int,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Fitted:
        return finetune(
            model,
            train,
            self.recipe,
            self.parts.streams,
            reader=self.reader,
            epochs=epochs,
            valid=valid,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
            scores=self.scores,
        )

    def predict(self, model: ClickModel, rows: Rows) -> NDArray[np.float32]:
        return self.scores(model, rows, self.reader, self.recipe.precision, self.device)


class MethodPretrainTask:
    """A :class:`PretrainingMethod` on the training rows, whose labels it does not read."""

    def __init__(self, method: type[PretrainingMethod], stage: Stage, table: Table, rows: Rows, device: str) -> None:
        self.ids, self.device = rows.ids, device
        self.recipe, own = PretrainRecipe.split(stage.spec["settings"])
        self.epochs = self.recipe.epochs
        parts = Parts(stage, table)
        self.streams = parts.streams
        torch.manual_seed(self.streams.seed_of("init", 1))  # for the new layers
        self.model = method.model(parts, torch.from_numpy(rows.ids), **own)
        self.draw = method.draw(parts, **own)

    def run(self, checkpoint: Checkpoint, progress: PretrainProgress) -> list[PretrainEpoch]:
        return pretrain(
            self.model,
            self.ids,
            self.draw,
            self.recipe,
            self.streams,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )
