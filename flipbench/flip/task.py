"""FLIP's stages: the pretraining, and the finetunings that start from it."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from flipbench import registry
from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.engine.checkpoint import Checkpoint
from flipbench.engine.loop import Fitted, Progress
from flipbench.engine.streams import Streams
from flipbench.engine.tasks import fresh_id_model, saved_weights
from flipbench.flip import pretrain as pretraining
from flipbench.flip.ctr import ClickModel
from flipbench.flip.finetune import finetune, predict
from flipbench.flip.methods import FLIP
from flipbench.flip.model import Pretraining
from flipbench.flip.noise import feature_counts
from flipbench.flip.settings import FinetuneSettings, PretrainSettings
from flipbench.nn.id_model import IDModel
from flipbench.stage import Stage
from flipbench.store.runs import Store
from flipbench.text.plm import Encoder, load, load_tokenizer
from flipbench.text.tokens import TokenStore, check_length

_token_stores: dict[tuple[str, str], TokenStore] = {}


def token_store(stage: Stage, table: Table) -> TokenStore:
    """The table's tokens under the stage's PLM; built once a process."""
    key = (table.fingerprint, str(stage.spec["plm"]))
    if key not in _token_stores:
        _token_stores[key] = TokenStore.build(table, load_tokenizer(stage.places["plm"], table))
    return _token_stores[key]


class PretrainTask:
    """Modality alignment pretraining of a backbone and a PLM."""

    def __init__(self, stage: Stage, table: Table, rows: Rows, device: str) -> None:
        self.stage, self.rows, self.device = stage, rows, device
        self.settings = PretrainSettings(**stage.spec["settings"])
        self.tokens = token_store(stage, table)
        id_model, encoder = _parts(stage, table)
        check_length(self.tokens, torch.from_numpy(rows.ids), encoder.max_positions)
        counts = feature_counts(torch.from_numpy(rows.ids), id_model.features)
        self.model = Pretraining(id_model, encoder, self.settings, counts)

    def run(self, checkpoint: Checkpoint, progress: pretraining.Progress) -> list[pretraining.PretrainEpoch]:
        """Pretrain; the model then holds the last epoch's weights."""
        done = pretraining.pretrain(
            self.model,
            self.rows.ids,
            self.tokens,
            Streams(self.stage.seed),
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )
        return done.history


class FLIPTask:
    """FLIP, FLIP_ID or FLIP_PLM: finetuned from a pretraining where the stage has one, else from the public PLM."""

    def __init__(self, stage: Stage, table: Table, store: Store, device: str) -> None:
        self.stage, self.table, self.store, self.device = stage, table, store, device
        self.settings = FinetuneSettings(**stage.spec["settings"])
        self.max_epochs = self.settings.max_epochs
        self.method: type[FLIP] = registry.get(stage.method).load()
        self.tokens = token_store(stage, table) if self.method.reads_text else None

    def build(self) -> ClickModel:
        id_model, encoder = _parts(self.stage, self.table)
        if pretrained := self.stage.parents.get("pretrain"):  # an evaluate stage has none: its weights are its fit's
            weights = saved_weights(self.store, pretrained)
            for name, part in (("id_model.", id_model), ("encoder.", encoder)):
                own = {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)}
                part.load_state_dict(own)
        torch.manual_seed(Streams(self.stage.seed).seed_of("init", 1))  # for the new heads
        model: ClickModel = self.method.model(id_model, encoder, self.settings)
        return model

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
            replace(self.settings, max_epochs=epochs),
            Streams(self.stage.seed),
            store=self.tokens,
            valid=valid,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )

    def predict(self, model: ClickModel, rows: Rows) -> NDArray[np.float32]:
        return predict(model, rows, self.tokens, self.settings.precision, self.device)


def _parts(stage: Stage, table: Table) -> tuple[IDModel, Encoder]:
    backbone = stage.spec["backbone"]
    id_model = fresh_id_model(backbone["name"], backbone["settings"], table, stage.seed)
    return id_model, load(stage.places["plm"], table=table, seed=Streams(stage.seed).seed_of("init", 2))
