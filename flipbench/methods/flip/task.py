"""FLIP's pretraining as a stage."""

import torch

from flipbench.data.split import Rows
from flipbench.data.table import Table
from flipbench.methods.context import Parts
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.noise import feature_counts
from flipbench.methods.flip.pretrain import pretrain
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.encoder import load
from flipbench.plan.stage import Stage
from flipbench.run.tasks import fresh_id_model
from flipbench.text.tokens import check_length
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.pretrain import PretrainEpoch, Progress
from flipbench.train.rng import Streams


class PretrainTask:
    """Modality alignment pretraining of a backbone and a PLM.

    Attributes:
        tokens: the table's, by feature.
    """

    def __init__(self, stage: Stage, table: Table, rows: Rows, device: str) -> None:
        self.stage, self.rows, self.device = stage, rows, device
        self.settings = PretrainSettings(**stage.spec["settings"])
        self.epochs = self.settings.epochs
        self.tokens = Parts(stage, table).tokens
        # the new layers are drawn after the backbone's, from one stream
        backbone = stage.spec["backbone"]
        id_model = fresh_id_model(backbone["name"], backbone["settings"], table, stage.seed)
        encoder = load(stage.local_paths["plm"], table=table, seed=Streams(stage.seed).seed_of("init", 2))
        check_length(self.tokens, torch.from_numpy(rows.ids), encoder.max_positions)
        counts = feature_counts(torch.from_numpy(rows.ids), id_model.features)
        self.model = Pretraining(id_model, encoder, self.settings, counts)

    def run(self, checkpoint: Checkpoint, progress: Progress) -> list[PretrainEpoch]:
        """Pretrain; the model then holds the last epoch's weights."""
        return pretrain(
            self.model,
            self.rows.ids,
            self.tokens,
            Streams(self.stage.seed),
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )
