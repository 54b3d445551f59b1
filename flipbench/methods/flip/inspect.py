"""What is measured of a pretraining: figures that go to ``metrics.json``, and one small table to draw from.

Features and rows are drawn by the stage's seed: every variant of a pretraining shows the same ones. No label is read.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from flipbench.data import split
from flipbench.data.table import Table
from flipbench.methods.base import InspectionMethod
from flipbench.methods.context import MethodContext
from flipbench.methods.flip.alignment import similarities, top1
from flipbench.methods.flip.geometry import geometry
from flipbench.methods.flip.methods import Alignment
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store
from flipbench.train.config import TrainConfig
from flipbench.train.rng import Streams
from flipbench.train.weights import saved_weights


class Embeddings(InspectionMethod):
    """The geometry of the features that occur in the training rows, and where some of them lie in the plane.

    A feature that does not occur was never trained: its row is its random start.
    """

    version = 1
    settings = {"sample": 2000}  # noqa: RUF012 - a declaration, never changed
    pretrainings = ("pretraining",)

    @staticmethod
    def measure(stage: Stage, table: Table, store: Store, device: str) -> tuple[dict[str, Any], pa.Table]:
        weights = saved_weights(store, stage.parents["pretrain"])["id_model.embed.weight"].numpy()
        seen = np.unique(split.training_rows(table, stage.spec["order"]).ids)
        space = geometry(weights[seen])
        chosen = seen[_sample(stage, len(seen), stage.spec["settings"]["sample"])]
        places = weights[chosen] @ space.axes
        field = np.searchsorted(table.offsets, chosen, side="right") - 1
        measured = {
            "features": len(seen),
            "unseen": table.num_features - 1 - len(seen),  # 1: the mask feature
            "mean_cosine": space.mean_cosine,
            "effective_rank": space.effective_rank,
            "rms_norm": space.rms_norm,
            "singular_shares": space.singular_shares.tolist(),
        }
        drawn = {
            "field": pa.array([table.fields[f].name for f in field]).dictionary_encode(),
            "side": pa.array([table.fields[f].side for f in field]).dictionary_encode(),
            "x": pa.array(places[:, 0].astype(np.float32)),
            "y": pa.array(places[:, 1].astype(np.float32)),
        }
        return measured, pa.table(drawn)


class AlignmentOfFields(InspectionMethod):
    """How often the same masked field is found over many test rows; similarities of the first of them, and the mean."""

    version = 1
    settings = {"rows": 1024}  # noqa: RUF012
    pretrainings = ("pretraining",)
    needs = ("icl",)

    @staticmethod
    def measure(stage: Stage, table: Table, store: Store, device: str) -> tuple[dict[str, Any], pa.Table]:
        pretrained = stage.parents["pretrain"]
        context = MethodContext(pretrained, table)
        training_ids = torch.from_numpy(split.training_rows(table, stage.spec["order"]).ids)
        model = Alignment.model(context, training_ids, **TrainConfig.split(pretrained.spec["settings"])[1])
        model.load_state_dict(saved_weights(store, pretrained))
        rows = split.test_ids(table, stage.spec["order"])
        chosen = np.asarray(rows[_sample(stage, len(rows), stage.spec["settings"]["rows"])])
        similarity = similarities(model, torch.from_numpy(chosen), context.tokens, device)
        by_text, by_table = top1(similarity)
        names = [field.name for field in table.fields]
        measured = {
            "rows": len(chosen),
            "chance": 1 / len(names),
            "top1_text": by_text.mean().item(),
            "top1_table": by_table.mean().item(),
            "top1_text_of": dict(zip(names, by_text.tolist(), strict=True)),
            "top1_table_of": dict(zip(names, by_table.tolist(), strict=True)),
        }
        drawn = {
            "text": pa.array(np.repeat(names, len(names)).tolist()).dictionary_encode(),
            "table": pa.array(names * len(names)).dictionary_encode(),
            "example": pa.array(similarity[0].flatten().numpy()),
            "mean": pa.array(similarity.mean(dim=0).flatten().numpy()),
        }
        return measured, pa.table(drawn)


def _sample(stage: Stage, n: int, size: int) -> NDArray[np.int64]:
    """``size`` distinct numbers below ``n`` in random order, or all of them where there are no more."""
    chosen: NDArray[np.int64] = torch.randperm(n, generator=Streams(stage.seed).generator("sample"))[:size].numpy()
    return chosen
